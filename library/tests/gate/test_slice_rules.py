"""Slices and groups: a sound candidate passes however many are judged; a worse one is named."""

from typing import Any

import numpy as np
import pytest
from measurements import judged, made, parts, table

from mlgates import ProjectError
from mlgates.evaluation.fairness import proxies
from mlgates.evaluation.measure import measure


def test_equally_good_models_are_promoted_and_blocked_no_more_often_than_stated() -> None:
    contract = made(slices=["number", "place"])
    promoted = 0
    blocked = 0
    for seed in range(20):
        rows = table(2_000, seed)
        random = np.random.default_rng(100 + seed)
        signal = 0.2 * rows["bought"].to_numpy()
        candidate = signal + 0.8 * random.random(len(rows))
        champion = signal + 0.8 * random.random(len(rows))
        scores = {"candidate": candidate, "champion": champion}
        measured = measure(contract, rows, scores, resamples=49, seed=0)
        report = judged(measured, slice_min_rows=50)
        assert sum(check.rows >= 50 for check in report.named("gate.slice")) >= 30
        promoted += report["gate.improvement"].verdict == "ok"
        failed = {check.name for check in report.checks if check.verdict == "fail"}
        blocked += bool(failed - {"gate.improvement"})
    assert promoted <= 2
    assert blocked <= 2


@pytest.mark.parametrize(
    ("slices", "value", "rows", "expected"),
    [
        (1, -0.075, 1000, "fail"),  # two and a half standard errors beyond the margin
        (40, -0.075, 1000, "inconclusive"),  # as it happens among so many
        (40, -0.09, 1000, "fail"),
        (1, -0.065, 1000, "inconclusive"),
        (1, -0.075, 199, "inconclusive"),
        (1, -0.02, 1000, "ok"),
        (40, -0.02, 1000, "inconclusive"),
        (1, None, 1000, "inconclusive"),
    ],
)
def test_a_slice_fails_if_it_is_worse_with_more_confidence_the_more_slices_there_are(
    slices: int, value: float | None, rows: int, expected: str
) -> None:
    report = judged(parts(slices, value, rows))
    assert report["gate.slice.place=0"].verdict == expected
    fails = "fail" in (expected, report["gate.slice_floor.place=0"].verdict)
    assert (report.verdict == "fail") == fails


def test_slices_with_too_few_rows_do_not_widen_the_intervals_of_the_others() -> None:
    measured = parts(40, -0.075)
    for part in measured["slices"][1:]:
        part["rows"] = 10
    assert judged(measured)["gate.slice.place=0"].verdict == "fail"


@pytest.mark.parametrize(
    ("value", "floor", "expected"),
    [
        (-0.08, 0.0, "fail"),
        (-0.01, 0.0, "inconclusive"),
        (0.03, 0.0, "ok"),
        (0.02, 0.5, "fail"),
        (0.13, 0.5, "ok"),
    ],
)
def test_a_slice_is_compared_with_the_baseline_also_without_a_champion(
    value: float, floor: float, expected: str
) -> None:
    measured = parts(1, value)
    del measured["values"]["champion"]
    del measured["differences"]["champion"]
    del measured["slices"][0]["difference"]
    report = judged(measured, slice_floor=floor)
    assert report["gate.slice_floor.place=0"].verdict == expected
    assert "gate.slice.place=0" not in {check.name for check in report.checks}
    of_its_own = judged(measured, slices={"place=0": {"floor": floor}})
    assert of_its_own["gate.slice_floor.place=0"] == report["gate.slice_floor.place=0"]


def test_a_slice_may_have_a_margin_of_its_own_and_a_wrong_name_is_one_sentence() -> None:
    measured = parts(2, -0.09)
    assert judged(measured)["gate.slice.place=0"].verdict == "fail"
    wider = judged(measured, slices={"place=0": {"margin": 0.2}})
    assert wider["gate.slice.place=0"].verdict == "ok"
    sentence = r"'plaice=0', which is no slice.\s+Did you mean 'place=0'"
    with pytest.raises(ProjectError, match=sentence):
        judged(measured, slices={"plaice=0": {"margin": 0.2}})


def test_a_metric_that_is_no_number_is_inconclusive_and_says_so() -> None:
    rows = table(300).assign(bought=False)
    rising = np.linspace(0, 1, 300)
    scores = {"candidate": rising, "champion": 1 - rising, "baseline.trivial": np.zeros(300)}
    contract = made(slices=["sex"])
    report = judged(measure(contract, rows, scores, resamples=20, seed=0))
    assert report.verdict == "inconclusive"
    assert "not a number" in report["gate.champion"].evidence
    names = (
        "gate.baseline.trivial",
        "gate.champion",
        "gate.improvement",
        "gate.slice.sex=f",
        "gate.slice_floor.sex=f",
    )
    assert {report[name].verdict for name in names} == {"inconclusive"}


