"""monitor: what was logged and what came true against the reference of the model in service: one verdict, one page."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from mlgates.contract import Contract, Lookup
from mlgates.data.expectations import Validate
from mlgates.data.partitions import closed, files
from mlgates.errors import ProjectError
from mlgates.evaluation.metrics import named
from mlgates.files import write_json, write_text
from mlgates.layout import CHAMPION, MONITOR, REFERENCE
from mlgates.model_folder import Scorer
from mlgates.monitoring import drift, skew
from mlgates.monitoring.performance import coverage, estimate, joined, judge
from mlgates.project import Project
from mlgates.registry.override import Override
from mlgates.reports import page
from mlgates.settings import MonitorSettings
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd

DAYS = 90  # older predictions say nothing about today
NEWEST = 20_000  # predictions that are looked at, as many as the reference has rows
FOLLOW_SECONDS = 5.0  # in which a service may still answer with the model before
PAGES = 30  # that are kept; the JSON of every run is

FRAME = """<h2>Distributions</h2><p>By Evidently: what was served against the model's reference.</p>
<iframe title="Evidently" style="width:100%;height:90vh;border:0" srcdoc="{}"></iframe>"""

NOTHING_FROM_OUTSIDE = """<head><meta http-equiv="Content-Security-Policy"
content="default-src data: blob: 'unsafe-inline' 'unsafe-eval'">"""


@dataclass
class Watched(Report):
    """A report with Evidently's page, empty where there were too few rows for it."""

    html: str = ""


def watch(
    contract: Contract,
    scorer: Scorer,
    reference: "pd.DataFrame",
    logged: "pd.DataFrame",
    outcomes: "pd.DataFrame | None",
    limits: MonitorSettings,
    quality: Mapping[str, float] | None,
    age: int | None,
    distributions: drift.Distributions,
    validate: Validate,
    tables: "Mapping[str, pd.DataFrame] | None" = None,
    oldest: int | None = None,
    newest: "pd.DataFrame | None" = None,
) -> Watched:
    """The verdict on predictions `logged` by one model; frames as `serving.prediction_log` reads them.

    `limits` is the section `monitor` of the parameters, `quality` what the gate measured for this model, by metric,
    `age` how many periods were closed since its training data, `distributions` the wiring's own (monitor.py),
    `validate` too (pipeline/validate.py),
    `oldest` how many its staleness curve allows, `tables` the checked look-up tables of that time. Where `logged` has
    only what outcomes are compared by, `newest` are its last rows with all columns.

    Columns that drift alone are named in `drift` and fail nothing: each asks for a look, but in a real year some column
    always moves (of the flights' columns half, in every month). What fails is `monitor.drifted_share`: healthy rows
    have none, July against January to March more than half. One column in another unit is named by its own drift
    check, and fails where it leaves the contract's bounds (`monitor.contract`).
    """
    rows, least, gate = len(logged), limits.min_rows, quality or {}
    enough = Verdict.OK if rows >= least else Verdict.INCONCLUSIVE
    told = "periods closed since its training data"
    stale = Check(
        "monitor.staleness",
        Verdict.INCONCLUSIVE,
        age,
        required=False,
        evidence=f"{told}; no limit is known",
    )
    if oldest is not None:
        stale = at_most("monitor.staleness", age, oldest, rows, min_rows=0, evidence=told)
    report = Watched("monitor", [Check("monitor.min_rows", enough, rows, least, rows=rows), stale])
    if not rows:
        return report
    columns = [f"feature__{name}" for name in scorer.plan.names]
    recent = (logged if newest is None else newest).tail(NEWEST).reset_index(drop=True)
    if absent := [name for name in [*contract.feature_columns, *columns] if name not in recent]:
        raise ProjectError(
            f"The prediction log has no column {absent[0]!r}.",
            "Restart the service: its code is another.",
        )
    known = joined(contract, logged, outcomes).tail(NEWEST)
    arrays, scores = contract.arrays(recent), logged_scores(contract, recent)
    again = scorer.matrix(arrays)
    report.add(
        skew.invariants(contract, scorer, recent, arrays, scores, validate),
        *skew.features(
            scorer, recent[columns].to_numpy(dtype=float, na_value=np.nan), again, scores
        ),
        *skew.looked_up(contract, recent, arrays, tables or {}),
        coverage(known, rows),
        judge(contract, known, logged_scores(contract, known), gate, limits),
        *([estimate(scores, gate, limits)] if contract.task == "binary" else []),
    )
    if rows >= least:
        before = contract.arrays(reference)
        trained = scorer.matrix(before)
        old, new = (
            (contract, scorer, side, matrix)
            for side, matrix in ((before, trained), (arrays, again))
        )
        compared = drift.comparison(drift.watched(*old), drift.watched(*new), limits)
        moved, report.html = drift.drift(compared, distributions)
        report.add(*moved, drift.share(compared, moved, limits, rows))
        report.add(*drift.missing(scorer.plan.columns, before, arrays, limits))
        report.add(drift.predictions(scorer.score(trained), scores, limits))
    return report


