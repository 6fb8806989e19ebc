"""The table to draft from: found, decoded, brought into the project, and described so that DuckDB can read it."""

import codecs
import csv
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..project import ProjectError, whole

FOLDER = "data/source"
DATABASE = "SOURCE_URL"
MISSING = ["", "NA", "N/A", "#N/A", "n/a", "NULL", "null", "NaN", "nan"]
MARKS: list[tuple[bytes, str]] = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]
CHUNK = 50_000


@dataclass(frozen=True)
class Source:
    """A table: `place` in the project ("" for a database), and the SQL that reads `$source`.

    `columns` maps the world's name of each column to the name that DuckDB gives it and to its type.
    """

    label: str
    place: str
    path: Path
    reader: str
    columns: dict[str, tuple[str, str]]
    query: str = ""
    notes: tuple[str, ...] = ()

    @property
    def sql(self) -> str:
        """What stands after FROM."""
        return self.reader.replace("$source", quoted(str(self.path)))


def quoted(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def named(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def connect(root: Path) -> Any:
    """DuckDB with little memory; what does not fit goes to a folder under var/."""
    import duckdb

    (root / "var").mkdir(exist_ok=True)
    settings: dict[str, Any] = {"memory_limit": "1GB", "temp_directory": str(root / "var/duckdb"), "threads": 2}
    database = duckdb.connect(config=settings)
    database.execute("SET enable_progress_bar = false")
    return database


@contextmanager
def opened(root: Path, given: str, query: str) -> Iterator[Source]:
    """The table while it is drafted from; if the block fails, nothing that was copied stays.

    Raises: ProjectError if it cannot be read, or if it changed meanwhile.
    """
    if "://" in given:
        with _extract(root, given, query) as path:
            told = f"the address is not kept: set {DATABASE} wherever the pipeline reads a new period"
            yield Source("the database", "", path, *_parquet(root, path), query=_select(query), notes=(told,))
        return
    path = Path(given).expanduser().resolve()
    if not path.is_file():
        raise ProjectError(f"{given} is no file.", "Give a CSV or Parquet file, or the URL of a database.")
    before = _state(path)
    if not before[0]:
        raise ProjectError(f"{path.name} is empty.", "A header and rows are needed.")
    encoding = "" if _is_parquet(path) else _encoding(path)
    place, copied = _bring(root, path, encoding)
    try:
        made = _parquet(root, root / place) if _is_parquet(path) else _csv(root, root / place, path.name)
        notes = [f"decoded from {encoding}, kept as UTF-8"] if encoding not in ("", "utf-8") else []
        yield Source(path.name, place, root / place, *made, notes=tuple(notes))
        if _state(path) != before:
            raise ProjectError(f"{path.name} changed while it was read; nothing was written.", "Draft again.")
    except BaseException:
        if copied:
            (root / place).unlink(missing_ok=True)
            with suppress(OSError):
                (root / FOLDER).rmdir()
        raise


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _encoding(path: Path) -> str:
    """UTF-8, what a byte order mark says, or else the code page of Western Windows."""
    with path.open("rb") as file:
        head = file.read(4)
        if found := [name for mark, name in MARKS if head.startswith(mark)]:
            return found[0]
        if b"\0" in head + file.read(4096):
            raise ProjectError(f"{path.name} is no text.", "Give a CSV or Parquet file, or the URL of a database.")
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := file.read(1 << 22):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _bring(root: Path, path: Path, encoding: str) -> tuple[str, bool]:
    """Where the file lies below the root, and whether it was put there now.

    What git does not keep, and what lies elsewhere, is linked into data/source; another encoding is written as UTF-8.
    """
    from ..registry.git import git

    again = encoding not in ("", "utf-8")
    if path.is_relative_to(root) and not again:
        place = path.relative_to(root).as_posix()
        if place.startswith(f"{FOLDER}/") or not git(root, "check-ignore", place, check=False):
            return place, False
    target = root / FOLDER / path.name
    if target.exists() and target.samefile(path) and not again:
        return f"{FOLDER}/{path.name}", False
    existed = target.exists()
    if existed and target.samefile(path):
        target = target.with_name(f"{path.stem}.utf-8{path.suffix}")
    with whole(target) as temporary:
        if again:
            try:
                with path.open(encoding=encoding, newline="") as old, temporary.open("w", encoding="utf-8") as new:
                    shutil.copyfileobj(old, new, 1 << 22)
            except UnicodeError:
                raise ProjectError(f"{path.name} is neither UTF-8 nor {encoding}.", "Save it as UTF-8.") from None
        else:
            try:
                os.link(path, temporary)
            except OSError:
                shutil.copy2(path, temporary)
    return target.relative_to(root).as_posix(), not existed


def reason(error: Exception) -> str:
    """The first sentence of a library's complaint, on one line."""
    return re.sub(r"\s+", " ", re.split(r"\n\n|\(Background on|\nPossible", str(error))[0])[:250]


def _columns(root: Path, reader: str, path: Path) -> dict[str, tuple[str, str]]:
    import duckdb

    try:
        with connect(root) as database:
            rows = database.execute(f"DESCRIBE SELECT * FROM {reader.replace('$source', quoted(str(path)))}").fetchall()
    except duckdb.Error as error:
        raise ProjectError(f"{path.name} cannot be read: {reason(error)}") from None
    return {name: (name, kind) for name, kind, *_ in rows}


def _parquet(root: Path, path: Path) -> tuple[str, dict[str, tuple[str, str]]]:
    reader = "read_parquet($source, union_by_name = true)"
    return reader, _columns(root, reader, path)


def _csv(root: Path, path: Path, label: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """All columns as text: the types are decided by every row, not by the first ones."""
    import duckdb

    try:
        with connect(root) as database:
            sniffed = "SELECT Delimiter, Quote, Escape FROM sniff_csv(?, header = true, all_varchar = true, skip = 0)"
            delimiter, quote, escape = database.execute(sniffed, [str(path)]).fetchone()
    except duckdb.Error as error:
        raise ProjectError(
            f"{label} does not read as a table: {reason(error)}", "Save it as CSV with one header line."
        ) from None
    quote, escape = (mark if mark and mark != "(empty)" else '"' for mark in (quote, escape))
    marks = f"delim = {quoted(delimiter)}, quote = {quoted(quote)}, escape = {quoted(escape)}, skip = 0"
    missing = ", ".join(map(quoted, MISSING))
    reader = f"read_csv($source, header = true, all_varchar = true, {marks}, nullstr = [{missing}])"
    found = list(_columns(root, reader, path))
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=delimiter, quotechar=quote)
        header = [name.strip() for name in next(lines)]
    if len(header) == 1:
        told = (
            f"{label} reads as one column, {header[0][:60]!r}: its separator is none of comma, semicolon, tab and bar."
        )
        raise ProjectError(told, "Save it as CSV with commas.")
    twice = [name for name, times in Counter(header).items() if times > 1 and name]
    if twice:
        raise ProjectError(f"{label} has two columns named {twice[0]!r}.", "Give each column a name of its own.")
    if len(header) != len(found):
        told = f"{label}: the header names {len(header)} columns, the rows have {len(found)}."
        raise ProjectError(told, "Name every column, also the first.")
    return reader, {name or made: (made, "VARCHAR") for name, made in zip(header, found, strict=True)}


def _select(query: str) -> str:
    return f"SELECT * FROM {query}" if re.fullmatch(r"[\w.]+", query) else query.rstrip().rstrip(";")


@contextmanager
def _extract(root: Path, url: str, query: str) -> Iterator[Path]:
    """The answer to a query as Parquet files, piece by piece, for as long as it is needed."""
    import pandas as pd
    import sqlalchemy as sa

    if not query:
        raise ProjectError("A database needs --query: a table's name, or SQL.")
    (root / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root / "var") as folder:
        try:
            with sa.create_engine(url).connect().execution_options(stream_results=True) as connection:
                for place, part in enumerate(pd.read_sql(sa.text(_select(query)), connection, chunksize=CHUNK)):
                    part.to_parquet(Path(folder) / f"{place:06d}.parquet", index=False)
        except (sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
            told = f"{type(error).__name__}: {reason(error)}".replace(url, "URL")  # it may hold a password
            raise ProjectError(f"The database does not answer the query: {told}") from None
        yield Path(folder) / "*.parquet"
