"""The request as the service checks it, and the names of the checks that a refused one broke."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from mlgates.contract.columns import Column
from mlgates.contract.constraints import INT_RANGE, whole_pattern

# The check that a type of pydantic's errors stands for; any other type is `data.type`.
CHECKS = {
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
    """The name of the check that a pydantic error stands for; the suite uses the same names."""
    check = CHECKS.get(error_type, "data.type")
    if value is None and check != "data.columns":
        return "data.missing"
    return check


def request_model(request: type[BaseModel], columns: Mapping[str, Column]) -> type[BaseModel]:
    """The team's class of the request, as strict as the tables are.

    A field may have its name or its alias. Unknown fields and infinity are refused.
    """
    config = ConfigDict(
        extra="forbid", allow_inf_nan=False, populate_by_name=True, regex_engine="python-re"
    )
    attributes = {"model_config": config, "__doc__": request.__doc__}
    base = type("Request", (request,), attributes)
    fields: dict[str, Any] = {}
    for name, column in columns.items():
        if column.pattern or column.kind == "int":
            fields[name] = _restated(column, request.model_fields[name])
    return create_model("Request", __base__=base, __doc__=request.__doc__, **fields)


def _restated(column: Column, written: FieldInfo) -> tuple[Any, Any]:
    """A field of the request again, with its rules as all engines read them.

    Needed for a text with a pattern, and for an integer, which must fit into a table.
    """
    annotation = _integer(column) if column.kind == "int" else _text(column)
    if column.nullable:
        annotation = annotation | None

    default = None  # the contract allows no other default
    if written.is_required():
        default = ...
    restated: Any = Field(
        default=default,
        alias=written.alias,
        title=written.title,
        description=written.description,
        examples=written.examples,
        json_schema_extra=written.json_schema_extra,
        deprecated=written.deprecated,
    )
    return annotation, restated


def _integer(column: Column) -> Any:
    low: float
    high: float
    low, high = INT_RANGE
    if column.low is not None:
        low = column.low
    if column.high is not None:
        high = column.high
    return Annotated[int, Field(ge=low, le=high), column.about]


def _text(column: Column) -> Any:
    limits: dict[str, Any] = {"min_length": column.min_length, "max_length": column.max_length}
    limits["pattern"] = whole_pattern(column.pattern)
    return Annotated[str, Field(**limits), column.about]
