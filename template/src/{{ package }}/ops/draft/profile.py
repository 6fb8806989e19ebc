"""What every row of the table says: kinds, ranges, words, dates in disguise; counted by DuckDB, never all in memory."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..project import ProjectError
from .source import Source, connect, named, quoted, reason

if TYPE_CHECKING:
    import pandas as pd

MOST_WORDS = 300  # that are counted one by one
SAMPLE, FIRST = 20_000, 2_000
EXACT = 2**53  # whole numbers above are not told apart once they are floats
NUMBERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT"}
FLOATS = re.compile(r"FLOAT|DOUBLE|DECIMAL|REAL")
DATES = ["%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%m/%d/%y", "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%Y%m%d"]
OFFSET = "regexp_matches({c}, '\\d(Z|[+-]\\d\\d:?\\d\\d)\\s*$') AND regexp_matches({c}, ':')"
CODE, DECIMAL = "^0\\d", "^\\s*[-+]?\\d+,\\d+\\s*$"
GROUPED = "^\\s*[-+]?[$€£]?\\s*\\d{1,3}(,\\d{3})*(\\.\\d+)?\\s*%?\\s*$"


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
class Table:
    """The columns, how many rows are used, and a sample of them under the world's names."""

    rows: int
    left_out: int
    columns: dict[str, Column]
    sample: "pd.DataFrame"


def profile(root: Path, source: Source, needed: list[str]) -> Table:
    """Count everything. Rows without a value in a `needed` column (outcome, time) are left out.

    Raises: ProjectError if the table cannot be read to its end, has no row, or none with a needed value.
    """
    import duckdb

    try:
        with connect(root) as database:
            return _profile(Counting(database, source.sql), source, needed)
    except duckdb.Error as error:
        raise ProjectError(f"{source.label} cannot be read to its end: {reason(error)}") from None


@dataclass
class Counting:
    """Aggregates over the table, as many as are wanted in one pass."""

    database: Any
    table: str
    where: str = "true"

    def __call__(self, wanted: dict[Any, str]) -> dict[Any, Any]:
        """The value of each aggregate, by the same keys."""
        if not wanted:
            return {}
        sql = f"SELECT {', '.join(wanted.values())} FROM {self.table} WHERE {self.where}"
        return dict(zip(wanted, self.database.execute(sql).fetchone(), strict=True))


def _profile(count: Counting, source: Source, needed: list[str]) -> Table:
    columns = {label: Column(label, named(name)) for label, (name, _) in source.columns.items()}
    types = {label: kind for label, (_, kind) in source.columns.items()}
    every = count({"": "count(*)"})[""]
    if not every:
        raise ProjectError(f"{source.label} has a header and no row.", "Rows are needed to draft from.")
    for column in columns.values():
        _typed(column, types[column.label])
    _read_texts(count, [column for column in columns.values() if column.kind == "text"])
    _dates_in_whole_numbers(count, [column for column in columns.values() if column.kind == "int"])
    count.where = " AND ".join([f"({columns[label].sql}) IS NOT NULL" for label in needed]) or "true"
    rows = count({"": "count(*)"})[""]
    for label in needed:
        if not rows and not count.__class__(count.database, count.table)({"": f"count({columns[label].sql})"})[""]:
            raise ProjectError(f"{label!r} has no value in any row.")
    _measure(count, columns.values(), rows)
    shown = [column for column in columns.values() if column.kind != "other"]
    select = ", ".join(f"{column.sql} AS c{place}" for place, column in enumerate(shown))
    count.database.execute("SET threads = 1")  # the sample is the same every time
    sql = f"SELECT {select} FROM {count.table} WHERE {count.where} USING SAMPLE reservoir({SAMPLE} ROWS) REPEATABLE (0)"
    sample = count.database.execute(sql).df().set_axis([column.label for column in shown], axis=1)
    return Table(rows, every - rows, columns, sample)


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
    """Numbers, truth values and dates that are stored as text.

    The first rows say which tests are worth a pass over all of them; where these mislead, all tests are made.
    """
    every = {column.label: (column.sql, _tests(column.sql)) for column in texts}
    first = _counted(Counting(count.database, f"(SELECT * FROM {count.table} LIMIT {FIRST})"), every)
    few = {
        name: (c, {t: sql for t, sql in made.items() if _worth(t, first[name])}) for name, (c, made) in every.items()
    }
    found = _counted(count, few)
    unclear = [column for column in texts if not _read_text(column, found[column.label])]
    found |= _counted(count, {c.label: every[c.label] for c in unclear if found[c.label]["number"]})
    unclear = [column for column in unclear if not _read_text(column, found[column.label])]
    _texts_by_format(count, [c for c in unclear if re.search(r"\d", str(found[c.label]["word"]))], found)
    _almost_numbers(count, [c for c in unclear if c.kind == "text"], found)


