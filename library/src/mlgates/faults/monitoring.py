"""Faults in what is served, caught by the monitor, which tells skew and drift apart."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Arrays
from mlgates.evaluation.metrics import metrics_of
from mlgates.faults.model import fitted, scores_of
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy, scrambled
from mlgates.monitoring.performance import COMPARED_METRIC
from mlgates.monitoring.watch import Log, Subject, watch
from mlgates.serving.prediction_log import ID, key_columns
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

FEW = 400  # predictions, too few for the monitor to look for drift
# What a model must be able to lose: four times the monitor's margin. Where half of the labels are
# wrong, it loses half of that.
MIN_SKILL = 0.2
MAX_AGE = 3  # in periods: what the staleness curve of the model is taken to allow

KILOMETRES = 1.609  # in a mile
METRES = 1609  # in a mile


def logged(bench: Bench, rows: "pd.DataFrame", seen: Arrays | None = None) -> "pd.DataFrame":
    """What the prediction log would hold for these rows.

    `seen` are the columns that the service computed with; by default they are what the rows say.
    """
    import pandas as pd

    scorer, _ = fitted(bench)
    matrix = scorer.matrix(seen or bench.contract.arrays(rows))
    scores = scorer.score(matrix)

    log: dict[str, Any] = {}
    for name in bench.contract.feature_columns:
        log[name] = rows[name].to_numpy()
    for place, name in enumerate(scorer.plan.names):
        log[f"feature__{name}"] = matrix[:, place]
    log[ID] = _ids(len(rows))
    log["at"] = np.arange(float(len(rows)))
    log["score"] = scores
    if scores.ndim > 1:  # the log holds the scores of several classes as text
        log["score"] = [json.dumps(of_row) for of_row in scores.tolist()]
    log["decision"] = scorer.decide(scores)
    return pd.DataFrame(log)


def _ids(n_rows: int) -> list[str]:
    """The identity of each prediction, by which a label finds it."""
    return [f"id{place}" for place in range(n_rows)]


def watched(
    bench: Bench,
    log: "pd.DataFrame",
    outcomes: "pd.DataFrame | None" = None,
    age: int = 1,
    **limits: Any,
) -> Report:
    """The real monitor on a log, with the team's wiring; `limits` replace settings of `monitor`."""
    scorer, _ = fitted(bench)
    reference = bench.halves[0]
    settings = replace(bench.settings.monitor, **limits)
    gate_metrics = bench.computed("gate", lambda: _gate_metrics(bench))
    distributions = bench.project.module("monitor").distributions
    validate = bench.wiring("validate").check
    subject = Subject(bench.contract, scorer, reference, gate_metrics, age, max_age=MAX_AGE)
    return watch(subject, Log(log, outcomes), settings, distributions, validate)


def _gate_metrics(bench: Bench) -> dict[str, float]:
    """What the gate would have measured for the model, by metric."""
    rows = bench.halves[1]
    target = bench.contract.target(rows)
    scores = scores_of(bench, rows, fitted(bench)[0])
    return {name: _metric(bench, name, target, scores) for name in metrics_of(bench.contract.task)}


def _metric(bench: Bench, name: str, target: np.ndarray, scores: np.ndarray) -> float:
    """One metric of scores, where each row counts once."""
    measure = metrics_of(bench.contract.task)[name](target, scores)
    weights = np.ones((1, len(target)), np.float32)
    return float(measure(weights)[0])


def _fresh(bench: Bench, seed: int = 0) -> "pd.DataFrame":
    """Rows that the model was not fitted on."""
    rows = bench.halves[1]
    return rows.sample(min(bench.size, len(rows)), random_state=seed).reset_index(drop=True)


def _labels(bench: Bench, rows: "pd.DataFrame") -> "pd.DataFrame":
    """The labels of logged rows, as the service stores them when they arrive."""
    labels = rows.assign(arrived=0.0)
    labels[ID] = _ids(len(rows))
    return labels[[*key_columns(bench.contract), bench.contract.outcome.name, "arrived"]]


@healthy("monitor")
def healthy_service(bench: Bench, seed: int) -> Report:
    """Rows like the reference, all labels known."""
    rows = _fresh(bench, seed)
    return watched(bench, logged(bench, rows), _labels(bench, rows))


def read_number(bench: Bench) -> tuple[str, str]:
    """A number of the request that a feature reads, and that feature.

    Raises: NotApplicable if no feature reads one.
    """
    contract = bench.contract
    plan = fitted(bench)[0].plan
    for name in plan.names:
        for column in sorted(plan.ancestors(name)):
            if contract.columns[column].is_number and column in contract.request_columns:
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
    column, feature = read_number(bench)
    rows = _fresh(bench).head(FEW)
    seen = bench.contract.arrays(rows)
    seen[column] = seen[column] * KILOMETRES
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
    """Callers send metres: service and training agree about them, so this is no skew."""
    rows = _fresh(bench).head(FEW)
    name = bench.number_that_leaves_bounds.name
    in_metres = rows.assign(**{name: rows[name] * METRES})
    return watched(bench, logged(bench, in_metres))


