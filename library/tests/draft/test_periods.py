"""How a draft splits the rows into periods."""

from dataclasses import replace

import duckdb

from mlgates.draft.columns import Column, Counting
from mlgates.draft.decision import Decision, Field, Periods
from mlgates.draft.periods import decide_periods
from mlgates.settings import Settings

N_ROWS = 300
SETTINGS = Settings()


def periods_of(time: Column | None, settings: Settings = SETTINGS) -> Periods:
    """The periods of a table of 300 days, by its time or by chance."""
    database = duckdb.connect()
    day = "TIMESTAMP '2024-01-01' + to_days(CAST(place AS INTEGER)) AS day"
    # Columns may be called s and n, as in the SQL that counts the rows of each period.
    others = "place % 7 AS s, place % 3 AS n"
    database.execute(f"CREATE VIEW source AS SELECT {day}, {others} FROM range(300) t(place)")
    fields = {}
    if time is not None:
        time.low, time.high = Counting(database)(
            {"low": f"min({time.sql})", "high": f"max({time.sql})"}
        ).values()
        fields[time.label] = Field(time.label, time, time.kind)
    target = Field("y", Column("y", '"y"'), "bool")
    decision = Decision(fields, target, "binary", N_ROWS)
    label = time.label if time is not None else ""
    decide_periods(decision, Counting(database), label, settings, is_database=False)
    return decision.periods


def day() -> Column:
    return Column("day", '"day"', "datetime", N_ROWS)


def with_min_rows(n_rows: int) -> Settings:
    return replace(SETTINGS, validate=replace(SETTINGS.validate, min_rows=n_rows))


def test_the_calendar_gives_periods_that_have_enough_rows() -> None:
    periods = periods_of(day(), with_min_rows(20))
    assert periods.unit == "a month"
    assert periods.until == "2024-10"
    assert len(periods.ranges) == 10


def test_parts_in_time_have_as_many_rows_each_where_the_calendar_does_not_fit() -> None:
    periods = periods_of(day())
    assert periods.unit == "an equal part, in time"
    assert list(periods.ranges) == ["part-1", "part-2"]


def test_without_a_time_rows_are_split_by_chance() -> None:
    expected = {"part-1": (0, 3), "part-2": (1, 3), "part-3": (2, 3)}
    assert periods_of(None) == Periods("an equal part", expected, "part-3")


def test_no_least_number_of_rows_is_allowed() -> None:
    assert len(periods_of(None, with_min_rows(0)).ranges) == 4
