"""Promises about monitor.py: it finds drift and skew that are there, and none in the reference."""

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import model_folder
from mlgates.features import plan
from mlgates.files import read_json
from mlgates.layout import CANDIDATE, MONITOR_LATEST, MONITOR_PAGE, PREDICTIONS
from mlgates.project import Project
from mlgates.rehearsal import Rehearsal
from mlgates.trust import champion
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

LOGGED_ROWS = 800  # enough for the drift checks; the rehearsal sets monitor.min_rows to 100
IN_THE_FUTURE = 4_000_000_000.0  # seconds since 1970: the year 2096
DISTANCES = ("wasserstein distance", "jensenshannon distance")


def the_monitor_finds_no_drift_in_the_reference(rehearsal: Rehearsal) -> None:
    """Rows like those of the training have not drifted, and the page holds Evidently's part."""
    report, page = _watched(rehearsal)
    drifted = [check.name for check in report.drift if check.verdict is Verdict.FAIL]
    assert not drifted, f"the monitor finds drift in rows of the reference: {', '.join(drifted)}"
    assert report.drift, "the monitor compared no column"
    assert "<iframe" in page, "the monitor's page lacks Evidently's part"

    drift_of_scores = report["monitor.prediction_drift"]  # has a measure of its own
    distances = {check.evidence for check in report.drift if check is not drift_of_scores}
    assert distances <= set(DISTANCES), f"the monitor compares by {sorted(distances)}"
    assert report.facts["predictions"] == report["monitor.min_rows"].value


def the_monitor_finds_drift_and_skew(rehearsal: Rehearsal) -> None:
    """A column that has moved is named, and a feature that was served with other values."""
    moved = _column_to_move(rehearsal)
    skewed = plan(rehearsal.original.features, rehearsal.contract).names[-1]
    report, _ = _watched(rehearsal, moved=moved, skewed=skewed)
    if moved:
        assert report[f"monitor.drift.{moved}"].verdict is Verdict.FAIL, (
            f"the monitor did not find the drift of {moved}"
        )
    assert report[f"skew.{skewed}"].verdict is Verdict.FAIL, (
        f"the monitor did not find the skew of {skewed}"
    )


def the_monitor_compares_each_column_as_what_it_is(rehearsal: Rehearsal) -> None:
    """A number of few values is a number, and words of many kinds are categories.

    Evidently would have to guess otherwise. Distances of numbers are in standard deviations of the
    reference, as they are for periods.
    """
    import pandas as pd

    from mlgates.drift import Method, Pair
    from mlgates.monitoring.drift import Comparison, by_evidently, drift

    few_values = np.random.default_rng(0).integers(0, 3, 400)
    many_words = [f"word {number}" for number in range(400)]
    reference = pd.DataFrame({"few": few_values, "many": many_words})
    current = reference.assign(few=2 * few_values + 1)
    limits = {"few": 9.0, "many": 0.1}  # the first is far above what the drift of `few` can be
    compared = Comparison(reference, current, ["few"], ["many"], limits)
    checks, _ = drift(compared, rehearsal.original.module("monitor").distributions)

    distances = [check.evidence for check in checks]
    assert distances == list(DISTANCES), f"monitor.py compares by {distances}"
    assert checks[0].verdict is Verdict.OK, (
        "monitor.py judges by other limits than those that it is given"
    )
    expected = by_evidently(Pair("few", few_values, 2 * few_values + 1, Method.WASSERSTEIN, 0))
    measured = float(checks[0].value or 0)
    assert np.isclose(measured, expected, atol=1e-5), (
        f"monitor.py measures {measured} instead of {expected:.6f}:"
        " are reference and current rows swapped?"
    )


def the_monitor_looks_at_the_time_that_it_is_asked_about(rehearsal: Rehearsal) -> None:
    """Predictions before `since` are left out."""
    report, _ = _watched(rehearsal, since=IN_THE_FUTURE)
    assert report.facts["predictions"] == 0, "the monitor looked at predictions from before `since`"


def _column_to_move(rehearsal: Rehearsal) -> str:
    """A number with several values that a feature reads, to plant drift in; empty if none is."""
    rows = rehearsal.served_rows()
    for name in plan(rehearsal.original.features, rehearsal.contract).columns:
        column = rehearsal.contract.columns[name]
        if column.kind in ("int", "float") and rows[name].nunique() > 2:
            return name
    return ""


def _watched(
    rehearsal: Rehearsal, moved: str = "", skewed: str = "", since: float | None = None
) -> tuple[Report, str]:
    """The report of monitor.py, and its page, on logged rows of the reference.

    In the log the numbers of the column `moved` are all among the upper tenth of the reference's,
    and the feature `skewed` has other values than features.py computes.
    """
    rehearsal.serve()
    rows = rehearsal.served_rows(1_000).sample(LOGGED_ROWS, random_state=0).reset_index(drop=True)
    if moved:
        values = rows[moved].dropna()
        upper = values[values >= values.quantile(0.9)].to_numpy()
        rows[moved] = np.random.default_rng(0).choice(upper, len(rows))

    with rehearsal.copy("train") as copied:
        shutil.rmtree(copied.root / PREDICTIONS, ignore_errors=True)
        _log(copied, rows, skewed)
        returned = copied.module("monitor").main(copied, since)
        report = Report.from_dict(read_json(copied.root / MONITOR_LATEST))
        assert returned and returned.title == report.title, (
            "main() of monitor.py does not return its report"
        )
        page = (copied.root / MONITOR_PAGE).read_text(encoding="utf-8")
    return report, page


def _log(project: Project, rows: "pd.DataFrame", skewed: str) -> None:
    """Write what a service that holds the candidate would have logged of these joined rows."""
    from mlgates.serving.prediction_log import ID, PredictionLog, log_columns, new_ids
    from mlgates.serving.sqlite import sqlite_values

    in_service = champion.read_pointer(project)
    contract = project.contract
    scorer = model_folder.load(project.root / CANDIDATE, contract)
    arrays = contract.arrays(rows)
    matrix = scorer.matrix(arrays)
    scores = scorer.score(matrix)

    logged_scores = scores.tolist()
    if scores.ndim > 1:  # a probability for each class, which the log keeps as JSON
        logged_scores = list(map(json.dumps, logged_scores))
    count = len(rows)
    logged: dict[str, Any] = {
        ID: new_ids(count),
        "at": [time.time()] * count,
        "release": [in_service["release"]] * count,
        "fingerprint": [in_service["fingerprint"]] * count,
        "digest": [in_service["digest"]] * count,
        "score": logged_scores,
        "decision": scorer.decide(scores).tolist(),
    }
    for name, column in contract.feature_columns.items():
        logged[name] = sqlite_values(column, arrays[name])
    for place, name in enumerate(scorer.plan.names):
        values = matrix[:, place]
        if name == skewed:
            values = values + 1.0
        logged[f"feature__{name}"] = values.tolist()

    log = PredictionLog(project.root / PREDICTIONS / "1.db")
    log.append(logged, log_columns(contract, scorer.plan.names))
    log.close()
