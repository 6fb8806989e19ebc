"""What is compared with Evidently, and that nothing which Evidently was not asked about counts as looked at."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlgates import Project, ProjectError
from mlgates.monitoring import Comparison
from mlgates.monitoring.drift import MOST_WORDS, comparison, drift
from mlgates.verdict import Verdict

LIMITS = {"drift_limit": 0.1}
ROWS = 2_000


def columns(seed: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Rows with a number, a few words, many words, and a number that is never there."""
    random = np.random.default_rng(seed)
    words = random.choice(["red", "green", "blue"], ROWS).astype(object)
    texts = np.array([f"text {number}" for number in random.integers(0, 10 * MOST_WORDS, ROWS)], dtype=object)
    empty = np.full(ROWS, np.nan)
    return {"length": random.normal(shift, 1, ROWS), "colour": words, "remark": texts, "unknown": empty}


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

    told = rf"monitor\.py does not compare {named}: Evidently reported no drift test of it\.\n  Bring the call back"
    with pytest.raises(ProjectError, match=told):
        drift(comparison(columns(0), columns(1), LIMITS), careless)


def test_a_report_without_tests_is_refused() -> None:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    def untested(compared: Comparison) -> Any:
        definition = DataDefinition(numerical_columns=compared.numbers, categorical_columns=compared.categories)
        sides = [
            Dataset.from_pandas(frame, data_definition=definition) for frame in (compared.current, compared.reference)
        ]
        return Report([DataDriftPreset(columns=compared.columns)], include_tests=False).run(*sides)

    with pytest.raises(ProjectError, match="does not compare length, colour"):
        drift(comparison(columns(0), columns(1), LIMITS), untested)


def test_with_nothing_to_compare_evidently_is_not_asked() -> None:
    def never(compared: Comparison) -> Any:
        raise AssertionError("nothing is there to be compared")

    empty = {"unknown": np.full(ROWS, np.nan)}
    assert drift(comparison(empty, empty, LIMITS), never) == ([], "")