@fault("the period has drifted", caught_by="monitor.drifted_share", row="Mon 7", spared="skew.")
def drifted(bench: Bench) -> Report:
    """Every number comes from its upper half, every category is its rarest word."""
    rows = _fresh(bench)
    random = np.random.default_rng(0)
    for name, column in bench.contract.feature_columns.items():
        values = rows[name].dropna()
        if name in bench.contract.key or values.empty:
            continue
        if column.kind in ("int", "float"):
            rows[name] = random.choice(_one_side(values).to_numpy(), len(rows))
        elif column.kind != "datetime":
            rows[name] = values.value_counts().index[-1]
    return watched(bench, logged(bench, rows))


def _one_side(numbers: "pd.Series[Any]") -> "pd.Series[Any]":
    """The numbers above their median; else those below it; else all, because all are equal."""
    median = numbers.median()
    above = numbers[numbers > median]
    below = numbers[numbers < median]
    if len(above):
        return above
    if len(below):
        return below
    return numbers


@fault("values go missing in the service", caught_by="monitor.missing", row="Mon 2")
def missing(bench: Bench) -> Report:
    """A third of a column that may be missing is missing; drift alone would not see it."""
    rows = _fresh(bench)
    present_shares: dict[str, float] = {}
    for name in fitted(bench)[0].plan.columns:
        if bench.contract.columns[name].nullable:
            present_shares[name] = rows[name].notna().mean()
    if not present_shares or max(present_shares.values()) < 0.5:
        raise NotApplicable("no column that a feature reads may be missing and is mostly present")

    name = max(present_shares, key=lambda column: present_shares[column])
    every_third = rows.index % 3 == 0
    with_gaps = rows.assign(**{name: rows[name].mask(every_third)})
    report = watched(bench, logged(bench, with_gaps))
    report.facts["caught_by"] = f"monitor.missing.{name}"
    return report


def _skill(bench: Bench, rows: "pd.DataFrame") -> float:
    """What the model loses, in the unit of the margin, if every row has another row's label."""
    name = COMPARED_METRIC[bench.contract.task]
    scores = scores_of(bench, rows, fitted(bench)[0])
    target = bench.contract.target(rows)
    with_labels = _metric(bench, name, target, scores)
    with_shuffled_labels = _metric(bench, name, scrambled(target), scores)
    if bench.contract.task == "regression":  # an error, of which the margin is a share
        return (with_shuffled_labels - with_labels) / (with_labels or 1.0)
    return with_labels - with_shuffled_labels


@fault("what comes true is not what it was", caught_by="monitor.performance", row="Mon 7")
def shuffled(bench: Bench) -> Report:
    """Half of the labels have nothing to do with the requests any more."""
    rows = _fresh(bench)
    if _skill(bench, rows) < MIN_SKILL:
        raise NotApplicable("the model is hardly better than chance, so it cannot lose much")

    name = bench.contract.outcome.name
    labels = rows[name].to_numpy()
    is_even = np.arange(len(rows)) % 2 == 0
    half_shuffled = np.where(is_even, scrambled(labels), labels)
    with_wrong_labels = rows.assign(**{name: half_shuffled})
    return watched(bench, logged(bench, rows), _labels(bench, with_wrong_labels))


@fault("the model is 40 periods old", caught_by="monitor.staleness", row="Mon 4")
def stale(bench: Bench) -> Report:
    """The model was not trained again for 40 periods."""
    return watched(bench, logged(bench, _fresh(bench).head(FEW)), age=40)


@fault(
    "requests come whose outcome nobody can tell",
    caught_by="monitor.estimated_performance",
    row="Mon 7",
    expected=Verdict.INCONCLUSIVE,
    spared="monitor.contract",
)
def unsure(bench: Bench) -> Report:
    """All scores lie close together, and no label is known yet.

    The ranking is worth less than the gate measured.
    """
    rows = bench.halves[1]
    if bench.contract.task != "binary" or _skill(bench, rows) < MIN_SKILL:
        raise NotApplicable("the model does not tell two classes apart well enough")

    # The tenth of the rows in the middle of the ranking
    ranking = np.argsort(scores_of(bench, rows, fitted(bench)[0]))
    middle = ranking[len(rows) * 9 // 20 : len(rows) * 11 // 20]
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
