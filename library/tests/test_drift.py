"""One measure of drift: which columns are compared, by which distance, and what is no drift yet."""

import numpy as np
import pytest

from mlgates.contract import Arrays
from mlgates.drift import (
    LOG,
    PERIODS,
    Method,
    Scope,
    distance,
    limit,
    missing,
    noise,
    pairs,
    spread,
)

ROWS = 200
KINDS = {
    "at": "datetime", "count": "int", "length": "float", "known": "bool", "colour": "category",
    "town": "category", "remark": "text", "size": "text", "absent": "float",
}  # fmt: skip


def rows() -> Arrays:
    """A column of each kind; `town` and `remark` have a word for each row."""
    place = np.arange(ROWS)
    words = np.array([f"word {number}" for number in place], dtype=object)
    return {
        "at": place.astype("datetime64[s]"), "count": place, "length": place / 7,
        "known": (place % 2).astype(float),
        "colour": np.where(place % 3, "red", "blue").astype(object),
        "town": words, "remark": words, "size": np.where(place % 2, "s", None).astype(object),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "numbers", "words"),
    [
        (PERIODS, {"count": 0, "length": 0}, {"known": 0, "colour": 2, "town": ROWS}),
        (LOG, {"count": 0, "length": 0}, {"known": 0, "colour": 2, "size": 1}),
    ],
)
def test_a_time_and_free_text_are_not_compared_and_every_kind_has_its_distance(
    scope: Scope, numbers: dict[str, int], words: dict[str, int]
) -> None:
    found = pairs(KINDS, rows(), rows(), scope)
    by_method: dict[Method, dict[str, int]] = {method: {} for method in Method}
    for pair in found:
        by_method[pair.method][pair.name] = pair.words
    assert by_method == {Method.WASSERSTEIN: numbers, Method.JENSEN_SHANNON: words}


def test_a_distance_is_0_for_the_same_rows_and_has_a_unit_of_its_own() -> None:
    numbers, words = rows()["length"], rows()["colour"]
    assert distance(numbers, numbers, Method.WASSERSTEIN) == 0
    assert distance(numbers, numbers + 2 * spread(numbers), Method.WASSERSTEIN) == pytest.approx(2)
    assert distance(words, words, Method.JENSEN_SHANNON) == pytest.approx(0, abs=1e-7)
    other = np.full(ROWS, "green", dtype=object)
    assert distance(words, other, Method.JENSEN_SHANNON) == pytest.approx(1)


@pytest.mark.parametrize("method", [*Method])
def test_a_sample_without_a_value_has_no_distance(method: Method) -> None:
    name = "length" if method is Method.WASSERSTEIN else "colour"
    values = rows()[name]
    nothing = np.full(ROWS, None if values.dtype == object else np.nan, dtype=values.dtype)
    assert np.isnan(distance(values, nothing, method))
    assert np.isnan(distance(nothing, values, method))
    assert missing(values, nothing) == 1 and missing(nothing, values) == -1
    assert np.isnan(missing(values, values[:0]))


def test_few_rows_and_many_words_widen_the_limit_and_many_rows_do_not_narrow_it() -> None:
    assert limit(0.1, 10**6, 10**6, words=0) == 0.1
    assert limit(0.1, 100, 100, words=0) == noise(100, 100, 0) > 0.1
    assert limit(0.1, 1000, 1000, words=100) == noise(1000, 1000, 100) > noise(1000, 1000, 10)
    assert limit(0.1, 0, 100, words=0) == 0.1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [50, 1_000])
def test_chance_alone_does_not_reach_the_limit(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    old = random.normal(0, 1, size)
    new = random.normal(0, 1, size)
    assert distance(old, new, Method.WASSERSTEIN) < limit(0.1, size, size, words=0)

    letters = [*"abcdefgh"]
    old = random.choice(letters, size).astype(object)
    new = random.choice(letters, size).astype(object)
    assert distance(old, new, Method.JENSEN_SHANNON) < limit(0.1, size, size, words=len(letters))
