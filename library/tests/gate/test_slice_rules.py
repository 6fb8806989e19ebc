"""Slices and groups: many may be looked at and a sound candidate passes; what is surely worse stops, and is named."""

import numpy as np
import pytest
from measurements import judged, made, parts, table

from mlgates import ProjectError
from mlgates.evaluation.fairness import proxies
from mlgates.evaluation.measure import measure


def test_equally_good_models_are_neither_promoted_nor_vetoed_more_often_than_stated() -> None:
    contract, promoted, vetoed = made(slices=["number", "place"]), 0, 0
    for seed in range(20):
        rows, random = table(2_000, seed), np.random.default_rng(100 + seed)
        new, old = (
            0.2 * rows["bought"].to_numpy() + 0.8 * random.random(len(rows)) for _ in range(2)
        )
        scores = {"candidate": new, "champion": old}
        measured = measure(contract, rows, scores, resamples=49, seed=0)
        report = judged(measured, slice_min_rows=50)
        assert sum(check.rows >= 50 for check in report.named("gate.slice")) >= 30
        promoted += report["gate.improvement"].verdict == "ok"
        vetoed += any(
            check.verdict == "fail" for check in report.checks if check.name != "gate.improvement"
        )
    assert promoted <= 2 and vetoed <= 2


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
def test_a_slice_must_be_surely_worse_the_surer_the_more_there_are(
    slices: int, value: float | None, rows: int, expected: str
) -> None:
    report = judged(parts(slices, value, rows))
    assert report["gate.slice.place=0"].verdict == expected
    assert (report.verdict == "fail") == (
        expected == "fail" or report["gate.slice_floor.place=0"].verdict == "fail"
    )


def test_slices_with_too_few_rows_do_not_count_among_those_looked_at() -> None:
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
def test_a_slice_has_a_floor_without_a_champion_too(
    value: float, floor: float, expected: str
) -> None:
    measured = parts(1, value)
    del (
        measured["values"]["champion"],
        measured["differences"]["champion"],
        measured["slices"][0]["difference"],
    )
    report = judged(measured, slice_floor=floor)
    assert report["gate.slice_floor.place=0"].verdict == expected
    own = judged(measured, slices={"place=0": {"floor": floor}})
    assert own["gate.slice_floor.place=0"] == report["gate.slice_floor.place=0"]


def test_a_slice_may_have_a_margin_of_its_own_and_a_wrong_name_is_one_sentence() -> None:
    measured = parts(2, -0.09)
    assert judged(measured)["gate.slice.place=0"].verdict == "fail"
    assert (
        judged(measured, slices={"place=0": {"margin": 0.2}})["gate.slice.place=0"].verdict == "ok"
    )
    with pytest.raises(
        ProjectError, match=r"'plaice=0', which is no slice.\s+Did you mean 'place=0'"
    ):
        judged(measured, slices={"plaice=0": {"margin": 0.2}})


def test_a_metric_that_is_no_number_is_insufficient_and_says_so() -> None:
    rows = table(300).assign(bought=False)
    up, flat = np.linspace(0, 1, 300), np.zeros(300)
    scores = {"candidate": up, "champion": 1 - up, "baseline.trivial": flat}
    contract = made(slices=["sex"])
    report = judged(measure(contract, rows, scores, resamples=20, seed=0))
    assert report.verdict == "inconclusive" and "not a number" in report["gate.champion"].evidence
    names = (
        "gate.baseline.trivial",
        "gate.champion",
        "gate.improvement",
        "gate.slice.sex=f",
        "gate.slice_floor.sex=f",
    )
    assert {report[name].verdict for name in names} == {"inconclusive"}


