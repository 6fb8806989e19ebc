"""What a candidate is like beyond its metrics: calibration, noise, look-ups, decisions, size."""

import tracemalloc
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
    ("task", "target", "scores", "expected"),
    [
        ("regression", [0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0], 0.0),
        ("regression", [0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], 1.0),
        ("multiclass", [0, 1, 0, 1], [[1.0, 0.0], [0.0, 1.0]] * 2, 0.0),
        ("multiclass", [0, 1, 0, 1], [[0.0, 1.0], [1.0, 0.0]] * 2, 1.0),
    ],
)
def test_predictions_are_compared_with_labels(
    task: str, target: list[float], scores: Any, expected: float
) -> None:
    contract = SimpleNamespace(task=task)
    measure = behavior.calibration_error(contract, np.array(target), np.array(scores))
    assert measure(np.ones((2, 4))) == pytest.approx([expected, expected])


def reading(columns: list[str]) -> Any:
    """A scorer whose features read these columns."""
    return SimpleNamespace(plan=SimpleNamespace(columns=columns))


def test_noise_stays_within_bounds_and_leaves_zeros_and_words_alone() -> None:
    class Given(BaseModel):
        word: Literal["a", "b"]
        whole: Annotated[int, Field(ge=0, le=10)]
        free: float

    contract = Contract(Given, Bought)
    settings = EvaluateSettings(seed=0, noise=1.0)
    arrays = {
        "word": np.array(["a", "b"] * 50, dtype=object),
        "whole": np.array([0.0, 10.0] * 50),
        "free": np.linspace(-1e6, 1e6, 100),
    }
    changed = behavior.with_noise(contract, reading(list(arrays)), arrays, settings)
    assert changed["word"] is arrays["word"]

    zeros, tens = changed["whole"][::2], changed["whole"][1::2]
    assert (zeros == 0).all()
    assert (tens == tens.round()).all()
    assert (tens >= 0).all() and tens.min() < 10 and tens.max() == 10

    free = changed["free"]
    assert free.min() < -1e6 and free.max() > 1e6 and (free % 1 != 0).any()
    assert behavior.with_noise(contract, reading(["word"]), arrays, settings) == {}


def test_only_a_look_up_that_may_be_missing_goes_missing() -> None:
    class Must(BaseModel):
        price: float

    class May(BaseModel):
        stock: float | None

    where: Any = {"on": "place", "at": "number", "time": "known", "max_age": "1d"}
    contract = made(lookups=[Lookup(Must, **where), Lookup(May, **where)])
    arrays = {"number": np.ones(3), "price": np.ones(3), "stock": np.ones(3)}
    requests = behavior.without_lookups(contract, arrays)
    assert list(requests) == ["may"]
    assert np.isnan(requests["may"]["stock"]).all()
    assert (requests["may"]["price"] == 1).all()


def test_a_number_has_moved_if_it_is_far_from_before_and_a_word_if_it_is_another() -> None:
    numbers = behavior.is_other_decision(np.array([1.0, 1.0, 1.0]), np.array([1.5, 1.6, 0.4]), 0.5)
    assert numbers.tolist() == [False, True, True]
    words = behavior.is_other_decision(np.array(["a", "b"]), np.array(["a", "a"]), 9.0)
    assert words.tolist() == [False, True]


def test_slices_in_which_most_decisions_changed_come_first() -> None:
    slices = {
        ("place", "one"): np.array([0]),
        ("place", "most"): np.arange(40),
        ("place", "half"): np.arange(20, 60),
        ("place", "none"): np.arange(60, 100),
        ("place", "all"): np.arange(100),
    }
    is_changed = np.arange(100) < 40
    found = behavior._most_changed(slices, is_changed)
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
    cost = behavior._cost(project, {}, idle, tmp_path)
    assert cost["megabytes"] == 3.0  # without the reference
    assert cost["memory"] == 4.0
    assert not tracemalloc.is_tracing()


def test_chance_alone_is_no_miscalibration() -> None:
    random = np.random.default_rng(0)
    contract = SimpleNamespace(task="binary")
    for seed in range(20):
        truth = random.random(2000)
        labels = (random.random(2000) < truth).astype(float)
        squashed = 0.5 + (truth - 0.5) * 0.4
        measures = {
            "right": behavior.calibration_error(contract, labels, truth),
            "high": behavior.calibration_error(contract, labels, truth**0.5),
            "squashed": behavior.calibration_error(contract, labels, squashed),
        }
        found = metrics.estimates(measures, 2000, 100, seed)
        assert found["right"].interval()[0] < 0.03 and found["right"].value < 0.04
        assert found["high"].interval()[0] > 0.1
        assert found["squashed"].interval()[0] > 0.1
