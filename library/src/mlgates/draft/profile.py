"""What every row of the table says: kinds, ranges, words, dates in disguise; counted by DuckDB, never all in memory."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlgates.draft.source import Source, named, quoted
from mlgates.errors import ProjectError

if TYPE_CHECKING:
    import pandas as pd

MOST_WORDS = 300  # that are counted one by one
SAMPLE, FIRST, AT_ONCE = 20_000, 2_000, 50
EXACT = 2**53  # whole numbers above are not told apart once they are floats
NUMBERS = {
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
NUMERIC = ["%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%m/%d/%y", "%d.%m.%y"]
DAYS = [*NUMERIC, "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%B %d, %Y"]
DATES = [f"{day}{time}" for day in DAYS for time in ("", " %H:%M", " %H:%M:%S", " %I:%M %p")]
SIGNS, AFTER = "\\s*[-+]?[$€£]?\\s*", "\\s*[$€£%]?\\s*"  # round numbers
DECIMAL = f"regexp_matches({{c}}, '^{SIGNS}(\\d+|\\d{{{{1,3}}}}(\\.\\d{{{{3}}}})+),\\d+{AFTER}$')"
GROUPED = (
    f"regexp_matches({{c}}, '^{SIGNS}\\d{{{{1,3}}}}([,\\x27\\xA0]\\d{{{{3}}}})*(\\.\\d+)?{AFTER}$')"
)

FORMS = {  # what one text looks like: the first that fits
    "word": "NOT regexp_matches({c}, '\\d') AND lower(trim({c})) NOT IN ('true', 'false')",
    "truth": "NOT regexp_matches({c}, '\\d')",
    "code": "regexp_matches({c}, '^0\\d|\\d{{39}}') AND isfinite(TRY_CAST({c} AS DOUBLE))",
    "whole": "regexp_matches({c}, '^\\s*[-+]?\\d+\\s*$')",
    "number": "isfinite(TRY_CAST({c} AS DOUBLE))",
    "either": f"{DECIMAL} AND {GROUPED}",  # 1,234
    "decimal": DECIMAL,
    "grouped": GROUPED,
    "offset": "regexp_matches({c}, '\\d(Z|[+-]\\d\\d:?\\d\\d)\\s*$') AND regexp_matches({c}, ':')"
    " AND TRY_CAST({c} AS TIMESTAMP) IS NOT NULL",
    "time": "TRY_CAST({c} AS TIMESTAMP) IS NOT NULL",
}


@dataclass
class Column:
    """One column of the source: `sql` reads it, as `kind`; `words` are its values with their counts if they are few."""

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


@dataclass
class Counting:
    """Aggregates over the table, as many in one pass as the memory allows."""

    database: Any
    table: str = "source"
    where: str = "true"

    def __call__(self, wanted: dict[Any, str]) -> dict[Any, Any]:
        """The value of each aggregate, by the same keys."""
        found, aggregates = list[Any](), list(wanted.values())
        for first in range(0, len(aggregates), AT_ONCE):
            some = ", ".join(aggregates[first : first + AT_ONCE])
            found += self.database.execute(
                f"SELECT {some} FROM {self.table} WHERE {self.where}"
            ).fetchone()
        return dict(zip(wanted, found, strict=True))


@dataclass
class Table:
    """The columns, how many rows are used, how to count them, and a sample of them under the world's names."""

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
    columns = {label: Column(label, named(name)) for label, (name, _) in source.columns.items()}
    for column in columns.values():
        _typed(column, source.columns[column.label][1])
    _read_texts(count, [column for column in columns.values() if column.kind == "text"])
    _dates_in_whole_numbers(count, [column for column in columns.values() if column.kind == "int"])
    where = " AND ".join(f"({columns[label].sql}) IS NOT NULL" for label in needed)
    known = {("known", label): f"count({columns[label].sql})" for label in needed}
    found = count({"every": "count(*)", "used": f"count(*) FILTER ({where})"} | known)
    if not found["every"]:
        raise ProjectError(
            f"{source.label} has a header and no row.", "Rows are needed to draft from."
        )
    if empty := [label for label in needed if not found["known", label]]:
        raise ProjectError(f"{empty[0]!r} has no value in any row.")
    count.where = where
    _measure(count, columns.values())
    shown = [column for column in columns.values() if column.kind != "other"]
    select = ", ".join(f"{column.sql} AS c{place}" for place, column in enumerate(shown))
    count.database.execute("SET threads = 1")  # the sample is the same every time
    some = f"USING SAMPLE reservoir({SAMPLE} ROWS) REPEATABLE (0)" if found["used"] > SAMPLE else ""
    sample = count.database.execute(f"SELECT {select} FROM source WHERE {count.where} {some}").df()
    count.database.execute("SET threads = 2")
    sample.columns = [column.label for column in shown]
    return Table(found["used"], found["every"] - found["used"], columns, count, sample)


