"""Slices and groups: many may be looked at and a sound candidate passes; what is surely worse stops, and is named."""

import tracemalloc
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel, Field

LIMITS = {
    "metric": "auto", "margin": 0.01, "slice_margin": 0.05, "slice_min_rows": 200, "slice_floor": 0.0, "slices": {},
    "group_margin": 0.1, "proxy_limit": 0.8, "group_vetoes": ["true_positive"], "conduct_vetoes": [], "waive": [],
}  # fmt: skip
METRIC = "average_precision"


class Asked(BaseModel):
    number: int
    place: str
    sex: Literal["f", "m"]


class Bought(BaseModel):
    bought: bool


def made(ops: Any, **more: Any) -> Any:
    return ops("contract").Contract(Asked, Bought, **more)


def table(rows: int, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    drawn = {"number": random.integers(0, 5, rows), "place": random.choice([*"abcde"], rows)}
    return pd.DataFrame({**drawn, "sex": random.choice(["f", "m"], rows), "bought": random.random(rows) < 0.3})


def judged(ops: Any, measured: Any, today: str = "2026-05-05", tuning: Any = None, **limits: Any) -> Any:
    verdict = ops("verdict")
    facts = {"model": "m" * 8, "opponent": "o" * 8, "task": "binary", "holdout": {"rows": 0}}
    periods = {"periods": {"train": ["1"], "evaluation": ["2"]}}
    data = verdict.Report("data", [verdict.Check("x", verdict.Verdict.OK)])
    history = [{"measured": today, "features": {}, "rows": 1, "unit": 1.0}]
    limits = {"feature_vetoes": [], "feature_periods": 3} | LIMITS | limits
    return ops("pipeline.gate").gate(facts | periods | measured, data, limits, ablations=history, tuning=tuning)


def entry(value: float | None, error: float | None = 0.01) -> dict[str, Any]:
    ends = [None, None] if value is None or error is None else [value - 2 * error, value + 2 * error]
    return {METRIC: {"value": value, "interval": ends, "error": error}}


def parts(count: int, value: float | None, rows: int = 1000, error: float = 0.01) -> dict[str, Any]:
    """Measurements of `count` slices; the first one differs from the champion by `value`, the others not at all."""
    differences = [value, *[0.0] * (count - 1)]
    slices = [
        {"column": "place", "value": str(k), "rows": rows, "candidate": entry(0.5), "champion": entry(0.5),
         "difference": entry(each, error), "floor": entry(each, error)}
        for k, each in enumerate(differences)
    ]  # fmt: skip
    values = {"candidate": entry(0.5), "champion": entry(0.5)}
    whole = {"champion": entry(0.02, 0.001), "baseline.trivial": entry(0.2)}
    return {"rows": 9999, "finite": True, "values": values, "differences": whole, "slices": slices}


def test_equally_good_models_are_neither_promoted_nor_vetoed_more_often_than_stated(ops: Any) -> None:
    contract, promoted, vetoed = made(ops, slices=["number", "place"]), 0, 0
    for seed in range(20):
        rows, random = table(2_000, seed), np.random.default_rng(100 + seed)
        new, old = (0.2 * rows["bought"].to_numpy() + 0.8 * random.random(len(rows)) for _ in range(2))
        scores = {"candidate": new, "champion": old}
        measured = ops("pipeline.evaluate").measure(contract, rows, scores, resamples=49, seed=0)
        report = judged(ops, measured, slice_min_rows=50)
        assert sum(check.rows >= 50 for check in report.named("gate.slice")) >= 30
        promoted += report["gate.better"].verdict == "ok"
        vetoed += any(check.verdict == "fail" for check in report.checks if check.name != "gate.better")
    assert promoted <= 2 and vetoed <= 2


@pytest.mark.parametrize(
    ("slices", "value", "rows", "expected"),
    [
        (1, -0.075, 1000, "fail"),  # two and a half standard errors beyond the margin
        (40, -0.075, 1000, "insufficient"),  # as it happens among so many
        (40, -0.09, 1000, "fail"),
        (1, -0.065, 1000, "insufficient"),
        (1, -0.075, 199, "insufficient"),
        (1, -0.02, 1000, "ok"),
        (40, -0.02, 1000, "insufficient"),
        (1, None, 1000, "insufficient"),
    ],
)
def test_a_slice_must_be_surely_worse_the_surer_the_more_there_are(
    ops: Any, slices: int, value: float | None, rows: int, expected: str
) -> None:
    report = judged(ops, parts(slices, value, rows))
    assert report["gate.slice.place=0"].verdict == expected
    assert (report.verdict == "fail") == (expected == "fail" or report["gate.floor.place=0"].verdict == "fail")


def test_slices_with_too_few_rows_do_not_count_among_those_looked_at(ops: Any) -> None:
    measured = parts(40, -0.075)
    for part in measured["slices"][1:]:
        part["rows"] = 10
    assert judged(ops, measured)["gate.slice.place=0"].verdict == "fail"


@pytest.mark.parametrize(
    ("value", "floor", "expected"),
    [(-0.08, 0.0, "fail"), (-0.01, 0.0, "insufficient"), (0.03, 0.0, "ok"), (0.02, 0.5, "fail"), (0.13, 0.5, "ok")],
)
def test_a_slice_has_a_floor_without_a_champion_too(ops: Any, value: float, floor: float, expected: str) -> None:
    measured = parts(1, value)
    del measured["values"]["champion"], measured["differences"]["champion"], measured["slices"][0]["difference"]
    report = judged(ops, measured, slice_floor=floor)
    assert report["gate.floor.place=0"].verdict == expected
    own = judged(ops, measured, slices={"place=0": {"floor": floor}})
    assert own["gate.floor.place=0"] == report["gate.floor.place=0"]


def test_a_slice_may_have_a_margin_of_its_own_and_a_wrong_name_is_one_sentence(ops: Any) -> None:
    error = ops("project").ProjectError
    measured = parts(2, -0.09)
    assert judged(ops, measured)["gate.slice.place=0"].verdict == "fail"
    assert judged(ops, measured, slices={"place=0": {"margin": 0.2}})["gate.slice.place=0"].verdict == "ok"
    with pytest.raises(error, match=r"'plaice=0', which is no slice.\s+Did you mean 'place=0'"):
        judged(ops, measured, slices={"plaice=0": {"margin": 0.2}})
    with pytest.raises(error, match="Did you mean 'margin'"):
        judged(ops, measured, slices={"place=0": {"marign": 0.2}})


def test_slices_are_crossed_and_those_that_tell_nothing_are_left_out(ops: Any) -> None:
    rows = table(500).assign(place=None, number=7)
    contract = made(ops, slices=["place", "number"])
    slices = ops("pipeline.groups").slices
    assert slices(contract, rows) == {}
    rows["number"] = np.where(rows["sex"] == "f", 1, 2)
    contract = made(ops, slices=["sex", "number"])
    assert {*slices(contract, rows)} == {("sex", "f"), ("sex", "m"), ("number", "1"), ("number", "2")}
    rows["number"] = np.arange(500) % 2
    found = slices(contract, rows)
    both = rows.index[(rows["sex"] == "f") & (rows["number"] == 1)]
    assert found["sex,number", "f,1"].tolist() == both.tolist() and len(found) == 8


def test_a_metric_that_is_no_number_is_insufficient_and_says_so(ops: Any) -> None:
    rows = table(300).assign(bought=False)
    up, flat = np.linspace(0, 1, 300), np.zeros(300)
    scores = {"candidate": up, "champion": 1 - up, "baseline.trivial": flat}
    contract = made(ops, slices=["sex"])
    report = judged(ops, ops("pipeline.evaluate").measure(contract, rows, scores, resamples=20, seed=0))
    assert report.verdict == "insufficient" and "not a number" in report["gate.champion"].evidence
    names = ("gate.baseline.trivial", "gate.champion", "gate.better", "gate.slice.sex=f", "gate.floor.sex=f")
    assert {report[name].verdict for name in names} == {"insufficient"}


def treated(ops: Any, rows: Any, scores: np.ndarray, groups: list[str]) -> dict[tuple[str, str], Any]:
    contract = made(ops, groups=groups)
    found = ops("pipeline.groups").treatment(contract, rows, scores, 0.5, resamples=50, seed=0)
    return {(part["value"], part["rate"]): part for part in found}


def test_rates_of_a_group_are_what_they_say(ops: Any) -> None:
    rows = table(2_000)
    scores = np.clip(rows["bought"] * 0.4 + np.random.default_rng(1).random(2_000) * 0.6, 0, 1).to_numpy()
    found = treated(ops, rows, scores, ["place"])
    assert len({word for word, _ in found}) == 5
    inside, yes, true = (rows["place"] == "c").to_numpy(), scores >= 0.5, rows["bought"].to_numpy()
    expected = {
        "selection": (yes[inside].mean(), yes[~inside].mean(), inside.sum()),
        "true_positive": (yes[inside & true].mean(), yes[~inside & true].mean(), (inside & true).sum()),
        "false_positive": (yes[inside & ~true].mean(), yes[~inside & ~true].mean(), (inside & ~true).sum()),
        "calibration": ((scores - true)[inside].mean(), (scores - true)[~inside].mean(), inside.sum()),
    }
    for rate, (group, rest, count) in expected.items():
        part = found["c", rate]
        assert np.allclose([part["group"], part["rest"], part["gap"]["value"]], [group, rest, group - rest])
        assert part["rows"] == count and part["unit"] == 1.0
    variances = [yes[part].mean() * (1 - yes[part].mean()) / part.sum() for part in (inside, ~inside)]
    assert 0.6 < found["c", "selection"]["gap"]["error"] / sum(variances) ** 0.5 < 1.6


class Chosen(BaseModel):
    chosen: Literal["x", "y", "z"]


def test_each_class_has_rates_of_its_own(ops: Any) -> None:
    contract = ops("contract").Contract(Asked, Chosen, groups=["sex"])
    target, scores = np.array([0.0, 0.0, 1.0, 2.0]), np.eye(3)[[0, 1, 1, 0]]
    found = ops("pipeline.groups").rates(contract, target, scores, 0.5)
    told = {name: (int(above.sum()), None if of is None else int(of.sum())) for name, (above, of) in found.items()}
    assert [told[f"selection.{name}"] for name in "xyz"] == [(2, None), (2, None), (0, None)]
    assert [told[f"true_positive.{name}"] for name in "xyz"] == [(1, 2), (1, 1), (0, 1)]
    assert [told[f"false_positive.{name}"] for name in "xyz"] == [(1, 2), (1, 3), (0, 3)]
    assert {*ops("pipeline.groups").words(table(100), "number")} == {*"01234"}


def test_of_two_groups_one_is_compared_and_numbers_are_compared_by_quarters(ops: Any) -> None:
    rows = table(1_000).assign(number=np.arange(1_000.0))
    rows.loc[:9, "number"] = np.nan
    found = treated(ops, rows, np.full(1_000, 0.5), ["sex", "number"])
    words = {word for word, _ in found}
    assert len(words & {"f", "m"}) == 1
    assert {word.split()[0] for word in words - {"f", "m"}} == {"to", "above", "nan"} and len(words) == 6


@pytest.mark.parametrize(
    ("gap", "rows", "expected"),
    [
        (0.05, 1000, "ok"), (-0.05, 1000, "ok"), (0.15, 1000, "fail"), (-0.15, 1000, "fail"),
        (0.105, 1000, "insufficient"), (-0.095, 1000, "insufficient"), (0.15, 199, "insufficient"),
        (None, 1000, "insufficient"),
    ],
)  # fmt: skip
def test_a_group_is_treated_alike_or_surely_not(ops: Any, gap: float | None, rows: int, expected: str) -> None:
    part = {"column": "sex", "value": "f", "rows": rows, "unit": 1.0, "group": 0.1, "rest": 0.2}
    each = {**part, "gap": {"value": gap, "error": 0.01}}
    rates = [{**each, "rate": "true_positive"}, {**each, "rate": "selection"}]
    measured = parts(1, 0.0) | {"groups": {"rates": rates, "proxies": {}, "waived": {}}}
    report = judged(ops, measured)
    assert report["gate.group.sex=f.true_positive"].verdict == expected
    assert [check.name for check in report.advice if "group" in check.name] == ["gate.group.sex=f.selection"]
    assert (report.verdict == "fail") == (expected == "fail")
    with pytest.raises(ops("project").ProjectError, match="Did you mean 'selection'"):
        judged(ops, measured, group_vetoes=["selecton"])


@pytest.mark.parametrize(("others", "rows", "expected"), [(0, 0, "fail"), (39, 1000, "insufficient"), (39, 10, "fail")])
def test_the_more_groups_are_judged_the_surer_each_must_be(ops: Any, others: int, rows: int, expected: str) -> None:
    same = {"column": "place", "rate": "true_positive", "unit": 1.0, "group": 0.1, "rest": 0.2}
    rates = [{**same, "value": "a", "rows": 1000, "gap": {"value": 0.125, "error": 0.01}}]
    rates += [{**same, "value": str(k), "rows": rows, "gap": {"value": 0.0, "error": 0.01}} for k in range(others)]
    measured = parts(1, 0.0) | {"groups": {"rates": rates, "proxies": {}, "waived": {}}}
    assert judged(ops, measured)["gate.group.place=a.true_positive"].verdict == expected


def test_proxies_are_named_and_what_reads_a_waived_group_is_not_one(ops: Any) -> None:
    rows, random = table(2_000), np.random.default_rng(0)
    near = (rows["sex"] == "f") + random.normal(0, 0.25, 2_000)
    matrix = np.column_stack([random.random(2_000), near, rows["sex"] == "f"])
    features = {"noise": {"number"}, "near": {"place"}, "itself": {"sex"}}
    found = ops("pipeline.groups").proxies(made(ops, groups=["sex"]), rows, matrix, features)
    assert [*found["sex"]["features"]] == ["noise", "near"] and found["sex"]["features"]["near"] > 0.95
    assert 0.4 < found["sex"]["features"]["noise"] < 0.6
    measured = parts(1, 0.0) | {"groups": {"rates": [], "proxies": found, "waived": {}}}
    report = judged(ops, measured)
    assert report["gate.proxy.sex"] in report.advice and report.verdict != "fail"
    assert "near" in report["gate.proxy.sex"].evidence and "noise" not in report["gate.proxy.sex"].evidence
    assert judged(ops, measured, group_vetoes=["proxy"]).verdict == "fail"
    assert judged(ops, measured, proxy_limit=1.0)["gate.proxy.sex"].verdict == "ok"
    few = ops("pipeline.groups").proxies(made(ops, groups=["sex"]), rows.head(150), matrix[:150], features)
    measured["groups"]["proxies"] = few
    assert judged(ops, measured)["gate.proxy.sex"].verdict == "insufficient"


def test_a_group_is_read_by_a_feature_only_with_a_waiver_and_only_until_its_day(ops: Any) -> None:
    error = ops("project").ProjectError
    assert made(ops, groups=["sex"]).barred("sex") == "protected"
    contract = made(ops, groups=["sex", "place"], waived=["sex until 2026-05-05"])
    assert contract.barred("sex") == "" and contract.barred("place") == "protected"
    for written, sentence in (("sx until 2026-05-05", "Did you mean 'sex'"), ("sex", "names no last day")):
        with pytest.raises(error, match=sentence):
            made(ops, groups=["sex"], waived=[written])
    waived = {name: str(day) for name, day in contract.waivers.items()}
    measured = parts(1, 0.0) | {"groups": {"rates": [], "proxies": {}, "waived": waived}}
    assert judged(ops, measured, today="2026-05-05")["gate.waiver.sex"].verdict == "ok"
    assert judged(ops, measured, today="2026-05-06").verdict == "fail"


def behaved(ops: Any, **changed: Any) -> Any:
    """The checks on a candidate's behaviour, each exactly at its limit, but for what is changed."""
    within = {"value": -0.03, "interval": [-0.05, 0.0]}
    cost = {"milliseconds_1": 1.0, "milliseconds_100": 2.0, "megabytes": 3.0, "memory": 4.0}
    found = {
        "rows": 1000, "unit": 1.0, "excess": within, "calibration": {"candidate": within}, "cost": cost,
        "changes": {name: {"difference": within, "decisions": 0.1} for name in ("noise", "weather")},
        "churn": {"share": 0.2, "slices": []},
    }  # fmt: skip
    limits = {
        "conduct_min_rows": 1000, "max_calibration_error": 0.05, "max_noise_loss": 0.05, "max_lookup_loss": 0.05,
        "max_noise_decisions": 0.1, "max_churn": 0.2, "max_milliseconds": 1.0, "max_batch_milliseconds": 2.0,
        "max_megabytes": 3.0, "max_memory_megabytes": 4.0, "conduct_vetoes": [],
    }  # fmt: skip
    curve = {"repeatable": 0.0, "rows": 1000}
    return {check.name: str(check.verdict) for check in ops("pipeline.fitness").judge(
        {"conduct": found | {k: v for k, v in changed.items() if k in found}}, curve, limits | changed
    )}  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "less", "name"),
    [
        ("max_calibration_error", -0.01, "gate.calibration"), ("max_noise_loss", -0.01, "gate.noise.loss"),
        ("max_lookup_loss", -0.01, "gate.lookup.weather"), ("max_noise_decisions", 0.09, "gate.noise.decisions"),
        ("max_churn", 0.19, "gate.churn"), ("max_milliseconds", 0.9, "gate.milliseconds.1"),
        ("max_batch_milliseconds", 1.9, "gate.milliseconds.100"), ("max_megabytes", 2.9, "gate.megabytes"),
        ("max_memory_megabytes", 3.9, "gate.memory"),
    ],
)  # fmt: skip
def test_each_limit_of_behaviour_is_that_of_one_check(ops: Any, limit: str, less: float, name: str) -> None:
    healthy, tight = behaved(ops), behaved(ops, **{limit: less})
    assert set(healthy.values()) == {"ok"}
    assert {check for check, verdict in tight.items() if verdict == "fail"} == {name}


