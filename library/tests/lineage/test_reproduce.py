"""What was made again is compared with what was released: to the bit, except for speed."""

from typing import Any

import numpy as np
import pytest

from clones import Clone, refusal
from mlgates.lineage import reproduce
from mlgates.registry import releases
from mlgates.verdict import Verdict

COST = {"milliseconds_1": 1, "megabytes": 2}
RECORDED: dict[str, Any] = {
    "values": {"a": 1.0},
    "slices": [{"b": None, "seconds": 4}, {"b": 2}],
    "cost": COST,
    "seconds": {"gain": 1.0},
}


def entry(md5: str, **changed: str) -> dict[str, Any]:
    """An entry of `train` in dvc.lock, all of whose files have this hash, but for the changed."""
    hashes = dict.fromkeys(("data/checked", "data/evaluation", "models/candidate"), md5)
    hashes["reports/train.json"] = md5
    files = [{"path": path, "md5": value} for path, value in (hashes | changed).items()]
    return {"deps": files[:1], "outs": files[1:]}


def test_equal_scores_are_ok_also_where_there_is_none() -> None:
    scores = np.array([0.25, np.nan])
    check = reproduce.equal(scores, scores.copy())
    assert check.verdict is Verdict.OK
    assert check.rows == 2
    assert check.evidence == "rows that differ; largest difference 0"


@pytest.mark.parametrize("other", [np.array([0.25, 0.5 + 1e-16 * 2]), np.array([0.25, np.nan])])
def test_a_score_that_differs_in_its_last_bit_fails(other: np.ndarray) -> None:
    check = reproduce.equal(np.array([0.25, 0.5]), other)
    assert (check.verdict, check.value) == (Verdict.FAIL, 1)


def test_another_number_of_scores_fails() -> None:
    check = reproduce.equal(np.zeros(2), np.zeros((2, 3)))
    assert (check.verdict, check.value, check.limit) == (Verdict.FAIL, "(2, 3)", "(2,)")


def test_speed_may_differ() -> None:
    again = RECORDED | {"cost": COST | {"milliseconds_1": 7}}
    again["slices"] = [{"b": None, "seconds": 9}, {"b": 2}]
    assert reproduce.metrics({"m": RECORDED}, {"m": again}).verdict is Verdict.OK


@pytest.mark.parametrize(
    "changed",
    [
        {"values": {"a": 1.1}},
        {"values": {"a": 1.0, "b": None}},
        {"slices": []},
        {"slices": {"b": None}},
        {"slices": [{"b": None, "seconds": 4}, {"b": 2}, {"b": 3}]},
        {"cost": {"megabytes": 3}},
        {"seconds": {"gain": 2.0}},
    ],
)
def test_nothing_else_may_differ(changed: dict[str, Any]) -> None:
    assert reproduce.metrics({"m": RECORDED}, {"m": RECORDED | changed}).verdict is Verdict.FAIL


def test_a_number_that_differs_is_shown_beside_the_recorded_one() -> None:
    again = RECORDED | {"values": {"a": 1.5}}
    check = reproduce.metrics({"m.json": RECORDED}, {"m.json": again})
    assert check.evidence == "m.json.values.a: 1.5, recorded 1.0"


def test_a_report_that_is_missing_fails() -> None:
    assert reproduce.metrics({"m": RECORDED}, {}).verdict is Verdict.FAIL


def test_data_are_compared_and_models_and_reports_are_not() -> None:
    changed = {"models/candidate": "2", "reports/train.json": "2"}
    check = reproduce.data(entry("1"), entry("1", **changed))
    assert (check.verdict, check.rows) == (Verdict.OK, 2)
    check = reproduce.data(entry("1"), entry("1", **{"data/checked": "2"}))
    assert (check.verdict, check.evidence) == (Verdict.FAIL, "data/checked")


def test_an_erased_release_says_why_it_cannot_be_made_again(reigning: Clone) -> None:
    project = reigning.project
    releases.erase(project, releases.read(project).releases, "it was trained on erased rows")
    report = reproduce.reproduce(project, "v1.0.0")
    assert report.exit_code == 4
    assert "was erased on" in report["reproduce.data"].evidence


def test_an_unknown_release_is_refused_with_those_that_there_are(reigning: Clone) -> None:
    message = refusal(reproduce.reproduce, reigning.project, "v9.0.0")
    assert "There is no release 'v9.0.0'." in message
    assert "v1.0.0" in message
