"""Rows made from the contract alone, for projects that have no data yet, and rows as a caller sends them."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, Contract, Lookup
from mlgates.contract.constraints import whole_pattern

if TYPE_CHECKING:
    import pandas as pd

START, DAYS = np.datetime64("2025-01-01T00:00:00", "us"), 90
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
    """Rows with look-ups and outcome: values within bounds, unique keys, times spread, an outcome to be learnt."""
    import pandas as pd

    random = np.random.default_rng(seed)
    fixed = {
        *contract.key,
        *(name for look in contract.lookups for name in (*look.keys, look.at)),
        contract.time,
    }
    columns: dict[str, Any] = {}
    signal = random.normal(0, 0.3, n)
    for name, column in contract.feature_columns.items():
        values = _draw(column, n, random, unique=name in contract.key)
        if column.kind in ("int", "float", "bool"):
            signal += _scaled(values.astype(float)) * random.choice([-1, 1])
        if column.nullable and name not in fixed:
            values = values.astype(float if column.is_number else object)
            values[random.random(n) < 0.05] = np.nan if column.is_number else None
        columns[name] = values
    outcome, ranks = (
        contract.outcome,
        (signal.argsort().argsort() + 0.5) / n,
    )  # never a bound itself
    if outcome.kind == "bool":
        columns[outcome.name] = ranks > 0.6
    elif contract.classes:
        columns[outcome.name] = np.asarray(contract.classes)[
            (ranks * len(contract.classes)).astype(int)
        ]
    else:
        low, high = _bounds(outcome)
        values = low + (high - low) * ranks
        columns[outcome.name] = values.round().astype(int) if outcome.kind == "int" else values
    return pd.DataFrame(columns)


def enlarged(rows: "pd.DataFrame", contract: Contract, least: int) -> "pd.DataFrame":
    """At least so many rows, drawn again from `rows` where they are fewer; keys are made new where they can be."""
    if len(rows) >= least:
        return rows
    more = rows.sample(least, replace=True, random_state=0).reset_index(drop=True)
    shared = {name for look in contract.lookups for name in look.keys}
    free = [contract.columns[name] for name in contract.key if name not in shared]
    for column in free:
        place = np.arange(1, least + 1)
        if column.kind == "datetime":
            return more.assign(**{column.name: more[column.name] + place.astype("timedelta64[us]")})
        if _is_free(column):
            return more.assign(
                **{column.name: place if column.kind == "int" else [f"row{n}" for n in place]}
            )
    return more.drop_duplicates(list(contract.key)).reset_index(drop=True) if contract.key else more


def _is_free(column: Column) -> bool:
    """Whether 1, 2, 3 ... or row1, row2, row3 ... are values of a column, however many there are."""
    if column.kind == "text":
        return (
            not column.pattern
            and column.max_length is None
            and (column.min_length or 0) <= len("row1")
        )
    return column.kind == "int" and column.high is None and (column.low or 0) <= 1


def synthetic_lookup(
    contract: Contract, look: Lookup, rows: "pd.DataFrame", seed: int = 0
) -> "pd.DataFrame":
    """A table for a look-up: for a third of `rows`, what became known shortly before the moment of the decision."""
    random = np.random.default_rng(seed)
    chosen = rows.iloc[:: 3 if len(rows) > 3 else 1]
    table = chosen[look.keys].reset_index(drop=True)
    ages = (random.uniform(0, 0.5 * look.max_seconds, len(table)) * 1e6).astype("timedelta64[us]")
    table[look.time] = chosen[look.at].to_numpy(dtype="datetime64[us]") - ages
    for name, column in contract.from_source(look.name).items():
        table[name] = _draw(column, len(table), random)
    return table.drop_duplicates([*look.keys, look.time])


def _bounds(column: Column) -> tuple[float, float]:
    low = column.low if column.low is not None else min(0.0, (column.high or 0.0) - 100)
    return float(low), float(column.high if column.high is not None else max(100.0, low + 100))


def _scaled(values: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = (values - values.mean()) / (values.std() or 1.0)
    return scaled


def _span(column: Column) -> tuple[np.datetime64, int]:
    """The first moment to draw, and how many seconds there are to draw from: some days, within the bounds."""
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
    """Some texts that a column may hold."""
    least = column.min_length or 0
    found = []
    for word in WORDS:
        sized = word.ljust(least, word[-1])[: column.max_length]
        if not column.pattern or re.search(whole_pattern(column.pattern), sized):
            found.append(sized)
    return found or ["A".ljust(least, "A")[: column.max_length]]


def _draw(column: Column, n: int, random: np.random.Generator, unique: bool = False) -> np.ndarray:
    low, high = _bounds(column)
    if column.kind == "datetime":
        start, seconds = _span(column)
        drawn = np.sort(random.choice(seconds, n, replace=seconds < n))
        return start + (drawn * 1_000_000).astype("timedelta64[us]")
    if column.kind == "bool":
        return random.random(n) < 0.5
    if column.kind == "int":
        first, last = int(np.ceil(low)), int(np.floor(high))
        if unique:
            last = last if column.high is not None else max(last, first + n)
            return first + np.arange(n) % (last - first + 1)
        return random.integers(first, last, n, endpoint=True)
    if column.kind == "float":
        values = random.uniform(low, high, n)
        return np.where(values == low, (low + high) / 2, values) if column.exclusive_low else values
    if column.kind == "text":
        if unique and _is_free(column):
            return np.array([f"row{place}" for place in range(n)], dtype=object)
        words = _words(column)
        return np.array(words, dtype=object)[random.integers(0, len(words), n)]
    return np.array(column.categories, dtype=object)[random.integers(0, len(column.categories), n)]
