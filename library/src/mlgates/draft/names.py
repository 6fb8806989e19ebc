"""Names that Python, pydantic, SQLite and the prediction log accept, for columns that the world named otherwise."""

import keyword
import re
import unicodedata
from collections.abc import Iterable

from pydantic import BaseModel

from mlgates.serving.prediction_log import OWN

SCHEMA = [
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
TAKEN = {*OWN, "score", "arrived", "self", "n", *SCHEMA, *dir(BaseModel)}
OTHERS = re.compile("_|model_(validate|dump)|feature__")


def python_names(labels: Iterable[str]) -> dict[str, str]:
    """A name for each label: itself where that is allowed, else the nearest one; no two differ in case alone."""
    labels, found = list(labels), {}
    taken = {name.lower() for name in TAKEN}
    for label in labels:
        if _allowed(label) and label.lower() not in taken:
            found[label] = label
            taken.add(label.lower())
    for place, label in enumerate(labels, 1):
        if label in found:
            continue
        plain = (
            unicodedata.normalize("NFKD", label.replace("ß", "ss"))
            .encode("ascii", "ignore")
            .decode()
        )
        stem = re.sub(r"\W+|_{2,}", "_", plain).strip("_") or f"column_{place}"
        stem = f"column_{stem}" if not _allowed(stem) and stem[0].isdigit() else stem
        name, times = stem if _allowed(stem) else f"{stem}_", 1
        while name.lower() in taken:
            times += 1
            name = f"{stem}_{times}"
        found[label] = name
        taken.add(name.lower())
    return {label: found[label] for label in labels}


def _allowed(name: str) -> bool:
    is_word = name.isascii() and name.isidentifier() and len(name) <= 60
    return is_word and not keyword.iskeyword(name) and not OTHERS.match(name)
