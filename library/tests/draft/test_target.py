"""The target of a draft: its task, and how it is written in the contract."""

import pytest

from mlgates.draft.columns import Column
from mlgates.draft.decision import Field
from mlgates.draft.fields import field_of
from mlgates.draft.target import decide_target
from mlgates.errors import ProjectError

N_ROWS = 300


def drafted(column: Column) -> Field:
    """A column as a target, after it was looked at as a part of a request."""
    field = field_of("y", column, N_ROWS)
    decide_target(field, N_ROWS, "")
    return field


def texts(**words: int) -> Column:
    """A column of texts with so many rows of each word."""
    length = max(len(word) for word in words)
    return Column("y", '"y"', "text", N_ROWS, len(words), min(words), max(words), length, words)


def test_a_class_may_be_rare() -> None:
    # As a part of a request it would be a text of limited length, which a Literal may not have.
    field = drafted(texts(even=296, odd=4))
    assert (field.kind, field.words, field.max_length) == ("category", ["even", "odd"], None)


def test_the_positive_class_comes_last() -> None:
    assert drafted(texts(yes=200, no=100)).words == ["no", "yes"]
    assert drafted(texts(rare=10, usual=290)).words == ["usual", "rare"]


def test_a_type_that_cannot_be_predicted_is_named() -> None:
    column = Column("y", '"y"', "other", notes=["varchar[]: a request cannot have this type"])
    with pytest.raises(ProjectError, match=r"'y' cannot be predicted: varchar\[\]"):
        drafted(column)
