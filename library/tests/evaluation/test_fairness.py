"""Slices and groups: what is looked at, the rates of each group, and what gives a group away."""

from typing import Any, Literal

import numpy as np
from measurements import Asked, made, table
from pydantic import BaseModel

from mlgates.contract import Contract
from mlgates.evaluation.fairness import group_rates, rates, slices, words


def test_slices_are_crossed_and_those_that_tell_nothing_are_left_out() -> None:
    rows = table(500).assign(place=None, number=7)
    contract = made(slices=["place", "number"])
    assert slices(contract, rows) == {}
    rows["number"] = np.where(rows["sex"] == "f", 1, 2)
    contract = made(slices=["sex", "number"])
    single = {("sex", "f"), ("sex", "m"), ("number", "1"), ("number", "2")}
    assert set(slices(contract, rows)) == single  # crossed slices would be the same rows again

    rows["number"] = np.arange(500) % 2
    found = slices(contract, rows)
    both = rows.index[(rows["sex"] == "f") & (rows["number"] == 1)]
    assert found["sex,number", "f,1"].tolist() == both.tolist()
    assert len(found) == 8  # two of each column, and four crossed ones


def treated(rows: Any, scores: np.ndarray, groups: list[str]) -> dict[tuple[str, str], Any]:
    """The entries of `treatment`, by group and rate."""
    entries = group_rates(made(groups=groups), rows, scores, 0.5, resamples=50, seed=0)
    return {(entry["value"], entry["rate"]): entry for entry in entries}


def test_rates_of_a_group_are_what_they_say() -> None:
    rows = table(2_000)
    noise = np.random.default_rng(1).random(2_000)
    scores = np.clip(rows["bought"] * 0.4 + noise * 0.6, 0, 1).to_numpy()
    found = treated(rows, scores, ["place"])
    assert len({word for word, _ in found}) == 5

    is_member = (rows["place"] == "c").to_numpy()
    decided = scores >= 0.5
    true = rows["bought"].to_numpy()
    everyone = np.full(2_000, True)
    expected = {  # what is counted, and of which rows
        "selection": (decided, everyone),
        "true_positive": (decided, true),
        "false_positive": (decided, ~true),
        "group_calibration": (scores - true, everyone),
    }
    for rate, (counted, base) in expected.items():
        entry = found["c", rate]
        group = counted[base & is_member].mean()
        rest = counted[base & ~is_member].mean()
        assert np.isclose(entry["group"], group)
        assert np.isclose(entry["rest"], rest)
        assert np.isclose(entry["gap"]["value"], group - rest)
        assert entry["rows"] == (base & is_member).sum() and entry["unit"] == 1.0

    variance = 0.0
    for part in (is_member, ~is_member):
        share = decided[part].mean()
        variance += share * (1 - share) / part.sum()
    assert 0.6 < found["c", "selection"]["gap"]["error"] / variance**0.5 < 1.6


class Chosen(BaseModel):
    chosen: Literal["x", "y", "z"]


def test_each_class_has_rates_of_its_own() -> None:
    contract = Contract(Asked, Chosen, groups=["sex"])
    target, scores = np.array([0.0, 0.0, 1.0, 2.0]), np.eye(3)[[0, 1, 1, 0]]
    counts = {}
    for name, (counted, base) in rates(contract, target, scores, 0.5).items():
        counts[name] = (int(counted.sum()), int(base.sum()))
    assert [counts[f"selection.{name}"] for name in "xyz"] == [(2, 4), (2, 4), (0, 4)]
    assert [counts[f"true_positive.{name}"] for name in "xyz"] == [(1, 2), (1, 1), (0, 1)]
    assert [counts[f"false_positive.{name}"] for name in "xyz"] == [(1, 2), (1, 3), (0, 3)]


def test_a_number_with_few_values_is_its_own_word() -> None:
    assert set(words(table(100), "number")) == set("01234")


def test_of_two_groups_one_is_compared_and_numbers_are_compared_by_quarters() -> None:
    rows = table(1_000).assign(number=np.arange(1_000.0))
    rows.loc[:9, "number"] = np.nan
    found = treated(rows, np.full(1_000, 0.5), ["sex", "number"])
    compared = {word for word, _ in found}
    quarters = compared - {"f", "m"}
    assert len(compared & {"f", "m"}) == 1
    assert {quarter.split()[0] for quarter in quarters} == {"to", "above", "nan"}
    assert len(compared) == 6  # one sex, four quarters, and the missing numbers