def logged_scores(contract: Contract, logged: "pd.DataFrame") -> np.ndarray:
    """(n,) or (n, c) scores as they were served."""
    if contract.task != "multiclass":
        return logged["score"].to_numpy(dtype=float, na_value=np.nan)
    return np.array([json.loads(text) for text in logged["score"]], dtype=float).reshape(
        -1, len(contract.classes)
    )


def watch_champion(
    project: Project,
    distributions: drift.Distributions,
    validate: Validate,
    since: float | None = None,
) -> Watched:
    """The report on the model in service; `distributions` and `validate` are the wiring's own (monitor.py).

    `since` is in unix seconds; by default 90 days ago. Raises: ProjectError if no model is in service here, or if it is
    not the recorded one.
    """
    import pandas as pd

    from mlgates.serving import prediction_log

    served = champion.in_service(project)
    since_when = (project.root / CHAMPION).stat().st_mtime
    scorer = champion.load_served(project, served)
    since = time.time() - DAYS * 86_400 if since is None else since
    every = prediction_log.read(
        project, since, columns=["fingerprint", "score", *prediction_log.identity(project.contract)]
    )
    logged = every[every["fingerprint"] == served["fingerprint"]]
    newest = (
        prediction_log.read(project, float(logged["at"].tail(NEWEST).min()))
        if len(logged)
        else logged
    )
    newest = newest[newest["fingerprint"] == served["fingerprint"]].tail(NEWEST)
    facts = served["report"]["facts"]
    gate = {name: facts[name] for name in named(project.contract.task) if name in facts}
    periods, trained = (
        closed(project.data, project.cycle()["until"]),
        facts.get("trained on", "").split(", ")[-1],
    )
    report = watch(
        project.contract,
        scorer,
        pd.read_parquet(champion.find(project, served["fingerprint"]) / REFERENCE),
        logged,
        prediction_log.outcomes(project),
        project.settings().monitor,
        gate,
        len(periods) - 1 - periods.index(trained) if trained in periods else None,
        distributions,
        validate,
        {look.name: lookup_table(project, look, newest) for look in project.contract.lookups}
        if len(logged)
        else None,
        facts.get("max_age_periods"),
        newest,
    )
    report.all_checks.insert(0, followed(every, served["fingerprint"], since_when))
    report.add(*overridden(served.get("override")))
    report.title = f"monitor  {served['release']} ({served['fingerprint'][:8]})"
    report.facts = {
        "period": periods[-1],
        "predictions": len(logged),
        "by other models": len(every) - len(logged),
    }
    if len(logged):
        spans = pd.to_datetime([logged["at"].min(), logged["at"].max()], unit="s").floor("s")
        report.facts["made"] = f"{spans[0]} to {spans[1]} UTC"
    return report


def followed(logged: "pd.DataFrame", fingerprint: str, recorded: float) -> Check:
    """`serving.follow`: what was answered after the champion was recorded (unix seconds) was answered by it."""
    later = logged[logged["at"] > recorded + FOLLOW_SECONDS]
    others = int((later["fingerprint"] != fingerprint).sum())
    evidence = f"answered by another model than {fingerprint[:8]}" if others else ""
    return at_most("serving.follow", others, 0, len(later), required=False, evidence=evidence)


def overridden(given: Mapping[str, str] | None) -> list[Check]:
    """`monitor.override`: nobody answers for a model that the gate did not pass beyond the day they named."""
    override = Override(**given) if given else None
    return (
        [at_most("monitor.override", override.days_over, 0, 0, min_rows=0, evidence=str(override))]
        if override
        else []
    )


def lookup_table(project: Project, look: Lookup, logged: "pd.DataFrame") -> "pd.DataFrame":
    """The checked rows of a look-up that the predictions may have found: the newest periods, back to their time."""
    import pandas as pd

    parts = [pd.DataFrame()]
    for path in reversed(files(project, "checked", look.name)):
        parts.append(pd.read_parquet(path))
        if parts[-1][look.time].min() < logged[look.at].min() - pd.Timedelta(
            seconds=look.max_seconds
        ):
            break
    return pd.concat(parts, ignore_index=True)


def write(project: Project, report: Watched) -> None:
    """Write `var/monitor/<UTC>.json`, `.html`, and the same as `latest`.

    Evidently's page, a script with all that it needs, sits in a frame that can load nothing from outside.
    """
    folder = project.root / MONITOR
    inner = (
        report.html.replace("<head>", NOTHING_FROM_OUTSIDE, 1)
        .replace("&", "&amp;")
        .replace('"', "&quot;")
    )
    extra = FRAME.format(inner) if inner else ""
    for name in (datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ"), "latest"):
        write_text(folder / f"{name}.html", page(report, extra=extra))
        write_json(folder / f"{name}.json", report.to_dict())
    for old in sorted(folder.glob("2*.html"))[:-PAGES]:
        old.unlink()
