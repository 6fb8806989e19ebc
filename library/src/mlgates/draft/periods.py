"""Periods: how data.py splits the rows, by time if a time is named, else by chance."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mlgates.draft.decision import Decision, Field, Periods
from mlgates.draft.profile import Counting
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
    min_rows = max(1, int(settings.validate.min_rows))
    n_needed = int(settings.train.periods) + 1  # the training periods, and one to evaluate on
    if time_label:
        field = decision.fields[time_label]
        if field.kind != "datetime" and not field.column.is_number:
            raise ProjectError(
                f"--time {time_label} does not hold times.",
                "Name a column with dates, times or years.",
            )
        periods = _calendar_periods(count, field, min_rows, n_needed)
        if periods is None:
            periods = _equal_periods(count, field, min_rows, decision.rows)
        if periods is not None:
            decision.periods = periods
            _make_time(decision, field)
            return
        decision.warnings.append(
            f"{decision.rows:,} rows are too few to split by time: they are split by chance"
        )
    else:
        _suggest_time(decision)
    decision.periods = _parts_by_chance(decision.rows, min_rows, n_needed, is_database)


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
    for field in decision.fields.values():
        if field.kind == "datetime":
            label = field.column.label
            hint = f"with --time {label} the test rows follow the training rows"
            decision.warnings.append(f"{label!r} holds times: {hint}")
            return


def _parts_by_chance(n_rows: int, min_rows: int, n_needed: int, is_database: bool) -> Periods:
    """Equal parts of the rows; a database has one part, since its rows have no fixed order."""
    n_parts = 1
    if not is_database:
        n_full = min(MAX_PARTS, n_rows // min_rows)
        n_parts = max(1, n_full, math.ceil(n_rows / MAX_ROWS_PER_PART))
    n_digits = len(str(n_parts))
    ranges = {f"part-{part + 1:0{n_digits}d}": (part, n_parts) for part in range(n_parts)}
    n_closed = min(n_parts, n_needed)
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


def _calendar_periods(count: Counting, time: Field, min_rows: int, n_needed: int) -> Periods | None:
    """Periods of the unit that gives about twelve of them; None if none gives enough rows."""
    best = None
    best_distance = math.inf
    for unit in _units(time):
        starts = f"SELECT {unit.start} AS s FROM source WHERE {count.where}"
        grouped = f"SELECT s, count(*) AS n FROM ({starts}) GROUP BY s"
        query = f"SELECT {unit.name}, s, s + {unit.step}, n FROM ({grouped}) ORDER BY s"
        rows = count.database.execute(query).fetchall()
        last_full = _last_full(rows, min_rows, n_needed)
        if last_full is None:
            continue
        distance = abs(math.log(len(rows) / IDEAL))
        if distance < best_distance:
            best_distance = distance
            ranges = {name: (first, after) for name, first, after, _ in rows}
            best = Periods(unit.label, ranges, until=rows[last_full][0])
    return best


def _last_full(rows: list[tuple[Any, ...]], min_rows: int, n_needed: int) -> int | None:
    """The place of the last period with enough rows.

    None unless it is the last of `n_needed` such periods that follow each other.
    """
    full = [place for place, (*_, n_rows) in enumerate(rows) if n_rows >= min_rows]
    newest = full[-n_needed:]
    if len(newest) < n_needed or newest[-1] - newest[0] != n_needed - 1:
        return None
    return newest[-1]


def _equal_periods(count: Counting, time: Field, min_rows: int, n_rows: int) -> Periods | None:
    """Periods of about as many rows each, as many as have enough rows; None if not even two do."""
    sql = time.column.sql
    for n_parts in range(min(MAX_PARTS, n_rows // min_rows), 1, -1):
        ranges = _equal_ranges(count, time, n_parts)
        wanted = {}
        for label, (first, after) in ranges.items():
            condition = f"{sql} >= {_literal(first)} AND {sql} < {_literal(after)}"
            wanted[label] = f"count(*) FILTER ({condition})"
        sizes = count(wanted)
        if len(sizes) > 1 and min(sizes.values()) >= min_rows:
            return Periods("an equal part, in time", ranges, until=list(ranges)[-1])
    return None


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
