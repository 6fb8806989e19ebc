"""What Evidently is asked, and that it measures as we do; what it was not asked did not pass."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import BaseModel

from mlgates import Project, ProjectError
from mlgates.contract import Arrays, Contract
from mlgates.data.drift import column_checks as drift_of_a_period
from mlgates.drift import LOG, Method, bools_as_words
from mlgates.monitoring import Comparison
from mlgates.monitoring.drift import NATS, by_evidently, comparison, drift, pairs
from mlgates.settings import MonitorSettings, ValidateSettings
from mlgates.verdict import Check, Verdict

LIMITS = MonitorSettings(drift_limit=0.1)
ROWS = 2_000


def columns(seed: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Rows with a number, a few words, many words, and a number that is never there."""
    random = np.random.default_rng(seed)
    words = random.choice(["red", "green", "blue"], ROWS).astype(object)
    numbers = random.integers(0, 10 * LOG.most_words, ROWS)
    texts = np.array([f"text {number}" for number in numbers], dtype=object)
    empty = np.full(ROWS, np.nan)
    return {
        "length": random.normal(shift, 1, ROWS),
        "colour": words,
        "remark": texts,
        "unknown": empty,
    }


@pytest.fixture(scope="module")
def distributions(project: Project) -> Callable[[Comparison], Any]:
    """The wiring's own call of Evidently."""
    return project.module("monitor").distributions


def test_free_text_and_columns_without_a_value_are_not_compared() -> None:
    compared = comparison(columns(0), columns(1), LIMITS)
    assert (compared.numbers, compared.categories) == (["length"], ["colour"])
    assert [*compared.reference] == [*compared.current] == compared.columns == ["length", "colour"]


def test_a_limit_is_never_one_that_chance_alone_reaches() -> None:
    many = comparison(columns(0), columns(1), LIMITS)
    assert many.limits == {"length": 0.1, "colour": 0.1}
    few = {name: values[:20] for name, values in columns(1).items()}
    assert all(limit > 0.1 for limit in comparison(columns(0), few, LIMITS).limits.values())


def test_each_column_is_judged_by_evidently(distributions: Callable[[Comparison], Any]) -> None:
    for shift, expected in ((0.0, Verdict.OK), (1.0, Verdict.FAIL)):
        checks, page = drift(comparison(columns(0), columns(1, shift), LIMITS), distributions)
        verdicts = {check.name: check.verdict for check in checks}
        assert verdicts == {"monitor.drift.length": expected, "monitor.drift.colour": Verdict.OK}
        assert "<html" in page


def many_kinds(seed: int, shift: float) -> Arrays:
    """Numbers of several shapes and units, words and bools, some missing; `shift` moves them."""
    random = np.random.default_rng(seed)
    bell = random.normal(shift, 1, ROWS)
    weights = np.array([4, 3, 2, 1 + 3 * shift])
    words = random.choice(["a", "b", "c", "d"], ROWS, p=weights / weights.sum()).astype(object)
    flags = (random.random(ROWS) < 0.3 + 0.4 * shift).astype(float)
    seldom = random.random(ROWS) < 0.1
    return {
        "bell": bell,
        "skewed": np.exp(bell),
        "few values": np.round(bell),
        "in light years": bell * 1e-16,
        "in nanometres": bell * 1e9,
        "sometimes missing": np.where(seldom, np.nan, bell),
        "words": words,
        "words, sometimes missing": np.where(seldom, None, words),
        "new words": np.where(seldom & (shift > 0), "never seen", words).astype(object),
        "bool": bools_as_words(flags),
        "bool, sometimes missing": bools_as_words(np.where(seldom, np.nan, flags)),
    }


