"""The table to draft from: found, decoded, brought into the project, and described for DuckDB."""

import codecs
import csv
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlgates.errors import ProjectError
from mlgates.files import atomic, temporary_folder
from mlgates.layout import DUCKDB, GIVEN, STATE
from mlgates.project import Project

DATABASE = "SOURCE_URL"  # the variable from which data.py takes a database's address
MISSING = ["", "NA", "N/A", "#N/A", "n/a", "NULL", "null", "NaN", "nan"]

# UTF-32 stands before UTF-16, whose mark is the beginning of that of UTF-32.
BYTE_ORDER_MARKS: list[tuple[bytes, str]] = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]

ROWS_AT_ONCE = 50_000  # from a database
BYTES_AT_ONCE = 1 << 22  # from a file: 4 MiB

Columns = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Source:
    """A table that `database` knows as `source`.

    `place` is where it lies in the project ("" for a database), `reader` the SQL function that
    reads `$source`, and `query` what a database was asked. `columns` maps the world's name of each
    column to the name that DuckDB gives it and to its type. `notes` are for the user.
    """

    label: str
    place: str
    reader: str
    columns: Columns
    database: Any
    query: str
    notes: list[str]


@dataclass(frozen=True)
class Readable:
    """A table that can be read now from `path`, and will lie at `place` in the project.

    `path` may be a pattern for several Parquet files.
    """

    label: str
    path: Path
    place: str = ""
    notes: list[str] = field(default_factory=list)


