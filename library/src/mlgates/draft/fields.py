"""A column as part of a request, before the whole table is looked at: kind, bounds, words, role."""

import math
import re

from mlgates.draft.columns import Column
from mlgates.draft.decision import LEFT_OUT, Field

# A Literal has at most so many words, each in at least so many rows and of at most so many
# letters. Other texts are of any words.
MAX_WORDS = 20
MIN_ROWS_PER_WORD = 5
MAX_LETTERS = 60

# Trees read single precision, which holds numbers between these.
SMALLEST = 1e-38
LARGEST = 1e38

# A whole number is an id if more than this share of the rows have a value of their own. A name such
# as "customer id" is a hint, with which fewer are enough.
MIN_SHARE_OF_IDS = 0.95
MIN_SHARE_OF_NAMED_IDS = 0.3

ID_NAME = re.compile(
    r"(^|[\W_])(id|key|uuid|guid|nr|no|number|code|index|name)s?([\W_]|$)|I[dD]$|rownames", re.I
)
UNIT = re.compile(r"[(\[]([^()\[\]]+)[)\]]\s*$")  # "Age (years)", "weight [kg]"
TRUTH_VALUES = ({"yes", "no"}, {"y", "n"}, {"t", "f"})


def field_of(name: str, column: Column, n_rows: int) -> Field:
    """The column as part of a request, under a Python name."""
    field = Field(name, column, column.kind, why=list(column.notes))
    field.nullable = column.known < n_rows
    unit = UNIT.search(column.label)
    if unit:
        field.unit = unit[1]

    if column.kind == "other":
        field.role = LEFT_OUT  # its notes say why
        return field
    unusable = _unusable(column)
    if unusable:
        field.set_role(LEFT_OUT, unusable)
        return field

    if column.kind == "datetime":
        field.set_role("kept", "a time is not a feature as it is")
    elif column.kind == "text":
        _decide_text(field)
    elif column.kind == "int":
        _decide_int(field, n_rows)
    elif column.kind == "float":
        field.set_bounds(*room(column.low, column.high))
    if field.nullable:
        field.why.append(f"missing in {1 - column.known / n_rows:.1%}")
    return field


def _unusable(column: Column) -> str:
    """Why a column cannot be used at all; empty if it can."""
    if not column.known:
        return "no value in any row"
    if column.low == column.high:
        return f"constant: always {column.low!s:.30}"
    return out_of_range(column)


def out_of_range(column: Column) -> str:
    """Why a model cannot read the numbers of a column; empty if it can."""
    if not column.is_number:
        return ""
    largest = max(abs(float(column.low)), abs(float(column.high)))
    if SMALLEST < largest < LARGEST:
        return ""
    return f"numbers up to {largest:g}: more than a model can tell apart"


def _decide_text(field: Field) -> None:
    """A category, a text of many words, or a name or free text, which is not a feature."""
    column = field.column
    if {word.lower() for word in column.words} in TRUTH_VALUES:
        field.why.append("a truth value in disguise")
    if _has_few_words(column):
        _make_category(field)
        return

    field.max_length = 2 * max(column.length, 5)  # head-room for texts to come
    nearly_all_differ = column.distinct > 0.95 * column.known
    is_free_text = column.distinct > max(0.5 * column.known, 50)
    if is_free_text or (nearly_all_differ and is_like_id(column)):
        field.set_role(
            "kept", f"{column.distinct:,} different texts: a name or free text, not a feature"
        )
    else:
        others = "others may come, and count as unknown"
        field.why.append(f"about {column.distinct:,} words, some rare: {others}")


def _has_few_words(column: Column) -> bool:
    """Whether a Literal can list all texts of a column."""
    min_rows = min(column.words.values(), default=0)
    is_short = column.length <= MAX_LETTERS
    return len(column.words) <= MAX_WORDS and is_short and min_rows >= MIN_ROWS_PER_WORD


def _make_category(field: Field) -> None:
    words = field.column.words
    field.kind = "category"
    field.words = sorted(words)
    field.why.append(f"{len(words)} words, each in at least {min(words.values()):,} rows")


def _decide_int(field: Field, n_rows: int) -> None:
    """A whole number with bounds, or an id."""
    column = field.column
    min_share = MIN_SHARE_OF_IDS
    if ID_NAME.search(column.label):
        min_share = MIN_SHARE_OF_NAMED_IDS
    if column.distinct > min_share * n_rows and is_like_id(column):
        field.set_role("kept", f"near-unique ({column.distinct:,} values): an id, not a feature")
        return

    low, high = room(column.low, column.high)
    field.set_bounds(float(math.floor(low)), float(math.ceil(high)))
    if (column.low, column.high) == (0, 1):
        field.why.append("a truth value in disguise: 0 and 1")


def is_like_id(column: Column) -> bool:
    """Whether a column that is unique, or nearly so, looks like an id.

    By its name, as a gapless sequence of whole numbers, or as a short text.
    """
    if ID_NAME.search(column.label):
        return True
    if column.kind == "int":
        return bool(column.high - column.low + 1 == column.known)
    return column.kind == "text" and 0 < column.length <= 40


def room(low: float, high: float) -> tuple[float, float]:
    """Bounds with half of the range more on each side, rounded outward.

    A sign stays, and so does the upper bound of what runs from 0 to 1 or to 100.
    """
    span = float(high - low) or abs(float(high)) or 1.0
    step = 10.0 ** (math.floor(math.log10(span)) - 1)  # two digits
    first = math.floor((low - span / 2) / step) * step
    last = math.ceil((high + span / 2) / step) * step
    if low >= 0:
        first = max(first, 0.0)
    if high <= 0:
        last = min(last, 0.0)
    if first == 0 and high in (1, 100):
        last = float(high)
    # Without the noise of the last digits, as in 0.30000000000000004.
    return float(f"{first:.12g}"), float(f"{last:.12g}")
