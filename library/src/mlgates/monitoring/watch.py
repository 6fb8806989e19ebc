"""monitor: predictions and labels against the reference of the model in service.

It gives one verdict and one page.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Arrays, Contract, Lookup
from mlgates.data.expectations import Validate
from mlgates.data.partitions import files, periods_until
from mlgates.errors import ProjectError
from mlgates.evaluation.metrics import metrics_of
from mlgates.files import write_json, write_text
from mlgates.layout import CHAMPION, MONITOR, REFERENCE
from mlgates.model_folder import Scorer
from mlgates.monitoring import drift, skew
from mlgates.monitoring.performance import (
    coverage,
    estimate,
    labelled_predictions,
    performance_check,
)
from mlgates.project import Project
from mlgates.registry.override import Override
from mlgates.reports import page
from mlgates.settings import MonitorSettings
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd

DAYS = 90  # older predictions say nothing about today
NEWEST = 20_000  # how many predictions are looked at: as many as the reference has rows
FOLLOW_SECONDS = 5.0  # how long a service may still answer with the model before
PAGES = 30  # how many pages are kept; of every run the JSON is kept

FRAME = """<h2>Distributions</h2><p>By Evidently: what was served against the model's reference.</p>
<iframe title="Evidently" style="width:100%;height:90vh;border:0" srcdoc="{}"></iframe>"""

NOTHING_FROM_OUTSIDE = """<head><meta http-equiv="Content-Security-Policy"
content="default-src data: blob: 'unsafe-inline' 'unsafe-eval'">"""


@dataclass
class Watched(Report):
    """A report with Evidently's page, which is empty where there were too few rows for it."""

    html: str = ""


@dataclass(frozen=True)
class Subject:
    """The model that is watched.

    `reference` are the rows that it was trained on. `quality` is what the gate measured for it, by
    metric. `age` is how many periods were closed since its training data, `max_age` how many its
    staleness curve allows; both are None if unknown.
    """

    contract: Contract
    scorer: Scorer
    reference: "pd.DataFrame"
    quality: Mapping[str, float]
    age: int | None
    max_age: int | None = None


@dataclass(frozen=True)
class Log:
    """What the model served, and what is known about it; frames as `serving.prediction_log` reads.

    `tables` are the checked look-up tables of that time. Where `predictions` have only the columns
    that labels are compared by, `newest` are the last of them with all columns.
    """

    predictions: "pd.DataFrame"
    outcomes: "pd.DataFrame | None" = None
    tables: "Mapping[str, pd.DataFrame]" = field(default_factory=dict)
    newest: "pd.DataFrame | None" = None


@dataclass(frozen=True)
class _Rows:
    """Rows as the model sees them: the contract's columns, its (n, k) features and its scores."""

    arrays: Arrays
    features: np.ndarray
    scores: np.ndarray


def watch(
    subject: Subject,
    log: Log,
    limits: MonitorSettings,
    distributions: drift.Distributions,
    validate: Validate,
) -> Watched:
    """The verdict on what one model predicted.

    `limits` is the section `monitor` of the parameters. `distributions` and `validate` are the
    wiring's own functions (of monitor.py and pipeline/validate.py).

    Columns that drift alone are named in `drift` and fail nothing: each asks for a look, but in a
    real year some column always moves (of the flights' columns half of them, in every month). What
    fails is `monitor.drifted_share`: healthy rows have none, July against January to March more
    than half. One column in another unit is named by its own drift check, and fails where it leaves
    the contract's bounds (`monitor.contract`).

    Raises: ProjectError if the log lacks a column that the model has.
    """
    rows = len(log.predictions)
    report = Watched("monitor", [_min_rows(rows, limits), _staleness(subject, rows)])
    if not rows:
        return report

    recent = log.predictions if log.newest is None else log.newest
    recent = recent.tail(NEWEST).reset_index(drop=True)
    feature_columns = [f"feature__{name}" for name in subject.scorer.plan.names]
    _require_columns(recent, [*subject.contract.feature_columns, *feature_columns])
    arrays = subject.contract.arrays(recent)
    scores = logged_scores(subject.contract, recent)
    served = _Rows(arrays, subject.scorer.matrix(arrays), scores)

    logged_features = recent[feature_columns].to_numpy(dtype=float, na_value=np.nan)
    report.add(
        skew.invariants(subject.contract, subject.scorer, recent, arrays, scores, validate),
        *skew.features(subject.scorer, logged_features, served.features, scores),
        *skew.looked_up(subject.contract, recent, arrays, log.tables),
    )
    report.add(*_quality_checks(subject, log, scores, limits))

    if rows >= limits.min_rows:
        reference = _reference(subject)
        comparison = _comparison(subject, reference, served, limits)
        checks, report.html = drift.drift(comparison, distributions)
        report.add(*checks, drift.drifted_share_check(comparison, checks, limits, rows))
        columns = subject.scorer.plan.columns
        report.add(*drift.missing(columns, reference.arrays, served.arrays, limits))
        report.add(drift.predictions(reference.scores, served.scores, limits))
    return report


