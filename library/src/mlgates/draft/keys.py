"""The key: what tells rows apart."""

import re

from mlgates.draft.decision import LEFT_OUT, Decision, Field
from mlgates.draft.fields import is_like_id
from mlgates.draft.profile import Column, Counting
from mlgates.errors import ProjectError

ROW_NUMBER = re.compile(r"rownames|unnamed.*|index|row|x|column0*|\s*", re.I)


def decide_key(decision: Decision, count: Counting, id_label: str, time_label: str) -> None:
    """Set the key: what --id names, or else the first column that is unique and looks like an id.

    Raises: ProjectError if the named column does not tell rows apart, not even with the time.
    """
    if id_label:
        field = decision.fields[id_label]
        decision.key = [field.name]
        if not _is_unique_id(decision, count, id_label, time_label):
            decision.key.append(decision.fields[time_label].name)
        field.why = ["named by --id"]
        _make_key(field)
        return

    guessed = _guessed_key(decision)
    if guessed is None:
        decision.warnings.append(
            "no key: a label is matched to its prediction by the id in the answer"
        )
        return
    decision.key = [guessed.name]
    guessed.why = ["unique, and looks like an id"]
    _make_key(guessed)


def _is_unique_id(decision: Decision, count: Counting, id_label: str, time_label: str) -> bool:
    """Whether the named id is unique; if not, it is so together with the time.

    Raises: ProjectError if it is neither, or has missing values.
    """
    id_sql = decision.fields[id_label].column.sql
    wanted = {"known": f"count({id_sql})", "alone": f"count(DISTINCT {id_sql})"}
    if time_label:
        time_sql = decision.fields[time_label].column.sql
        wanted["with time"] = f"count(DISTINCT ({id_sql}, {time_sql}))"
    counts = count(wanted)
    n_rows = decision.rows
    if counts["known"] < n_rows:
        raise ProjectError(f"--id {id_label}: {n_rows - counts['known']:,} rows have no value.")
    if counts["alone"] == n_rows:
        return True
    if time_label and counts["with time"] == n_rows:
        return False
    message = (
        f"--id {id_label} does not tell rows apart: {counts['alone']:,} values in {n_rows:,} rows"
    )
    if time_label:
        message += ", also not with the time"
    raise ProjectError(f"{message}.", "Leave --id away.")


def _guessed_key(decision: Decision) -> Field | None:
    """The first column that is unique and looks like an id; row numbers before it are left out."""
    for field in decision.having("feature", "kept"):
        column = field.column
        is_id = _is_unique(column, decision.rows) and is_like_id(column)
        if is_id and not _is_row_number(column, decision.rows):
            return field
        if is_id:
            field.role = LEFT_OUT
            field.why = ["a row number of the file, which a caller does not know"]
    return None


def _is_unique(column: Column, n_rows: int) -> bool:
    is_countable = column.kind in ("int", "text")  # of others `distinct` is an estimate
    return is_countable and column.distinct == column.known == n_rows


def _is_row_number(column: Column, n_rows: int) -> bool:
    """By its name, and because it hardly runs further than there are rows."""
    has_name = ROW_NUMBER.fullmatch(column.label) is not None
    return has_name and column.kind == "int" and bool(column.high <= 3 * n_rows)


def _make_key(field: Field) -> None:
    """Write it as a key: any value is allowed, and a float is read as text."""
    field.role = "key"
    field.kind = field.column.kind
    field.words = []
    field.max_length = None
    field.set_bounds(None, None)
    if field.kind == "float":
        field.kind = "text"
        field.column.sql = f"CAST({field.column.sql} AS VARCHAR)"
