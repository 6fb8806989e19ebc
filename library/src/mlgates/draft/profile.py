"""What every row of the table says: kinds, ranges, missing values and words."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlgates.draft.columns import Column, Counting, of_kind
from mlgates.draft.source import Source, sql_name
from mlgates.draft.texts import read_texts, read_whole_dates
from mlgates.errors import ProjectError

if TYPE_CHECKING:
    import pandas as pd

MAX_WORDS = 300  # a column with more different values has no list of words
SAMPLE_ROWS = 20_000
EXACT = 2**53  # whole numbers above this are not told apart once they are floats

# The kind of column that a type of DuckDB is read as, and the SQL that reads it.
TYPES = {
    r"U?(TINYINT|SMALLINT|INTEGER|BIGINT)|HUGEINT": ("int", "{c}"),
    r"FLOAT|DOUBLE|REAL|DECIMAL\(.*\)": (
        "float",
        "CASE WHEN isfinite(CAST({c} AS DOUBLE))\nTHEN CAST({c} AS DOUBLE) END",
    ),
    r"BOOLEAN": ("bool", "{c}"),
    r"TIMESTAMP(TZ\w*| WITH TIME ZONE)": ("datetime", "CAST({c} AT TIME ZONE 'UTC' AS TIMESTAMP)"),
    r"DATE|TIMESTAMP(_\w+)?": ("datetime", "CAST({c} AS TIMESTAMP)"),
    r"ENUM\(.*\)": ("text", "CAST({c} AS VARCHAR)"),
    r"VARCHAR": ("text", "{c}"),
}
READABLE = ("int", "float", "bool", "text", "datetime")

# One struct a column; its names are those of the column's attributes.
MEASURES = (
    "{'known': count({c}), 'distinct': approx_count_distinct({c}), "
    "'low': min({c}), 'high': max({c}), 'length': LENGTH}"
)
LENGTHS = {"text": "coalesce(max(length({c})), 0)"}  # of other kinds it is 0


@dataclass
class Table:
    """The columns, how many rows are used, how to count them, and a sample of them.

    The sample has the world's names, and no column of kind "other".
    """

    rows: int
    left_out: int
    columns: dict[str, Column]
    count: Counting
    sample: "pd.DataFrame"


def profile(source: Source, needed: list[str]) -> Table:
    """Count everything. Rows without a value in a `needed` column (outcome, time) are left out.

    Raises: ProjectError if the table has no row, or none with a needed value.
    """
    count = Counting(source.database)
    columns = {}
    for label, (name, duckdb_type) in source.columns.items():
        columns[label] = _typed_column(label, sql_name(name), duckdb_type)
    read_texts(count, of_kind(columns.values(), "text"))
    read_whole_dates(count, of_kind(columns.values(), "int"))

    n_used, n_left_out = _select_rows(count, source, [columns[label] for label in needed])
    readable = of_kind(columns.values(), *READABLE)
    _measure(count, readable)
    sample = _sample(count, readable, n_used)
    return Table(n_used, n_left_out, columns, count, sample)


def _typed_column(label: str, sql: str, duckdb_type: str) -> Column:
    """A column as DuckDB's type says it; texts are looked into afterwards."""
    column = Column(label, sql)
    for pattern, (kind, reading) in TYPES.items():
        if re.fullmatch(pattern, duckdb_type, re.DOTALL):
            column.read_as(kind, column.filled_into(reading))
            return column
    column.read_as("other", sql, f"{duckdb_type.lower()[:30]}: a request cannot have this type")
    return column


def _select_rows(count: Counting, source: Source, needed: list[Column]) -> tuple[int, int]:
    """How many rows are used, and how many left out; from now on only the former are counted."""
    where = " AND ".join(f"({column.sql}) IS NOT NULL" for column in needed)
    wanted: dict[Any, str] = {"rows": "count(*)", "used": f"count(*) FILTER ({where})"}
    for column in needed:
        wanted["known", column.label] = f"count({column.sql})"
    counts = count(wanted)
    if not counts["rows"]:
        raise ProjectError(
            f"{source.label} has a header and no row.", "Rows are needed to draft from."
        )
    for column in needed:
        if not counts["known", column.label]:
            raise ProjectError(f"{column.label!r} has no value in any row.")
    count.where = where
    return counts["used"], counts["rows"] - counts["used"]


def _sample(count: Counting, columns: list[Column], n_rows: int) -> "pd.DataFrame":
    """Some rows of the table, or all if they are few; columns have the world's names."""
    selected = ", ".join(f"{column.sql} AS c{place}" for place, column in enumerate(columns))
    query = f"SELECT {selected} FROM source WHERE {count.where}"
    if n_rows > SAMPLE_ROWS:
        query += f" USING SAMPLE reservoir({SAMPLE_ROWS} ROWS) REPEATABLE (0)"
    count.database.execute("SET threads = 1")  # with more, the sample differs from run to run
    sample: pd.DataFrame = count.database.execute(query).df()
    count.database.execute("SET threads = 2")
    sample.columns = [column.label for column in columns]
    return sample


def _measure(count: Counting, columns: list[Column]) -> None:
    """Find bounds, missing values, how many different values there are, and the words if few."""
    _measure_bounds(count, columns)
    for column in of_kind(columns, "int"):
        _fit_into_integers(column)
    _count_distinct(count, columns)
    _count_words(count, columns)


def _measure_bounds(count: Counting, columns: list[Column]) -> None:
    """Set known, distinct (about), low, high and length."""
    wanted = {}
    for column in columns:
        length = LENGTHS.get(column.kind, "0")
        wanted[column.label] = column.filled_into(MEASURES.replace("LENGTH", length))
    measured = count(wanted)
    for column in columns:
        vars(column).update(measured[column.label])


def _fit_into_integers(column: Column) -> None:
    """Read whole numbers as 64 bit, or as text if floats would not tell them apart."""
    if column.known and max(abs(column.low), abs(column.high)) > EXACT:
        column.length = len(str(column.high)) + 1
        note = "whole numbers too large for exact arithmetic: read as text"
        column.read_as("text", f"CAST({column.sql} AS VARCHAR)", note)
    else:
        column.sql = column.sql.replace("HUGEINT", "BIGINT")


def _count_distinct(count: Counting, columns: Iterable[Column]) -> None:
    """Count the values exactly where nearly all differ: whether they are unique must be known."""
    nearly_unique = []
    for column in of_kind(columns, "int", "text"):
        if column.distinct > 0.8 * column.known:
            nearly_unique.append(column)
    for column, distinct in count.each(nearly_unique, "count(DISTINCT {c})"):
        column.distinct = distinct


def _count_words(count: Counting, columns: Iterable[Column]) -> None:
    """Count each value where there are few."""
    with_few_values = []
    for column in of_kind(columns, "int", "float", "bool", "text"):
        # The number of different values is an estimate that may be some per cent too low.
        if 0 < column.distinct <= 0.9 * MAX_WORDS:
            with_few_values.append(column)
    for column, words in count.each(with_few_values, "histogram({c})"):
        column.words = {str(word): times for word, times in words.items()}
        column.distinct = len(words)
