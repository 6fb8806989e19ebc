"""Rows made from the contract alone, for projects that have no data yet."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, Contract, Lookup
from mlgates.contract.constraints import whole_pattern

if TYPE_CHECKING:
    import pandas as pd

# Times are drawn from these days, unless the contract's bounds say otherwise.
START = np.datetime64("2025-01-01T00:00:00", "us")
DAYS = 90

NOISE = 0.3  # standard deviation of the part of the outcome that no column explains
MISSING_SHARE = 0.05  # of the values of a column that may be missing
POSITIVE_SHARE = 0.4  # of the rows, where the outcome is a bool

# A text column is filled with those words that match its pattern. Hence the many forms.
WORDS = (
    "AAA",
    "BBB",
    "CCC",
    "aaa",
    "abc",
    "A1",
    "a1",
    "1",
    "42",
    "12345",
    "a@example.org",
    "2025-01-01",
    "x",
)


def synthetic(contract: Contract, n: int, seed: int = 0) -> "pd.DataFrame":
    """Rows with look-up columns and outcome, n of them.

    Values lie within their bounds, keys are unique where possible, times are spread. The outcome
    depends on the columns that are numbers, so that a model can learn it.
    """
    import pandas as pd

    random = np.random.default_rng(seed)
    never_missing = _never_missing(contract)
    columns: dict[str, Any] = {}
    signal = random.normal(0, NOISE, n)

    for name, column in contract.feature_columns.items():
        values = _draw(column, n, random, unique=name in contract.key)
        if column.kind in ("int", "float", "bool"):
            direction = random.choice([-1, 1])
            signal += _standardized(values.astype(float)) * direction

        if column.nullable and name not in never_missing:
            is_missing = random.random(n) < MISSING_SHARE
            if column.is_number:
                values = values.astype(float)
                values[is_missing] = np.nan
            else:
                values = values.astype(object)
                values[is_missing] = None
        columns[name] = values

    # The half keeps every rank between 0 and 1, so that no outcome lies on a bound itself.
    ranks = (signal.argsort().argsort() + 0.5) / n
    columns[contract.outcome.name] = _outcomes(contract, ranks)
    return pd.DataFrame(columns)


def _never_missing(contract: Contract) -> set[str | None]:
    """The columns that identify or date a row, or that a look-up is joined by."""
    names = {*contract.key, contract.time}
    for look in contract.lookups:
        names |= {*look.keys, look.at}
    return names


def _outcomes(contract: Contract, ranks: np.ndarray) -> np.ndarray:
    """(n,) outcomes that rise with the ranks, (n,) numbers between 0 and 1."""
    outcome = contract.outcome
    if outcome.kind == "bool":
        return ranks > 1 - POSITIVE_SHARE

    if contract.classes:
        codes = (ranks * len(contract.classes)).astype(int)
        return np.asarray(contract.classes)[codes]

    low, high = _bounds(outcome)
    values = low + (high - low) * ranks
    if outcome.kind == "int":
        return values.round().astype(int)
    return values


def enlarged(rows: "pd.DataFrame", contract: Contract, min_rows: int) -> "pd.DataFrame":
    """`rows`, or `min_rows` rows drawn from them if they are fewer.

    A column of the key then gets new values, so that no key repeats. A column by which a look-up is
    joined keeps its values. If no column of the key can have new ones, rows whose key repeats are
    dropped, and the result may have fewer than `min_rows` rows.
    """
    if len(rows) >= min_rows:
        return rows
    drawn = rows.sample(min_rows, replace=True, random_state=0).reset_index(drop=True)
    if not contract.key:
        return drawn

    lookup_keys: set[str] = set()
    for look in contract.lookups:
        lookup_keys.update(look.keys)

    for name in contract.key:
        if name not in lookup_keys:
            new_keys = _new_keys(contract.columns[name], drawn[name])
            if new_keys is not None:
                return drawn.assign(**{name: new_keys})
    return drawn.drop_duplicates(list(contract.key)).reset_index(drop=True)


def _new_keys(column: Column, values: "pd.Series") -> Any:
    """As many values of a key's column as were drawn, all different; None if its rules forbid that.

    Times stay where they are, but for some microseconds.
    """
    numbers = np.arange(1, len(values) + 1)
    if column.kind == "datetime":
        return values + numbers.astype("timedelta64[us]")
    if not _may_be_numbered(column):
        return None
    if column.kind == "int":
        return numbers
    return [f"row{number}" for number in numbers]


def _may_be_numbered(column: Column) -> bool:
    """Whether 1, 2, 3 ... or row1, row2, row3 ... are allowed values, however many there are."""
    if column.kind == "text":
        if column.pattern or column.max_length is not None:
            return False
        return (column.min_length or 0) <= len("row1")
    if column.kind == "int":
        return column.high is None and (column.low or 0) <= 1
    return False


def synthetic_lookup(
    contract: Contract, look: Lookup, rows: "pd.DataFrame", seed: int = 0
) -> "pd.DataFrame":
    """A table for a look-up, with an entry for a third of `rows`.

    Each entry became known shortly before the moment of the decision: at most half of the look-up's
    `max_age`.
    """
    random = np.random.default_rng(seed)
    step = 3 if len(rows) > 3 else 1
    chosen = rows.iloc[::step]
    table = chosen[look.keys].reset_index(drop=True)

    ages_in_seconds = random.uniform(0, 0.5 * look.max_seconds, len(table))
    ages = (ages_in_seconds * 1e6).astype("timedelta64[us]")
    table[look.time] = chosen[look.at].to_numpy(dtype="datetime64[us]") - ages

    for name, column in contract.from_source(look.name).items():
        table[name] = _draw(column, len(table), random)
    return table.drop_duplicates([*look.keys, look.time])


def _bounds(column: Column) -> tuple[float, float]:
    """The lowest and the highest value to draw: the column's bounds, or 100 apart and more."""
    low, high = column.low, column.high
    if low is None:
        low = min(0.0, (high or 0.0) - 100)
    if high is None:
        high = max(100.0, low + 100)
    return float(low), float(high)