def _tests(c: str) -> dict[str, str]:
    """What a text may be, by name, as SQL."""
    return {
        "number": f"isfinite(TRY_CAST({c} AS DOUBLE))",
        "whole": f"regexp_matches({c}, '^\\s*[-+]?\\d+\\s*$')",
        "code": f"regexp_matches({c}, '{CODE}')",
        "grouped": f"regexp_matches({c}, '{GROUPED}')",
        "decimal": f"regexp_matches({c}, '{DECIMAL}') OR regexp_matches({c}, '^\\s*[-+]?\\d+\\s*$')",
        "odd": f"regexp_matches({c}, '{DECIMAL}') AND NOT regexp_matches({c}, ',\\d{{3}}\\s*$')",
        "truth": f"lower(trim({c})) IN ('true', 'false')",
        "time": f"TRY_CAST({c} AS TIMESTAMP) IS NOT NULL",
        "offset": OFFSET.format(c=c),
    }


def _worth(test: str, first: dict[str, Any]) -> bool:
    plain = first["number"] == first["known"] > 0
    return test == "number" or (test in ("whole", "code") if plain else first[test] > 0 or not first["known"])


def _counted(count: Counting, tests: dict[str, tuple[str, dict[str, str]]]) -> dict[str, dict[str, Any]]:
    """By column, how many values pass each test (0 where it was not made), how many there are, and one of them."""
    wanted: dict[Any, str] = {}
    for label, (c, made) in tests.items():
        wanted |= {(label, test): f"count(*) FILTER ({sql})" for test, sql in made.items()}
        wanted |= {(label, "known"): f"count({c})", (label, "word"): f"any_value({c})"}
    found: dict[str, dict[str, Any]] = {label: dict.fromkeys(_tests(""), 0) for label in tests}
    for (label, test), value in count(wanted).items():
        found[label][test] = value
    return found


def _read_text(column: Column, n: dict[str, Any]) -> bool:
    """Whether the text is something else, as a whole; then it is read so."""
    known, c = n["known"], column.sql
    if not known:
        return True
    if n["number"] == known and not n["code"]:
        column.kind = "int" if n["whole"] == known else "float"
        column.sql = f"CAST({c} AS {'HUGEINT' if column.kind == 'int' else 'DOUBLE'})"
    elif n["decimal"] == known and n["odd"] and not n["code"]:
        column.kind, column.sql = "float", f"CAST(replace({c}, ',', '.') AS DOUBLE)"
        column.notes.append("numbers in disguise: decimal commas")
    elif n["grouped"] == known and not n["code"]:
        column.kind, column.sql = "float", f"CAST(regexp_replace({c}, '[$€£%,\\s]', '', 'g') AS DOUBLE)"
        column.notes.append("numbers in disguise: separators, currency or per cent signs")
    elif n["truth"] == known:
        column.kind, column.sql = "bool", f"CAST(trim({c}) AS BOOLEAN)"
    elif n["time"] == known and n["offset"]:
        column.kind, column.sql = "datetime", f"CAST({c} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        column.notes.append("times with an offset: read as UTC")
    elif n["time"] == known:
        column.kind, column.sql = "datetime", f"CAST({c} AS TIMESTAMP)"
    elif n["number"] == known:
        column.notes.append("codes: digits with leading zeros stay text")
    else:
        return False
    return True


def _texts_by_format(count: Counting, texts: list[Column], found: dict[Any, Any]) -> None:
    """Dates that are written in another way than ISO."""
    ways = {(c.label, way): f"count(try_strptime({c.sql}, '{way}'))" for c in texts for way in DATES}
    some = Counting(count.database, f"(SELECT * FROM {count.table} LIMIT {FIRST})")(ways)
    parsed = count({name: sql for name, sql in ways.items() if some[name]})
    for column in texts:
        fit = [way for way in DATES if parsed.get((column.label, way)) == found[column.label]["known"]]
        if fit:
            column.kind, column.sql = "datetime", f"strptime({column.sql}, '{fit[0]}')"
            other = f" ({fit[1]} would fit too)" if fit[1:] else ""
            column.notes.append(f"dates in disguise: written as {fit[0]}{other}")


