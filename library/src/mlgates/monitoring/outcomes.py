"""`mlops outcomes FILE`: record what came true, for predictions that were really made."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlgates.contract import Column, Contract
from mlgates.data.expectations import Table, broken_rows
from mlgates.errors import ProjectError
from mlgates.monitoring import performance
from mlgates.project import Project
from mlgates.serving.prediction_log import key_columns

if TYPE_CHECKING:
    import pandas as pd

# How files spell bools: CSV files of several tools, and of pandas where a column had gaps once.
BOOLS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def record(project: Project, path: Path) -> str:
    """Store the outcomes in a CSV or Parquet file; returns a sentence with the counts.

    The file holds the key columns and the outcome. Where the contract names no key, the column
    `prediction_id` takes its place: the id that each answer carries. All rows are stored, or none.
    The same file again changes nothing, and another outcome for a known key replaces it. Keys that
    were never predicted are counted and refused: with them the model would be measured where it was
    not used.

    Raises: ProjectError if the file breaks the contract, or if none of its keys was ever predicted.
    """
    from mlgates.serving import prediction_log

    contract = project.contract
    rows = _read(contract, path)
    _check(project, rows, path.name)

    logged = prediction_log.read(project, columns=key_columns(contract))
    keys = performance.key_index(contract, rows)
    is_predicted = keys.isin(performance.key_index(contract, logged))
    if not is_predicted.any():
        raise ProjectError(
            f"None of the {len(rows):,} keys in {path.name} was ever predicted."
            " Nothing was recorded."
        )

    outcome = contract.outcome.name
    stored = prediction_log.outcomes(project)
    keys_and_outcomes = performance.key_index(contract, rows, outcome)
    is_known = keys_and_outcomes.isin(performance.key_index(contract, stored, outcome))
    is_new = is_predicted & ~is_known
    prediction_log.record(project, rows[is_new])

    known = (is_predicted & is_known).sum()
    refused = (~is_predicted).sum()
    return (
        f"outcomes: {is_new.sum():,} recorded, {known:,} known already,"
        f" {refused:,} refused (never predicted)"
    )


def _read(contract: Contract, path: Path) -> "pd.DataFrame":
    """The key columns and the outcome in the contract's types, each line once."""
    import pandas as pd

    columns = [*key_columns(contract).values(), contract.outcome]
    frame = contract.read_table(path, [column.name for column in columns])
    typed = {}
    for column in columns:
        typed[column.name] = _typed(column, frame[column.name], path.name)
    return pd.DataFrame(typed).drop_duplicates(ignore_index=True)


def _typed(column: Column, values: "pd.Series", file: str) -> "pd.Series":
    """The values of one column of the file in the contract's type.

    Raises: ProjectError if one is missing or is of another type.
    """
    missing = values.isna().sum()
    if missing:
        raise ProjectError(
            f"data.missing: {column.name!r} is missing in {missing:,} rows of {file}."
        )
    if column.kind not in CONVERSIONS:
        return values
    try:
        return CONVERSIONS[column.kind](values)
    except (ValueError, TypeError, KeyError):
        raise ProjectError(
            f"data.type: {column.name!r} in {file} holds values that are no {column.kind}."
        ) from None


def _bools(values: "pd.Series") -> "pd.Series":
    """Raises: KeyError unless all are spelled as in `BOOLS`."""
    return values.astype(str).str.lower().map(BOOLS.__getitem__)


def _numbers(values: "pd.Series") -> "pd.Series":
    return values.astype(float)  # pandas.to_numeric loses the last bit


def moments(values: "pd.Series") -> "pd.Series":
    """Datetimes of a file, in microseconds. Raises: ValueError unless all are in ISO 8601."""
    import pandas as pd

    try:
        return pd.to_datetime(values, format="ISO8601").astype("datetime64[us]")
    except pd.errors.OutOfBoundsDatetime:  # the nanoseconds of pandas end in the year 2262
        exact = [datetime.fromisoformat(str(value)) for value in values]
        return pd.Series(np.array(exact, dtype="datetime64[us]"), index=values.index)


# How the values of a file are read, by the kind of their column; all others are words already.
CONVERSIONS = {"datetime": moments, "bool": _bools, "int": _numbers, "float": _numbers}


def _check(project: Project, rows: "pd.DataFrame", file: str) -> None:
    """Raises: ProjectError if a row breaks a rule of the contract, or if a key has two outcomes."""
    contract = project.contract
    key = key_columns(contract)
    repeated = rows.duplicated(list(key)).sum()
    if repeated:
        raise ProjectError(
            f"data.unique_key: {repeated:,} keys in {file} have two different outcomes."
            " Nothing was recorded."
        )

    table = Table("labels", key | {contract.outcome.name: contract.outcome}, [])
    broken = broken_rows(rows, table, contract, project.stage("validate").check)
    for (rule, column), positions in broken.items():
        if len(positions):
            raise ProjectError(
                f"{rule}: {column!r} breaks the contract in {len(positions):,} rows of {file}."
                " Nothing was recorded."
            )
