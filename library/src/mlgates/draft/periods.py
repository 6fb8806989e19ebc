"""Periods: how data.py splits the rows, by time if a time is named, else by chance."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mlgates.draft.columns import Counting
from mlgates.draft.decision import Decision, Field, Periods
from mlgates.errors import ProjectError
from mlgates.settings import Settings

IDEAL = 12  # periods; a calendar unit that gives about so many is taken
MAX_PARTS = 4  # equal parts, where the calendar does not fit or there is no time
MAX_ROWS_PER_PART = 250_000  # of parts by chance; a larger table has more than MAX_PARTS

# The name of a period in DuckDB's SQL; `s` is its start.
CALENDAR = {
    "year": "strftime(s, '%Y')",
    "quarter": "strftime(s, '%Y') || '-Q' || quarter(s)",
    "month": "strftime(s, '%Y-%m')",
    "week": "strftime(s, '%G-W%V')",
    "day": "strftime(s, '%Y-%m-%d')",
}


def decide_periods(
    decision: Decision, count: Counting, time_label: str, settings: Settings, *, is_database: bool
) -> None:
    """Set the periods, and the time if there is one.

    Raises: ProjectError if the column that --time names holds no times.
    """
    needed = Needed(
        min_rows=max(1, int(settings.validate.min_rows)),
        n_periods=int(settings.train.periods) + 1,  # the training periods, and one to evaluate on
    )
    if not time_label:
        _suggest_time(decision)
        decision.periods = _parts_by_chance(decision.rows, needed, is_database)
        return

    field = decision.fields[time_label]
    if field.kind != "datetime" and not field.column.is_number:
        raise ProjectError(
            f"--time {time_label} does not hold times.",
            "Name a column with dates, times or years.",
        )
    periods = _calendar_periods(count, field, needed)
    if periods is None:
        periods = _equal_periods(count, field, needed, decision.rows)
    if periods is None:
        decision.warnings.append(
            f"{decision.rows:,} rows are too few to split by time: they are split by chance"
        )
        decision.periods = _parts_by_chance(decision.rows, needed, is_database)
        return
    decision.periods = periods
    _make_time(decision, field)


@dataclass(frozen=True)
class Needed:
    """What training and evaluation need: so many periods in a row, each with enough rows."""

    min_rows: int
    n_periods: int


def _make_time(decision: Decision, field: Field) -> None:
    """Write the field as the time; one that is the key stays the key, too."""
    decision.time = field.name
    if field.role != "key":
        field.role = "time"
    field.nullable = False  # rows without a time are left out
    periods = decision.periods
    field.why.append(f"named by --time: {len(periods.ranges)} periods, {periods.unit}")
    if field.column.is_number:
        field.set_bounds(None, None)  # later times are higher


def _suggest_time(decision: Decision) -> None:
    """Name the first column of times."""
    times = [field.column.label for field in decision.fields.values() if field.kind == "datetime"]
    if times:
        hint = f"with --time {times[0]} the test rows follow the training rows"
        decision.warnings.append(f"{times[0]!r} holds times: {hint}")


def _parts_by_chance(n_rows: int, needed: Needed, is_database: bool) -> Periods:
    """Equal parts of the rows; a database has one part, since its rows have no fixed order."""
    n_parts = 1
    if not is_database:
        n_full = min(MAX_PARTS, n_rows // needed.min_rows)
        n_parts = max(1, n_full, math.ceil(n_rows / MAX_ROWS_PER_PART))
    n_digits = len(str(n_parts))
    ranges = {}
    for part in range(n_parts):
        ranges[f"part-{part + 1:0{n_digits}d}"] = (part, n_parts)
    n_closed = min(n_parts, needed.n_periods)
    return Periods("an equal part", ranges, until=list(ranges)[n_closed - 1])


@dataclass(frozen=True)
class Unit:
    """A unit of time: what it is called, and SQL in which `s` is the start of a period."""

    label: str
    start: str  # of the period in which a row lies
    name: str  # of the period
    step: str  # from one period to the next


def _units(time: Field) -> list[Unit]:
    """The calendar's units; for a number, such as a year, each value is a period."""
    sql = time.column.sql
    if time.column.is_number:
        return [Unit(f"a value of {time.name}", sql, "CAST(s AS VARCHAR)", "1")]
    units = []
    for unit, name in CALENDAR.items():
        units.append(Unit(f"a {unit}", f"date_trunc('{unit}', {sql})", name, f"INTERVAL 1 {unit}"))
    return units