def _almost_numbers(count: Counting, texts: list[Column], found: dict[Any, Any]) -> None:
    """Numbers but for a few marks, which count as missing; a true mixture stays text."""
    for column in texts:
        numbers, known = found[column.label]["number"], found[column.label]["known"]
        if numbers < known / 2 or found[column.label]["code"]:
            continue
        number = f"coalesce(isfinite(TRY_CAST({column.sql} AS DOUBLE)), {column.sql} IS NULL)"
        sql = f"SELECT {column.sql} AS mark FROM {count.table} WHERE NOT {number} GROUP BY mark LIMIT 4"
        marks = [row[0] for row in count.database.execute(sql).fetchall()]
        if len(marks) > 3 or numbers < 0.7 * known:
            column.notes.append(f"mixed: {numbers:,} of {known:,} values are numbers, for example {marks[0]!r} is not")
            continue
        kept = f"CASE WHEN {column.sql} NOT IN ({', '.join(map(quoted, sorted(marks)))}) THEN {column.sql} END"
        column.kind, column.sql = "float", f"CAST({kept} AS DOUBLE)"
        column.notes.append(f"numbers in disguise: {', '.join(map(repr, marks))} counts as missing")


def _dates_in_whole_numbers(count: Counting, numbers: list[Column]) -> None:
    """Dates such as 20130430."""
    bounds = count({(c.label, end): f"{end}({c.sql})" for c in numbers for end in ("min", "max")})
    fit = [
        column
        for column in numbers
        if bounds[column.label, "min"] is not None
        and bounds[column.label, "min"] >= 19000101
        and bounds[column.label, "max"] <= 21001231
    ]
    text = {column.label: f"CAST({column.sql} AS VARCHAR)" for column in fit}
    found = count({(c.label, ""): f"count(*) - count(try_strptime({text[c.label]}, '%Y%m%d'))" for c in fit})
    gone = count({(c.label, ""): f"count(*) - count({c.sql})" for c in fit})
    for column in fit:
        if found[column.label, ""] == gone[column.label, ""]:
            column.kind, column.sql = "datetime", f"strptime({text[column.label]}, '%Y%m%d')"
            column.notes.append("dates in disguise: whole numbers such as 20130430")


def _measure(count: Counting, columns: Any, rows: int) -> None:
    """Bounds, missing values, how many different values, and the words where they are few."""
    wanted: dict[Any, str] = {}
    used = [column for column in columns if column.kind != "other"]
    for column in used:
        wanted |= {(column.label, end): f"{end}({column.sql})" for end in ("count", "min", "max")}
        wanted[column.label, "distinct"] = f"approx_count_distinct({column.sql})"
        if column.kind == "text":
            wanted[column.label, "length"] = f"max(length({column.sql}))"
    found = count(wanted)
    for column in used:
        column.known, column.distinct = found[column.label, "count"], found[column.label, "distinct"]
        column.low, column.high = found[column.label, "min"], found[column.label, "max"]
        column.length = found.get((column.label, "length")) or 0
        if column.kind == "int" and column.known and max(abs(column.low), abs(column.high)) > EXACT:
            column.kind, column.sql = "text", f"CAST({column.sql} AS VARCHAR)"
            column.length = len(str(column.high)) + 1
            column.notes.append("whole numbers too large for exact arithmetic: read as text")
        elif column.kind == "int":
            column.sql = column.sql.replace("HUGEINT", "BIGINT")
    many = [c for c in used if c.kind in ("int", "text") and c.distinct > 0.8 * c.known]
    for label, exact in count({c.label: f"count(DISTINCT {c.sql})" for c in many}).items():
        next(column for column in used if column.label == label).distinct = exact
    few = [c for c in used if c.known and c.distinct <= MOST_WORDS * 0.9 and c.kind != "datetime"]
    for label, words in count({c.label: f"histogram({c.sql})" for c in few}).items():
        column = next(column for column in used if column.label == label)
        column.words = {str(word): int(times) for word, times in dict(words).items()}
        column.distinct = len(words)
