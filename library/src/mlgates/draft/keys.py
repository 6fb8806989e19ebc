"""The key: what tells rows apart."""

import re

from mlgates.draft.columns import Column, Counting
from mlgates.draft.decision import LEFT_OUT, Decision, Field
from mlgates.draft.fields import is_like_id
from mlgates.errors import ProjectError

ROW_NUMBER = re.compile(r"rownames|unnamed.*|index|row|x|column0*|\s*", re.I)
MAX_ROW_NUMBER = 3  # in rows: numbers that run further are not taken for row numbers


def decide_key(decision: Decision, count: Counting, id_label: str, time_label: str) -> None:
    """Set the key: what --id names, or else the first column that is unique and looks like an id.

    Raises: ProjectError if the named column does not tell rows apart, not even with the time.
    """
    if id_label:
        decision.key = _named_key(decision, count, id_label, time_label)
        _make_key(decision.fields[id_label], "named by --id")
        return

    guessed = _guessed_key(decision)
    if guessed is None:
        decision.warnings.append(
            "no key: a label is matched to its prediction by the id in the answer"
        )
        return
    decision.key = [guessed.name]
    _make_key(guessed, "unique, and looks like an id")


def _named_key(decision: Decision, count: Counting, id_label: str, time_label: str) -> list[str]:
    """The named id, together with the time if it is unique only so.

    Raises: ProjectError if it is neither, or has missing values.
    """
    field = decision.fields[id_label]
    n_rows = decision.rows
    id_sql = field.column.sql
    counts = count({"known": f"count({id_sql})", "distinct": f"count(DISTINCT {id_sql})"})
    if counts["known"] < n_rows:
        raise ProjectError(f"--id {id_label}: {n_rows - counts['known']:,} rows have no value.")
    if counts["distinct"] == n_rows:
        return [field.name]

    message = (
        f"--id {id_label} does not tell rows apart:"
        f" {counts['distinct']:,} values in {n_rows:,} rows"
    )
    if time_label:
        time = decision.fields[time_label]
        pairs = count({"distinct": f"count(DISTINCT ({id_sql}, {time.column.sql}))"})
        if pairs["distinct"] == n_rows:
            return [field.name, time.name]
        message += ", also not with the time"
    raise ProjectError(f"{message}.", "Leave --id away.")


def _guessed_key(decision: Decision) -> Field | None:
    """The first column that is unique and looks like an id; row numbers before it are left out."""
    for field in decision.having("feature", "kept"):
        column = field.column
        if not _is_unique(column, decision.rows) or not is_like_id(column):
            continue
        if not _is_row_number(column, decision.rows):
            return field
        field.role = LEFT_OUT
        field.why = ["a row number of the file, which a caller does not know"]
    return None


def _is_unique(column: Column, n_rows: int) -> bool:
    is_countable = column.kind in ("int", "text")  # of others `distinct` is an estimate
    return is_countable and column.distinct == column.known == n_rows


def _is_row_number(column: Column, n_rows: int) -> bool:
    """By its name, and because it hardly runs further than there are rows."""
    has_name = ROW_NUMBER.fullmatch(column.label) is not None
    return has_name and column.kind == "int" and bool(column.high <= MAX_ROW_NUMBER * n_rows)


def _make_key(field: Field, reason: str) -> None:
    """Write it as a key: any value is allowed, and a float is read as text."""
    field.role = "key"
    field.why = [reason]
    field.allow_any_value()
    if field.kind == "float":
        field.kind = "text"
        field.column.sql = f"CAST({field.column.sql} AS VARCHAR)"
