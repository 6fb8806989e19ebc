"""Slices and groups: what is looked at, the rates of each group, and what gives a group away."""

from typing import Any, Literal

import numpy as np
from measurements import Asked, made, table
from pydantic import BaseModel

from mlgates.contract import Contract
from mlgates.evaluation.fairness import rates, slices, treatment, words


def test_slices_are_crossed_and_those_that_tell_nothing_are_left_out() -> None:
    rows = table(500).assign(place=None, number=7)
    contract = made(slices=["place", "number"])
    assert slices(contract, rows) == {}
    rows["number"] = np.where(rows["sex"] == "f", 1, 2)
    contract = made(slices=["sex", "number"])
    assert {*slices(contract, rows)} == {
        ("sex", "f"),
        ("sex", "m"),
        ("number", "1"),
        ("number", "2"),
    }
    rows["number"] = np.arange(500) % 2
    found = slices(contract, rows)
    both = rows.index[(rows["sex"] == "f") & (rows["number"] == 1)]
    assert found["sex,number", "f,1"].tolist() == both.tolist() and len(found) == 8


def treated(rows: Any, scores: np.ndarray, groups: list[str]) -> dict[tuple[str, str], Any]:
    contract = made(groups=groups)
    found = treatment(contract, rows, scores, 0.5, resamples=50, seed=0)
    return {(part["value"], part["rate"]): part for part in found}


def test_rates_of_a_group_are_what_they_say() -> None:
    rows = table(2_000)
    scores = np.clip(
        rows["bought"] * 0.4 + np.random.default_rng(1).random(2_000) * 0.6, 0, 1
    ).to_numpy()
    found = treated(rows, scores, ["place"])
    assert len({word for word, _ in found}) == 5
    inside, yes, true = (rows["place"] == "c").to_numpy(), scores >= 0.5, rows["bought"].to_numpy()
    expected = {
        "selection": (yes[inside].mean(), yes[~inside].mean(), inside.sum()),
        "true_positive": (
            yes[inside & true].mean(),
            yes[~inside & true].mean(),
            (inside & true).sum(),
        ),
        "false_positive": (
            yes[inside & ~true].mean(),
            yes[~inside & ~true].mean(),
            (inside & ~true).sum(),
        ),
        "group_calibration": (
            (scores - true)[inside].mean(),
            (scores - true)[~inside].mean(),
            inside.sum(),
        ),
    }
    for rate, (group, rest, count) in expected.items():
        part = found["c", rate]
        assert np.allclose(
            [part["group"], part["rest"], part["gap"]["value"]], [group, rest, group - rest]
        )
        assert part["rows"] == count and part["unit"] == 1.0
    variances = [
        yes[part].mean() * (1 - yes[part].mean()) / part.sum() for part in (inside, ~inside)
    ]
    assert 0.6 < found["c", "selection"]["gap"]["error"] / sum(variances) ** 0.5 < 1.6


class Chosen(BaseModel):
    chosen: Literal["x", "y", "z"]


def test_each_class_has_rates_of_its_own() -> None:
    contract = Contract(Asked, Chosen, groups=["sex"])
    target, scores = np.array([0.0, 0.0, 1.0, 2.0]), np.eye(3)[[0, 1, 1, 0]]
    found = rates(contract, target, scores, 0.5)
    told = {
        name: (int(above.sum()), None if of is None else int(of.sum()))
        for name, (above, of) in found.items()
    }
    assert [told[f"selection.{name}"] for name in "xyz"] == [(2, None), (2, None), (0, None)]
    assert [told[f"true_positive.{name}"] for name in "xyz"] == [(1, 2), (1, 1), (0, 1)]
    assert [told[f"false_positive.{name}"] for name in "xyz"] == [(1, 2), (1, 3), (0, 3)]
    assert {*words(table(100), "number")} == {*"01234"}


def test_of_two_groups_one_is_compared_and_numbers_are_compared_by_quarters() -> None:
    rows = table(1_000).assign(number=np.arange(1_000.0))
    rows.loc[:9, "number"] = np.nan
    found = treated(rows, np.full(1_000, 0.5), ["sex", "number"])
    words = {word for word, _ in found}
    assert len(words & {"f", "m"}) == 1
    assert {word.split()[0] for word in words - {"f", "m"}} == {"to", "above", "nan"} and len(
        words
    ) == 6
