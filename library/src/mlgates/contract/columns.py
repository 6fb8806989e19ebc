"""What the team writes about columns in `schema.py`, and the columns that are read from it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from pydantic import BaseModel

from mlgates.contract.constraints import Rules, rules_of
from mlgates.errors import ProjectError

NUMBERS = ("int", "float", "bool")
BARRED = {"sensitive": "protected", "deprecated": "deprecated"}  # by privacy or status
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # of the units of `max_age`


@dataclass(frozen=True)
class About:
    """What people must know of a column, or of all columns of a look-up or of the contract.

    `owner` answers for it, `source` is where it is made, `licence` says on which terms it may be
    used, `unit` says what a number counts. A column whose `privacy` is sensitive, or whose `status`
    is deprecated, is delivered and checked, but no feature may read it.
    """

    unit: str = ""
    owner: str = ""
    source: str = ""
    privacy: Literal["", "public", "internal", "personal", "sensitive"] = ""
    status: Literal["", "active", "deprecated"] = ""
    licence: str = ""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Add the fields to the column's JSON schema, and so to the OpenAPI page."""
        return {**handler(schema), **self.filled_in}

    @property
    def filled_in(self) -> dict[str, Any]:
        """The fields that are not empty, by name."""
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def barred(self) -> str:
        """Why no feature may read such a column, empty if one may."""
        return BARRED.get(self.privacy) or BARRED.get(self.status, "")


UNDESCRIBED = About()


@dataclass(frozen=True, kw_only=True)
class Column(Rules):
    """One column: its rules, and what people know of it.

    `kind` is int, float, bool, category, datetime or text. `alias` is the column's name outside of
    this project, where Python does not allow that name. `source` is "request", "outcome" or the
    name of the look-up.
    """

    name: str
    source: str
    alias: str = ""
    description: str = field(default="", repr=False)
    about: About = field(default=UNDESCRIBED, repr=False)

    @property
    def label(self) -> str:
        """The name for people."""
        return self.alias or self.name

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers (bools count as 0 and 1)."""
        return self.kind in NUMBERS

    def as_data(self) -> dict[str, Any]:
        """The rules that are set, and where the values come from."""
        data: dict[str, Any] = {"source": self.source, "alias": self.alias}
        for rule in fields(Rules):
            value = getattr(self, rule.name)
            if value != rule.default:
                data[rule.name] = value
        return data


@dataclass(frozen=True)
class Lookup:
    """A table that the project joins to the request by itself.

    The newest row with the request's values in the columns `on` is taken whose `time` is not after
    the request's `at`. `time` is the table's column that says when a row became known. Rows older
    than `max_age` ("6h") count as missing.
    """

    model: type[BaseModel]
    on: str | Sequence[str]
    at: str
    time: str
    max_age: str
    about: About = UNDESCRIBED

    @property
    def name(self) -> str:
        """The class's name in lower case; also the name of the table."""
        return self.model.__name__.lower()

    @property
    def keys(self) -> list[str]:
        """The columns that the look-up and the request share."""
        if isinstance(self.on, str):
            return [self.on]
        return list(self.on)

    @property
    def max_seconds(self) -> float:
        """`max_age` in seconds.

        Raises: ProjectError if it is not a number followed by s, m, h or d.
        """
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", self.max_age)
        if not match:
            message = f"schema.py: look-up {self.name} has the max_age {self.max_age!r}."
            raise ProjectError(message, "Write a number and a unit, such as '6h', '30m' or '2d'.")
        number, unit = match.groups()
        return float(number) * SECONDS[unit]

    def as_data(self) -> dict[str, Any]:
        """All but what is written for people; the look-up's columns are part of the contract's."""
        return {"on": self.keys, "at": self.at, "time": self.time, "max_age": self.max_age}


def columns_of(
    model: type[BaseModel], source: str, about: About = UNDESCRIBED
) -> dict[str, Column]:
    """The columns of one pydantic class, by name.

    `about` fills the fields that a column's own `About` leaves empty.

    Raises: ProjectError for a type that a table cannot hold, and for a constraint that only the
    service could check.
    """
    rules = rules_of(model)
    json_schema = model.model_json_schema(by_alias=False)
    definitions = json_schema.get("$defs", {})
    columns = {}
    for name, json_property in json_schema.get("properties", {}).items():
        parts = _parts(json_property, definitions)
        columns[name] = Column(
            name=name,
            source=source,
            alias=model.model_fields[name].alias or "",
            description=_description(parts),
            about=replace(about, **_stated(parts)),
            **rules[name].__dict__,
        )
    return columns


def _parts(json_property: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Any]:
    """The parts of a JSON schema that may describe one column.

    These are the property itself, the options of a union such as `float | None`, and the
    definitions, such as that of an enum, that one of them refers to.
    """
    parts = [json_property, *json_property.get("anyOf", [])]
    referred = []
    for part in parts:
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            referred.append(definitions[name])
    return parts + referred


def _description(parts: Sequence[Mapping[str, Any]]) -> str:
    """The first description that is not empty."""
    for part in parts:
        if part.get("description"):
            return str(part["description"])
    return ""


def _stated(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of `About` that the parts have, by name."""
    names = UNDESCRIBED.__dict__
    stated = {}
    for part in parts:
        for name in names:
            if name in part:
                stated[name] = part[name]
    return stated