def _typed(column: Column, kind: str) -> None:
    """Kind and reading expression of a column that has a type already; texts are looked into afterwards."""
    if kind in NUMBERS:
        column.kind = "int"
    elif FLOATS.match(kind):
        column.kind, double = "float", f"CAST({column.sql} AS DOUBLE)"
        column.sql = f"CASE WHEN isfinite({double}) THEN {double} END"
    elif kind == "BOOLEAN":
        column.kind = "bool"
    elif kind.startswith(("TIMESTAMP", "DATE")):
        zoned = f"{column.sql} AT TIME ZONE 'UTC'" if "ZONE" in kind else column.sql
        column.kind, column.sql = "datetime", f"CAST({zoned} AS TIMESTAMP)"
    elif kind == "VARCHAR" or kind.startswith("ENUM"):
        column.sql = column.sql if kind == "VARCHAR" else f"CAST({column.sql} AS VARCHAR)"
    else:
        column.kind = "other"
        column.notes.append(f"{kind.lower()[:30]}: no type that a table of rows can hold")


def _read_texts(count: Counting, texts: list[Column]) -> None:
    """Numbers, truth values and dates that are stored as text."""
    forms = " ".join(f"WHEN {test} THEN '{form}'" for form, test in FORMS.items())
    one = f"histogram(CASE {forms} ELSE 'text' END) FILTER ({{c}} IS NOT NULL)"
    found = {
        label: some or {}
        for label, some in count({c.label: one.format(c=c.sql) for c in texts}).items()
    }
    unclear = [column for column in texts if not _read_text(column, found[column.label])]
    _texts_by_format(count, [c for c in unclear if "word" not in found[c.label]], found)
    _almost_numbers(count, [c for c in unclear if c.kind == "text"], found)


def _read_text(column: Column, found: dict[str, int]) -> bool:
    """Whether the text is something else, as a whole; then it is read so."""
    forms, c = {*found}, column.sql
    if not forms:
        return True
    if forms <= {"whole", "number"}:
        column.kind = "float" if "number" in forms else "int"
        column.sql = f"CAST({c} AS {'HUGEINT' if column.kind == 'int' else 'DOUBLE'})"
    elif forms <= {"whole", "number", "code"}:
        column.notes.append("codes: digits with leading zeros, or more than 38, stay text")
    elif "decimal" in forms and forms <= {"decimal", "either", "whole"}:
        plain = f"regexp_replace({c}, '[$€£%.\\s]', '', 'g')"
        column.kind, column.sql = "float", f"CAST(replace({plain}, ',', '.') AS DOUBLE)"
        column.notes.append("numbers in disguise: decimal commas")
    elif forms <= {"grouped", "either", "whole", "number"}:
        column.kind, column.sql = (
            "float",
            f"CAST(regexp_replace({c}, '[$€£%,\\x27\\xA0\\s]', '', 'g') AS DOUBLE)",
        )
        column.notes.append("numbers in disguise: separators, currency or per cent signs")
    elif forms == {"truth"}:
        column.kind, column.sql = "bool", f"CAST(trim({c}) AS BOOLEAN)"
    elif forms == {"time"}:
        column.kind, column.sql = "datetime", f"CAST({c} AS TIMESTAMP)"
    elif forms <= {"time", "offset"}:
        column.kind, column.sql = "datetime", f"CAST({c} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        column.notes.append("times with an offset: read as UTC")
    else:
        return False
    return True


