"""What a candidate is like beyond its metrics is measured as it is said."""

import tracemalloc
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from measurements import Bought, made
from pydantic import BaseModel, Field

from mlgates import Project
from mlgates.contract import Contract, Lookup
from mlgates.evaluation import behavior, metrics
from mlgates.layout import REFERENCE
from mlgates.settings import EvaluateSettings


@pytest.mark.parametrize(
    ("task", "scores", "expected"),
    [
        ("regression", [0.0, 1.0, 2.0, 3.0], 0.0),
        ("regression", [1.0, 2.0, 3.0, 4.0], 1.0),
        ("multiclass", [[1.0, 0.0], [0.0, 1.0]] * 2, 0.0),
        ("multiclass", [[0.0, 1.0], [1.0, 0.0]] * 2, 1.0),
    ],
)
def test_predictions_are_compared_with_what_happened(
    task: str, scores: Any, expected: float
) -> None:
    target = np.array([0.0, 1.0, 2.0, 3.0] if task == "regression" else [0, 1, 0, 1])
    measure = behavior.calibration_error(SimpleNamespace(task=task), target, np.array(scores))
    assert measure(np.ones((2, 4))) == pytest.approx([expected] * 2)


def test_noise_stays_within_bounds_and_leaves_zeros_and_words_alone() -> None:
    class Given(BaseModel):
        word: Literal["a", "b"]
        whole: Annotated[int, Field(ge=0, le=10)]
        free: float

    contract = Contract(Given, Bought)
    arrays = {"word": np.array(["a", "b"] * 50, dtype=object), "whole": np.array([0.0, 10.0] * 50)}
    arrays["free"] = np.linspace(-1e6, 1e6, 100)
    noisy, noise = partial(behavior.noisy, contract), EvaluateSettings(seed=0, noise=1.0)
    found = noisy(SimpleNamespace(plan=SimpleNamespace(columns=list(arrays))), arrays, noise)
    assert found["word"] is arrays["word"] and (found["whole"][::2] == 0).all()
    changed = found["whole"][1::2]
    assert (
        (changed == changed.round()).all()
        and (changed >= 0).all()
        and changed.max() == 10 > changed.min()
    )
    assert (
        found["free"].min() < -1e6 and found["free"].max() > 1e6 and (found["free"] % 1 != 0).any()
    )
    assert noisy(SimpleNamespace(plan=SimpleNamespace(columns=["word"])), arrays, noise) == {}


def test_only_a_look_up_that_may_be_missing_goes_missing() -> None:
    class Must(BaseModel):
        price: float

    class May(BaseModel):
        stock: float | None

    looks = [
        Lookup(model, on="place", at="number", time="known", max_age="1d") for model in (Must, May)
    ]
    arrays = {name: np.ones(3) for name in ("number", "price", "stock")}
    found = behavior.silent(made(lookups=looks), arrays)
    assert (
        [*found] == ["may"]
        and np.isnan(found["may"]["stock"]).all()
        and (found["may"]["price"] == 1).all()
    )


def test_decisions_that_moved_are_counted_and_the_slices_with_most_of_them_come_first() -> None:
    assert behavior.moved(np.array([1.0, 1.0, 1.0]), np.array([1.5, 1.6, 0.4]), 0.5).tolist() == [
        False,
        True,
        True,
    ]
    assert behavior.moved(np.array(["a", "b"]), np.array(["a", "a"]), 9.0).tolist() == [False, True]
    sizes = {
        "one": [0],
        "most": range(40),
        "half": range(20, 60),
        "none": range(60, 100),
        "all": range(100),
    }
    slices = {("place", name): np.array(places) for name, places in sizes.items()}
    found = behavior._most_changed(slices, np.arange(100) < 40)
    assert found == {
        "share": 0.4,
        "slices": [("place=most", 1.0, 40), ("place=all", 0.4, 100), ("place=half", 0.5, 40)],
    }


def test_the_size_is_that_of_what_a_service_needs(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(behavior, "load", lambda *_: bytearray(4_000_000))
    (tmp_path / "more").mkdir()
    for name, size in (("model.pkl", 1), ("more/words", 2), (REFERENCE, 9)):
        (tmp_path / name).write_bytes(bytes(size * 1_000_000))
    idle = SimpleNamespace(matrix=lambda arrays: None, score=lambda matrix: None)
    found = behavior._cost(project, {}, idle, tmp_path)
    assert (found["megabytes"], found["memory"], tracemalloc.is_tracing()) == (3.0, 4.0, False)


def test_chance_alone_is_no_miscalibration() -> None:
    random = np.random.default_rng(0)
    contract = SimpleNamespace(task="binary")
    for seed in range(20):
        truth = random.random(2000)
        happened = (random.random(2000) < truth).astype(float)
        measures = {
            name: behavior.calibration_error(contract, happened, given)
            for name, given in {
                "right": truth,
                "high": truth**0.5,
                "squashed": 0.5 + (truth - 0.5) * 0.4,
            }.items()
        }
        found = metrics.estimates(measures, 2000, 100, seed)
        assert found["right"].interval()[0] < 0.03 and found["right"].value < 0.04
        assert min(found[name].interval()[0] for name in ("high", "squashed")) > 0.1