def sql_text(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def sql_name(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def open_source(project: Project, given: str, query: str) -> Iterator[Source]:
    """The table while it is drafted from, read by a DuckDB with little memory.

    What does not fit into that memory goes to var/.
    Raises: ProjectError if it cannot be read, or if it changed meanwhile; then data/source is as
    before.
    """
    import duckdb

    (project.root / STATE).mkdir(exist_ok=True)
    settings: dict[str, Any] = {
        "memory_limit": "1GB",
        "temp_directory": str(project.root / DUCKDB),
        "threads": 2,
    }
    is_database = "://" in given
    if is_database:
        query = _select(query)
        table = _extracted(project, given, query)
    else:
        query = ""
        table = _file(project, given)
    with table as readable, duckdb.connect(config=settings) as database:
        database.execute("SET enable_progress_bar = false")
        try:
            reader, columns = _described(database, readable)
            yield Source(
                label=readable.label,
                place=readable.place,
                reader=reader,
                columns=columns,
                database=database,
                query=query,
                notes=readable.notes,
            )
        except duckdb.Error as error:
            raise ProjectError(
                f"{readable.label} cannot be read to its end: {reason(error)}"
            ) from None


def _described(database: Any, readable: Readable) -> tuple[str, Columns]:
    """What reads the table, and its columns; from now on `database` knows it as `source`."""
    reader = "read_parquet($source, union_by_name = true)"
    header: list[str] = []
    if readable.path.is_file() and not _is_parquet(readable.path):
        reader, header = _csv(database, readable)

    located = reader.replace("$source", sql_text(str(readable.path)))
    database.execute(f"CREATE VIEW source AS FROM {located}")
    described = database.execute("DESCRIBE source").fetchall()
    labels = header or [name for name, *_ in described]
    if len(labels) != len(described):
        counts = f"names {len(labels)} columns, the rows have {len(described)}"
        raise ProjectError(
            f"{readable.label}: the header {counts}.", "Name every column, also the first."
        )
    columns = {}
    for label, (name, duckdb_type, *_) in zip(labels, described, strict=True):
        columns[label or name] = (name, duckdb_type)
    return reader, columns


@contextmanager
def _file(project: Project, given: str) -> Iterator[Readable]:
    """A file that is brought into the project."""
    path = Path(given).expanduser().resolve()
    if not path.is_file():
        raise ProjectError(
            f"{given} is not a file.", "Give a CSV or Parquet file, or the URL of a database."
        )
    size, modified = _size_and_time(path)
    if not size:
        raise ProjectError(f"{path.name} is empty.", "A header and rows are needed.")
    encoding = "utf-8" if _is_parquet(path) else _encoding(path)
    notes = []
    if encoding != "utf-8":
        notes.append(f"decoded from {encoding}, kept as UTF-8")
    with _brought(project, path, encoding) as (readable, target):
        place = target.relative_to(project.root).as_posix()
        yield Readable(path.name, readable, place, notes)
        if _size_and_time(path) != (size, modified):
            raise ProjectError(
                f"{path.name} changed while it was read. Nothing was written.", "Draft again."
            )


def _size_and_time(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _encoding(path: Path) -> str:
    """UTF-8, what a byte order mark says, or else the code page of Western Windows.

    Raises: ProjectError if the file is not text.
    """
    with path.open("rb") as file:
        head = file.read(4)
        for mark, encoding in BYTE_ORDER_MARKS:
            if head.startswith(mark):
                return encoding
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := file.read(BYTES_AT_ONCE):
                if b"\0" in chunk:
                    raise ProjectError(
                        f"{path.name} is not text.", "Give a CSV or Parquet file, unpacked."
                    )
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


@contextmanager
def _brought(project: Project, path: Path, encoding: str) -> Iterator[tuple[Path, Path]]:
    """Where the file can be read now, and where it lies when the block has ended well.

    A file that git does not keep, or that lies outside of the project, is linked into data/source.
    One in another encoding is written there as UTF-8.
    """
    is_utf8 = encoding == "utf-8"
    folder = project.root / GIVEN
    target = folder / path.name
    if is_utf8 and _is_kept(project, path):
        target = path
    if target.exists() and target.samefile(path):
        if is_utf8:
            yield path, target
            return
        target = folder / f"{path.stem}.utf-8{path.suffix}"  # the original stays beside it
    try:
        with atomic(target) as temporary:
            if is_utf8:
                _link(path, temporary)
            else:
                _decode(path, encoding, temporary)
            yield temporary, target
    finally:
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def _is_kept(project: Project, path: Path) -> bool:
    """Whether the file lies in the project, where git keeps it, or in data/source."""
    from mlgates.registry.git import git

    if not path.is_relative_to(project.root):
        return False
    if path.is_relative_to(project.root / GIVEN):
        return True
    return not git(project.root, "check-ignore", str(path), check=False)


def _link(path: Path, target: Path) -> None:
    """A second name for the file, or a copy where that is not possible, as on another disk."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def _decode(path: Path, encoding: str, target: Path) -> None:
    try:
        with (
            path.open(encoding=encoding, newline="") as old,
            target.open("w", encoding="utf-8") as new,
        ):
            shutil.copyfileobj(old, new, BYTES_AT_ONCE)
    except UnicodeError:
        raise ProjectError(
            f"{path.name} is neither UTF-8 nor {encoding}.", "Save it as UTF-8."
        ) from None


def reason(error: Exception) -> str:
    """The first sentence of a library's message, on one line."""
    message = re.sub("Original Line:.*\n", "", str(error))  # it would show a row
    first = re.split(r"\n\n|\(Background on|\nPossible", message)[0]
    return re.sub(r"\s+", " ", first)[:250]


def _csv(database: Any, readable: Readable) -> tuple[str, list[str]]:
    """What reads a CSV file, and its header; all columns are text.

    DuckDB decides types by the first rows. Here they are decided later, by every row.
    """
    dialect = _dialect(database, readable)
    with readable.path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=dialect["delim"], quotechar=dialect["quote"])
        header = list(map(str.strip, next(lines)))
    _check_header(readable.label, header)

    options = ["header = true", "all_varchar = true"]
    options += [f"{name} = {sql_text(mark)}" for name, mark in dialect.items()]
    options.append("skip = 0")
    options.append(f"nullstr = [{', '.join(map(sql_text, MISSING))}]")
    return f"read_csv($source, {', '.join(options)})", header


def _dialect(database: Any, readable: Readable) -> dict[str, str]:
    """The file's separator, quotation mark and escape, as DuckDB names them."""
    import duckdb

    sniff = "sniff_csv(?, header = true, all_varchar = true, skip = 0)"
    query = f"SELECT Delimiter, Quote, Escape FROM {sniff}"
    try:
        delimiter, quote, escape = database.execute(query, [str(readable.path)]).fetchone()
    except duckdb.Error as error:
        raise ProjectError(
            f"{readable.label} cannot be read as a table: {reason(error)}",
            "Save it as CSV with one header line.",
        ) from None
    return {"delim": delimiter, "quote": _mark(quote), "escape": _mark(escape)}


def _mark(sniffed: str | None) -> str:
    """A quotation mark or escape; the usual one where DuckDB found none in the file."""
    if not sniffed or sniffed == "(empty)":
        return '"'
    return sniffed


def _check_header(label: str, header: list[str]) -> None:
    if len(header) == 1:
        separator = "Its separator is not a comma, semicolon, tab or bar"
        rows = "or some row is longer or shorter than the header"
        raise ProjectError(
            f"{label} reads as one column, {header[0][:60]!r}. {separator}, {rows}.",
            "Save it as CSV with commas, all rows as long as the header.",
        )
    for name, times in Counter(header).items():
        if times > 1 and name:
            raise ProjectError(
                f"{label} has two columns named {name!r}.", "Give each column a name of its own."
            )


def _select(query: str) -> str:
    """The query; a table's name is one for all of its rows."""
    if re.fullmatch(r"[\w.]+", query):
        return f"SELECT * FROM {query}"
    return query.rstrip().rstrip(";")


@contextmanager
def _extracted(project: Project, url: str, query: str) -> Iterator[Readable]:
    """The answer to a query as Parquet files, piece by piece, for as long as it is needed."""
    import pandas as pd
    import sqlalchemy as sa

    if not query:
        raise ProjectError("A database needs --query: a table's name, or SQL.")
    with temporary_folder(project.root / STATE) as folder:
        try:
            engine = sa.create_engine(url)
            with engine.connect().execution_options(stream_results=True) as connection:
                parts = pd.read_sql(sa.text(query), connection, chunksize=ROWS_AT_ONCE)
                for place, part in enumerate(parts):
                    part.to_parquet(folder / f"{place:06d}.parquet", index=False)
        except (sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
            message = f"{type(error).__name__}: {reason(error)}"
            message = message.replace(url, "URL")  # it may hold a password
            raise ProjectError(f"The database does not answer the query: {message}") from None
        note = f"the address is not kept: set {DATABASE} wherever the pipeline reads a new period"
        yield Readable("the database", folder / "*.parquet", notes=[note])