def grouped(
    rates: list[dict[str, Any]] | None = None,
    proxies: Any = None,
    waived: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Measurements of a sound candidate, with these of protected groups."""
    groups = {"rates": rates or [], "proxies": proxies or {}, "waived": waived or {}}
    return parts(1, 0.0) | {"groups": groups}


@pytest.mark.parametrize(
    ("gap", "rows", "expected"),
    [
        (0.05, 1000, "ok"),
        (-0.05, 1000, "ok"),
        (0.15, 1000, "fail"),
        (-0.15, 1000, "fail"),
        (0.105, 1000, "inconclusive"),
        (-0.095, 1000, "inconclusive"),
        (0.15, 199, "inconclusive"),
        (None, 1000, "inconclusive"),
    ],
)
def test_a_group_is_treated_alike_or_not_with_confidence(
    gap: float | None, rows: int, expected: str
) -> None:
    group = {"column": "sex", "value": "f", "rows": rows, "unit": 1.0, "group": 0.1, "rest": 0.2}
    group["gap"] = {"value": gap, "error": 0.01}
    measured = grouped([group | {"rate": "true_positive"}, group | {"rate": "selection"}])
    report = judged(measured)
    assert report["gate.fairness.sex=f.true_positive"].verdict == expected
    warnings = [check.name for check in report.warnings if "fairness" in check.name]
    assert warnings == ["gate.fairness.sex=f.selection"]
    assert (report.verdict == "fail") == (expected == "fail")


def test_a_kind_of_fairness_that_does_not_exist_is_named() -> None:
    with pytest.raises(ProjectError, match="Did you mean 'selection'"):
        judged(grouped(), fairness_blocking=["selecton"])


@pytest.mark.parametrize(
    ("others", "rows", "expected"), [(0, 0, "fail"), (39, 1000, "inconclusive"), (39, 10, "fail")]
)
def test_the_more_groups_are_judged_the_more_confidence_each_failure_needs(
    others: int, rows: int, expected: str
) -> None:
    same = {"column": "place", "rate": "true_positive", "unit": 1.0, "group": 0.1, "rest": 0.2}
    rates = [{**same, "value": "a", "rows": 1000, "gap": {"value": 0.125, "error": 0.01}}]
    for number in range(others):
        gap = {"value": 0.0, "error": 0.01}
        rates.append({**same, "value": str(number), "rows": rows, "gap": gap})
    report = judged(grouped(rates))
    assert report["gate.fairness.place=a.true_positive"].verdict == expected


def test_proxies_are_named_and_what_reads_a_waived_group_is_not_one() -> None:
    rows = table(2_000)
    random = np.random.default_rng(0)
    is_female = rows["sex"] == "f"
    near = is_female + random.normal(0, 0.25, 2_000)
    matrix = np.column_stack([random.random(2_000), near, is_female])
    features = {"noise": {"number"}, "near": {"place"}, "itself": {"sex"}}
    contract = made(groups=["sex"])

    found = proxies(contract, rows, matrix, features)
    aucs = found["sex"]["features"]
    assert [*aucs] == ["noise", "near"]
    assert aucs["near"] > 0.95
    assert 0.4 < aucs["noise"] < 0.6

    measured = grouped(proxies=found)
    report = judged(measured)
    check = report["gate.proxy.sex"]
    assert check in report.warnings
    assert report.verdict != "fail"
    assert "near" in check.evidence
    assert "noise" not in check.evidence
    assert judged(measured, fairness_blocking=["proxy"]).verdict == "fail"
    assert judged(measured, proxy_limit=1.0)["gate.proxy.sex"].verdict == "ok"

    few = proxies(contract, rows.head(150), matrix[:150], features)
    assert judged(grouped(proxies=few))["gate.proxy.sex"].verdict == "inconclusive"


@pytest.mark.parametrize(
    ("waiver", "sentence"),
    [("sx until 2026-05-05", "Did you mean 'sex'"), ("sex", "names no last day")],
)
def test_a_wrong_waiver_of_a_group_is_one_sentence(waiver: str, sentence: str) -> None:
    with pytest.raises(ProjectError, match=sentence):
        made(groups=["sex"], waived=[waiver])


def test_a_group_is_read_by_a_feature_only_with_a_waiver_and_only_until_its_day() -> None:
    assert made(groups=["sex"]).why_forbidden("sex") == "protected"
    contract = made(groups=["sex", "place"], waived=["sex until 2026-05-05"])
    assert contract.why_forbidden("sex") == ""
    assert contract.why_forbidden("place") == "protected"
    waived = {name: str(day) for name, day in contract.waivers.items()}
    measured = grouped(waived=waived)
    assert judged(measured, today="2026-05-05")["gate.waiver.sex"].verdict == "ok"
    late = judged(measured, today="2026-05-06")
    assert late["gate.waiver.sex"].verdict == "fail"
    assert late.verdict == "fail"
