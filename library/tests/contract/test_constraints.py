"""Each constraint that pydantic knows is checked by every engine, or refused by name.

It is refused where the contract is built.
"""

import enum
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, get_type_hints

import annotated_types
import pytest
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FutureDatetime,
    NaiveDatetime,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from mlgates.contract import Contract
from mlgates.contract.constraints import (
    ALWAYS_TRUE,
    HONOURED,
    KINDS,
    NEUTRAL,
    REMEDIES,
    rules_of,
    whole_pattern,
)
from mlgates.errors import ProjectError

NEW_YEAR = datetime(2026, 1, 1)
HONOURED_EXAMPLES: dict[str, Any] = {
    "gt": Annotated[float, Field(gt=0)],
    "ge": Annotated[datetime, Field(ge=NEW_YEAR)],
    "lt": Annotated[int, Field(lt=5)],
    "le": Annotated[float | None, Field(le=5)],
    "min_length": Annotated[str, Field(min_length=2)],
    "max_length": Annotated[str, Field(max_length=2)],
    "pattern": Annotated[str, Field(pattern="^a$")],
    "Gt": Annotated[float, annotated_types.Gt(0)],
    "Ge": Annotated[float, annotated_types.Ge(0)],
    "Lt": Annotated[float, annotated_types.Lt(0)],
    "Le": Annotated[float, annotated_types.Le(0)],
    "Interval": Annotated[float, annotated_types.Interval(gt=0, le=1)],
    "MinLen": Annotated[str, annotated_types.MinLen(2)],
    "MaxLen": Annotated[str, annotated_types.MaxLen(2)],
    "Len": Annotated[str, annotated_types.Len(1, 2)],
}
REFUSED_EXAMPLES: dict[str, Any] = {
    "multiple_of": Annotated[float, Field(multiple_of=0.5)],
    "strict": Annotated[int, Field(strict=False)],
    "allow_inf_nan": Annotated[float, Field(allow_inf_nan=True)],
    "coerce_numbers_to_str": Annotated[str, Field(coerce_numbers_to_str=True)],
    "max_digits": Annotated[Decimal, Field(max_digits=5)],
    "decimal_places": Annotated[Decimal, Field(decimal_places=2)],
    "union_mode": Annotated[int | str, Field(union_mode="left_to_right")],
    "fail_fast": Annotated[list[int], Field(fail_fast=True)],
    "MultipleOf": Annotated[int, annotated_types.MultipleOf(5)],
    "Predicate": Annotated[float, annotated_types.Predicate(lambda value: value > 0)],
    "LowerCase": annotated_types.LowerCase[str],
    "UpperCase": annotated_types.UpperCase[str],
    "IsDigits": annotated_types.IsDigits[str],
    "IsFinite": annotated_types.IsFinite[float],
    "IsNotFinite": annotated_types.IsNotFinite[float],
    "IsNan": annotated_types.IsNan[float],
    "IsNotNan": annotated_types.IsNotNan[float],
    "IsInfinite": annotated_types.IsInfinite[float],
    "IsNotInfinite": annotated_types.IsNotInfinite[float],
}
TYPES = {"text": str, "datetime": datetime, "int": int, "float": float}
# What says nothing about values, and what pydantic itself does not look at.
WITHOUT_MEANING = {"BaseMetadata", "GroupedMetadata", "Timezone", "doc", "DocInfo", "__version__"}


def a_class(annotation: Any, **more: Any) -> type[BaseModel]:
    """A pydantic class with one field, `value`."""
    return type(
        "Row",
        (BaseModel,),
        {"__annotations__": {"value": annotation}, "__module__": __name__, **more},
    )


def test_every_constraint_of_pydantic_is_decided_about() -> None:
    """A new pydantic or annotated_types that knows one more fails here, and somebody decides."""
    known = set(FieldInfo.metadata_lookup) | set(annotated_types.__all__)
    assert known == set(HONOURED_EXAMPLES) | set(REFUSED_EXAMPLES) | WITHOUT_MEANING


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"literal", "enum"}))
def test_every_key_of_a_core_schema_is_decided_about(kind: str) -> None:
    schema = {"str": "StringSchema"}.get(kind, f"{kind.title()}Schema")
    keys = set(get_type_hints(getattr(core_schema, schema)))
    undecided = keys - {*HONOURED.get(kind, ()), *NEUTRAL, *ALWAYS_TRUE, *REMEDIES}
    assert not undecided, f"only pydantic would read {undecided} of a column of the type {kind}"


@pytest.mark.parametrize("name", HONOURED_EXAMPLES)
def test_an_honoured_constraint_is_part_of_the_column(name: str) -> None:
    rules = rules_of(a_class(HONOURED_EXAMPLES[name]))["value"]
    free = rules_of(a_class(Annotated[TYPES[rules.kind], "free"]))
    assert rules != free["value"]


