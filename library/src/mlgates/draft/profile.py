"""What every row of the table says: kinds, ranges, words, and what is stored as text but is not.

DuckDB counts, so the table is never in memory as a whole.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from mlgates.draft.source import Source, named, quoted
from mlgates.errors import ProjectError

if TYPE_CHECKING:
    import pandas as pd

MAX_WORDS = 300  # a column with more different values has no list of words
SAMPLE_ROWS = 20_000
FIRST_ROWS = 2_000  # on which every way to write a date is tried
AGGREGATES_PER_QUERY = 50  # more of them at once would not fit into the memory
EXACT = 2**53  # whole numbers above this are not told apart once they are floats

INTEGERS = {
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "HUGEINT",
}
FLOATS = re.compile(r"FLOAT|DOUBLE|DECIMAL|REAL")

# Ways to write a date and a time. ISO is not among them: DuckDB casts it.
NUMERIC_DAYS = ["%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%m/%d/%y", "%d.%m.%y"]
DAYS = [*NUMERIC_DAYS, "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%B %d, %Y"]
TIMES = ["", " %H:%M", " %H:%M:%S", " %I:%M %p"]
DATES = ["".join(parts) for parts in product(DAYS, TIMES)]

# SQL in which {c} stands for the column. \x27 is an apostrophe, \xA0 a space that does not break.
BEFORE = r"\s*[-+]?[$€£]?\s*"
AFTER = r"\s*[$€£%]?\s*"
DECIMAL_COMMA = rf"regexp_matches({{c}}, '^{BEFORE}(\d+|\d{{1,3}}(\.\d{{3}})+),\d+{AFTER}$')"
GROUPED = rf"regexp_matches({{c}}, '^{BEFORE}\d{{1,3}}([,\x27\xA0]\d{{3}})*(\.\d+)?{AFTER}$')"

# What one text looks like: the first test that it passes gives its form, none gives "text".
FORMS = {
    "word": r"NOT regexp_matches({c}, '\d') AND lower(trim({c})) NOT IN ('true', 'false')",
    "truth": r"NOT regexp_matches({c}, '\d')",
    "code": r"regexp_matches({c}, '^0\d|\d{39}') AND isfinite(TRY_CAST({c} AS DOUBLE))",
    "whole": r"regexp_matches({c}, '^\s*[-+]?\d+\s*$')",
    "number": "isfinite(TRY_CAST({c} AS DOUBLE))",
    "either": f"{DECIMAL_COMMA} AND {GROUPED}",  # 1,234
    "decimal": DECIMAL_COMMA,
    "grouped": GROUPED,
    "offset": r"regexp_matches({c}, '\d(Z|[+-]\d\d:?\d\d)\s*$') AND regexp_matches({c}, ':')"
    " AND TRY_CAST({c} AS TIMESTAMP) IS NOT NULL",
    "time": "TRY_CAST({c} AS TIMESTAMP) IS NOT NULL",
}

Forms = dict[str, int]  # how many values of a column have each form


@dataclass
class Column:
    """One column of the source.

    `sql` is the expression that reads it, as `kind`. `known` is how many values are not missing,
    `length` that of the longest text. `words` are the values with their counts, if they are few.
    """

    label: str
    sql: str
    kind: str = "text"  # int, float, bool, text, datetime, or other
    known: int = 0
    distinct: int = 0
    low: Any = None
    high: Any = None
    length: int = 0
    words: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_number(self) -> bool:
        """Whether its values are counted or measured."""
        return self.kind in ("int", "float")

    def read_as(self, kind: str, sql: str, note: str = "") -> None:
        """Read it as another kind from now on; `note` says to the user why."""
        self.kind = kind
        self.sql = sql
        if note:
            self.notes.append(note)


@dataclass
class Counting:
    """Aggregates over the rows of the table that are used, as many in one pass as memory allows."""

    database: Any
    table: str = "source"
    where: str = "true"

    def __call__(self, wanted: dict[Any, str]) -> dict[Any, Any]:
        """The value of each aggregate, by the same keys."""
        aggregates = list(wanted.values())
        values: list[Any] = []
        for first in range(0, len(aggregates), AGGREGATES_PER_QUERY):
            selected = ", ".join(aggregates[first : first + AGGREGATES_PER_QUERY])
            query = f"SELECT {selected} FROM {self.table} WHERE {self.where}"
            values += self.database.execute(query).fetchone()
        return dict(zip(wanted, values, strict=True))


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
        columns[label] = _typed_column(label, named(name), duckdb_type)
    _read_texts(count, [column for column in columns.values() if column.kind == "text"])
    _dates_in_whole_numbers(count, [column for column in columns.values() if column.kind == "int"])

    n_used, n_left_out = _select_rows(count, source, [columns[label] for label in needed])
    _measure(count, columns.values())
    sample = _sample(count, list(columns.values()), n_used)
    return Table(n_used, n_left_out, columns, count, sample)


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
    usable = [column for column in columns if column.kind != "other"]
    selected = ", ".join(f"{column.sql} AS c{place}" for place, column in enumerate(usable))
    query = f"SELECT {selected} FROM source WHERE {count.where}"
    if n_rows > SAMPLE_ROWS:
        query += f" USING SAMPLE reservoir({SAMPLE_ROWS} ROWS) REPEATABLE (0)"
    count.database.execute("SET threads = 1")  # with more, the sample differs from run to run
    sample: pd.DataFrame = count.database.execute(query).df()
    count.database.execute("SET threads = 2")
    sample.columns = [column.label for column in usable]
    return sample


def _typed_column(label: str, sql: str, duckdb_type: str) -> Column:
    """A column as DuckDB's type says it; texts are looked into afterwards."""
    column = Column(label, sql)
    if duckdb_type in INTEGERS:
        column.kind = "int"
    elif FLOATS.match(duckdb_type):
        number = f"CAST({sql} AS DOUBLE)"
        column.read_as("float", f"CASE WHEN isfinite({number})\nTHEN {number} END")
    elif duckdb_type == "BOOLEAN":
        column.kind = "bool"
    elif duckdb_type.startswith(("TIMESTAMP", "DATE")):
        has_zone = "ZONE" in duckdb_type or "TZ" in duckdb_type  # TIMESTAMPTZ_NS
        time = f"{sql} AT TIME ZONE 'UTC'" if has_zone else sql
        column.read_as("datetime", f"CAST({time} AS TIMESTAMP)")
    elif duckdb_type.startswith("ENUM"):
        column.sql = f"CAST({sql} AS VARCHAR)"
    elif duckdb_type != "VARCHAR":
        column.kind = "other"
        column.notes.append(f"{duckdb_type.lower()[:30]}: a request cannot have this type")
    return column


