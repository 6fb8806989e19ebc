"""Names for columns that Python, pydantic, SQLite and the prediction log accept."""

import keyword
import re
import unicodedata
from collections.abc import Iterable

from pydantic import BaseModel

from mlgates.serving.prediction_log import LOG_COLUMNS

IN_SCHEMA = [  # the names that the drafted schema.py uses itself
    "Annotated",
    "BaseModel",
    "Contract",
    "Field",
    "Literal",
    "About",
    "datetime",
    "bool",
    "float",
    "int",
    "str",
]
TAKEN = {*LOG_COLUMNS, "score", "arrived", "self", "n", *IN_SCHEMA, *dir(BaseModel)}
# At most 60 letters; some beginnings have a meaning for pydantic and the features.
ALLOWED = re.compile(r"(?!model_(validate|dump)|feature__)[A-Za-z]\w{0,59}", re.ASCII)


def python_names(labels: Iterable[str]) -> dict[str, str]:
    """A name for each label: itself where that is allowed, else the nearest one.

    No two names differ in case alone: SQLite would not tell them apart.
    """
    labels = list(labels)
    names: dict[str, str] = {}
    taken = set(map(str.lower, TAKEN))
    # Labels that are allowed come first, so that no other column takes their name.
    for label in labels:
        if _is_allowed(label) and label.lower() not in taken:
            names[label] = label
            taken.add(label.lower())
    for place, label in enumerate(labels, 1):
        if label not in names:
            names[label] = _free_name(label, place, taken)
            taken.add(names[label].lower())
    return {label: names[label] for label in labels}


def _free_name(label: str, place: int, taken: set[str]) -> str:
    """A name that resembles the label, with a number if it is taken."""
    stem = _ascii_word(label) or f"column_{place}"
    if stem[0].isdigit():
        stem = f"column_{stem}"
    name = stem
    if not _is_allowed(stem):
        name = f"{stem}_"
    number = 1
    while name.lower() in taken:
        number += 1
        name = f"{stem}_{number}"
    return name


def _ascii_word(label: str) -> str:
    """The letters and digits of a label, without accents; empty if there are none."""
    decomposed = unicodedata.normalize("NFKD", label.replace("ß", "ss"))
    plain = decomposed.encode("ascii", "ignore").decode()
    return re.sub(r"\W+|_{2,}", "_", plain).strip("_")


def _is_allowed(name: str) -> bool:
    return ALLOWED.fullmatch(name) is not None and not keyword.iskeyword(name)