@pytest.mark.parametrize("name", REFUSED_EXAMPLES)
def test_what_only_the_service_could_check_is_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(ProjectError, match=r"schema\.py: column 'value'") as caught:
        rules_of(a_class(REFUSED_EXAMPLES[name]))
    assert "\n" in str(caught.value), "it does not say what to write instead"


@pytest.mark.parametrize(
    ("annotation", "word"),
    [
        (Annotated[str, AfterValidator(str.upper)], "validator"),
        (Annotated[str, StringConstraints(strip_whitespace=True)], "strip_whitespace"),
        (AwareDatetime, "tz_constraint"),
        (FutureDatetime, "now_op"),
        (Annotated[datetime, Field(ge=datetime(2026, 1, 1, tzinfo=UTC))], "time zone"),
        (date, "type"),
        (Literal["a", None], "None"),
        (Literal[1, 2], "1"),
        (enum.Enum("Sizes", {"small": 1}), "1"),
        (Annotated[str, Field(pattern=re.compile("a", re.IGNORECASE))], "flags"),
        (Annotated[str, Field(pattern="(?m)^a$")], "flags"),
        (Annotated[str, Field(pattern="^[]$]$")], "begins with"),
        (Annotated[str, Field(pattern="^[^]]+$")], "begins with"),
        (Annotated[str, Field(pattern=r"^\p{L}+$")], "Python cannot read"),
        (int | str, "type"),
    ],
)
def test_other_disagreements_are_refused_by_name(annotation: Any, word: str) -> None:
    with pytest.raises(ProjectError, match=f"column 'value'.*{word}"):
        rules_of(a_class(annotation))


@pytest.mark.parametrize(
    ("default", "annotation"),
    [("a", str), ("a", str | None), (None, str), (Field(default_factory=str), str)],
)
def test_a_default_that_no_table_has_is_refused(default: Any, annotation: Any) -> None:
    with pytest.raises(ProjectError, match="default"):
        rules_of(a_class(annotation, value=default))


def test_a_value_that_may_be_missing_may_be_left_out() -> None:
    assert rules_of(a_class(str | None, value=None))["value"].nullable


def _checked(cls: type[BaseModel], value: str) -> str:
    return value


def _whole(cls: type[BaseModel], row: Any) -> Any:
    return row


@pytest.mark.parametrize(
    ("named", "more"),
    [
        ("_checked", {"check": field_validator("value")(classmethod(_checked))}),
        ("_whole", {"check": model_validator(mode="before")(classmethod(_whole))}),
        ("str_strip_whitespace", {"model_config": ConfigDict(str_strip_whitespace=True)}),
    ],
)
def test_what_a_class_does_with_values_is_refused(named: str, more: dict[str, Any]) -> None:
    with pytest.raises(ProjectError, match=rf"schema\.py: .*{named}"):
        rules_of(a_class(str, **more))


def test_bounds_of_whole_numbers_and_moments_are_inclusive() -> None:
    rules = rules_of(a_class(Annotated[int, Field(gt=0, lt=10)]))["value"]
    assert (rules.low, rules.high) == (1, 9)
    rules = rules_of(a_class(Annotated[NaiveDatetime, Field(gt=NEW_YEAR)]))["value"]
    assert rules.earliest == NEW_YEAR.replace(microsecond=1)
    rules = rules_of(a_class(Annotated[float, Field(gt=0, ge=-1, le=2, lt=3)]))["value"]
    assert (rules.low, rules.exclusive_low, rules.high, rules.exclusive_high) == (0, True, 2, False)


@pytest.mark.parametrize(
    ("pattern", "whole"),
    [
        ("^a$", r"^a$(?!\n)"),
        (r"\$", r"\$"),
        ("[$]", "[$]"),
        (r"a\\$", r"a\\$(?!\n)"),
        (r"[\]$]b$", r"[\]$]b$(?!\n)"),
    ],
)
def test_only_an_end_of_a_pattern_is_made_the_very_end(pattern: str, whole: str) -> None:
    assert whole_pattern(pattern) == whole


def test_the_contract_refuses_a_constraint_where_it_is_built() -> None:
    def build() -> Contract:
        return Contract(a_class(REFUSED_EXAMPLES["multiple_of"]), a_class(bool))

    message = r"multiple_of=0\.5, which cannot be checked in a table\.\n.*Contract\(rules="
    with pytest.raises(ProjectError, match=message):
        build()


@pytest.mark.parametrize("pattern", [r"^\[\]$", r"^[\]$]$", r"^a[b]$"])
def test_a_bracket_that_cannot_be_misread_is_allowed(pattern: str) -> None:
    assert rules_of(a_class(Annotated[str, Field(pattern=pattern)]))["value"].pattern == pattern