def _standardized(values: np.ndarray) -> np.ndarray:
    """The values with mean 0 and standard deviation 1; zeros if they are all equal."""
    standardized: np.ndarray = (values - values.mean()) / (values.std() or 1.0)
    return standardized


def _span(column: Column) -> tuple[np.datetime64, int]:
    """The first moment to draw, and the number of seconds from there to the last one."""
    day = np.timedelta64(1, "D")
    start = START
    if column.latest is not None:
        start = min(start, np.datetime64(column.latest, "us") - DAYS * day)
    if column.earliest is not None:
        start = max(start, np.datetime64(column.earliest, "us"))

    end = start + DAYS * day
    if column.latest is not None:
        end = min(end, np.datetime64(column.latest, "us"))
    return start, max(1, int((end - start) / np.timedelta64(1, "s")))


def _words(column: Column) -> list[str]:
    """Some texts that a column may hold.

    If no word matches its pattern, the only text is one of the right length that does not match.
    """
    min_length = column.min_length or 0
    words = []
    for word in WORDS:
        text = word.ljust(min_length, word[-1])[: column.max_length]
        if not column.pattern or re.search(whole_pattern(column.pattern), text):
            words.append(text)
    return words or ["A".ljust(min_length, "A")[: column.max_length]]


def _draw(column: Column, n: int, random: np.random.Generator, unique: bool = False) -> np.ndarray:
    """(n,) values that the column allows; all different if `unique` and the column has so many.

    A column of floats or categories is never unique.
    """
    if column.kind == "datetime":
        return _draw_times(column, n, random)
    if column.kind == "bool":
        return random.random(n) < 0.5
    if column.kind == "int":
        return _draw_integers(column, n, random, unique)
    if column.kind == "float":
        return _draw_floats(column, n, random)

    if column.kind == "text" and unique and _may_be_numbered(column):
        return np.array([f"row{number}" for number in range(n)], dtype=object)
    words = _words(column) if column.kind == "text" else column.categories
    return np.array(words, dtype=object)[random.integers(0, len(words), n)]


def _draw_times(column: Column, n: int, random: np.random.Generator) -> np.ndarray:
    """(n,) times to the second, ascending. They repeat only if the span has too few seconds."""
    start, seconds = _span(column)
    must_repeat = seconds < n
    drawn = np.sort(random.choice(seconds, n, replace=must_repeat))
    return start + (drawn * 1_000_000).astype("timedelta64[us]")


def _draw_integers(column: Column, n: int, random: np.random.Generator, unique: bool) -> np.ndarray:
    """(n,) whole numbers within the bounds. If `unique`, they repeat only if there are too few."""
    low, high = _bounds(column)
    first, last = int(np.ceil(low)), int(np.floor(high))
    if not unique:
        return random.integers(first, last, n, endpoint=True)
    if column.high is None:
        last = max(last, first + n)
    return first + np.arange(n) % (last - first + 1)


def _draw_floats(column: Column, n: int, random: np.random.Generator) -> np.ndarray:
    """(n,) numbers within the bounds."""
    low, high = _bounds(column)
    values = random.uniform(low, high, n)
    if column.exclusive_low:
        # `uniform` may return the lower bound itself, but never the upper one.
        values = np.where(values == low, (low + high) / 2, values)
    return values