def _texts_by_format(
    count: Counting, texts: list[Column], found: dict[str, dict[str, int]]
) -> None:
    """Dates that are written in another way than ISO; only what fits the first rows is tried on all."""
    ways = {
        (c.label, way): f"count(try_strptime({c.sql}, '{way}'))" for c in texts for way in DATES
    }
    some = Counting(count.database, f"(FROM source LIMIT {FIRST})")(ways)
    parsed = count({name: sql for name, sql in ways.items() if some[name]})
    for column in texts:
        known = sum(found[column.label].values())
        if fit := [way for way in DATES if parsed.get((column.label, way)) == known]:
            column.kind, column.sql = "datetime", f"strptime({column.sql}, '{fit[0]}')"
            other = f" ({fit[1]} would fit too)" if fit[1:] else ""
            column.notes.append(f"dates in disguise: written as {fit[0]}{other}")


def _almost_numbers(count: Counting, texts: list[Column], found: dict[str, dict[str, int]]) -> None:
    """Numbers but for a few marks, which count as missing; a true mixture stays text."""
    for column in texts:
        forms = found[column.label]
        numbers, known = forms.get("whole", 0) + forms.get("number", 0), sum(forms.values())
        if numbers < known / 2 or "code" in forms:
            continue
        number = f"coalesce(isfinite(TRY_CAST({column.sql} AS DOUBLE)), {column.sql} IS NULL)"
        sql = f"SELECT {column.sql} AS mark FROM source WHERE NOT {number} GROUP BY mark LIMIT 4"
        marks = [row[0] for row in count.database.execute(sql).fetchall()]
        if len(marks) > 3 or numbers < 0.7 * known:
            column.notes.append(
                f"mixed: {numbers:,} of {known:,} values are numbers, for example {marks[0]!r} is not"
            )
            continue
        kept = f"CASE WHEN {column.sql} NOT IN ({', '.join(map(quoted, sorted(marks)))}) THEN {column.sql} END"
        column.kind, column.sql = "float", f"CAST({kept} AS DOUBLE)"
        column.notes.append(f"numbers in disguise: {', '.join(map(repr, marks))} counts as missing")


def _dates_in_whole_numbers(count: Counting, numbers: list[Column]) -> None:
    """Dates such as 20130430."""
    is_date = "CASE WHEN {c} BETWEEN 19000101 AND 21001231 THEN try_strptime({c}::VARCHAR, '%Y%m%d') IS NOT NULL END"
    every = "bool_and(coalesce(" + is_date + ", false)) FILTER ({c} IS NOT NULL)"
    found = count({column.label: every.format(c=column.sql) for column in numbers})
    for column in (column for column in numbers if found[column.label]):
        column.kind, column.sql = "datetime", f"strptime(CAST({column.sql} AS VARCHAR), '%Y%m%d')"
        column.notes.append("dates in disguise: whole numbers such as 20130430")


def _measure(count: Counting, columns: Iterable[Column]) -> None:
    """Bounds, missing values, how many different values, and the words where they are few."""
    used = {column.label: column for column in columns if column.kind != "other"}
    wanted = {}
    for label, column in used.items():
        c, length = (
            column.sql,
            f"coalesce(max(length({column.sql})), 0)" if column.kind == "text" else "0",
        )
        bounds = f"'low': min({c}), 'high': max({c}), 'length': {length}"
        wanted[label] = f"{{'known': count({c}), 'distinct': approx_count_distinct({c}), {bounds}}}"
    found = count(wanted)
    for label, column in used.items():
        vars(column).update(found[label])
        if column.kind == "int" and column.known and max(abs(column.low), abs(column.high)) > EXACT:
            column.kind, column.sql = "text", f"CAST({column.sql} AS VARCHAR)"
            column.length = len(str(column.high)) + 1
            column.notes.append("whole numbers too large for exact arithmetic: read as text")
        elif column.kind == "int":
            column.sql = column.sql.replace("HUGEINT", "BIGINT")
    many = {
        label: c.sql
        for label, c in used.items()
        if c.kind in ("int", "text") and c.distinct > 0.8 * c.known
    }
    for label, exact in count(
        {label: f"count(DISTINCT {sql})" for label, sql in many.items()}
    ).items():
        used[label].distinct = exact
    few = {
        c.label: c.sql
        for c in used.values()
        if c.known and c.distinct <= MOST_WORDS * 0.9 and c.kind != "datetime"
    }
    for label, words in count({label: f"histogram({sql})" for label, sql in few.items()}).items():
        used[label].words = {str(word): times for word, times in words.items()}
        used[label].distinct = len(words)
