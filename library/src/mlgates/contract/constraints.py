"""The rules of each column, read from the core schema that pydantic builds for `schema.py`.

Every engine takes its rules from `Column`: the request model of the service, the Great
Expectations suite of validate, monitor and labels, the synthetic rows, the draft. A constraint that
only pydantic could check would make the service refuse rows on which a model is trained. So each
constraint is either checked by all engines, or refused here by name.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from pydantic import BaseModel

from mlgates.errors import ProjectError

Schema = Mapping[str, Any]  # a part of pydantic's core schema

# The kind of a column, by the type of its core schema.
KINDS = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "str": "text",
    "datetime": "datetime",
    "literal": "category",
    "enum": "category",
}

# The constraints that all engines check, by the type of the core schema.
BOUNDS = ("gt", "ge", "lt", "le")
LOW_BOUNDS = ("gt", "ge")  # on each side, the exclusive one stands first
HIGH_BOUNDS = ("lt", "le")
HONOURED = {
    "int": BOUNDS,
    "float": BOUNDS,
    "datetime": BOUNDS,
    "str": ("min_length", "max_length", "pattern"),
}

# Keys of a core schema that do not restrict the values, or are read elsewhere in this module.
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

# Settings that hold for every column anyway, so that writing them changes nothing.
ALWAYS_TRUE = {
    "strict": True,
    "allow_inf_nan": False,
    "tz_constraint": "naive",
    "microseconds_precision": "truncate",
}

# What to write instead of each constraint that is refused.
AS_A_RULE = "Write it as a function of columns, and name it in Contract(rules=[...])."
AT_THE_SOURCE = "Change the values where they come from: in data.py, and at the caller."
NOT_BY_THE_CLOCK = "The same row would be allowed on one day and refused on another. Remove it."
NO_DEFAULT = "A table has no defaults. Allow the value to be missing: `| None = None`."
REMEDIES = {
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
    "now_op": NOT_BY_THE_CLOCK,
    "now_utc_offset": NOT_BY_THE_CLOCK,
    "microseconds_precision": "Remove it.",
    "regex_engine": "Remove it: patterns are Python's everywhere.",
    "default": NO_DEFAULT,
    "default_factory": NO_DEFAULT,
}
ALLOWED_TYPES = (
    "Use int, float, bool, str, datetime, Literal[...] or an enum,"
    " each with `| None` if it may be missing."
)
TEXT_VALUES = (
    "Write the values as strings, such as Literal['1', '2'], and deliver strings in the table."
)

# Settings of a whole class that change or restrict its strings.
CLASS_SETTINGS = (
    "str_strip_whitespace",
    "str_to_lower",
    "str_to_upper",
    "str_min_length",
    "str_max_length",
)

# What a table and the prediction log can hold: integers of 64 bits, and numbers that are finite.
INT_RANGE = (-(2**63), 2**63 - 1)
FLOAT_RANGE = (-sys.float_info.max, sys.float_info.max)

# float64, in which contract arrays hold integers, is exact up to this one.
MAX_EXACT_INTEGER = 2**53

# The parts of a pattern: an escaped letter, a class, or another letter. Only a `$` outside of the
# first two means the end of the text.
PATTERN_TOKEN = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|.", re.DOTALL)
IN_PYTHON = {"$": r"$(?!\n)"}  # the very end of the text

INSTANT = timedelta(microseconds=1)  # the resolution of every datetime here


@dataclass(frozen=True)
class Rules:
    """Which values a column may have.

    `low` and `high` are the bounds of a number. A bound is itself allowed unless it is exclusive.
    `earliest` and `latest` are the inclusive bounds of a datetime. Lengths are counted in
    characters. `pattern` may match anywhere in the text, as with Python's `re.search`.
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

    Raises: ProjectError for a type that a table cannot hold, and for a constraint that not every
    engine can check.
    """
    model.model_rebuild()  # a class that names a class defined after it is not complete yet
    where = f"schema.py: class {model.__name__}"
    definitions: dict[str, Schema] = {}
    schema = _resolved(model.__pydantic_core_schema__, definitions)
    if schema["type"] != "model":
        raise _unsupported(where, schema)

    config = schema.get("config", {})
    for name in CLASS_SETTINGS:
        if config.get(name) not in (None, False):
            raise ProjectError(f"{where} sets {name}.", AT_THE_SOURCE)

    fields = schema["schema"]
    if fields["type"] != "model-fields":
        raise _unsupported(where, fields)
    rules = {}
    for name, field in fields["fields"].items():
        rules[name] = _rules_of_field(name, field["schema"], definitions)
    return rules


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """The schema that a reference points to, or the schema itself if it is no reference.

    `definitions` collects the schemas that can be referred to.
    """
    while schema["type"] in ("definitions", "definition-ref"):
        if schema["type"] == "definitions":
            for definition in schema["definitions"]:
                definitions[definition["ref"]] = definition
            schema = schema["schema"]
        else:
            schema = definitions[schema["schema_ref"]]
    return schema


def _rules_of_field(name: str, schema: Schema, definitions: dict[str, Schema]) -> Rules:
    column = f"schema.py: column {name!r}"
    schema, nullable = _without_default(column, schema, definitions)
    kind = _kind(column, schema)
    _refuse_other_constraints(column, schema)
    limits = LIMITS[kind](column, schema)
    return Rules(kind=kind, nullable=nullable, **limits)


def _without_default(
    column: str, schema: Schema, definitions: dict[str, Schema]
) -> tuple[Schema, bool]:
    """The schema of the value itself, and whether the value may be missing.

    Raises: ProjectError for any default but None.
    """
    nullable = False
    has_default = False
    default = None
    schema = _resolved(schema, definitions)
    while schema["type"] in ("default", "nullable"):
        if schema["type"] == "nullable":
            nullable = True
        elif "default_factory" in schema:
            raise ProjectError(f"{column} has a default_factory.", REMEDIES["default_factory"])
        else:
            has_default = True
            default = schema["default"]
        schema = _resolved(schema["schema"], definitions)

    means_missing = nullable and default is None
    if has_default and not means_missing:
        raise ProjectError(f"{column} has the default {default!r}.", REMEDIES["default"])
    return schema, nullable


def _kind(column: str, schema: Schema) -> str:
    """The kind of the column.

    Raises: ProjectError for a validator, and for a type that a table cannot hold.
    """
    schema_type = schema["type"]
    if schema_type.startswith("function-"):
        raise _unsupported(column, schema)
    if schema_type in KINDS:
        return KINDS[schema_type]

    remedy = ALLOWED_TYPES
    if schema_type == "date":
        remedy = "Use datetime: a day is its midnight."
    raise ProjectError(f"{column} has a type that a table cannot hold.", remedy)


def _refuse_other_constraints(column: str, schema: Schema) -> None:
    """Raises: ProjectError for the first constraint that only the service could check."""
    harmless = {*NEUTRAL, *HONOURED.get(schema["type"], ())}
    for key, value in schema.items():
        if key in harmless or _has_no_effect(key, value):
            continue
        message = f"{column} has {key}={value!r}, which cannot be checked in a table."
        raise ProjectError(message, REMEDIES.get(key, AS_A_RULE))


def _has_no_effect(key: str, value: Any) -> bool:
    """Whether a setting says what holds anyway, or is switched off."""
    if value is None:
        return True
    if key in ALWAYS_TRUE:
        return bool(ALWAYS_TRUE[key] == value)
    return value is False


def _categories(column: str, schema: Schema) -> dict[str, Any]:
    """The values of a Literal or an enum. Raises: ProjectError unless all of them are strings."""
    values = schema.get("expected")
    if values is None:
        values = [member.value for member in schema["members"]]

    categories = []
    for value in values:
        if value is None:
            remedy = "Write it as `Literal[...] | None`."
            raise ProjectError(f"{column} has None among its allowed values.", remedy)
        if not isinstance(value, str):
            raise ProjectError(f"{column} has {value!r} among its allowed values.", TEXT_VALUES)
        # A member of a StrEnum is a string too; its value is the plain one.
        categories.append(str(getattr(value, "value", value)))
    return {"categories": tuple(categories)}


def _text_limits(column: str, schema: Schema) -> dict[str, Any]:
    limits = {"min_length": schema.get("min_length"), "max_length": schema.get("max_length")}
    if schema.get("pattern"):
        limits["pattern"] = _pattern(column, schema["pattern"])
    return limits


def _pattern(column: str, pattern: Any) -> str:
    """The text of a pattern. Raises: ProjectError for one that engines would read differently."""
    text = getattr(pattern, "pattern", pattern)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ProjectError(f"{column}: Python cannot read the pattern {text!r}: {error}.") from None

    flags = compiled.flags & ~re.UNICODE
    has_inline_flags = re.search(r"\(\?[a-zA-Z-]+[):]", text)
    if flags or has_inline_flags:
        remedy = "Write out what is meant, such as [Aa]."
        raise ProjectError(f"{column}: the pattern {text!r} has flags.", remedy)

    # For Python `[]a]` is one class; for JSON Schema and `whole_pattern` its first ] ends it.
    if re.search(r"(?<!\\)(\\\\)*\[\^?\]", text):
        message = f"{column}: the pattern {text!r} has a class that begins with ]."
        raise ProjectError(message, r"Write it as \].")
    return str(text)


def whole_pattern(pattern: str) -> str:
    r"""The pattern with each `$` meant as the very end of the text, as in JSON Schema.

    For Python, `a$` also matches `a\n`.
    """
    tokens = re.findall(PATTERN_TOKEN, pattern)
    return "".join(IN_PYTHON.get(token, token) for token in tokens)


def _bounds(schema: Schema) -> dict[str, Any]:
    """The bounds that the schema has, by name: gt, ge, lt, le."""
    return {name: schema[name] for name in BOUNDS if schema.get(name) is not None}


def _integer_bounds(column: str, schema: Schema) -> dict[str, Any]:
    for name, bound in _bounds(schema).items():
        if abs(bound) > MAX_EXACT_INTEGER:
            message = f"{column}: {name}={bound} is too large to be compared exactly."
            remedy = "Numbers are float64 here, exact up to 2**53. Use str for an id."
            raise ProjectError(message, remedy)
    low, high = _inclusive_bounds(schema, step=1)
    return {"low": low, "high": high}


def _datetime_bounds(column: str, schema: Schema) -> dict[str, Any]:
    for name, bound in _bounds(schema).items():
        if bound.tzinfo is not None:
            raise ProjectError(f"{column}: {name} has a time zone.", REMEDIES["tz_constraint"])
    earliest, latest = _inclusive_bounds(schema, step=INSTANT)
    return {"earliest": earliest, "latest": latest}


def _inclusive_bounds(schema: Schema, step: Any) -> tuple[Any, Any]:
    """The smallest and the largest allowed value, None where there is no bound.

    `step` is the distance between two neighbouring values: with a step of 1, above 0 is 1 or more.
    """
    # An exclusive bound is one step (True times a step) away from the nearest allowed value.
    lows = [bound + step * exclusive for bound, exclusive in _side(schema, LOW_BOUNDS)]
    highs = [bound - step * exclusive for bound, exclusive in _side(schema, HIGH_BOUNDS)]
    return max(lows, default=None), min(highs, default=None)


def _float_bounds(_: str, schema: Schema) -> dict[str, Any]:
    """The narrower of two bounds on one side; of two equal ones the exclusive one."""
    no_bound = (None, False)
    # Of equal bounds, max and min take the first one, which is the exclusive one.
    lows = _side(schema, LOW_BOUNDS)
    low, exclusive_low = max(lows, key=itemgetter(0), default=no_bound)
    highs = _side(schema, HIGH_BOUNDS)
    high, exclusive_high = min(highs, key=itemgetter(0), default=no_bound)
    return {
        "low": low,
        "high": high,
        "exclusive_low": exclusive_low,
        "exclusive_high": exclusive_high,
    }


def _side(schema: Schema, names: tuple[str, str]) -> list[tuple[Any, bool]]:
    """The bounds that a schema has on one side, each with whether it is exclusive."""
    exclusive, inclusive = names
    bounds = [(schema.get(exclusive), True), (schema.get(inclusive), False)]
    return [(bound, is_exclusive) for bound, is_exclusive in bounds if bound is not None]


def _no_limits(_column: str, _schema: Schema) -> dict[str, Any]:
    return {}


# How the allowed values of each kind are read from a schema, as fields of `Rules`.
LIMITS = {
    "category": _categories,
    "text": _text_limits,
    "datetime": _datetime_bounds,
    "int": _integer_bounds,
    "float": _float_bounds,
    "bool": _no_limits,
}


def _unsupported(where: str, schema: Schema) -> ProjectError:
    """The error for a validator of the team's, and for a class that is not a list of fields."""
    if not schema["type"].startswith("function-"):
        message = f"{where} is a {schema['type']}, and a table has no rows of that type."
        return ProjectError(message, ALLOWED_TYPES)

    name = _name_of_validator(schema)
    in_brackets = f" ({name})" if name else ""
    message = f"{where} has a validator{in_brackets}, which only the service would run."
    return ProjectError(message, AS_A_RULE)


def _name_of_validator(schema: Schema) -> str:
    """The name that the team gave to a validator's function, empty if it has none."""
    function = schema.get("function", {})
    if isinstance(function, Mapping):
        function = function.get("function")
    name = getattr(function, "__name__", "")
    # pydantic's own wrappers are called val_func, and a lambda is called <lambda>.
    if "val_func" in name or "<" in name:
        return ""
    return str(name)
