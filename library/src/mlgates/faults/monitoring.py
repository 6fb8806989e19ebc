"""Faults in what is served, caught by the monitor; training/serving skew and drift are told apart."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Arrays
from mlgates.evaluation.metrics import named
from mlgates.faults.model import fitted, scored
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy, scrambled
from mlgates.monitoring.performance import FAIR
from mlgates.monitoring.watch import watch
from mlgates.serving.prediction_log import ID, identity
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

FEW = 400  # predictions, in which no drift is looked for
LEAST_SKILL = 0.2  # four times the margin of the monitor, of which half of the outcomes take half


def logged(bench: Bench, rows: "pd.DataFrame", seen: Arrays | None = None) -> "pd.DataFrame":
    """What the prediction log would hold for these rows; `seen` are the columns that the serving path worked with."""
    import json

    import pandas as pd

    scorer, _ = fitted(bench)
    matrix = scorer.matrix(seen or bench.contract.arrays(rows))
    scores = scorer.score(matrix)
    features = {
        f"feature__{name}": matrix[:, place] for place, name in enumerate(scorer.plan.names)
    }
    told = [json.dumps(row) for row in scores.tolist()] if scores.ndim > 1 else scores
    own = {
        ID: [f"id{place}" for place in range(len(rows))],
        "at": np.arange(float(len(rows))),
        "score": told,
        "decision": scorer.decide(scores),
    }
    columns = {name: rows[name].to_numpy() for name in bench.contract.feature_columns}
    return pd.DataFrame(columns | features | own)


def watched(
    bench: Bench,
    log: "pd.DataFrame",
    outcomes: "pd.DataFrame | None" = None,
    age: int = 1,
    **limits: Any,
) -> Report:
    """The real monitor on a log."""
    scorer, _ = fitted(bench)
    settings = replace(bench.settings.monitor, **limits)
    gate = bench.once("gate", lambda: _gate(bench))
    distributions, check = (
        bench.project.module("monitor").distributions,
        bench.wiring("validate").check,
    )
    reference = bench.halves[0]
    return watch(
        bench.contract,
        scorer,
        reference,
        log,
        outcomes,
        settings,
        gate,
        age,
        distributions,
        check,
        oldest=3,
    )


def _gate(bench: Bench) -> dict[str, float]:
    """What the gate would have measured for the model."""
    rows = bench.halves[1]
    target, scores = bench.contract.target(rows), scored(bench, rows, fitted(bench)[0])
    ones = np.ones((1, len(rows)), np.float32)
    return {
        name: float(metric(target, scores)(ones)[0])
        for name, metric in named(bench.contract.task).items()
    }


def _fresh(bench: Bench, seed: int = 0) -> "pd.DataFrame":
    """Rows that the model was not fitted on."""
    rows = bench.halves[1]
    return rows.sample(min(bench.size, len(rows)), random_state=seed).reset_index(drop=True)


def _outcomes(bench: Bench, rows: "pd.DataFrame") -> "pd.DataFrame":
    told = rows.assign(arrived=0.0)
    told[ID] = [f"id{place}" for place in range(len(rows))]
    return told[[*identity(bench.contract), bench.contract.outcome.name, "arrived"]]


@healthy("monitor")
def healthy_service(bench: Bench, seed: int) -> Report:
    """Rows like the reference, all outcomes known."""
    rows = _fresh(bench, seed)
    return watched(bench, logged(bench, rows), _outcomes(bench, rows))


def read_number(bench: Bench) -> tuple[str, str]:
    """A request number that a feature reads, and such a feature."""
    plan = fitted(bench)[0].plan
    for name in plan.names:
        for column in sorted(plan.ancestors(name)):
            if (
                bench.contract.columns[column].is_number
                and column in bench.contract.request_columns
            ):
                return column, name
    raise NotApplicable("no feature reads a number of the request")


@fault(
    "a unit changes in the serving path only",
    caught_by="skew",
    row="Mon 3",
    spared="monitor.contract",
)
def serving_unit(bench: Bench) -> Report:
    """The request says miles, the service computes with kilometres."""
    (column, feature), rows = read_number(bench), _fresh(bench).head(FEW)
    seen = bench.contract.arrays(rows)
    seen[column] = seen[column] * 1.609
    report = watched(bench, logged(bench, rows, seen))
    report.facts["caught_by"] = f"skew.{feature}"
    return report


@fault(
    "a unit changes upstream of the service",
    caught_by="monitor.contract",
    row="Mon 2",
    spared="skew.",
)
def upstream_unit(bench: Bench) -> Report:
    """Callers send metres: the service and training agree about them, so this is no skew."""
    rows, name = _fresh(bench).head(FEW), bench.moving.name
    return watched(bench, logged(bench, rows.assign(**{name: rows[name] * 1609})))


@fault("the period has drifted", caught_by="monitor.drifted_share", row="Mon 7", spared="skew.")
def drifted(bench: Bench) -> Report:
    """Every number comes from its upper half, every category is its rarest word."""
    rows, random = _fresh(bench), np.random.default_rng(0)
    for name, column in bench.contract.feature_columns.items():
        known = rows[name].dropna()
        if name in bench.contract.key or known.empty:
            continue
        if column.kind in ("int", "float"):
            upper, lower = known[known > known.median()], known[known < known.median()]
            rows[name] = random.choice(
                (upper if len(upper) else lower if len(lower) else known).to_numpy(), len(rows)
            )
        elif column.kind != "datetime":
            rows[name] = known.value_counts().index[-1]
    return watched(bench, logged(bench, rows))


@fault("values go missing in the service", caught_by="monitor.missing", row="Mon 2")
def missing(bench: Bench) -> Report:
    """A third of a column that may be missing is missing; drift alone would not see it."""
    read = fitted(bench)[0].plan.columns
    rows = _fresh(bench)
    columns = {
        name: rows[name].notna().mean() for name in read if bench.contract.columns[name].nullable
    }
    name = max(columns, key=lambda column: columns[column], default="")
    if not name or columns[name] < 0.5:
        raise NotApplicable("no column may be missing, or those that may are missing mostly")
    report = watched(
        bench, logged(bench, rows.assign(**{name: rows[name].mask(rows.index % 3 == 0)}))
    )
    report.facts["caught_by"] = f"monitor.missing.{name}"
    return report


def _skill(bench: Bench, rows: "pd.DataFrame") -> float:
    """What the model loses, in the unit of the margin, if all outcomes are somebody else's."""
    name, scores = FAIR[bench.contract.task], scored(bench, rows, fitted(bench)[0])
    makers, ones = named(bench.contract.task), np.ones((1, len(rows)), np.float32)
    target = bench.contract.target(rows)
    true, random = (float(makers[name](t, scores)(ones)[0]) for t in (target, scrambled(target)))
    return (random - true) / (true or 1.0) if bench.contract.task == "regression" else true - random