@pytest.mark.parametrize(
    ("gap", "rows", "expected"),
    [
        (0.05, 1000, "ok"), (-0.05, 1000, "ok"), (0.15, 1000, "fail"), (-0.15, 1000, "fail"),
        (0.105, 1000, "inconclusive"), (-0.095, 1000, "inconclusive"), (0.15, 199, "inconclusive"),
        (None, 1000, "inconclusive"),
    ],
)  # fmt: skip
def test_a_group_is_treated_alike_or_surely_not(
    gap: float | None, rows: int, expected: str
) -> None:
    part = {"column": "sex", "value": "f", "rows": rows, "unit": 1.0, "group": 0.1, "rest": 0.2}
    each = {**part, "gap": {"value": gap, "error": 0.01}}
    rates = [{**each, "rate": "true_positive"}, {**each, "rate": "selection"}]
    measured = parts(1, 0.0) | {"groups": {"rates": rates, "proxies": {}, "waived": {}}}
    report = judged(measured)
    assert report["gate.fairness.sex=f.true_positive"].verdict == expected
    assert [check.name for check in report.warnings if "fairness" in check.name] == [
        "gate.fairness.sex=f.selection"
    ]
    assert (report.verdict == "fail") == (expected == "fail")
    with pytest.raises(ProjectError, match="Did you mean 'selection'"):
        judged(measured, fairness_blocking=["selecton"])


@pytest.mark.parametrize(
    ("others", "rows", "expected"), [(0, 0, "fail"), (39, 1000, "inconclusive"), (39, 10, "fail")]
)
def test_the_more_groups_are_judged_the_surer_each_must_be(
    others: int, rows: int, expected: str
) -> None:
    same = {"column": "place", "rate": "true_positive", "unit": 1.0, "group": 0.1, "rest": 0.2}
    rates = [{**same, "value": "a", "rows": 1000, "gap": {"value": 0.125, "error": 0.01}}]
    rates += [
        {**same, "value": str(k), "rows": rows, "gap": {"value": 0.0, "error": 0.01}}
        for k in range(others)
    ]
    measured = parts(1, 0.0) | {"groups": {"rates": rates, "proxies": {}, "waived": {}}}
    assert judged(measured)["gate.fairness.place=a.true_positive"].verdict == expected


def test_proxies_are_named_and_what_reads_a_waived_group_is_not_one() -> None:
    rows, random = table(2_000), np.random.default_rng(0)
    near = (rows["sex"] == "f") + random.normal(0, 0.25, 2_000)
    matrix = np.column_stack([random.random(2_000), near, rows["sex"] == "f"])
    features = {"noise": {"number"}, "near": {"place"}, "itself": {"sex"}}
    found = proxies(made(groups=["sex"]), rows, matrix, features)
    assert [*found["sex"]["features"]] == ["noise", "near"] and found["sex"]["features"][
        "near"
    ] > 0.95
    assert 0.4 < found["sex"]["features"]["noise"] < 0.6
    measured = parts(1, 0.0) | {"groups": {"rates": [], "proxies": found, "waived": {}}}
    report = judged(measured)
    assert report["gate.proxy.sex"] in report.warnings and report.verdict != "fail"
    assert (
        "near" in report["gate.proxy.sex"].evidence
        and "noise" not in report["gate.proxy.sex"].evidence
    )
    assert judged(measured, fairness_blocking=["proxy"]).verdict == "fail"
    assert judged(measured, proxy_limit=1.0)["gate.proxy.sex"].verdict == "ok"
    few = proxies(made(groups=["sex"]), rows.head(150), matrix[:150], features)
    measured["groups"]["proxies"] = few
    assert judged(measured)["gate.proxy.sex"].verdict == "inconclusive"


def test_a_group_is_read_by_a_feature_only_with_a_waiver_and_only_until_its_day() -> None:
    assert made(groups=["sex"]).barred("sex") == "protected"
    contract = made(groups=["sex", "place"], waived=["sex until 2026-05-05"])
    assert contract.barred("sex") == "" and contract.barred("place") == "protected"
    for written, sentence in (
        ("sx until 2026-05-05", "Did you mean 'sex'"),
        ("sex", "names no last day"),
    ):
        with pytest.raises(ProjectError, match=sentence):
            made(groups=["sex"], waived=[written])
    waived = {name: str(day) for name, day in contract.waivers.items()}
    measured = parts(1, 0.0) | {"groups": {"rates": [], "proxies": {}, "waived": waived}}
    assert judged(measured, today="2026-05-05")["gate.waiver.sex"].verdict == "ok"
    assert judged(measured, today="2026-05-06").verdict == "fail"
