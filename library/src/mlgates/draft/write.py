"""The four files, their test and the README's request, as text; and all of them put into place, or none."""

import json
import re
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlgates import tools
from mlgates.draft.decide import Decision, Field
from mlgates.draft.source import DATABASE, Source, named
from mlgates.errors import ProjectError
from mlgates.files import write_text
from mlgates.layout import (
    CHECKED,
    DRAFTS,
    EVALUATION,
    MADE,
    OUTCOMES,
    PREDICTIONS,
    RAW,
    SOURCES,
    TRAINING_ROWS,
)
from mlgates.project import Project

STALE = [RAW, CHECKED, TRAINING_ROWS, EVALUATION, MADE, PREDICTIONS, OUTCOMES]

SCHEMA = '''"""What a row is: drafted from {label}. Bounds have head-room; units, owner and privacy are yours."""

{imports}
from pydantic import BaseModel{field}

from mlgates.contract import About, Contract


class Request(BaseModel):
    """What a caller knows when asking for a prediction."""

{request}


class Outcome(BaseModel):
    """What is to be predicted: known only later."""

{outcome}


contract = Contract({roles})
'''

DATA = '''"""Where rows come from: {label}; a period is {unit}. Drafted."""

{imports}

{source}
COLUMNS = """
{columns}
"""
PERIODS = {{  # a new one is another line
{periods}
}}


def periods() -> list[str]:
    """The periods that exist, oldest first."""
    return list(PERIODS)


def read(period: str) -> pd.DataFrame:
    """The rows of one period, with their outcome."""
{read}
'''

READ_FILE = """\
    {first}, {second} = PERIODS[period]
    path = Project.find().root / SOURCE
    if not path.exists():
        raise ProjectError(f"{{SOURCE}} is not on this machine.", "Only a new period needs it: uv run dvc pull")
    sql = f'SELECT * FROM (SELECT {{COLUMNS}} FROM {{READ}}) WHERE {where}'
    with duckdb.connect() as database:
        database.execute("SET enable_progress_bar = false")
        return database.execute(sql, {{"source": str(path), "a": {first}, "b": {second}}}).df()"""

READ_DATABASE = """\
    first, last = PERIODS[period]
    if "{variable}" not in os.environ:
        raise ProjectError("{variable} is not set.", "Only a new period needs the database: uv run dvc pull")
    parts = []
    with sa.create_engine(os.environ["{variable}"]).connect() as connection, duckdb.connect() as database:
        answer = connection.execution_options(stream_results=True)
        for chunk in pd.read_sql(sa.text(QUERY), answer, chunksize=50_000):
            database.register("chunk", chunk)
            sql = f'SELECT * FROM (SELECT {{COLUMNS}} FROM chunk) WHERE {where}'
            parts.append(database.execute(sql, {{"a": first, "b": last}}).df())
    return pd.concat(parts, ignore_index=True)"""

MEANING = (
    "A function is a feature: its name, its arguments (columns or features), its meaning; "
    "for 1 row or 10 million."
)

FEATURES = '''"""{meaning}"""

AS_IS = {names}
'''

TEST = '''"""Tests of this team's features: a feature is a function, so a test is a plain call."""

from {package} import features
from {package}.schema import contract


def test_what_is_used_as_it_is_stands_in_the_request_and_is_allowed() -> None:
    assert set(features.AS_IS) <= set(contract.request_columns)
    assert not [name for name in features.AS_IS if contract.barred(name)]
'''

ASK = "Ask the service:\n\n```\n{}\n```\n"


def text(value: Any) -> str:
    """A value as JSON; a text is Python source, too."""
    return json.dumps(value, ensure_ascii=False)


