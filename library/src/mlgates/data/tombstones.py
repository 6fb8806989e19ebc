"""Tombstones: `erased.csv` says which rows must not come back, without saying whose they were.

Each line holds a salted hash of the values of some columns. Whoever has the file can try values one by one, so it hides
an id only as well as the id is hard to guess; it is a pseudonym, and whoever holds the data needs no more than that.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Contract
from mlgates.contract.model import NUMBERS
from mlgates.errors import ProjectError
from mlgates.layout import ERASED
from mlgates.project import Project

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("on", "columns", "periods", "salt", "hash", "why")
SEPARATOR = ";"
Row = tuple[str, ...]


@dataclass(frozen=True)
class Tombstone:
    """Rows with these values in these columns are erased; `periods` are those in which there were any."""

    on: str
    columns: Row
    periods: Row
    salt: str
    hash: str
    why: str


@dataclass(frozen=True)
class Tombstones:
    """All of them, and what they say about a table."""

    contract: Contract
    entries: tuple[Tombstone, ...] = ()

    @cached_property
    def matchers(self) -> list[tuple[Row, Callable[..., bool]]]:
        """Some columns, and whether a row with these values in them is erased; one pair for all with one salt."""
        groups: dict[tuple[Row, str], set[str]] = {}
        for entry in self.entries:
            groups.setdefault((entry.columns, entry.salt), set()).add(entry.hash)

        def matcher(columns: Row, salt: str, hashes: set[str]) -> Callable[..., bool]:
            return lambda *row: hashed(tuple(map(self._text, columns, row)), salt) in hashes

        return [
            (columns, matcher(columns, salt, hashes)) for (columns, salt), hashes in groups.items()
        ]

    def _text(self, name: str, value: Any) -> str:
        return text(self.contract, name, value)

    def hits(self, frame: "pd.DataFrame") -> np.ndarray:
        """(n,) which rows are erased."""
        erased = np.zeros(len(frame), dtype=bool)
        for columns, matches in self.matchers:
            if {*columns} <= {*frame}:
                rows = texts(self.contract, frame, columns)
                known = {row: matches(*row) for row in {*rows}}
                erased |= np.fromiter(map(known.__getitem__, rows), dtype=bool, count=len(rows))
        return erased

    def without(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """The frame without erased rows."""
        erased = self.hits(frame)
        return frame[~erased].reset_index(drop=True) if erased.any() else frame

    def hold(self, file: Path | IO[bytes]) -> bool:
        """Whether a Parquet file holds an erased row; reads only the columns that tell."""
        return any(
            self.hits(part).any() for columns, _ in self.matchers for part in parts(file, columns)
        )


def read(project: Project, contract: Contract) -> Tombstones:
    """The project's tombstones, to look at tables with. Raises: ProjectError if the file is damaged."""
    return Tombstones(contract, listed(project))


def listed(project: Project) -> tuple[Tombstone, ...]:
    """The project's tombstones; none where the file is absent. Raises: ProjectError if it is damaged."""
    return (
        parsed((project.root / ERASED).read_text(encoding="utf-8"))
        if (project.root / ERASED).exists()
        else ()
    )


def parsed(content: str) -> tuple[Tombstone, ...]:
    """The tombstones in the text of the file."""
    header, *lines = list(csv.reader(io.StringIO(content))) or [list(HEADER)]
    if tuple(header) != HEADER or any(len(line) != len(HEADER) for line in lines):
        raise ProjectError(f"{ERASED} is damaged.", f"Bring it back: git checkout HEAD -- {ERASED}")
    return tuple(
        Tombstone(on, _split(columns), _split(periods), *rest)
        for on, columns, periods, *rest in lines
    )


def _split(joined: str) -> Row:
    return tuple(joined.split(SEPARATOR)) if joined else ()


def written(entries: Sequence[Tombstone]) -> str:
    """The text of the file."""
    content = io.StringIO()
    lines = csv.writer(content, lineterminator="\n")
    lines.writerow(HEADER)
    for entry in entries:
        lines.writerow(
            SEPARATOR.join(part) if isinstance(part, tuple) else part for part in astuple(entry)
        )
    return content.getvalue()


def hashed(row: Row, salt: str) -> str:
    """The hash of a row's values."""
    return hashlib.blake2b(
        "\0".join(row).encode(), key=bytes.fromhex(salt), digest_size=16
    ).hexdigest()


def text(contract: Contract, name: str, value: Any) -> str:
    """A value in the one spelling in which it is compared, wherever it comes from; empty for a missing one."""
    kind = contract.columns[name].kind if name in contract.columns else "text"
    if value is None:
        return ""
    try:
        if kind == "datetime":
            return datetime.fromisoformat(str(value)).isoformat()
        if kind in NUMBERS:
            return repr(float(value))
    except ValueError:
        pass
    return str(value)


def texts(contract: Contract, frame: "pd.DataFrame", columns: Sequence[str]) -> list[Row]:
    """The values of some columns, row by row, each in its one spelling."""
    import pandas as pd

    spelled = []
    for name in columns:
        codes, known = pd.factorize(frame[name])  # a missing value has code -1
        spelled.append(
            np.array([*(text(contract, name, value) for value in known), ""], dtype=object)[codes]
        )
    return list(zip(*spelled, strict=True))


def parts(file: Path | IO[bytes], columns: Sequence[str]) -> Iterator["pd.DataFrame"]:
    """Some columns of a Parquet file, in parts; nothing if it lacks one of them."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        if {*columns} <= {*opened.schema_arrow.names}:
            for batch in opened.iter_batches(columns=list(columns)):
                yield batch.to_pandas()