def _read_texts(count: Counting, texts: list[Column]) -> None:
    """Find numbers, truth values and dates that are stored as text, and read them as such."""
    forms_of = _count_forms(count, texts)
    unclear = []
    for column in texts:
        forms = set(forms_of[column.label])
        if forms and not _read_by_form(column, forms):
            unclear.append(column)

    without_words = [column for column in unclear if "word" not in forms_of[column.label]]
    _read_dates(count, without_words, forms_of)
    still_text = [column for column in unclear if column.kind == "text"]
    _read_almost_numbers(count, still_text, forms_of)


def _count_forms(count: Counting, texts: list[Column]) -> dict[str, Forms]:
    """How many values of each column have which form."""
    tests = " ".join(f"WHEN {test} THEN '{form}'" for form, test in FORMS.items())
    histogram = f"histogram(CASE {tests} ELSE 'text' END) FILTER ({{c}} IS NOT NULL)"
    found = count({column.label: histogram.replace("{c}", column.sql) for column in texts})
    return {label: forms or {} for label, forms in found.items()}


def _read_by_form(column: Column, forms: set[str]) -> bool:
    """Read a column as what all of its texts look like; returns False if that is nothing known."""
    text = column.sql
    if forms == {"whole"}:
        column.read_as("int", f"CAST({text} AS HUGEINT)")
    elif forms <= {"whole", "number"}:
        column.read_as("float", f"CAST({text} AS DOUBLE)")
    elif forms <= {"whole", "number", "code"}:
        column.notes.append("codes: digits with leading zeros, or more than 38, stay text")
    elif "decimal" in forms and forms <= {"decimal", "either", "whole"}:
        plain = f"regexp_replace({text}, '[$€£%.\\s]', '', 'g')"
        sql = f"CAST(replace({plain}, ',', '.') AS DOUBLE)"
        column.read_as("float", sql, "numbers in disguise: decimal commas")
    elif forms <= {"grouped", "either", "whole", "number"}:
        sql = f"CAST(regexp_replace({text}, '[$€£%,\\x27\\xA0\\s]', '', 'g') AS DOUBLE)"
        note = "numbers in disguise: separators, currency or per cent signs"
        column.read_as("float", sql, note)
    elif forms == {"truth"}:
        column.read_as("bool", f"CAST(trim({text}) AS BOOLEAN)")
    elif forms == {"time"}:
        column.read_as("datetime", f"CAST({text} AS TIMESTAMP)")
    elif forms <= {"time", "offset"}:
        sql = f"CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        column.read_as("datetime", sql, "times with an offset: read as UTC")
    else:
        return False
    return True