def test_values_that_lose_to_the_best_tried_stop_a_promotion_unless_the_team_lets_them(ops: Any) -> None:
    trials = [{"values": {"depth": depth}} for depth in (1, 2)]
    lost = {"trials": trials, "best": 1, "difference": {"value": -0.1, "interval": [-0.2, -0.05]}}
    limits = {"tuning": lost | {"rows": 1000, "unit": 1.0}, "tune_tolerance": 0.02}
    vetoed, told = (judged(ops, parts(1, 0.0), **limits, tune_vetoes=vetoes) for vetoes in (True, False))
    assert vetoed.verdict == "fail" and told.verdict != "fail"
    assert vetoed["gate.tuned"].verdict == "fail" and told["gate.tuned"] in told.advice


def test_behaviour_on_few_rows_tells_nothing_but_the_cost(ops: Any) -> None:
    told = behaved(ops, rows=999, conduct_min_rows=1000)
    known = {"gate.repeatable", "gate.milliseconds.1", "gate.milliseconds.100", "gate.megabytes", "gate.memory"}
    assert {name for name, verdict in told.items() if verdict == "ok"} == known
    with pytest.raises(ops("project").ProjectError, match="Did you mean 'churn'"):
        judged(ops, parts(1, 0.0), conduct_vetoes=["churm"])