@fault("what comes true is not what it was", caught_by="monitor.performance", row="Mon 7")
def shuffled(bench: Bench) -> Report:
    """Half of the outcomes have nothing to do with the requests any more."""
    rows = _fresh(bench)
    name, known = bench.contract.outcome.name, rows[bench.contract.outcome.name].to_numpy()
    if _skill(bench, rows) < LEAST_SKILL:
        raise NotApplicable("the model knows so little that it cannot lose it")
    other = np.where(
        np.arange(len(rows)) % 2 == 0, np.random.default_rng(0).permutation(known), known
    )
    return watched(bench, logged(bench, rows), _outcomes(bench, rows.assign(**{name: other})))


@fault("the model is 40 periods old", caught_by="monitor.staleness", row="Mon 4")
def stale(bench: Bench) -> Report:
    """Nobody retrained."""
    return watched(bench, logged(bench, _fresh(bench).head(FEW)), age=40)


@fault(
    "requests come whose outcome nobody can tell",
    caught_by="monitor.estimated_performance",
    row="Mon 7",
    expected=Verdict.INCONCLUSIVE,
    spared="monitor.contract",
)
def unsure(bench: Bench) -> Report:
    """All scores lie close together: no outcome is known yet, and the ranking is worth less than the gate measured."""
    rows = bench.halves[1]
    if bench.contract.task != "binary" or _skill(bench, rows) < LEAST_SKILL:
        raise NotApplicable("no two classes are told apart well enough")
    middle = np.argsort(scored(bench, rows, fitted(bench)[0]))[
        len(rows) * 9 // 20 : len(rows) * 11 // 20
    ]
    return watched(bench, logged(bench, rows.iloc[middle[:FEW]].reset_index(drop=True)))


@fault(
    "only 20 predictions were logged",
    caught_by="monitor.min_rows",
    row="Mon 7",
    expected=Verdict.INCONCLUSIVE,
)
def too_few(bench: Bench) -> Report:
    """Too few rows to say anything are not a pass."""
    return watched(bench, logged(bench, _fresh(bench).head(20)))