def _read_dates(count: Counting, texts: list[Column], forms_of: dict[str, Forms]) -> None:
    """Read dates that are written in another way than ISO."""
    n_parsed = _count_dates(count, texts)
    for column in texts:
        n_values = sum(forms_of[column.label].values())
        fitting = [way for way in DATES if n_parsed.get((column.label, way)) == n_values]
        if not fitting:
            continue
        note = f"dates in disguise: written as {fitting[0]}"
        if len(fitting) > 1:
            note += f" ({fitting[1]} would fit too)"
        column.read_as("datetime", f"strptime({column.sql}, '{fitting[0]}')", note)


def _count_dates(count: Counting, texts: list[Column]) -> dict[tuple[str, str], int]:
    """How many values are dates, by the label of a column and a way to write dates.

    Trying every way on every row is slow, so only what fits some of the first rows is tried on all.
    """
    tries = {}
    for column, way in product(texts, DATES):
        tries[column.label, way] = f"count(try_strptime({column.sql}, '{way}'))"
    in_first_rows = Counting(count.database, f"(FROM source LIMIT {FIRST_ROWS})")(tries)
    return count({key: sql for key, sql in tries.items() if in_first_rows[key]})


def _read_almost_numbers(count: Counting, texts: list[Column], forms_of: dict[str, Forms]) -> None:
    """Read texts as numbers if all but a few marks, such as "?", are numbers.

    The marks count as missing. A true mixture of numbers and words stays text.
    """
    for column in texts:
        forms = forms_of[column.label]
        n_values = sum(forms.values())
        n_numbers = forms.get("whole", 0) + forms.get("number", 0)
        if n_numbers < n_values / 2 or "code" in forms:
            continue
        marks = _first_marks(count, column)
        if len(marks) > 3 or n_numbers < 0.7 * n_values:
            counts = f"{n_numbers:,} of {n_values:,} values are numbers"
            column.notes.append(f"mixed: {counts}, for example {marks[0]!r} is not")
            continue
        listed = ", ".join(quoted(mark) for mark in sorted(marks))
        number = f"CASE WHEN {column.sql} NOT IN ({listed}) THEN {column.sql} END"
        note = f"numbers in disguise: {', '.join(map(repr, marks))} counts as missing"
        column.read_as("float", f"CAST({number} AS DOUBLE)", note)