def _quality_checks(
    subject: Subject, log: Log, recent_scores: np.ndarray, limits: MonitorSettings
) -> list[Check]:
    """How good the predictions are, where their labels are known, and as far as scores tell."""
    contract = subject.contract
    labelled = labelled_predictions(contract, log.predictions, log.outcomes).tail(NEWEST)
    labelled_scores = logged_scores(contract, labelled)
    checks = [
        coverage(labelled, len(log.predictions)),
        performance_check(contract, labelled, labelled_scores, subject.quality, limits),
    ]
    if contract.task == "binary":
        checks.append(estimate(recent_scores, subject.quality, limits))
    return checks


def _reference(subject: Subject) -> _Rows:
    """The rows that the model was trained on, as it sees them."""
    arrays = subject.contract.arrays(subject.reference)
    features = subject.scorer.matrix(arrays)
    return _Rows(arrays, features, subject.scorer.score(features))


def _comparison(
    subject: Subject, reference: _Rows, served: _Rows, limits: MonitorSettings
) -> drift.Comparison:
    """What Evidently is to compare."""
    contract = subject.contract
    scorer = subject.scorer
    old = drift.watched(contract, scorer, reference.arrays, reference.features)
    new = drift.watched(contract, scorer, served.arrays, served.features)
    return drift.comparison(old, new, limits)


def _min_rows(rows: int, limits: MonitorSettings) -> Check:
    """`monitor.min_rows`: there are enough predictions to judge."""
    verdict = Verdict.OK if rows >= limits.min_rows else Verdict.INCONCLUSIVE
    return Check("monitor.min_rows", verdict, rows, limits.min_rows, rows=rows)


def _staleness(subject: Subject, rows: int) -> Check:
    """`monitor.staleness`: the training data are not older than the staleness curve allows."""
    name = "monitor.staleness"
    evidence = "periods closed since its training data"
    if subject.max_age is None:
        return Check(
            name,
            Verdict.INCONCLUSIVE,
            subject.age,
            required=False,
            evidence=f"{evidence}; no limit is known",
        )
    return at_most(name, subject.age, subject.max_age, rows, min_rows=0, evidence=evidence)


def _require_columns(logged: "pd.DataFrame", columns: list[str]) -> None:
    """Raises: ProjectError if the log lacks one of the columns, because other code wrote it."""
    for name in columns:
        if name not in logged:
            raise ProjectError(
                f"The prediction log has no column {name!r}: the service runs other code.",
                "Restart the service.",
            )


def logged_scores(contract: Contract, logged: "pd.DataFrame") -> np.ndarray:
    """(n,) or (n, c) scores as they were served."""
    if contract.task != "multiclass":
        return logged["score"].to_numpy(dtype=float, na_value=np.nan)
    rows = [json.loads(text) for text in logged["score"]]
    return np.array(rows, dtype=float).reshape(-1, len(contract.classes))


def watch_champion(
    project: Project,
    distributions: drift.Distributions,
    validate: Validate,
    since: float | None = None,
) -> Watched:
    """The report on the model in service; `distributions` and `validate` are the wiring's own.

    `since` is in unix seconds; by default it is 90 days ago. Raises: ProjectError if no model is in
    service here, or if it is not the recorded one.
    """
    from mlgates.serving import prediction_log

    pointer = champion.read_pointer(project)
    fingerprint = pointer["fingerprint"]
    recorded_at = (project.root / CHAMPION).stat().st_mtime
    scorer = champion.load_served(project, pointer)

    # Of all predictions only what labels are compared by is read: all columns of 90 days can need
    # much memory.
    if since is None:
        since = time.time() - DAYS * 86_400
    columns = ["fingerprint", "score", *prediction_log.key_columns(project.contract)]
    every = prediction_log.read(project, since, columns=columns)
    logged = every[every["fingerprint"] == fingerprint]
    newest = _newest(project, logged, fingerprint)
    tables = _lookup_tables(project, newest)
    log = Log(logged, prediction_log.outcomes(project), tables, newest)

    periods = periods_until(project.data, project.cycle()["until"])
    subject = _subject(project, pointer, scorer, periods)
    report = watch(subject, log, project.settings().monitor, distributions, validate)
    report.all_checks.insert(0, follow_check(every, fingerprint, recorded_at))
    report.add(*override_checks(pointer.get("override")))
    report.title = f"monitor  {pointer['release']} ({fingerprint[:8]})"
    report.facts = _facts(logged, len(every) - len(logged), periods[-1])
    return report


