"""The contract: what a row is, read once from the team's pydantic classes in `schema.py`.

Everything that reads, checks, serves or documents data asks this object; no other module knows a column's name.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from mlgates.contract.constraints import INT_RANGE, Rules, rules_of, whole_pattern
from mlgates.errors import ProjectError, nearest
from mlgates.settings import waiver

if TYPE_CHECKING:
    import pandas as pd

Arrays = dict[str, np.ndarray]
NUMBERS = ("int", "float", "bool")


@dataclass(frozen=True)
class About:
    """What people must know of a column: beside its type, or for all columns of a look-up or of the contract.

    `owner` answers for it, `source` is where it is made, `licence` says on which terms it may be used, `unit` what a
    number counts. A column whose `privacy` is sensitive, or whose `status` is deprecated, is delivered and checked,
    but no feature may read it.
    """

    unit: str = ""
    owner: str = ""
    source: str = ""
    privacy: Literal["", "public", "internal", "personal", "sensitive"] = ""
    status: Literal["", "active", "deprecated"] = ""
    licence: str = ""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Stand in the column's JSON schema, and so on the OpenAPI page."""
        return {**handler(schema), **self.told}

    @property
    def told(self) -> dict[str, Any]:
        """What is known, by name."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, kw_only=True)
class Column(Rules):
    """One column: its rules, and what people know of it. `kind` is int, float, bool, category, datetime or text.

    `alias` is the name that the world uses where Python does not allow it. `source` is "request", "outcome" or the
    name of the look-up.
    """

    name: str
    source: str
    alias: str = ""
    description: str = field(default="", repr=False)
    about: About = field(default=About(), repr=False)

    @property
    def label(self) -> str:
        """The name for people."""
        return self.alias or self.name

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers (bools count as 0 and 1)."""
        return self.kind in NUMBERS


