"""What is stored as text but is not: numbers, truth values and dates in disguise."""

from dataclasses import dataclass
from itertools import product

from mlgates.draft.columns import Column, Counting, of_kind
from mlgates.draft.source import sql_text

FIRST_ROWS = 2_000  # on which every way to write a date is tried

# Texts are read as numbers if at least this share of them are numbers, and the others are a few
# marks, such as "?".
MIN_SHARE_OF_NUMBERS = 0.7
MAX_MARKS = 3

# Ways to write a date and a time. ISO is not among them: DuckDB casts it.
NUMERIC_DAYS = ["%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%m/%d/%y", "%d.%m.%y"]
DAYS = [*NUMERIC_DAYS, "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%B %d, %Y"]
TIMES = ["", " %H:%M", " %H:%M:%S", " %I:%M %p"]
DATES = list(map("".join, product(DAYS, TIMES)))

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
FORM_TESTS = " ".join(f"WHEN {test} THEN '{form}'" for form, test in FORMS.items())
COUNT_OF_FORMS = f"histogram(CASE {FORM_TESTS} ELSE 'text' END) FILTER ({{c}} IS NOT NULL)"

# Numbers of eight digits are tried as dates, from 1900 to 2100; all other numbers are none.
IS_WHOLE_DATE = (
    "CASE WHEN {c} BETWEEN 19000101 AND 21001231"
    " THEN try_strptime({c}::VARCHAR, '%Y%m%d') IS NOT NULL END"
)
ALL_ARE_WHOLE_DATES = f"bool_and(coalesce({IS_WHOLE_DATE}, false)) FILTER ({{c}} IS NOT NULL)"


@dataclass(frozen=True)
class Reading:
    """How a column is read in which no text has another form than `forms`.

    `sql` reads the column as `kind`, and `note` tells the user.
    """

    forms: frozenset[str]
    kind: str
    sql: str
    note: str = ""


# The first one that fits is taken.
READINGS = [
    Reading(frozenset(), "text", "{c}"),  # no value in any row
    Reading(frozenset({"whole"}), "int", "CAST({c} AS HUGEINT)"),
    Reading(frozenset({"whole", "number"}), "float", "CAST({c} AS DOUBLE)"),
    Reading(
        frozenset({"whole", "number", "code"}),
        "text",
        "{c}",
        "codes: digits with leading zeros, or more than 38, stay text",
    ),
    # 1,234 is grouped, unless another text of the column shows a decimal comma.
    Reading(
        frozenset({"grouped", "either", "whole", "number"}),
        "float",
        r"CAST(regexp_replace({c}, '[$€£%,\x27\xA0\s]', '', 'g') AS DOUBLE)",
        "numbers in disguise: separators, currency or per cent signs",
    ),
    Reading(
        frozenset({"decimal", "either", "whole"}),
        "float",
        r"CAST(replace(regexp_replace({c}, '[$€£%.\s]', '', 'g'), ',', '.') AS DOUBLE)",
        "numbers in disguise: decimal commas",
    ),
    Reading(frozenset({"truth"}), "bool", "CAST(trim({c}) AS BOOLEAN)"),
    Reading(frozenset({"time"}), "datetime", "CAST({c} AS TIMESTAMP)"),
    Reading(
        frozenset({"time", "offset"}),
        "datetime",
        "CAST({c} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'",
        "times with an offset: read as UTC",
    ),
]


def read_texts(count: Counting, texts: list[Column]) -> None:
    """Find numbers, truth values and dates that are stored as text, and read them as such."""
    unclear = []
    for column, forms in count.each(texts, COUNT_OF_FORMS):
        column.forms = forms or {}
        reading = _reading_of(column)
        if reading is None:
            unclear.append(column)
        else:
            column.read_as(reading.kind, column.filled_into(reading.sql), reading.note)

    _read_dates(count, [column for column in unclear if "word" not in column.forms])
    for column in of_kind(unclear, "text"):
        _read_as_number_with_marks(count, column)


def _reading_of(column: Column) -> Reading | None:
    """The reading for the forms of all texts of a column; None if there is none."""
    for reading in READINGS:
        if column.forms.keys() <= reading.forms:
            return reading
    return None


def _read_dates(count: Counting, texts: list[Column]) -> None:
    """Read dates that are written in another way than ISO."""
    n_dates = _count_dates(count, texts)
    for column in texts:
        n_values = sum(column.forms.values())
        fitting = [way for way in DATES if n_dates.get((column.label, way)) == n_values]
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


def _read_as_number_with_marks(count: Counting, column: Column) -> None:
    """Read texts as numbers if all but a few marks, such as "?", are numbers.

    The marks count as missing. A true mixture of numbers and words stays text.
    """
    n_values = sum(column.forms.values())
    n_numbers = column.forms.get("whole", 0) + column.forms.get("number", 0)
    if n_numbers < n_values / 2 or "code" in column.forms:
        return
    marks = _first_marks(count, column)
    if len(marks) > MAX_MARKS or n_numbers < MIN_SHARE_OF_NUMBERS * n_values:
        counts = f"{n_numbers:,} of {n_values:,} values are numbers"
        column.mixture = f"mixed: {counts}, for example {marks[0]!r} is not"
        column.notes.append(column.mixture)
        return
    listed = ", ".join(map(sql_text, sorted(marks)))
    number = f"CASE WHEN {column.sql} NOT IN ({listed}) THEN {column.sql} END"
    note = f"numbers in disguise: {', '.join(map(repr, marks))} counts as missing"
    column.read_as("float", f"CAST({number} AS DOUBLE)", note)


def _first_marks(count: Counting, column: Column) -> list[str]:
    """The first different texts that are no numbers, one more of them than `MAX_MARKS`."""
    is_number = "coalesce(isfinite(TRY_CAST({c} AS DOUBLE)), {c} IS NULL)"
    query = (
        f"SELECT {{c}} AS mark FROM source WHERE NOT {is_number}"
        f" GROUP BY mark LIMIT {MAX_MARKS + 1}"
    )
    return [mark for (mark,) in count.database.execute(column.filled_into(query)).fetchall()]


def read_whole_dates(count: Counting, numbers: list[Column]) -> None:
    """Read whole numbers such as 20130430 as dates, if every value is one."""
    for column, are_dates in count.each(numbers, ALL_ARE_WHOLE_DATES):
        if are_dates:
            column.read_as(
                "datetime",
                f"strptime(CAST({column.sql} AS VARCHAR), '%Y%m%d')",
                "dates in disguise: whole numbers such as 20130430",
            )
