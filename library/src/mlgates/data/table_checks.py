"""The checks of one table of a period: its columns, its types, its rows."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlgates.contract import Contract, Lookup
from mlgates.data import partitions
from mlgates.data.expectations import (
    ROW_RULES,
    UNIQUE_KEY,
    Table,
    Validate,
    broken_typed_rows,
    has_type,
)
from mlgates.data.quarantine import quarantine_of
from mlgates.errors import nearest
from mlgates.settings import ValidateSettings
from mlgates.verdict import Check, Report, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd

MAX_NAMED_COLUMNS = 3  # in the evidence of a broken rule


def check_table(
    frame: "pd.DataFrame",
    contract: Contract,
    limits: ValidateSettings,
    validate: Validate,
    look: Lookup | None = None,
    earlier: np.ndarray | None = None,
) -> tuple[Report, "pd.DataFrame", "pd.DataFrame"]:
    """Check the rows of a period, or those of one look-up.

    `validate` lets Great Expectations check a table (pipeline/validate.py). `earlier` are the keys
    of the periods before: a row that was delivered then is not taken again.

    Returns the report, the rows that are kept (contract columns only), and the quarantine. The
    quarantine has one line per broken rule: `row` (position in `frame`), `rule`, `column`, `value`.
    """
    table = Table.of(contract, look)
    title = f"table {table.name}"
    frame = frame.reset_index(drop=True)
    checks = _shape_checks(frame, table)
    if Report(title, checks).verdict is Verdict.FAIL:
        no_rows = frame.iloc[:0].reindex(columns=list(table.columns))
        return Report(title, _named(checks, look)), no_rows, quarantine_of(frame, {})

    # From here on, all columns are there, and have the contract's types.
    rows = frame[list(table.columns)]
    broken = broken_typed_rows(rows, table, contract, validate)
    if look is None:
        broken |= _repeated_rows(rows, table, earlier)
    quarantine = quarantine_of(rows, _of_single_rows(broken))
    checks += _row_checks(len(rows), table, limits, broken, quarantine)

    bad_rows = quarantine["row"].unique()
    kept = rows.drop(index=list(bad_rows)).reset_index(drop=True)
    facts = {"read": len(rows), "kept": len(kept), "quarantined": len(bad_rows)}
    return Report(title, _named(checks, look), facts), kept, quarantine


def _named(checks: Iterable[Check], look: Lookup | None) -> list[Check]:
    """The checks with the look-up's name behind theirs: "data.range:weather"."""
    if look is None:
        return list(checks)
    return [replace(check, name=f"{check.name}:{look.name}") for check in checks]


def _shape_checks(frame: "pd.DataFrame", table: Table) -> list[Check]:
    """`data.columns`, `data.type` and, if the contract forbids columns, `data.forbidden`."""
    mistyped = []
    for name, column in table.columns.items():
        if name in frame and not has_type(frame[name], column):
            mistyped.append(name)
    checks = [
        _columns_check(frame, table),
        _no_columns("data.type", mistyped, len(frame), ", ".join(mistyped)),
    ]
    if table.forbidden:
        forbidden = [name for name in table.forbidden if name in frame]
        checks.append(_no_columns("data.forbidden", forbidden, len(frame), ", ".join(forbidden)))
    return checks


def _columns_check(frame: "pd.DataFrame", table: Table) -> Check:
    absent = [table.label(name) for name in table.columns if name not in frame]
    expected = [*table.columns, *table.forbidden]
    extra = frame.columns.drop(expected, errors="ignore").astype(str).tolist()

    evidence = ""
    if absent:
        evidence = f"missing: {', '.join(absent)}."
        if extra:
            evidence = f"{evidence} {nearest(absent[0], extra)}"
    elif extra:
        evidence = f"not in the contract, left out: {', '.join(extra)}"
    return _no_columns("data.columns", absent, len(frame), evidence)


def _no_columns(name: str, columns: list[str], rows: int, evidence: str) -> Check:
    """The check that no column has a fault; it holds for an empty table too."""
    return at_most(name, len(columns), 0, rows, min_rows=0, evidence=evidence)


def _repeated_rows(
    rows: "pd.DataFrame", table: Table, earlier: np.ndarray | None
) -> dict[tuple[str, str], np.ndarray]:
    """The positions of the rows that an earlier period delivered, as a broken rule.

    Empty where that cannot be known: without a key, and without earlier periods.
    """
    if earlier is None or rows.empty or not table.key:
        return {}
    is_repeated = np.isin(partitions.key_hashes(rows, table.key), earlier)
    return {("data.repeated", "+".join(table.key)): np.flatnonzero(is_repeated)}


def _of_single_rows(
    broken: Mapping[tuple[str, str], np.ndarray],
) -> dict[tuple[str, str], np.ndarray]:
    """The broken rules that send their rows to quarantine."""
    return {which: places for which, places in broken.items() if which[0] in ROW_RULES}


def _row_checks(
    rows: int,
    table: Table,
    limits: ValidateSettings,
    broken: Mapping[tuple[str, str], np.ndarray],
    quarantine: "pd.DataFrame",
) -> list[Check]:
    """The check of each rule about single rows, `data.unique_key` and `data.quarantine`."""
    checks = []
    rules = {rule for rule, _ in broken}
    for rule in ROW_RULES:
        # A rule that nothing in this table could break is not shown as if it had been checked.
        if rule in rules:
            lines = quarantine[quarantine["rule"] == rule]
            check = at_most(
                rule,
                _share_of_rows(lines, rows),
                limits.max_bad_share,
                rows,
                required=False,
                evidence=_worst_columns(lines, table),
            )
            checks.append(check)

    if table.key:
        repeated = None
        if rows:
            repeated = len(broken[UNIQUE_KEY, "+".join(table.key)])
        checks.append(at_most(UNIQUE_KEY, repeated, 0, rows, required=False))

    check = at_most(
        "data.quarantine",
        _share_of_rows(quarantine, rows),
        limits.max_quarantine_share,
        rows,
        required=False,
    )
    return [*checks, check]


def _worst_columns(lines: "pd.DataFrame", table: Table) -> str:
    """The columns in which most rows broke a rule, with their number."""
    counts = lines["column"].value_counts().head(MAX_NAMED_COLUMNS)
    return ", ".join(f"{table.label(str(name))} ({count:,})" for name, count in counts.items())


def _share_of_rows(lines: "pd.DataFrame", rows: int) -> float | None:
    """The share of rows that lines of the quarantine are about; a row may have several lines."""
    if not rows:
        return None
    return float(lines["row"].nunique() / rows)