@pytest.mark.parametrize(
    ("ends", "oldest"), [([None, -0.06], 2), ([-0.06, -0.06], 1), ([-0.04, -0.04], 3), ([-0.04, None], 3)]
)
def test_a_champion_may_get_as_old_as_no_loss_is_sure(ops: Any, ends: list[float | None], oldest: int) -> None:
    ages = [(1, 0.0), *zip((2, 3), ends, strict=True)]
    entries = [{"age": age, "difference": {"value": -0.1, "interval": [None, high]}} for age, high in ages]
    found = ops("pipeline.fitness").oldest({"ages": entries, "unit": 1.0, "otherwise": 9}, 0.05)
    assert found[0] == oldest
    assert ops("pipeline.fitness").oldest({"ages": [], "unit": 1.0, "otherwise": 9}, 0.05)[0] == 9


@pytest.mark.parametrize(
    ("task", "scores", "expected"),
    [
        ("regression", [0.0, 1.0, 2.0, 3.0], 0.0),
        ("regression", [1.0, 2.0, 3.0, 4.0], 1.0),
        ("multiclass", [[1.0, 0.0], [0.0, 1.0]] * 2, 0.0),
        ("multiclass", [[0.0, 1.0], [1.0, 0.0]] * 2, 1.0),
    ],
)
def test_predictions_are_compared_with_what_happened(ops: Any, task: str, scores: Any, expected: float) -> None:
    target = np.array([0.0, 1.0, 2.0, 3.0] if task == "regression" else [0, 1, 0, 1])
    measure = ops("pipeline.conduct").calibration(SimpleNamespace(task=task), target, np.array(scores))
    assert measure(np.ones((2, 4))) == pytest.approx([expected] * 2)