def files(
    project: Project, source: Source, made: Decision, model: str, row: Mapping[str, Any]
) -> dict[Path, str]:
    """Path and content of all that is written; `row` is an example under the world's names."""
    package = project.root / SOURCES / project.package
    written = {
        package / "schema.py": _schema(source, made),
        package / "data.py": _data(source, made),
        package / "features.py": FEATURES.format(
            meaning=MEANING, names=text([f.name for f in made.having("feature")])
        ),
        package / "model.py": model,
        project.root / "tests/test_features.py": TEST.format(package=project.package),
    }
    return {path: _tidy(project, path, content) for path, content in written.items()} | {
        project.root / "README.md": _readme(project, source, made, row)
    }


def _schema(source: Source, made: Decision) -> str:
    asked = [one for one in made.fields.values() if one.delivered and one.role != "outcome"]
    lines, outcome = "\n".join(map(_line, asked)), _line(made.target)
    typing = [name for name in ("Annotated", "Literal") if f"{name}[" in lines + outcome]
    imports = "from datetime import datetime\n" if re.search(r"\bdatetime\b", lines) else ""
    roles: dict[str, Any] = {
        "key": made.key,
        "time": made.time,
        "slices": made.slices,
        "groups": [one.name for one in made.having("group")],
        "forbidden": [one.name for one in made.having("forbidden")],
    }
    given = "".join(f"{name}={json.dumps(value)}, " for name, value in roles.items() if value)
    about = (
        f'about=About(owner="", source={text(source.label)}, privacy="internal", status="active"),'
    )
    return SCHEMA.format(
        label=source.label,
        imports=imports + (f"from typing import {', '.join(typing)}\n" if typing else ""),
        field=", Field" if "Field(" in lines + outcome else "",
        request=lines,
        outcome=outcome,
        roles=f"Request, Outcome, {given}{about}",
    )


def _line(one: Field) -> str:
    kind = {"text": "str", "category": f"Literal[{', '.join(map(text, one.words))}]"}.get(
        one.kind, one.kind
    )
    options = (
        [f"alias={text(one.column.label)}"]
        if one.column.label.strip() and one.column.label != one.name
        else []
    )
    bounds = {"ge": one.low, "le": one.high}
    options += [
        f"{name}={_number(one, bound)}" for name, bound in bounds.items() if bound is not None
    ]
    if one.max_length is not None:
        options.append(f"max_length={one.max_length}")
    more = [f"Field({', '.join(options)})"] if options else []
    more += (
        [f"About(unit={text(one.unit)})"]
        if one.kind in ("int", "float") and one.role != "key"
        else []
    )
    kind += " | None" if one.nullable else ""
    return f"    {one.name}: " + (f"Annotated[{', '.join([kind, *more])}]" if more else kind)


def _number(one: Field, bound: float) -> str:
    return (
        f"{int(bound):_}"
        if one.kind == "int" or (bound.is_integer() and abs(bound) < 1e15)
        else repr(bound)
    )


def _data(source: Source, made: Decision) -> str:
    used = [one for one in made.fields.values() if one.delivered]
    columns = "\n".join(
        textwrap.indent(f"{one.column.sql} AS {named(one.name)},", "    ") for one in used
    ).rstrip(",")
    needed = f"{named(made.target.name)} IS NOT NULL"
    periods = [
        f"    {text(name)}: ({_edge(a)}, {_edge(b)})," for name, (a, b) in made.periods.items()
    ]
    if made.time:
        where = f"{needed} AND {named(made.time)} >= $a AND {named(made.time)} < $b"
    elif source.query:
        where = f"{needed} AND $a < $b"
    else:
        where = f"{needed} QUALIFY row_number() OVER () % $b = $a"
    escaped = columns.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if source.query:
        libraries = "import os\n\nimport duckdb\nimport pandas as pd\nimport sqlalchemy as sa"
        imports = f"{libraries}\n\nfrom mlgates import ProjectError"
        read, kept = (
            READ_DATABASE.format(where=where, variable=DATABASE),
            f"QUERY = {text(source.query)}",
        )
    else:
        imports = "import duckdb\nimport pandas as pd\n\nfrom mlgates import Project, ProjectError"
        first, second = ("first", "last") if made.time else ("part", "parts")
        read = READ_FILE.format(where=where, first=first, second=second)
        kept = f"SOURCE = {text(source.place)}\nREAD = ({_halves(source.reader)})"
    told = {
        "label": source.label,
        "unit": made.unit,
        "imports": imports,
        "source": kept,
        "columns": escaped,
    }
    return DATA.format(**told, periods="\n".join(periods), read=read)