def _newest(project: Project, logged: "pd.DataFrame", fingerprint: str) -> "pd.DataFrame":
    """The last predictions of the model with all columns, given all of them with a few columns."""
    from mlgates.serving import prediction_log

    if logged.empty:
        return logged
    first = float(logged["at"].tail(NEWEST).min())
    newest = prediction_log.read(project, first)
    return newest[newest["fingerprint"] == fingerprint].tail(NEWEST)


def _lookup_tables(project: Project, logged: "pd.DataFrame") -> dict[str, "pd.DataFrame"]:
    """The checked rows of each look-up at the time of the predictions; empty without any."""
    if logged.empty:
        return {}
    lookups = project.contract.lookups
    return {look.name: lookup_table(project, look, logged) for look in lookups}


def _subject(
    project: Project, pointer: Mapping[str, Any], scorer: Scorer, periods: list[str]
) -> Subject:
    """The model in service, with what its gate report says; `periods` are those closed so far."""
    import pandas as pd

    facts = pointer["report"]["facts"]
    quality = {name: facts[name] for name in metrics_of(project.contract.task) if name in facts}
    last_trained = facts.get("trained on", "").split(", ")[-1]
    age = None
    if last_trained in periods:
        age = len(periods) - 1 - periods.index(last_trained)
    folder = champion.find(project, pointer["fingerprint"])
    return Subject(
        project.contract,
        scorer,
        reference=pd.read_parquet(folder / REFERENCE),
        quality=quality,
        age=age,
        max_age=facts.get("max_age_periods"),
    )


def _facts(logged: "pd.DataFrame", by_others: int, period: str) -> dict[str, Any]:
    """What the report says about the predictions."""
    import pandas as pd

    facts = {"period": period, "predictions": len(logged), "by other models": by_others}
    if len(logged):
        ends = [logged["at"].min(), logged["at"].max()]
        first, last = pd.to_datetime(ends, unit="s").floor("s")
        facts["made"] = f"{first} to {last} UTC"
    return facts


def follow_check(logged: "pd.DataFrame", fingerprint: str, recorded: float) -> Check:
    """`serving.follow`: the champion itself answered whatever was asked after it was recorded.

    `logged` are the predictions of all models, `recorded` is in unix seconds.
    """
    later = logged[logged["at"] > recorded + FOLLOW_SECONDS]
    others = int((later["fingerprint"] != fingerprint).sum())
    evidence = f"answered by another model than {fingerprint[:8]}" if others else ""
    return at_most("serving.follow", others, 0, len(later), required=False, evidence=evidence)


def override_checks(stored: Mapping[str, str] | None) -> list[Check]:
    """`monitor.override`: the override of a model that the gate did not pass has not ended.

    Nobody answers for such a model beyond the day that the override names. Without an override
    there is no check.
    """
    if not stored:
        return []
    override = Override(**stored)
    check = at_most(
        "monitor.override", override.days_over, 0, 0, min_rows=0, evidence=str(override)
    )
    return [check]


def lookup_table(project: Project, look: Lookup, logged: "pd.DataFrame") -> "pd.DataFrame":
    """The checked rows of a look-up that the predictions may have found.

    These are the newest periods, back to the oldest values that the first prediction could use.
    """
    import pandas as pd

    oldest_usable = logged[look.at].min() - pd.Timedelta(seconds=look.max_seconds)
    parts = [pd.DataFrame()]
    for path in reversed(files(project, "checked", look.name)):
        part = pd.read_parquet(path)
        parts.append(part)
        if part[look.time].min() < oldest_usable:
            break
    return pd.concat(parts, ignore_index=True)


def write(project: Project, report: Watched) -> None:
    """Write `var/monitor/<UTC>.json`, `.html`, and the same as `latest`.

    Evidently's page, a script with all that it needs, is in a frame that can load nothing from
    outside.
    """
    folder = project.root / MONITOR
    extra = ""
    if report.html:
        inner = report.html.replace("<head>", NOTHING_FROM_OUTSIDE, 1)
        inner = inner.replace("&", "&amp;").replace('"', "&quot;")
        extra = FRAME.format(inner)
    for name in (datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ"), "latest"):
        write_text(folder / f"{name}.html", page(report, extra=extra))
        write_json(folder / f"{name}.json", report.to_dict())
    pages = sorted(folder.glob("2*.html"))
    for old in pages[:-PAGES]:
        old.unlink()
