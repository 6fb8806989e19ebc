"""The contract: what a row is, read once from the team's pydantic classes in `schema.py`.

Everything that reads, checks, serves or documents data asks this object. No other module knows the
name of a column.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from mlgates.contract.arrays import Arrays, is_missing, to_array
from mlgates.contract.columns import UNDESCRIBED, About, Column, Lookup, columns_of
from mlgates.contract.request import request_model
from mlgates.errors import ProjectError, nearest
from mlgates.settings import waiver

if TYPE_CHECKING:
    import pandas as pd

# What a value of each kind becomes in JSON.
AS_JSON: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "bool": bool,
    "datetime": datetime.isoformat,
    "category": str,
    "text": str,
}

# The task that follows from the kind of the outcome. Two categories are binary, too.
TASKS = {
    "bool": "binary",
    "category": "multiclass",
    "int": "regression",
    "float": "regression",
}

# The parts of a contract as data, and what one entry of each is called.
PARTS = {"columns": "column", "lookups": "look-up", "rules": "rule"}


@dataclass(frozen=True)
class Contract:
    """Request, look-ups and outcome, and the names of the columns that play a part.

    `key` tells rows apart, `time` orders them. `slices` and `groups` are measured one by one.
    `forbidden` columns never reach a feature. Nor do groups, except for those that are `waived`
    ("sex until 2027-01-31"). `rules` are functions of columns, as features are; each gives (n,)
    bool: whether a row is possible. `about` holds for every column that says nothing else.

    Raises: ProjectError at construction for a name that no class defines, or for a name used twice.
    """

    request: type[BaseModel]
    outcome_model: type[BaseModel]
    lookups: Sequence[Lookup] = ()
    key: Sequence[str] = ()
    time: str | None = None
    slices: Sequence[str] = ()
    groups: Sequence[str] = ()
    forbidden: Sequence[str] = ()
    waived: Sequence[str] = ()
    rules: Sequence[Callable[..., np.ndarray]] = ()
    about: About = UNDESCRIBED
    columns: dict[str, Column] = field(init=False)

    def __post_init__(self) -> None:
        # The class is frozen, so the field cannot be set in the usual way.
        object.__setattr__(self, "columns", self._read_columns())
        self._check_aliases()
        self._check_names()
        self._check_forbidden()
        _ = self.waivers  # raises for a waiver that cannot be read

    def _read_columns(self) -> dict[str, Column]:
        """The columns of all classes. Raises: ProjectError if two classes have one of a name."""
        parts = [("request", columns_of(self.request, "request", self.about))]
        for look in self.lookups:
            about = replace(self.about, **look.about.filled_in)
            parts.append((look.name, columns_of(look.model, look.name, about)))
        outcome = columns_of(self.outcome_model, "outcome", self.about)
        parts.append(("outcome", outcome))

        columns: dict[str, Column] = {}
        for source, part in parts:
            repeated = sorted(set(columns) & set(part))
            if repeated:
                message = f"schema.py: {source} has a column {repeated[0]!r}, as another class has."
                raise ProjectError(message, "Rename one of the two.")
            columns |= part

        if len(outcome) != 1:
            name = self.outcome_model.__name__
            raise ProjectError(f"schema.py: {name} must have exactly one field, the outcome.")
        return columns

    def _check_aliases(self) -> None:
        """Raises: ProjectError if a column's alias is the name or the alias of another one."""
        owners = {name: name for name in self.columns}
        for name, column in self.columns.items():
            owner = owners.setdefault(column.label, name)
            if owner != name:
                raise ProjectError(
                    f"schema.py: column {name!r} has the alias {column.label!r}, "
                    f"which is also the name or the alias of column {owner!r}.",
                    "Give one of the two another alias.",
                )

    def _check_names(self) -> None:
        """Raises: ProjectError if a part is played by a column that does not exist."""
        names_of_roles = {
            "key": list(self.key),
            "slices": list(self.slices),
            "groups": list(self.groups),
        }
        if self.time:
            names_of_roles["time"] = [self.time]
        for look in self.lookups:
            names_of_roles[f"look-up {look.name}"] = [*look.keys, look.at]
        for role, names in names_of_roles.items():
            _check_known(role, names, self.feature_columns, "of the request or of a look-up")

        # Rules are asked where look-ups are not joined yet.
        delivered = [*self.request_columns, self.outcome.name]
        for rule in self.rules:
            role = f"rule {rule.__name__}"
            _check_known(role, reads(rule), delivered, "of the request or the outcome")

    def _check_forbidden(self) -> None:
        wrong = sorted(set(self.forbidden) & set(self.feature_columns))
        if wrong:
            message = f"schema.py: {wrong[0]!r} is forbidden, but the request or a look-up has it."
            raise ProjectError(message)

    @cached_property
    def request_columns(self) -> dict[str, Column]:
        """What a caller sends."""
        return self.from_source("request")

    @cached_property
    def feature_columns(self) -> dict[str, Column]:
        """What a feature may read: request and look-ups, never the outcome."""
        columns = dict(self.columns)
        del columns[self.outcome.name]
        return columns

    @cached_property
    def waivers(self) -> dict[str, date]:
        """The groups that features may read, each with the last day on which that is allowed.

        After that day, no model that reads the group is promoted.
        """
        waivers = {}
        for written in self.waived:
            name, last_day = waiver(written, self.groups, "schema.py: waived", "group")
            waivers[name] = last_day
        return waivers

    @cached_property
    def outcome(self) -> Column:
        """The column to be predicted."""
        (column,) = self.from_source("outcome").values()
        return column

    @cached_property
    def task(self) -> str:
        """binary, multiclass or regression: follows from the outcome's type."""
        if len(self.outcome.categories) == 2:
            return "binary"
        task = TASKS.get(self.outcome.kind)
        if task is None:
            name = self.outcome.name
            raise ProjectError(
                f"schema.py: the outcome {name!r} must be a bool, a number or a Literal."
            )
        return task

    @cached_property
    def classes(self) -> list[str]:
        """The classes in the order of the scores, for a bool False, True; empty for regression."""
        if self.task == "regression":
            return []
        return list(self.outcome.categories) or ["False", "True"]

    def from_source(self, source: str) -> dict[str, Column]:
        """The columns of "request", "outcome" or a look-up."""
        return {name: column for name, column in self.columns.items() if column.source == source}

    @cached_property
    def demanded(self) -> list[str]:
        """The columns of look-ups that may not be missing."""
        names = []
        for look in self.lookups:
            for column in self.from_source(look.name).values():
                if not column.nullable:
                    names.append(column.name)
        return names

    def why_forbidden(self, name: str) -> str:
        """Why no feature may read a column, empty if one may.

        The reason is: the outcome, forbidden, protected or deprecated.
        """
        if name == self.outcome.name:
            return "the outcome"
        if name in self.forbidden:
            return "forbidden"
        if name in set(self.groups) - set(self.waivers):
            return "protected"
        if name in self.columns:
            return self.columns[name].about.barred
        return ""

    # The contract as data, stored with each model

    def as_data(self) -> dict[str, Any]:
        """What a service must have in common with a model that it serves, as plain data.

        The columns with their rules, the look-ups, and the names of the rules between columns. It
        leaves out what is written for people, and the parts that only training and evaluation use.
        """
        data = {
            "columns": {name: column.as_data() for name, column in self.columns.items()},
            "lookups": {look.name: look.as_data() for look in self.lookups},
            "rules": {rule.__name__: reads(rule) for rule in self.rules},
        }
        plain: dict[str, Any] = json.loads(json.dumps(data, default=str))
        return plain

    def differences(self, stored: Mapping[str, Any]) -> list[str]:
        """In words, what differs from another contract; empty if they are the same.

        `stored` is what `as_data` gave for the other one.
        """
        messages = []
        current = self.as_data()
        for part, singular in PARTS.items():
            before = stored[part]
            now = current[part]
            for name in sorted({*before, *now}):
                if name not in before:
                    messages.append(f"{singular} {name!r} is new")
                elif name not in now:
                    messages.append(f"{singular} {name!r} is gone")
                elif before[name] != now[name]:
                    messages.append(f"{singular} {name!r} has changed")
        return messages

    # Rows of a table or of a request as arrays

    def arrays(self, frame: "pd.DataFrame") -> Arrays:
        """The frame's contract columns as arrays of length n; see `to_array` for the types."""
        arrays = {}
        for name, column in self.columns.items():
            if name in frame:
                arrays[name] = to_array(column, frame[name])
        return arrays

    def arrays_of(self, rows: Sequence[Mapping[str, Any] | BaseModel]) -> Arrays:
        """The same arrays from dicts or pydantic objects, without pandas.

        Columns that the first row does not have are left out.
        """
        if not rows:
            return {}
        dicts = [row if isinstance(row, Mapping) else row.__dict__ for row in rows]
        arrays = {}
        for name, column in self.columns.items():
            if name in dicts[0]:
                arrays[name] = to_array(column, [row[name] for row in dicts])
        return arrays

    def target(self, frame: "pd.DataFrame") -> np.ndarray:
        """The outcome as (n,) float64: a number for regression, else the position in `classes`."""
        import pandas as pd

        values = frame[self.outcome.name]
        if self.task == "regression" or self.outcome.kind == "bool":
            return np.asarray(values, dtype=float)
        positions = pd.Series(np.arange(len(self.classes), dtype=float), index=self.classes)
        return positions.loc[values.astype(str)].to_numpy()

    # What is wrong with rows

    def impossible(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The positions of the rows that break each rule between columns, by the rule's name.

        Only rules whose columns are there are asked. A row with a missing value breaks none.

        Raises: ProjectError if a rule fails.
        """
        positions = {}
        for rule in self.rules:
            if set(reads(rule)) <= set(arrays):
                positions[rule.__name__] = _positions_that_break(rule, arrays)
        return positions

    def missing_lookups(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The positions of the rows without a value from a look-up, by column.

        Only for columns that the contract demands, and that lack a value somewhere.
        """
        positions_by_column = {}
        for name in self.demanded:
            if name not in arrays:
                continue
            positions = np.flatnonzero(is_missing(arrays[name]))
            if len(positions):
                positions_by_column[name] = positions
        return positions_by_column

    # Names and files from outside

    def with_contract_names(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """The frame with the contract's names in place of aliases."""
        absent = self.columns.keys() - set(frame)
        return frame.rename(columns={self.columns[name].label: name for name in absent})

    def read_table(self, path: Path, columns: Iterable[str]) -> "pd.DataFrame":
        """A CSV or Parquet file with at least these columns, under the contract's names.

        Each cell of a CSV file is read as text.

        Raises: ProjectError if the file cannot be read or lacks a column.
        """
        frame = self.with_contract_names(_read_file(path))
        for name in columns:
            if name not in frame:
                hint = nearest(name, map(str, frame))
                raise ProjectError(f"data.columns: {path.name} has no column {name!r}.", hint)
        return frame

    @cached_property
    def request_model(self) -> type[BaseModel]:
        """The request class as the service checks it: by name or alias, and as strict as tables.

        Unknown fields and infinity are refused. Patterns are read as in tables, by Python's `re`,
        and integers must fit into a table.
        """
        return request_model(self.request, self.request_columns)

    def payload(self, frame: "pd.DataFrame") -> list[dict[str, Any]]:
        """The request columns of a frame as the JSON rows that a caller sends."""
        columns = {}
        for name, column in self.request_columns.items():
            columns[name] = _json_values(column, frame[name])
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]


def reads(function: Callable[..., Any]) -> list[str]:
    """The names of a function's arguments: the columns that it reads."""
    return list(inspect.signature(function).parameters)


def _check_known(role: str, names: Iterable[str], columns: Iterable[str], whose: str) -> None:
    """Raises: ProjectError for a name that is not among the columns."""
    for name in names:
        if name not in columns:
            message = f"schema.py: {role} names {name!r}, which is no column {whose}."
            raise ProjectError(message, nearest(name, columns))


def _positions_that_break(rule: Callable[..., np.ndarray], arrays: Arrays) -> np.ndarray:
    columns = [arrays[name] for name in reads(rule)]
    complete = ~np.logical_or.reduce(list(map(is_missing, columns)))
    arguments = [values[complete] for values in columns]
    try:
        possible = np.asarray(rule(*arguments), dtype=bool)
        return np.flatnonzero(complete)[~possible]
    except Exception as error:
        message = f"schema.py: rule {rule.__name__} failed: {type(error).__name__}: {error}"
        raise ProjectError(message) from error


def _read_file(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        # Only an empty cell is missing: "NA" may be a word.
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        message = f"{path.name} cannot be read: {reason}"
        raise ProjectError(message, "Give a CSV or Parquet file.") from None


def _json_values(column: Column, values: "pd.Series") -> list[Any]:
    array = to_array(column, values)
    convert = AS_JSON[column.kind]
    cells = zip(array.tolist(), is_missing(array), strict=True)
    return [None if missing else convert(value) for value, missing in cells]