def _halves(reader: str) -> str:
    first, comma, last = reader.partition("nullstr")
    return f"{text(first)} {text(comma + last)}" if comma else text(first)


def _edge(value: Any) -> str:
    return (
        str(value) if isinstance(value, int | float) else text(str(value).removesuffix(" 00:00:00"))
    )


def _readme(project: Project, source: Source, made: Decision, row: Mapping[str, Any]) -> str:
    path = project.root / "README.md"
    page = path.read_text(encoding="utf-8") if path.exists() else f"# {project.root.name}\n"
    asked = {
        one.column.label: one
        for one in made.fields.values()
        if one.delivered and one.role != "outcome"
    }
    values = {label if label.strip() else one.name: row[label] for label, one in asked.items()}
    lines = [
        "curl -s http://localhost:3000/predict -H 'Content-Type: application/json' -d '{\"rows\": [{"
    ]
    for place, (name, value) in enumerate(values.items()):
        part = f"{text(name)}: {text(value)}".replace("'", "\\u0027") + (
            "," if place < len(values) - 1 else "}]}'"
        )
        lines = (
            [*lines, f"  {part}"]
            if len(lines[-1]) + len(part) > 118
            else [*lines[:-1], f"{lines[-1]} {part}"]
        )
    section = ASK.format("\n".join(lines).replace("{ ", "{"))
    told = (
        f"`{made.target.column.label}` of {source.label}, as {made.task}: what for, write it here."
    )
    stood = (
        "Learned from the flights that left New York",
        "What is predicted, for whom, and",
        ": what for, write it here",
    )
    page = re.sub(rf"(?m)^.*({'|'.join(stood)}).*$", lambda _: told, page)
    if "Ask the service:" in page:
        return re.sub(
            r"Ask the service:\n+```.*?\n```\n", lambda _: section, page, count=1, flags=re.DOTALL
        )
    before, handbook, after = page.partition("\n[Handbook]")
    return (
        f"{before.rstrip()}\n\n{section}{handbook}{after}"
        if handbook
        else f"{page.rstrip()}\n\n{section}"
    )


def _tidy(project: Project, path: Path, content: str) -> str:
    """As ruff wants it, where ruff is; what it cannot mend (long names, other scripts) is said at the top."""

    def ruff(*words: str) -> str:
        return tools.run(
            project, "ruff", *words, "--stdin-filename", str(path), "-", given=content
        ).printed

    content = ruff("format") or content
    if codes := sorted(
        {fault["code"] for fault in json.loads(ruff("check", "--output-format=json") or "[]")}
    ):
        content = f"# ruff: noqa: {', '.join(codes)}\n{content}"
    compile(content, path.name, "exec")
    return content


def put(project: Project, written: Mapping[Path, str]) -> Path:
    """Write all files, and set aside what they replace and what was made of other data; returns where that lies.

    Raises: ProjectError if a file cannot be written; then everything is as before.
    """
    kept = project.root / DRAFTS / datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
    old = filter(Path.exists, [*(project.root / name for name in STALE), *written])
    aside = {path: kept / path.relative_to(project.root) for path in old}
    moved = []
    try:
        for path, target in aside.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            moved.append(path)
        for path, content in written.items():
            write_text(path, content)
    except OSError as error:
        for path in moved:
            aside[path].replace(path)
        for path in filter(Path.exists, written.keys() - aside.keys()):
            path.unlink()
        raise ProjectError(
            f"{error.filename} cannot be written: {error.strerror}; everything is as before."
        ) from None
    return kept
