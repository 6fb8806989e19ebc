"""What a column of texts is read as."""

from typing import Any

import duckdb
import pytest

from mlgates.draft.columns import Column, Counting
from mlgates.draft.texts import read_texts


def read(texts: list[str | None]) -> tuple[Column, list[Any]]:
    """The column, and its values as it is read."""
    database = duckdb.connect()
    database.execute("CREATE TABLE source AS SELECT unnest(CAST(? AS VARCHAR[])) AS t", [texts])
    column = Column("t", '"t"')
    read_texts(Counting(database), [column])
    values = database.execute(f"SELECT {column.sql} FROM source").fetchall()
    return column, [value for (value,) in values]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-2"], "int"),
        (["1", "2.5"], "float"),
        (["true", "False"], "bool"),
        (["2024-01-31", "2024-02-01 10:00"], "datetime"),
        (["31.01.2024", "01.02.2024"], "datetime"),
        (["2024-01-31T10:00:00Z", "2024-01-31T10:00:00+02:00"], "datetime"),
        (["007", "8"], "text"),
        (["one", "two"], "text"),
        ([None, None], "text"),
    ],
)
def test_texts_are_read_as_what_all_of_them_look_like(texts: list[str | None], kind: str) -> None:
    column, _ = read(texts)
    assert column.kind == kind


def test_a_comma_groups_digits_unless_some_text_has_it_before_decimals() -> None:
    assert read(["1,234", "$5"])[1] == [1234.0, 5.0]
    assert read(["1,234", "0,5 €"])[1] == [1.234, 0.5]


def test_a_few_marks_among_numbers_count_as_missing() -> None:
    column, values = read(["1", "?", "3", "4.5"])
    assert values == [1.0, None, 3.0, 4.5]
    assert column.notes == ["numbers in disguise: '?' counts as missing"]


def test_a_mixture_of_numbers_and_words_stays_text() -> None:
    column, _ = read(["1", "2", "one"])
    assert column.kind == "text"
    assert column.notes == [column.mixture]
    assert column.mixture == "mixed: 2 of 3 values are numbers, for example 'one' is not"


def test_a_mark_with_braces_is_a_text_like_others() -> None:
    assert read(["1", "2", "3", "{c}"])[1] == [1.0, 2.0, 3.0, None]
