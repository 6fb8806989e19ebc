"""Tombstones: `erased.csv` says which rows must not come back, without saying whose they were.

Each line holds a salted hash of the values of some columns. Whoever has the file can try values one
by one, so it hides an id only as well as the id is hard to guess. It is a pseudonym. Whoever holds
the data needs no more than that.
"""

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Contract
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
    """Rows with these values in these columns are erased; `periods` are those that had any."""

    on: str
    columns: Row
    periods: Row
    salt: str
    hash: str
    why: str


@dataclass(frozen=True)
class Tombstones:
    """All tombstones of a project, to find erased rows in its tables."""

    contract: Contract
    entries: tuple[Tombstone, ...] = ()

    @cached_property
    def matchers(self) -> list[tuple[Row, Callable[..., bool]]]:
        """Some columns, and a function of their values: whether a row with these is erased.

        There is one pair for all tombstones with the same columns and salt, so that each row is
        hashed once for all of them.
        """
        hashes = defaultdict(set)
        for entry in self.entries:
            hashes[entry.columns, entry.salt].add(entry.hash)

        pairs = []
        for (columns, salt), hashes_of_pair in hashes.items():
            pairs.append((columns, self._matcher(columns, salt, hashes_of_pair)))
        return pairs

    def _matcher(self, columns: Row, salt: str, hashes: set[str]) -> Callable[..., bool]:
        def matches(*values: Any) -> bool:
            pairs = zip(columns, values, strict=True)
            row = tuple(text(self.contract, name, value) for name, value in pairs)
            return hashed(row, salt) in hashes

        return matches

    def is_erased(self, frame: "pd.DataFrame") -> np.ndarray:
        """(n,) bool: which rows are erased."""
        erased = np.zeros(len(frame), dtype=bool)
        for columns, matches in self.matchers:
            if not set(columns) <= set(frame):
                continue
            rows = texts(self.contract, frame, columns)
            is_erased = {row: matches(*row) for row in set(rows)}  # equal rows are hashed once
            erased |= np.fromiter(map(is_erased.__getitem__, rows), dtype=bool, count=len(rows))
        return erased

    def without(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """The frame without erased rows."""
        erased = self.is_erased(frame)
        if not erased.any():
            return frame
        return frame[~erased].reset_index(drop=True)

    def has_erased_rows(self, file: Path | IO[bytes]) -> bool:
        """Whether a Parquet file has an erased row; reads only the columns that matter."""
        for columns, _ in self.matchers:
            if any(self.is_erased(part).any() for part in parts(file, columns)):
                return True
        return False


def read(project: Project, contract: Contract) -> Tombstones:
    """The project's tombstones, to find erased rows in tables.

    Raises: ProjectError if the file is damaged.
    """
    return Tombstones(contract, listed(project))


def listed(project: Project) -> tuple[Tombstone, ...]:
    """The project's tombstones; none if the file does not exist.

    Raises: ProjectError if the file is damaged.
    """
    path = project.root / ERASED
    if not path.exists():
        return ()
    return parsed(path.read_text(encoding="utf-8"))


def parsed(content: str) -> tuple[Tombstone, ...]:
    """The tombstones in the text of the file. Raises: ProjectError if it is damaged."""
    lines = list(csv.reader(io.StringIO(content)))
    if not lines:
        return ()
    header, *rows = lines
    if tuple(header) != HEADER or any(len(row) != len(HEADER) for row in rows):
        raise ProjectError(f"{ERASED} is damaged.", f"Bring it back: git checkout HEAD -- {ERASED}")

    entries = []
    for on, columns, periods, salt, value, why in rows:
        entries.append(Tombstone(on, _split(columns), _split(periods), salt, value, why))
    return tuple(entries)


def _split(joined: str) -> Row:
    if not joined:
        return ()
    return tuple(joined.split(SEPARATOR))


def written(entries: Sequence[Tombstone]) -> str:
    """The text of the file."""
    content = io.StringIO()
    lines = csv.writer(content, lineterminator="\n")
    lines.writerow(HEADER)
    for entry in entries:
        columns = SEPARATOR.join(entry.columns)
        periods = SEPARATOR.join(entry.periods)
        lines.writerow([entry.on, columns, periods, entry.salt, entry.hash, entry.why])
    return content.getvalue()


def hashed(row: Row, salt: str) -> str:
    """The hash of a row's values."""
    values = "\0".join(row).encode()
    return hashlib.blake2b(values, key=bytes.fromhex(salt), digest_size=16).hexdigest()


def text(contract: Contract, name: str, value: Any) -> str:
    """A value in the one spelling in which it is compared, wherever it comes from.

    Empty for a missing value. A value that is not of the column's kind is spelled as it is.
    """
    if value is None:
        return ""
    spelled: Callable[[Any], str] = str
    if name in contract.columns:
        spelled = SPELLINGS.get(contract.columns[name].kind, str)
    try:
        return spelled(value)
    except ValueError:
        return str(value)


def _spelled_time(value: Any) -> str:
    return datetime.fromisoformat(str(value)).isoformat()


def _spelled_number(value: Any) -> str:
    return repr(float(value))


# By the kind of a column; all other kinds are spelled as they are.
SPELLINGS: dict[str, Callable[[Any], str]] = {
    "datetime": _spelled_time,
    "int": _spelled_number,
    "float": _spelled_number,
    "bool": _spelled_number,
}


def texts(contract: Contract, frame: "pd.DataFrame", columns: Sequence[str]) -> list[Row]:
    """The values of some columns, row by row, each in its one spelling."""
    import pandas as pd

    spelled = []
    for name in columns:
        # Each different value is spelled once. A missing value has the code -1, which picks the
        # last place, so an empty text is added there.
        codes, values = pd.factorize(frame[name])
        spellings = [text(contract, name, value) for value in values]
        spelled.append(np.array([*spellings, ""], dtype=object)[codes])
    return list(zip(*spelled, strict=True))


def parts(file: Path | IO[bytes], columns: Sequence[str]) -> Iterator["pd.DataFrame"]:
    """Some columns of a Parquet file, part by part; nothing if the file lacks one of them."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        if not set(columns) <= set(opened.schema_arrow.names):
            return
        for batch in opened.iter_batches(columns=list(columns)):
            yield batch.to_pandas()
