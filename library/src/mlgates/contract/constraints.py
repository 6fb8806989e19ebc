"""What pydantic checks of a field, read from the core schema that it builds, as the rules of one column.

Every engine takes its rules from `Column`: the request model of the service, the Great Expectations suite of validate,
monitor and labels, the synthetic rows, the draft. A constraint that only pydantic could check would make the service
refuse rows on which a model is trained. So each one is either honoured by all of them, or refused here by name.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from mlgates.errors import ProjectError

Schema = Mapping[str, Any]  # a part of pydantic's core schema

KINDS = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "str": "text",
    "datetime": "datetime",
    "literal": "category",
    "enum": "category",
}
BOUNDS = ("gt", "ge", "lt", "le")
HONOURED = {
    "int": BOUNDS,
    "float": BOUNDS,
    "datetime": BOUNDS,
    "str": ("min_length", "max_length", "pattern"),
}
# Keys of a core schema that say nothing about which values are allowed, or are read elsewhere in this module.
NEUTRAL = (
    "type",
    "schema",
    "ref",
    "metadata",
    "serialization",
    "cls",
    "members",
    "sub_type",
    "expected",
)
# Values that say what holds for every column anyway.
USUAL = {
    "strict": True,
    "allow_inf_nan": False,
    "tz_constraint": "naive",
    "microseconds_precision": "truncate",
}
AS_A_RULE = "Write it as a function of columns, and name it in Contract(rules=[...])."
AT_THE_SOURCE = "Change the values where they come from: in data.py, and at the caller."
INSTEAD = {
    "multiple_of": AS_A_RULE,
    "ascii_only": "Write it as a pattern: ^[\\x00-\\x7f]*$",
    "strip_whitespace": AT_THE_SOURCE,
    "to_lower": AT_THE_SOURCE,
    "to_upper": AT_THE_SOURCE,
    "coerce_numbers_to_str": AT_THE_SOURCE,
    "missing": AT_THE_SOURCE,
    "strict": "Remove it: the service never converts a value.",
    "allow_inf_nan": "Remove it: infinity is refused everywhere, and NaN is a missing value.",
    "tz_constraint": "Use datetime without a time zone: the contract means local time.",
    "now_op": "The same row would be allowed on one day and refused on another. Remove it.",
    "now_utc_offset": "The same row would be allowed on one day and refused on another. Remove it.",
    "microseconds_precision": "Remove it.",
    "regex_engine": "Remove it: patterns are Python's everywhere.",
    "default": "A table has no defaults. Allow the value to be missing: `| None = None`.",
    "default_factory": "A table has no defaults. Allow the value to be missing: `| None = None`.",
}
CONFIG = (
    "str_strip_whitespace",
    "str_to_lower",
    "str_to_upper",
    "str_min_length",
    "str_max_length",
)
TYPES = "Use int, float, bool, str, datetime, Literal[...] or an enum, each with `| None` if it may be missing."
WORDS = "The values must be words: Literal['1', '2'], and text in the table."
# What a table and the prediction log can hold: integers of 64 bits, and numbers that are not infinite.
INT_RANGE = (-(2**63), 2**63 - 1)
FLOAT_RANGE = (-sys.float_info.max, sys.float_info.max)
EXACT = (
    2**53
)  # the largest integer up to which float64, and so every contract array, holds each one
INSTANT = timedelta(microseconds=1)  # the resolution of every datetime here


@dataclass(frozen=True)
class Rules:
    """Which values a column may have.

    `low` and `high` are bounds of a number, each allowed itself unless it is exclusive; `earliest` and `latest` are
    inclusive bounds of a datetime; lengths are counted in characters; `pattern` is searched for, as Python's `re` does.
    """

    kind: str
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    exclusive_low: bool = False
    exclusive_high: bool = False
    earliest: datetime | None = None
    latest: datetime | None = None
    min_length: int | None = None
    max_length: int | None = None
    categories: tuple[str, ...] = ()
    pattern: str = ""


def rules_of(model: type[BaseModel]) -> dict[str, Rules]:
    """The rules of each field of a pydantic class, by the field's name.

    Raises: ProjectError for a type that a table cannot hold, and for a constraint that cannot be honoured everywhere.
    """
    model.model_rebuild()  # a class that names a later one is not complete yet
    definitions: dict[str, Schema] = {}
    schema = _resolved(model.__pydantic_core_schema__, definitions)
    if schema["type"] != "model":
        raise _validator(f"schema.py: class {model.__name__}", schema)
    for name in CONFIG:
        if schema.get("config", {}).get(name) not in (None, False):
            raise ProjectError(f"schema.py: class {model.__name__} sets {name}.", AT_THE_SOURCE)
    fields = schema["schema"]
    if fields["type"] != "model-fields":
        raise _validator(f"schema.py: class {model.__name__}", fields)
    return {
        name: _rules(name, field["schema"], definitions) for name, field in fields["fields"].items()
    }


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """A schema itself, where only a reference to it stands; `definitions` collects what can be referred to."""
    while schema["type"] in ("definitions", "definition-ref"):
        if schema["type"] == "definitions":
            definitions.update({part["ref"]: part for part in schema["definitions"]})
            schema = schema["schema"]
        else:
            schema = definitions[schema["schema_ref"]]
    return schema


def _rules(name: str, schema: Schema, definitions: dict[str, Schema]) -> Rules:
    """The rules of one field."""
    column = f"schema.py: column {name!r}"
    schema, nullable = _without_default(column, schema, definitions)
    kind = _kind(column, schema)
    _check_constraints(column, schema)
    limits = dict(_limits(column, kind, schema))
    return Rules(kind=kind, nullable=nullable, **limits)


def _without_default(
    column: str, schema: Schema, definitions: dict[str, Schema]
) -> tuple[Schema, bool]:
    """The schema of the value itself, and whether it may be missing. Raises: ProjectError for a default but None."""
    nullable, has_default, default = False, False, None
    schema = _resolved(schema, definitions)
    while schema["type"] in ("default", "nullable"):
        if schema["type"] == "nullable":
            nullable = True
        elif "default_factory" in schema:
            raise ProjectError(f"{column} has a default_factory.", INSTEAD["default_factory"])
        else:
            has_default, default = True, schema["default"]
        schema = _resolved(schema["schema"], definitions)
    if has_default and (default is not None or not nullable):
        raise ProjectError(f"{column} has the default {default!r}.", INSTEAD["default"])
    return schema, nullable


def _kind(column: str, schema: Schema) -> str:
    """The kind of the column. Raises: ProjectError for a validator, and for a type that a table cannot hold."""
    if schema["type"].startswith("function-"):
        raise _validator(column, schema)
    if schema["type"] not in KINDS:
        hint = TYPES
        if schema["type"] == "date":
            hint = "Use datetime: a day is its midnight."
        raise ProjectError(f"{column} has a type that a table cannot hold.", hint)
    return KINDS[schema["type"]]


def _check_constraints(column: str, schema: Schema) -> None:
    """Raises: ProjectError for the first constraint that only the service could honour."""
    for key, value in schema.items():
        if key in NEUTRAL or key in HONOURED.get(schema["type"], ()) or USUAL.get(key) == value:
            continue
        if value is None or (value is False and key not in USUAL):
            continue  # as good as not there
        raise ProjectError(
            f"{column}: {key} cannot be honoured in tables.", INSTEAD.get(key, AS_A_RULE)
        )


def _limits(column: str, kind: str, schema: Schema) -> Iterator[tuple[str, Any]]:
    """Which values are allowed, by the names of `Rules`."""
    if kind == "category":
        yield "categories", _words(column, schema)
    elif kind == "text":
        yield "min_length", schema.get("min_length")
        yield "max_length", schema.get("max_length")
        if schema.get("pattern"):
            yield "pattern", _pattern(column, schema["pattern"])
    elif kind == "datetime":
        yield from _moments(column, schema)
    elif kind == "int":
        yield from _whole_numbers(column, schema)
    elif kind == "float":
        yield from _numbers(schema)


def _words(column: str, schema: Schema) -> tuple[str, ...]:
    """The values of a Literal or an enum, which must be words."""
    values = schema.get("expected")
    if values is None:
        values = [member.value for member in schema["members"]]
    for value in values:
        if value is None:
            raise ProjectError(
                f"{column} names None among its words.", "Write it as `Literal[...] | None`."
            )
        if not isinstance(value, str):
            raise ProjectError(f"{column} names {value!r} among its words.", WORDS)
    return tuple(str(getattr(value, "value", value)) for value in values)


def _pattern(column: str, pattern: Any) -> str:
    """The text of a pattern. Raises: ProjectError for one that engines would read differently."""
    text = getattr(pattern, "pattern", pattern)
    try:
        flags = re.compile(pattern).flags & ~re.UNICODE
    except re.error as error:
        raise ProjectError(f"{column}: Python cannot read the pattern {text!r}: {error}.") from None
    if flags or re.search(r"\(\?[a-zA-Z-]+[):]", text):
        raise ProjectError(
            f"{column}: the pattern {text!r} has flags.", "Write out what is meant, such as [Aa]."
        )
    if re.search(r"(?<!\\)(\\\\)*\[\^?\]", text):
        raise ProjectError(
            f"{column}: the pattern {text!r} has a class that begins with ].", r"Write it as \]."
        )
    return str(text)


def whole_pattern(pattern: str) -> str:
    r"""The pattern with each `$` meant as the very end, as in JSON Schema: for Python, `a\n` also ends in `a`."""
    parts = []
    in_class, escaped = False, False
    for letter in pattern:
        ends = letter == "$" and not in_class and not escaped
        parts.append(r"$(?!\n)" if ends else letter)
        if not escaped and letter in "[]":
            in_class = letter == "[" or (in_class and letter != "]")
        escaped = letter == "\\" and not escaped
    return "".join(parts)


def _whole_numbers(column: str, schema: Schema) -> Iterator[tuple[str, Any]]:
    """Bounds of integers, each allowed itself: above 0 is 1 or more."""
    for name in BOUNDS:
        if schema.get(name) is not None and abs(schema[name]) > EXACT:
            hint = "Numbers are float64 here, exact up to 2**53. An id is better a str."
            raise ProjectError(
                f"{column}: {name}={schema[name]} is too large to be compared exactly.", hint
            )
    lows = [schema["ge"]] if schema.get("ge") is not None else []
    if schema.get("gt") is not None:
        lows.append(schema["gt"] + 1)
    highs = [schema["le"]] if schema.get("le") is not None else []
    if schema.get("lt") is not None:
        highs.append(schema["lt"] - 1)
    yield "low", max(lows, default=None)
    yield "high", min(highs, default=None)


def _numbers(schema: Schema) -> Iterator[tuple[str, Any]]:
    """Bounds of other numbers; of two on one side the narrower holds."""
    low, above = schema.get("ge"), schema.get("gt")
    exclusive_low = above is not None and (low is None or above >= low)
    high, below = schema.get("le"), schema.get("lt")
    exclusive_high = below is not None and (high is None or below <= high)
    yield "low", above if exclusive_low else low
    yield "high", below if exclusive_high else high
    yield "exclusive_low", exclusive_low
    yield "exclusive_high", exclusive_high


def _moments(column: str, schema: Schema) -> Iterator[tuple[str, Any]]:
    """Bounds of datetimes, each allowed itself."""
    given = {name: schema[name] for name in BOUNDS if schema.get(name) is not None}
    for name, moment in given.items():
        if moment.tzinfo is not None:
            raise ProjectError(f"{column}: {name} has a time zone.", INSTEAD["tz_constraint"])
    earliest = [given["ge"]] if "ge" in given else []
    if "gt" in given:
        earliest.append(given["gt"] + INSTANT)
    latest = [given["le"]] if "le" in given else []
    if "lt" in given:
        latest.append(given["lt"] - INSTANT)
    yield "earliest", max(earliest, default=None)
    yield "latest", min(latest, default=None)


def _validator(where: str, schema: Schema) -> ProjectError:
    """The error for a validator of the team's, which only the service would run."""
    function = schema.get("function", {})
    if isinstance(function, Mapping):
        function = function.get("function")
    name = getattr(function, "__name__", "")
    if not schema["type"].startswith("function-"):
        return ProjectError(f"{where} is a {schema['type']}, which is no row of a table.", TYPES)
    named = f" ({name})" if name and "val_func" not in name and "<" not in name else ""
    return ProjectError(
        f"{where} has a validator{named}, which only the service would run.", AS_A_RULE
    )