def test_noise_stays_within_bounds_and_leaves_zeros_and_words_alone(ops: Any) -> None:
    class Given(BaseModel):
        word: Literal["a", "b"]
        whole: Annotated[int, Field(ge=0, le=10)]
        free: float

    contract = ops("contract").Contract(Given, Bought)
    arrays = {"word": np.array(["a", "b"] * 50, dtype=object), "whole": np.array([0.0, 10.0] * 50)}
    arrays["free"] = np.linspace(-1e6, 1e6, 100)
    noisy = partial(ops("pipeline.conduct").noisy, contract)
    found = noisy(SimpleNamespace(plan=SimpleNamespace(columns=list(arrays))), arrays, {"seed": 0, "noise": 1.0})
    assert found["word"] is arrays["word"] and (found["whole"][::2] == 0).all()
    changed = found["whole"][1::2]
    assert (changed == changed.round()).all() and (changed >= 0).all() and changed.max() == 10 > changed.min()
    assert found["free"].min() < -1e6 and found["free"].max() > 1e6 and (found["free"] % 1 != 0).any()
    assert noisy(SimpleNamespace(plan=SimpleNamespace(columns=["word"])), arrays, {"seed": 0, "noise": 1.0}) == {}


def test_only_a_look_up_that_may_be_missing_goes_missing(ops: Any) -> None:
    class Must(BaseModel):
        price: float

    class May(BaseModel):
        stock: float | None

    contracts = ops("contract")
    looks = [contracts.Lookup(model, on="place", at="number", time="known", max_age="1d") for model in (Must, May)]
    arrays = {name: np.ones(3) for name in ("number", "price", "stock")}
    found = ops("pipeline.conduct").silent(made(ops, lookups=looks), arrays)
    assert [*found] == ["may"] and np.isnan(found["may"]["stock"]).all() and (found["may"]["price"] == 1).all()