@dataclass(frozen=True)
class Lookup:
    """A table that the project joins by itself: the newest row per `on` whose `time` is not after the request's `at`.

    `time` is the table's column that says when a row became known; rows older than `max_age` ("6h") count as missing.
    """

    model: type[BaseModel]
    on: str | Sequence[str]
    at: str
    time: str
    max_age: str
    about: About = About()

    @property
    def name(self) -> str:
        """The class's name in lower case; also the name of the table."""
        return self.model.__name__.lower()

    @property
    def keys(self) -> list[str]:
        """The columns that the look-up and the request share."""
        return [self.on] if isinstance(self.on, str) else list(self.on)

    @property
    def max_seconds(self) -> float:
        """`max_age` in seconds. Raises: ProjectError if it is not a number followed by s, m, h or d."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", self.max_age)
        if not match:
            raise ProjectError(
                f"look-up {self.name}: max_age {self.max_age!r} is not like '6h', '30m' or '2d'."
            )
        return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def columns_of(model: type[BaseModel], source: str, about: About = About()) -> dict[str, Column]:
    """The columns of one pydantic class, by name; `about` holds where a column says nothing itself.

    Raises: ProjectError for a type that a table cannot hold, and for a constraint that only the service could check.
    """
    rules = rules_of(model)
    schema = model.model_json_schema(by_alias=False)
    definitions = schema.get("$defs", {})
    found = {}
    for name, part in schema.get("properties", {}).items():
        options = [part, *part.get("anyOf", [])]
        options += [
            definitions[option["$ref"].rpartition("/")[2]] for option in options if "$ref" in option
        ]
        said: dict[str, Any] = {}
        description = ""
        for option in options:
            said |= {key: option[key] for key in about.__dict__ if key in option}
            description = description or str(option.get("description", ""))
        found[name] = Column(
            name=name,
            source=source,
            alias=model.model_fields[name].alias or "",
            description=description,
            about=replace(about, **said),
            **rules[name].__dict__,
        )
    return found


@dataclass(frozen=True)
class Contract:
    """Request, look-ups and outcome, and the names of the columns that play a part.

    `key` tells rows apart, `time` orders them, `slices` and `groups` are looked at apart, `forbidden` never reach a
    feature, nor do groups, but for those `waived` ("sex until 2027-01-31"). `rules` are functions of columns, as
    features are, that give (n,) bool: whether a row is possible. `about` holds for every column that says nothing else.

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
    about: About = About()
    columns: dict[str, Column] = field(init=False)

    def __post_init__(self) -> None:
        columns = columns_of(self.request, "request", self.about)
        parts = [
            (look.name, columns_of(look.model, look.name, replace(self.about, **look.about.told)))
            for look in self.lookups
        ]
        parts.append(("outcome", columns_of(self.outcome_model, "outcome", self.about)))
        for source, part in parts:
            if twice := set(columns) & set(part):
                raise ProjectError(
                    f"schema.py: {sorted(twice)[0]!r} stands in {source} and in another class."
                )
            columns |= part
        object.__setattr__(self, "columns", columns)
        if len(parts[-1][1]) != 1:
            raise ProjectError(
                f"schema.py: {self.outcome_model.__name__} must have exactly one field, the outcome."
            )
        roles = {
            "key": self.key,
            "slices": self.slices,
            "groups": self.groups,
            "time": [self.time] if self.time else [],
        }
        for look in self.lookups:
            roles[f"look-up {look.name}"] = [*look.keys, look.at]
        for rule in self.rules:
            roles[f"rule {rule.__name__}"] = reads(rule)
        delivered = {**self.request_columns, self.outcome.name: self.outcome}
        for role, names in roles.items():
            known = delivered if role.startswith("rule ") else self.feature_columns
            for name in names:
                if name not in known:
                    hint = nearest(name, known)
                    raise ProjectError(
                        f"schema.py: {role} names {name!r}, which is no column.", hint
                    )
        if wrong := set(self.forbidden) & set(self.feature_columns):
            raise ProjectError(
                f"schema.py: {sorted(wrong)[0]!r} is forbidden and part of the request or a look-up."
            )
        _ = self.waivers

    @cached_property
    def request_columns(self) -> dict[str, Column]:
        """What a caller sends."""
        return self.from_source("request")

    @cached_property
    def feature_columns(self) -> dict[str, Column]:
        """What a feature may read: request and look-ups, never the outcome."""
        return {name: column for name, column in self.columns.items() if column.source != "outcome"}

    @cached_property
    def waivers(self) -> dict[str, date]:
        """The groups that features may read, each with the last day on which a model that does is promoted."""
        return dict(
            waiver(written, self.groups, "schema.py: waived", "group") for written in self.waived
        )

    @cached_property
    def outcome(self) -> Column:
        """The column to be predicted."""
        return next(column for column in self.columns.values() if column.source == "outcome")

    @cached_property
    def task(self) -> str:
        """binary, multiclass or regression: follows from the outcome's type."""
        kind = self.outcome.kind
        if kind == "bool" or (kind == "category" and len(self.outcome.categories) == 2):
            return "binary"
        if kind == "category":
            return "multiclass"
        if kind in ("int", "float"):
            return "regression"
        raise ProjectError(
            f"schema.py: the outcome {self.outcome.name!r} must be a bool, a number or a Literal."
        )

    @cached_property
    def classes(self) -> list[str]:
        """The outcome's classes in the order of the scores; empty for regression. A bool is False, True."""
        if self.task == "regression":
            return []
        return list(self.outcome.categories) or ["False", "True"]

    def as_data(self) -> dict[str, Any]:
        """What a service must have in common with a model that it serves, as plain data.

        The columns with their rules, the look-ups, and the names of the rules between columns. What people are told of
        a column is left out, and so are the parts that only training and evaluation look at.
        """
        columns = {}
        for name, column in self.columns.items():
            data: dict[str, Any] = {"source": column.source, "alias": column.alias}
            for rule in fields(Rules):
                value = getattr(column, rule.name)
                if value is not None and value is not False and value != () and value != "":
                    data[rule.name] = value
            columns[name] = data
        lookups = {}
        for look in self.lookups:
            lookups[look.name] = {
                "on": look.keys,
                "at": look.at,
                "time": look.time,
                "max_age": look.max_age,
            }
        rules_between = {rule.__name__: reads(rule) for rule in self.rules}
        every = {"columns": columns, "lookups": lookups, "rules": rules_between}
        plain: dict[str, Any] = json.loads(json.dumps(every, default=str))
        return plain

    def differences(self, stored: Mapping[str, Any]) -> list[str]:
        """In words, what differs from another contract, given as `as_data` gave it; empty if they are the same."""
        found = []
        mine = self.as_data()
        for part, one in (("columns", "column"), ("lookups", "look-up"), ("rules", "rule")):
            before, now = stored[part], mine[part]
            for name in sorted({*before, *now}):
                if name not in before:
                    found.append(f"{one} {name!r} is new")
                elif name not in now:
                    found.append(f"{one} {name!r} is gone")
                elif before[name] != now[name]:
                    found.append(f"{one} {name!r} has changed")
        return found

    def from_source(self, source: str) -> dict[str, Column]:
        """The columns of "request", "outcome" or a look-up."""
        return {name: column for name, column in self.columns.items() if column.source == source}

    def barred(self, name: str) -> str:
        """Why no feature may read a column: the outcome, forbidden, protected or deprecated; empty if one may."""
        if name == self.outcome.name:
            return "the outcome"
        if name in self.forbidden:
            return "forbidden"
        about = self.columns[name].about if name in self.columns else About()
        if (name in self.groups and name not in self.waivers) or about.privacy == "sensitive":
            return "protected"
        return "deprecated" if about.status == "deprecated" else ""

    def impossible(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The positions of the rows that break each rule whose columns are there; a missing value breaks none.

        Raises: ProjectError if a rule fails.
        """
        found = {}
        for rule in self.rules:
            if set(names := reads(rule)) <= set(arrays):
                known = np.logical_and.reduce([~gone(arrays[name]) for name in names])
                try:
                    possible = np.asarray(
                        rule(*(arrays[name][known] for name in names)), dtype=bool
                    )
                    found[rule.__name__] = np.flatnonzero(known)[~possible]
                except Exception as error:
                    told = (
                        f"schema.py: rule {rule.__name__} failed: {type(error).__name__}: {error}"
                    )
                    raise ProjectError(told) from error
        return found

    @cached_property
    def demanded(self) -> list[str]:
        """The columns of look-ups that may not be missing."""
        looked_up = (
            column for look in self.lookups for column in self.from_source(look.name).values()
        )
        return [column.name for column in looked_up if not column.nullable]

    def unanswered(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The positions of the rows for which a look-up found no value, by column, where the contract demands one."""
        asked = (name for name in self.demanded if name in arrays)
        return {name: places for name in asked if len(places := np.flatnonzero(gone(arrays[name])))}

    def named(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """The frame with the contract's names where the world's (aliases) stand."""
        names = {column.alias: name for name, column in self.columns.items() if column.alias}
        return frame.rename(
            columns={alias: name for alias, name in names.items() if name not in frame}
        )

    def handed_in(self, path: Path, columns: Iterable[str]) -> "pd.DataFrame":
        """A CSV file (each cell as text) or a Parquet file with at least these columns, under the contract's names.

        Raises: ProjectError if it cannot be read or lacks a column.
        """
        import pandas as pd

        try:
            if path.suffix == ".parquet":
                frame = self.named(pd.read_parquet(path))
            else:
                frame = self.named(
                    pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
                )
        except (ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ProjectError(
                f"{path.name} cannot be read: {reason}", "Give a CSV or Parquet file."
            ) from None
        if absent := [name for name in columns if name not in frame]:
            hint = nearest(absent[0], map(str, frame))
            raise ProjectError(f"data.columns: {path.name} has no column {absent[0]!r}.", hint)
        return frame

    @cached_property
    def request_model(self) -> type[BaseModel]:
        """The request class as the service checks it: by name or alias; unknown fields and infinity are refused.

        Patterns are read as in tables, by Python's `re`, and integers must fit into a table.
        """
        config = ConfigDict(
            extra="forbid", allow_inf_nan=False, populate_by_name=True, regex_engine="python-re"
        )
        base = type(
            "Request", (self.request,), {"model_config": config, "__doc__": self.request.__doc__}
        )
        restated: dict[str, Any] = {}
        for name, column in self.request_columns.items():
            if column.pattern or column.kind == "int":
                restated[name] = _restated(column, self.request.model_fields[name])
        return create_model("Request", __base__=base, __doc__=self.request.__doc__, **restated)

    def arrays(self, frame: "pd.DataFrame") -> Arrays:
        """The frame's contract columns as arrays of length n; see `to_array` for the types."""
        return {
            name: to_array(column, frame[name])
            for name, column in self.columns.items()
            if name in frame
        }

    def arrays_of(self, rows: Sequence[Mapping[str, Any] | BaseModel]) -> Arrays:
        """The same arrays from dicts or pydantic objects, without pandas; columns that no row has are left out."""
        if not rows:
            return {}
        dicts = [row if isinstance(row, Mapping) else row.__dict__ for row in rows]
        present = (column for name, column in self.columns.items() if name in dicts[0])
        return {
            column.name: to_array(column, [row[column.name] for row in dicts]) for column in present
        }

    def payload(self, frame: "pd.DataFrame") -> list[dict[str, Any]]:
        """The request columns of a frame as the JSON rows that a caller sends."""
        kinds: dict[str, Callable[[Any], Any]] = {
            "int": int,
            "bool": bool,
            "datetime": datetime.isoformat,
        }
        columns = {}
        for name, column in self.request_columns.items():
            values, said = (
                to_array(column, frame[name]),
                kinds.get(column.kind, lambda value: value),
            )
            known = zip(values.tolist(), gone(values), strict=True)
            columns[name] = [None if missing else said(value) for value, missing in known]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def target(self, frame: "pd.DataFrame") -> np.ndarray:
        """The outcome as (n,) float64: the number for regression, the position in `classes` otherwise."""
        values = frame[self.outcome.name]
        if self.task == "regression" or self.outcome.kind == "bool":
            return np.asarray(values, dtype=float)
        places = {name: float(place) for place, name in enumerate(self.classes)}
        return np.array([places[str(value)] for value in values])


def _restated(column: Column, written: FieldInfo) -> tuple[Any, Any]:
    """The field of a request for a text with a pattern or for an integer, as all engines read its rules."""
    limits: dict[str, Any] = {"min_length": column.min_length, "max_length": column.max_length}
    limits["pattern"] = whole_pattern(column.pattern)
    annotation: Any = Annotated[str, Field(**limits), column.about]
    if column.kind == "int":
        low = INT_RANGE[0] if column.low is None else column.low
        high = INT_RANGE[1] if column.high is None else column.high
        annotation = Annotated[int, Field(ge=low, le=high), column.about]
    if column.nullable:
        annotation = annotation | None
    restated: Any = Field(
        default=... if written.is_required() else None,  # no other default is allowed
        alias=written.alias,
        title=written.title,
        description=written.description,
        examples=written.examples,
        json_schema_extra=written.json_schema_extra,
        deprecated=written.deprecated,
    )
    return annotation, restated


def to_array(column: Column, values: "Iterable[Any] | pd.Series") -> np.ndarray:
    """Values of one column, the same however they arrived: the ground on which training and serving agree to the bit.

    Numbers and bools are float64 with NaN for missing, datetimes are datetime64[us] with NaT, the rest is object with
    None. Raises: ValueError or TypeError for values of another type.
    """
    if column.kind in NUMBERS:
        if not hasattr(values, "to_numpy"):
            values = [np.nan if value is None else value for value in values]
            return np.array(values, dtype=np.float64)
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    if column.kind == "datetime":
        return np.asarray(values, dtype="datetime64[us]")
    places = None
    if hasattr(values, "factorize"):  # each word is looked at once
        places, values = values.factorize()
    words = [
        None if value is None or value != value else str(getattr(value, "value", value))
        for value in values
    ]
    found = np.array(
        [*words, None], dtype=object
    )  # the None keeps NumPy from looking into the words
    return found[:-1] if places is None else found[places]


def gone(values: np.ndarray) -> np.ndarray:
    """(n,) bool: where a contract array has no value."""
    return (
        np.array([value is None for value in values], dtype=bool)
        if values.dtype == object
        else values != values
    )


def reads(function: Callable[..., Any]) -> list[str]:
    """The names of a function's arguments: the columns that it reads."""
    return list(inspect.signature(function).parameters)


RULES = {
    "missing": "data.columns",
    "extra_forbidden": "data.columns",
    "literal_error": "data.category",
    "enum": "data.category",
    "finite_number": "data.range",
    "string_pattern_mismatch": "data.pattern",
    "string_too_short": "data.length",
    "string_too_long": "data.length",
    "greater_than": "data.range",
    "greater_than_equal": "data.range",
    "less_than": "data.range",
    "less_than_equal": "data.range",
    "int_parsing_size": "data.range",
}


def rule_of(error_type: str, value: object) -> str:
    """The name of the check that a pydantic error stands for: the service and the suite use the same ones."""
    if value is None and RULES.get(error_type) != "data.columns":
        return "data.missing"
    return RULES.get(error_type, "data.type")
