"""`mlops outcomes FILE`: take in what came true, for predictions that were really made."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlgates.contract import Column, Contract
from mlgates.data.expectations import Table, broken_rows
from mlgates.errors import ProjectError
from mlgates.monitoring import performance
from mlgates.project import Project
from mlgates.serving.prediction_log import identity

if TYPE_CHECKING:
    import pandas as pd

WORDS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def record(project: Project, path: Path) -> str:
    """Store the outcomes of a CSV or Parquet file that holds the key columns and the outcome; says what was done.

    Where the contract names no key, the id that each answer carries stands for it (`prediction_id`).
    All or nothing; the same file again changes nothing; another outcome for a known key replaces it. Keys that were
    never predicted are counted and refused: the model would look measured where it was not used.
    Raises: ProjectError if the file breaks the contract, or if none of its keys was ever predicted.
    """
    from mlgates.serving import prediction_log

    contract = project.contract
    given = _read(contract, path)
    _check(project, given, path.name)
    predicted = performance.index(contract, given).isin(
        performance.index(contract, prediction_log.read(project, columns=identity(contract)))
    )
    if not predicted.any():
        raise ProjectError(
            f"None of the {len(given):,} keys in {path.name} was ever predicted; nothing was recorded."
        )
    name = contract.outcome.name
    known = performance.index(contract, given, name).isin(
        performance.index(contract, prediction_log.outcomes(project), name)
    )
    prediction_log.record(project, given[predicted & ~known])
    counts = f"{(predicted & ~known).sum():,} recorded, {(predicted & known).sum():,} known already"
    return f"outcomes: {counts}, {(~predicted).sum():,} refused (never predicted)"


def _read(contract: Contract, path: Path) -> "pd.DataFrame":
    """The key columns and the outcome in the contract's types, each line once."""
    import pandas as pd

    wanted = [*identity(contract).values(), contract.outcome]
    frame = contract.handed_in(path, [column.name for column in wanted])
    typed = {column.name: _typed(column, frame[column.name], path.name) for column in wanted}
    return pd.DataFrame(typed).drop_duplicates(ignore_index=True)


def _typed(column: Column, values: "pd.Series", file: str) -> "pd.Series":
    try:
        if values.isna().any():
            raise ProjectError(
                f"data.missing: {column.name!r} is missing in {values.isna().sum():,} rows of {file}."
            )
        if column.kind == "datetime":
            return moments(values)
        if column.kind == "bool":
            return values.astype(str).str.lower().map(WORDS.__getitem__)
        return (
            values.astype(float) if column.is_number else values
        )  # pandas.to_numeric loses the last bit
    except (ValueError, TypeError, KeyError):
        raise ProjectError(
            f"data.type: {column.name!r} in {file} holds values that are no {column.kind}."
        ) from None


def moments(values: "pd.Series") -> "pd.Series":
    """Datetimes of a file in microseconds. Raises: ValueError for what is no datetime in ISO 8601."""
    import pandas as pd

    try:
        return pd.to_datetime(values, format="ISO8601").astype("datetime64[us]")
    except pd.errors.OutOfBoundsDatetime:  # the nanoseconds of pandas end in the year 2262
        moments = [datetime.fromisoformat(str(value)) for value in values]
        return pd.Series(np.array(moments, dtype="datetime64[us]"), index=values.index)


def _check(project: Project, given: "pd.DataFrame", file: str) -> None:
    """Raises: ProjectError if a row breaks a rule of the contract, or if a key has two outcomes."""
    contract = project.contract
    key = identity(contract)
    if twice := given.duplicated(list(key)).sum():
        raise ProjectError(
            f"data.unique_key: {twice:,} keys in {file} have two different outcomes; nothing was recorded."
        )
    table = Table("labels", key | {contract.outcome.name: contract.outcome}, [])
    broken = broken_rows(given, table, contract, project.stage("validate").check)
    for (rule, column), places in broken.items():
        if len(places):
            told = f"{rule} {column} breaks the contract in {len(places):,} rows of {file}; nothing was recorded."
            raise ProjectError(told)