def test_decisions_that_moved_are_counted_and_the_slices_with_most_of_them_come_first(ops: Any) -> None:
    conduct = ops("pipeline.conduct")
    assert conduct.moved(np.array([1.0, 1.0, 1.0]), np.array([1.5, 1.6, 0.4]), 0.5).tolist() == [False, True, True]
    assert conduct.moved(np.array(["a", "b"]), np.array(["a", "a"]), 9.0).tolist() == [False, True]
    sizes = {"one": [0], "most": range(40), "half": range(20, 60), "none": range(60, 100), "all": range(100)}
    slices = {("place", name): np.array(places) for name, places in sizes.items()}
    found = conduct._churn(slices, np.arange(100) < 40)
    assert found == {
        "share": 0.4,
        "slices": [("place=most", 1.0, 40), ("place=all", 0.4, 100), ("place=half", 0.5, 40)],
    }


def test_the_size_is_that_of_what_a_service_needs(ops: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conduct = ops("pipeline.conduct")
    monkeypatch.setattr(conduct, "_scored", lambda scorer, arrays: None)
    monkeypatch.setattr(conduct, "load", lambda *_: bytearray(4_000_000))
    (tmp_path / "more").mkdir()
    for name, size in (("model.pkl", 1), ("more/words", 2), (conduct.REFERENCE, 9)):
        (tmp_path / name).write_bytes(bytes(size * 1_000_000))
    found = conduct._cost(SimpleNamespace(contract=None, features=None), {}, None, tmp_path)
    assert (found["megabytes"], found["memory"], tracemalloc.is_tracing()) == (3.0, 4.0, False)