def _calendar_periods(count: Counting, time: Field, needed: Needed) -> Periods | None:
    """Periods of the unit that gives about twelve of them; None if none gives enough rows."""
    candidates = []
    for unit in _units(time):
        periods = _periods_of_unit(count, unit, needed)
        if periods is not None:
            candidates.append(periods)
    return min(candidates, key=_distance_from_ideal, default=None)


def _distance_from_ideal(periods: Periods) -> float:
    """How far their number is from the ideal one: twice as many are as far as half as many."""
    return abs(math.log(len(periods.ranges) / IDEAL))


def _periods_of_unit(count: Counting, unit: Unit, needed: Needed) -> Periods | None:
    """The periods of one unit; None if the newest ones with enough rows do not follow each other.

    The last of these is the last closed one.
    """
    starts = f"SELECT {unit.start} AS s FROM source WHERE {count.where}"
    grouped = f"SELECT s, count(*) AS n FROM ({starts}) GROUP BY s"
    query = f"SELECT {unit.name}, s, s + {unit.step}, n FROM ({grouped}) ORDER BY s"
    rows = count.database.execute(query).fetchall()
    ranges = {name: (first, after) for name, first, after, _ in rows}
    full = [place for place, (*_, n_rows) in enumerate(rows) if n_rows >= needed.min_rows]

    newest = full[-needed.n_periods :]
    if len(newest) < needed.n_periods or newest[-1] - newest[0] != needed.n_periods - 1:
        return None
    return Periods(unit.label, ranges, until=list(ranges)[newest[-1]])


def _equal_periods(count: Counting, time: Field, needed: Needed, n_rows: int) -> Periods | None:
    """Periods of about as many rows each, as many as have enough rows; None if not even two do."""
    for n_parts in range(min(MAX_PARTS, n_rows // needed.min_rows), 1, -1):
        ranges = _equal_ranges(count, time, n_parts)
        sizes = _sizes(count, time, ranges)
        if len(sizes) > 1 and min(sizes) >= needed.min_rows:
            return Periods("an equal part, in time", ranges, until=list(ranges)[-1])
    return None


def _sizes(count: Counting, time: Field, ranges: dict[str, tuple[Any, Any]]) -> list[int]:
    """How many rows lie in each range."""
    sql = time.column.sql
    wanted = {}
    for label, (first, after) in ranges.items():
        condition = f"{sql} >= {_literal(first)} AND {sql} < {_literal(after)}"
        wanted[label] = f"count(*) FILTER ({condition})"
    return list(count(wanted).values())


def _equal_ranges(count: Counting, time: Field, n_parts: int) -> dict[str, tuple[Any, Any]]:
    """The first value of each part, and the first one after it; fewer parts where values repeat."""
    column = time.column
    shares = ", ".join(str(part / n_parts) for part in range(1, n_parts))
    quantiles = count({"cuts": f"quantile_disc({column.sql}, [{shares}])"})["cuts"]
    cuts = [cut for cut in sorted(set(quantiles)) if cut > column.low]
    end = column.high + 1 if column.is_number else "9999-12-31"
    pairs = pairwise([column.low, *cuts, end])
    return {f"part-{place}": pair for place, pair in enumerate(pairs, 1)}


def _literal(value: Any) -> str:
    """A number or a time as SQL."""
    if isinstance(value, int | float):
        return str(value)
    return f"TIMESTAMP '{value}'"