def _first_marks(count: Counting, column: Column) -> list[str]:
    """Up to four different texts that are no numbers."""
    is_number = f"coalesce(isfinite(TRY_CAST({column.sql} AS DOUBLE)), {column.sql} IS NULL)"
    query = f"SELECT {column.sql} AS mark FROM source WHERE NOT {is_number} GROUP BY mark LIMIT 4"
    return [mark for (mark,) in count.database.execute(query).fetchall()]


def _dates_in_whole_numbers(count: Counting, numbers: list[Column]) -> None:
    """Read whole numbers such as 20130430 as dates, if every value is one."""
    # Only numbers of eight digits are tried: they are dates of 1900 to 2100.
    is_date = (
        "CASE WHEN {c} BETWEEN 19000101 AND 21001231"
        " THEN try_strptime({c}::VARCHAR, '%Y%m%d') IS NOT NULL END"
    )
    all_are_dates = f"bool_and(coalesce({is_date}, false)) FILTER ({{c}} IS NOT NULL)"
    found = count({column.label: all_are_dates.replace("{c}", column.sql) for column in numbers})
    for column in numbers:
        if found[column.label]:
            sql = f"strptime(CAST({column.sql} AS VARCHAR), '%Y%m%d')"
            column.read_as("datetime", sql, "dates in disguise: whole numbers such as 20130430")


def _measure(count: Counting, columns: Iterable[Column]) -> None:
    """Find bounds, missing values, how many different values there are, and the words if few."""
    used = {column.label: column for column in columns if column.kind != "other"}
    _measure_bounds(count, used)
    for column in used.values():
        if column.kind == "int":
            _fit_into_integers(column)
    _count_distinct(count, used)
    _count_words(count, used)


def _measure_bounds(count: Counting, columns: dict[str, Column]) -> None:
    """Set known, distinct (about), low, high and length."""
    wanted = {}
    for label, column in columns.items():
        sql = column.sql
        length = f"coalesce(max(length({sql})), 0)" if column.kind == "text" else "0"
        # One struct a column: the names are those of the attributes.
        wanted[label] = (
            f"{{'known': count({sql}), 'distinct': approx_count_distinct({sql}), "
            f"'low': min({sql}), 'high': max({sql}), 'length': {length}}}"
        )
    for label, measured in count(wanted).items():
        vars(columns[label]).update(measured)


def _fit_into_integers(column: Column) -> None:
    """Read whole numbers as 64 bit, or as text if floats would not tell them apart."""
    if column.known and max(abs(column.low), abs(column.high)) > EXACT:
        column.length = len(str(column.high)) + 1
        note = "whole numbers too large for exact arithmetic: read as text"
        column.read_as("text", f"CAST({column.sql} AS VARCHAR)", note)
    else:
        column.sql = column.sql.replace("HUGEINT", "BIGINT")


def _count_distinct(count: Counting, columns: dict[str, Column]) -> None:
    """Count the values exactly where nearly all differ: whether they are unique must be known."""
    wanted = {}
    for label, column in columns.items():
        if column.kind in ("int", "text") and column.distinct > 0.8 * column.known:
            wanted[label] = f"count(DISTINCT {column.sql})"
    for label, distinct in count(wanted).items():
        columns[label].distinct = distinct


def _count_words(count: Counting, columns: dict[str, Column]) -> None:
    """Count each value where there are few."""
    wanted = {}
    for label, column in columns.items():
        # The number of different values is an estimate that may be some per cent too low.
        are_few = column.known and column.distinct <= 0.9 * MAX_WORDS
        if are_few and column.kind != "datetime":
            wanted[label] = f"histogram({column.sql})"
    for label, words in count(wanted).items():
        columns[label].words = {str(word): times for word, times in words.items()}
        columns[label].distinct = len(words)
