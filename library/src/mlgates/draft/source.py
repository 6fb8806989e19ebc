"""The table to draft from: found, decoded, brought into the project, and described so that DuckDB can read it."""

import codecs
import csv
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlgates.errors import ProjectError
from mlgates.files import temporary_folder, whole
from mlgates.layout import DUCKDB, GIVEN, STATE
from mlgates.project import Project

DATABASE = "SOURCE_URL"
MISSING = ["", "NA", "N/A", "#N/A", "n/a", "NULL", "null", "NaN", "nan"]

MARKS: list[tuple[bytes, str]] = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]

CHUNK = 50_000
Given = tuple[
    str, Path, str, list[str]
]  # its name, where it is read, where it will lie, what is to be said of it


@dataclass(frozen=True)
class Source:
    """A table that `database` knows as `source`: its `place` in the project ("" for a database), what reads `$source`.

    `columns` maps the world's name of each column to the name that DuckDB gives it and to its type.
    """

    label: str
    place: str
    reader: str
    columns: dict[str, tuple[str, str]]
    database: Any
    query: str
    notes: list[str]


def quoted(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def named(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def opened(project: Project, given: str, query: str) -> Iterator[Source]:
    """The table while it is drafted from, read by a DuckDB with little memory; what does not fit goes to var/.

    Raises: ProjectError if it cannot be read, or if it changed meanwhile; then data/source is as before.
    """
    import duckdb

    (project.root / STATE).mkdir(exist_ok=True)
    settings: dict[str, Any] = {
        "memory_limit": "1GB",
        "temp_directory": str(project.root / DUCKDB),
        "threads": 2,
    }
    query = _select(query) if "://" in given else ""
    table = _extracted(project, given, query) if "://" in given else _file(project, given)
    with table as (label, path, place, notes), duckdb.connect(config=settings) as database:
        database.execute("SET enable_progress_bar = false")
        try:
            reader, header = "read_parquet($source, union_by_name = true)", list[str]()
            if path.is_file() and not _is_parquet(path):
                reader, header = _csv(database, path, label)
            database.execute(
                f"CREATE VIEW source AS FROM {reader.replace('$source', quoted(str(path)))}"
            )
            found = [
                (name, kind) for name, kind, *_ in database.execute("DESCRIBE source").fetchall()
            ]
            names = header or [name for name, _ in found]
            if len(names) != len(found):
                told = (
                    f"{label}: the header names {len(names)} columns, the rows have {len(found)}."
                )
                raise ProjectError(told, "Name every column, also the first.")
            columns = {name or one[0]: one for name, one in zip(names, found, strict=True)}
            yield Source(label, place, reader, columns, database, query, notes)
        except duckdb.Error as error:
            raise ProjectError(f"{label} cannot be read to its end: {reason(error)}") from None


@contextmanager
def _file(project: Project, given: str) -> Iterator[Given]:
    """A file that is brought into the project."""
    path = Path(given).expanduser().resolve()
    if not path.is_file():
        raise ProjectError(
            f"{given} is no file.", "Give a CSV or Parquet file, or the URL of a database."
        )
    before = _state(path)
    if not before[0]:
        raise ProjectError(f"{path.name} is empty.", "A header and rows are needed.")
    encoding = "utf-8" if _is_parquet(path) else _encoding(path)
    notes = [f"decoded from {encoding}, kept as UTF-8"] if encoding != "utf-8" else []
    with _brought(project, path, encoding) as (readable, target):
        yield path.name, readable, target.relative_to(project.root).as_posix(), notes
        if _state(path) != before:
            raise ProjectError(
                f"{path.name} changed while it was read; nothing was written.", "Draft again."
            )


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
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := file.read(1 << 22):
                if b"\0" in chunk:
                    raise ProjectError(
                        f"{path.name} is no text.", "Give a CSV or Parquet file, unpacked."
                    )
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


@contextmanager
def _brought(project: Project, path: Path, encoding: str) -> Iterator[tuple[Path, Path]]:
    """Where the file can be read now, and where it lies below the root when the block has ended well.

    What git does not keep, and what lies elsewhere, is linked into data/source; another encoding is written as UTF-8.
    """
    from mlgates.registry.git import git

    again, folder = encoding != "utf-8", project.root / GIVEN
    target = folder / path.name
    if path.is_relative_to(project.root) and not again:
        ignored = not path.is_relative_to(folder) and git(
            project.root, "check-ignore", str(path), check=False
        )
        target = target if ignored else path
    if target.exists() and target.samefile(path):
        if not again:
            yield path, target
            return
        target = folder / f"{path.stem}.utf-8{path.suffix}"
    try:
        with whole(target) as temporary:
            if again:
                _decode(path, encoding, temporary)
            else:
                try:
                    os.link(path, temporary)
                except OSError:
                    shutil.copy2(path, temporary)
            yield temporary, target
    finally:
        with suppress(OSError):
            folder.rmdir()


def _decode(path: Path, encoding: str, target: Path) -> None:
    try:
        with (
            path.open(encoding=encoding, newline="") as old,
            target.open("w", encoding="utf-8") as new,
        ):
            shutil.copyfileobj(old, new, 1 << 22)
    except UnicodeError:
        raise ProjectError(
            f"{path.name} is neither UTF-8 nor {encoding}.", "Save it as UTF-8."
        ) from None


def reason(error: Exception) -> str:
    """The first sentence of a library's complaint, on one line."""
    told = re.split(
        r"\n\n|\(Background on|\nPossible", re.sub("Original Line:.*\n", "", str(error))
    )[0]
    return re.sub(r"\s+", " ", told)[:250]


def _csv(database: Any, path: Path, label: str) -> tuple[str, list[str]]:
    """What reads the file, and its header; all columns are text: the types are decided by every row."""
    import duckdb

    try:
        sniffed = "SELECT Delimiter, Quote, Escape FROM sniff_csv(?, header = true, all_varchar = true, skip = 0)"
        delimiter, *others = database.execute(sniffed, [str(path)]).fetchone()
    except duckdb.Error as error:
        raise ProjectError(
            f"{label} does not read as a table: {reason(error)}",
            "Save it as CSV with one header line.",
        ) from None
    quote, escape = (mark if mark and mark != "(empty)" else '"' for mark in others)
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = [
            name.strip() for name in next(csv.reader(file, delimiter=delimiter, quotechar=quote))
        ]
    if len(header) == 1:
        told = f"{label} reads as one column, {header[0][:60]!r}"
        raise ProjectError(
            f"{told}: its separator is none of comma, semicolon, tab and bar, or a row is longer or shorter than it.",
            "Save it as CSV with commas, all rows as long as the header.",
        )
    if twice := [name for name, times in Counter(header).items() if times > 1 and name]:
        raise ProjectError(
            f"{label} has two columns named {twice[0]!r}.", "Give each column a name of its own."
        )
    marks = (
        f"delim = {quoted(delimiter)}, quote = {quoted(quote)}, escape = {quoted(escape)}, skip = 0"
    )
    missing = ", ".join(map(quoted, MISSING))
    return (
        f"read_csv($source, header = true, all_varchar = true, {marks}, nullstr = [{missing}])",
        header,
    )


def _select(query: str) -> str:
    return (
        f"SELECT * FROM {query}" if re.fullmatch(r"[\w.]+", query) else query.rstrip().rstrip(";")
    )


@contextmanager
def _extracted(project: Project, url: str, query: str) -> Iterator[Given]:
    """The answer to a query as Parquet files, piece by piece, for as long as it is needed."""
    import pandas as pd
    import sqlalchemy as sa

    if not query:
        raise ProjectError("A database needs --query: a table's name, or SQL.")
    with temporary_folder(project.root / STATE) as folder:
        try:
            with (
                sa.create_engine(url).connect().execution_options(stream_results=True) as connection
            ):
                for place, part in enumerate(
                    pd.read_sql(sa.text(query), connection, chunksize=CHUNK)
                ):
                    part.to_parquet(folder / f"{place:06d}.parquet", index=False)
        except (sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
            told = f"{type(error).__name__}: {reason(error)}".replace(
                url, "URL"
            )  # it may hold a password
            raise ProjectError(f"The database does not answer the query: {told}") from None
        told = f"the address is not kept: set {DATABASE} wherever the pipeline reads a new period"
        yield "the database", folder / "*.parquet", "", [told]