@pytest.mark.parametrize("shift", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_evidently_measures_what_the_library_measures(
    distributions: Callable[[Comparison], Any], seed: int, shift: float
) -> None:
    sides = many_kinds(seed, 0.0), many_kinds(seed + 100, shift)
    checks, _ = drift(comparison(*sides, LIMITS), distributions)
    distances = {check.name: check.value for check in checks}
    assert len(distances) == len(sides[0])
    for pair in pairs(*sides):
        ours = pair.distance()
        if pair.method is Method.JENSEN_SHANNON:
            ours *= NATS
        measured = distances[f"monitor.drift.{pair.name}"]
        assert measured == pytest.approx(ours, abs=1e-6), pair.name
        assert by_evidently(pair) == pytest.approx(ours)


@pytest.mark.parametrize("constant", [0.0, 0.1, 7.0])
def test_where_the_reference_is_one_number_the_distance_is_in_thousandths(
    distributions: Callable[[Comparison], Any], constant: float
) -> None:
    sides = {"x": np.full(ROWS, constant)}, {"x": np.full(ROWS, constant + 0.05)}
    (check,), _ = drift(comparison(*sides, LIMITS), distributions)
    (pair,) = pairs(*sides)
    assert check.value == pytest.approx(50) == by_evidently(pair)


class Parcel(BaseModel):
    weight: float | None
    fragile: bool
    size: Literal["s", "m", "l"]


class Arrival(BaseModel):
    late: bool


PARCELS = Contract(Parcel, Arrival)
PERIOD_LIMITS = ValidateSettings(drift_limit=0.1, drift_missing=0.05, drift_min_rows=500)


def parcels(seed: int, unit: float = 1.0) -> Arrays:
    """Healthy rows of the contract, with weights in some unit."""
    random = np.random.default_rng(seed)
    return {
        "weight": random.normal(3, 1, ROWS) * unit,
        "fragile": (random.random(ROWS) < 0.5).astype(float),
        "size": random.choice(["s", "m", "l"], ROWS).astype(object),
    }


def seen_in_a_period(reference: Arrays, current: Arrays, column: str) -> Check:
    """How validate judges the distribution of a column."""
    targets = [np.zeros(ROWS)] * 2
    checks = drift_of_a_period(PARCELS, reference, current, targets, PERIOD_LIMITS)
    return next(check for check in checks if check.name == f"drift.distribution.{column}")


def seen_in_the_log(
    reference: Arrays, current: Arrays, column: str, distributions: Callable[[Comparison], Any]
) -> Check:
    """How the monitor judges the distribution of a column."""
    sides = []
    for rows in (reference, current):
        sides.append(rows | {"fragile": bools_as_words(rows["fragile"])})
    checks, _ = drift(comparison(*sides, LIMITS), distributions)
    return next(check for check in checks if check.name == f"monitor.drift.{column}")


@pytest.mark.parametrize("unit", [1e-9, 1e-4, 1.0, 1e6])
def test_a_number_that_moves_is_seen_by_both_in_whatever_unit_it_is(
    distributions: Callable[[Comparison], Any], unit: float
) -> None:
    before, now = parcels(0, unit), parcels(1, unit)
    assert seen_in_a_period(before, now, "weight").verdict is Verdict.OK
    assert seen_in_the_log(before, now, "weight", distributions).verdict is Verdict.OK
    now["weight"] = now["weight"] + unit
    period = seen_in_a_period(before, now, "weight")
    log = seen_in_the_log(before, now, "weight", distributions)
    assert (period.verdict, log.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert log.value == pytest.approx(period.value, abs=1e-6)


@pytest.mark.parametrize(
    ("column", "planted"),
    [
        ("weight", np.where(np.arange(ROWS) % 4, 3.0, 9.0)),
        ("fragile", np.arange(ROWS) % 10 == 0),
        ("size", np.where(np.arange(ROWS) % 8, "s", "l").astype(object)),
    ],
)
def test_what_a_period_shows_the_log_shows(
    distributions: Callable[[Comparison], Any], column: str, planted: np.ndarray
) -> None:
    before, now = parcels(0), parcels(1)
    now[column] = planted.astype(before[column].dtype)
    period = seen_in_a_period(before, now, column)
    log = seen_in_the_log(before, now, column, distributions)
    assert (period.verdict, log.verdict) == (Verdict.FAIL, Verdict.FAIL)
    unit = 1.0 if column == "weight" else NATS
    assert log.value == pytest.approx(float(period.value or 0) * unit, abs=2e-6)
    assert log.rows == period.rows == ROWS


@pytest.mark.parametrize(
    ("fewer", "named"),
    [
        ({"numbers": []}, "length"),
        ({"categories": []}, "colour"),
        ({"numbers": [], "categories": ["colour"]}, "length"),
    ],
)
def test_a_column_that_evidently_was_not_asked_about_is_refused(
    distributions: Callable[[Comparison], Any], fewer: dict[str, list[str]], named: str
) -> None:
    def careless(compared: Comparison) -> Any:
        return distributions(replace(compared, **fewer))  # type: ignore[arg-type]

    message = rf"monitor\.py does not compare {named}: Evidently reported no drift test of it\."
    remedy = r"\n  Bring the call back"
    with pytest.raises(ProjectError, match=message + remedy):
        drift(comparison(columns(0), columns(1), LIMITS), careless)


def test_a_report_without_tests_is_refused() -> None:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    def untested(compared: Comparison) -> Any:
        definition = DataDefinition(
            numerical_columns=compared.numbers, categorical_columns=compared.categories
        )
        sides = [
            Dataset.from_pandas(frame, data_definition=definition)
            for frame in (compared.current, compared.reference)
        ]
        return Report([DataDriftPreset(columns=compared.columns)], include_tests=False).run(*sides)

    with pytest.raises(ProjectError, match="does not compare length, colour"):
        drift(comparison(columns(0), columns(1), LIMITS), untested)


def test_with_nothing_to_compare_evidently_is_not_asked() -> None:
    def never(compared: Comparison) -> Any:
        raise AssertionError("nothing is there to be compared")

    empty = {"unknown": np.full(ROWS, np.nan)}
    assert drift(comparison(empty, empty, LIMITS), never) == ([], "")
