"""The four files, their test and the README's request, as text.

All of them are put into place, or none.
"""

import json
import re
import textwrap
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlgates import tools
from mlgates.draft.decision import FORBIDDEN, Decision, Field, Periods
from mlgates.draft.source import DATABASE, Source, sql_name
from mlgates.draft.templates import (
    ASK,
    CURL,
    DATA,
    FEATURES,
    FEATURES_MEANING,
    READ_DATABASE,
    READ_FILE,
    SCHEMA,
    TEST,
)
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

# What was made of the former data. It does not fit the new contract.
STALE = [RAW, CHECKED, TRAINING_ROWS, EVALUATION, MADE, PREDICTIONS, OUTCOMES]

MAX_WIDTH = 118  # of a line of the request in the README

# A README's sentence about what is predicted: of the sample, of a blank project, of a draft.
PURPOSES = (
    "Learned from the flights that left New York",
    "What is predicted, for whom, and",
    ": what for, write it here",
)


def as_json(value: Any) -> str:
    """A value as JSON, which for a text is Python source, too."""
    return json.dumps(value, ensure_ascii=False)


def files(
    project: Project, source: Source, decision: Decision, model: str, example: Mapping[str, Any]
) -> dict[Path, str]:
    """Path and content of all that is written.

    `model` is the text of model.py, `example` a row under the world's names.
    """
    package = project.root / SOURCES / project.package
    features = as_json(decision.names_of("feature"))
    modules = {
        package / "schema.py": _schema(source, decision),
        package / "data.py": _data(source, decision),
        package / "features.py": FEATURES.format(meaning=FEATURES_MEANING, names=features),
        package / "model.py": model,
        project.root / "tests/test_features.py": TEST.format(package=project.package),
    }
    written = {path: _tidy(project, path, content) for path, content in modules.items()}
    written[project.root / "README.md"] = _readme(project, source, decision, example)
    return written


def _schema(source: Source, decision: Decision) -> str:
    """The text of schema.py."""
    request = "\n".join(_field_line(field) for field in decision.asked)
    outcome = _field_line(decision.target)
    lines = request + outcome

    imports = ""
    if re.search(r"\bdatetime\b", request):
        imports += "from datetime import datetime\n"
    typing = [name for name in ("Annotated", "Literal") if f"{name}[" in lines]
    if typing:
        imports += f"from typing import {', '.join(typing)}\n"
    return SCHEMA.format(
        label=source.label,
        imports=imports,
        field=", Field" if "Field(" in lines else "",
        request=request,
        outcome=outcome,
        roles=_roles(source, decision),
    )


def _roles(source: Source, decision: Decision) -> str:
    """The arguments of Contract(...)."""
    roles: dict[str, Any] = {
        "key": decision.key,
        "time": decision.time,
        "slices": decision.slices,
        "groups": decision.names_of("group"),
        "forbidden": decision.names_of(FORBIDDEN),
    }
    arguments = ["Request", "Outcome"]
    for name, value in roles.items():
        if value:
            arguments.append(f"{name}={json.dumps(value)}")
    label = as_json(source.label)
    about = f'About(owner="", source={label}, privacy="internal", status="active")'
    arguments.append(f"about={about},")  # the comma makes ruff write one argument a line
    return ", ".join(arguments)


def _field_line(field: Field) -> str:
    """A column as a line of a pydantic model, such as `age: Annotated[int, Field(ge=0)]`."""
    annotations = [_type(field)]
    options = _field_options(field)
    if options:
        annotations.append(f"Field({', '.join(options)})")
    if field.kind in ("int", "float") and field.role != "key":
        annotations.append(f"About(unit={as_json(field.unit)})")
    if len(annotations) == 1:
        return f"    {field.name}: {annotations[0]}"
    return f"    {field.name}: Annotated[{', '.join(annotations)}]"


def _type(field: Field) -> str:
    """The type of a field."""
    kind = field.kind
    if kind == "text":
        kind = "str"
    if kind == "category":
        kind = f"Literal[{', '.join(map(as_json, field.words))}]"
    if field.nullable:
        kind = f"{kind} | None"
    return kind


def _field_options(field: Field) -> list[str]:
    """The arguments of Field(...)."""
    options = []
    if field.label != field.name:
        options.append(f"alias={as_json(field.label)}")
    if field.low is not None:
        options.append(f"ge={_number(field, field.low)}")
    if field.high is not None:
        options.append(f"le={_number(field, field.high)}")
    if field.max_length is not None:
        options.append(f"max_length={field.max_length}")
    return options


def _number(field: Field, bound: float) -> str:
    """A bound as Python source, a whole one with underscores: 1_000."""
    is_whole = bound.is_integer() and abs(bound) < 1e15  # larger ones are plainer as 1e+20
    if field.kind == "int" or is_whole:
        return f"{int(bound):_}"
    return repr(bound)


def _data(source: Source, decision: Decision) -> str:
    """The text of data.py."""
    where = _where(source, decision)
    if source.query:
        libraries = "import os\n\nimport duckdb\nimport pandas as pd\nimport sqlalchemy as sa"
        imports = f"{libraries}\n\nfrom mlgates import ProjectError"
        constants = f"QUERY = {as_json(source.query)}"
        read = READ_DATABASE.format(where=where, variable=DATABASE)
    else:
        imports = "import duckdb\nimport pandas as pd\n\nfrom mlgates import Project, ProjectError"
        constants = f"SOURCE = {as_json(source.place)}\nREAD = ({_in_parts(source.reader)})"
        first, second = ("first", "last") if decision.time else ("part", "parts")
        read = READ_FILE.format(where=where, first=first, second=second)
    return DATA.format(
        label=source.label,
        unit=decision.periods.unit,
        imports=imports,
        source=constants,
        columns=_select_list(decision),
        periods=_period_lines(decision.periods),
        read=read,
    )


def _where(source: Source, decision: Decision) -> str:
    """The SQL condition for the rows of one period, by its two values in PERIODS.

    It is Python source: two strings, because one may be longer than a line.
    """
    has_target = f"'{sql_name(decision.target.name)} IS NOT NULL'"
    if decision.time:
        time = sql_name(decision.time)
        return f"{has_target} ' AND {time} >= $a AND {time} < $b'"
    if source.query:
        return f"{has_target} ' AND $a < $b'"  # one period, 0 of 1: all rows
    return f"{has_target} ' QUALIFY row_number() OVER () % $b = $a'"


def _select_list(decision: Decision) -> str:
    """The SQL that reads the columns, as the content of a Python string in three quotes."""
    expressions = []
    for field in decision.read:
        expressions.append(f"{field.column.sql} AS {sql_name(field.name)}")
    lines = textwrap.indent(",\n".join(expressions), "    ")
    return lines.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def _period_lines(periods: Periods) -> str:
    lines = []
    for name, (first, after) in periods.ranges.items():
        lines.append(f"    {as_json(name)}: ({_edge(first)}, {_edge(after)}),")
    return "\n".join(lines)


def _edge(value: Any) -> str:
    """The edge of a period as Python source; midnight is left away."""
    if isinstance(value, int | float):
        return str(value)
    return as_json(str(value).removesuffix(" 00:00:00"))


def _in_parts(reader: str) -> str:
    """The SQL function that reads the file as Python source; a long one is several strings."""
    parts = re.split("(?=delim|nullstr)", reader)
    return " ".join(as_json(part) for part in parts)


def _readme(
    project: Project, source: Source, decision: Decision, example: Mapping[str, Any]
) -> str:
    """The README with what is predicted and with a request for this table."""
    path = project.root / "README.md"
    page = f"# {project.root.name}\n"
    if path.exists():
        page = path.read_text(encoding="utf-8")

    target = f"`{decision.target.column.label}` of {source.label}, as {decision.task}"
    purpose = f"{target}: what for, write it here."
    # By a function: in a plain replacement a backslash would have a meaning.
    page = re.sub(rf"(?m)^.*({'|'.join(PURPOSES)}).*$", lambda _: purpose, page)

    section = ASK.format(_request(decision, example))
    if "Ask the service:" in page:
        old = re.compile(r"Ask the service:\n+```.*?\n```\n", re.DOTALL)
        return old.sub(lambda _: section, page, count=1)
    before, handbook, after = page.partition("\n[Handbook]")
    return f"{before.rstrip()}\n\n{section}{handbook}{after}"


def _request(decision: Decision, example: Mapping[str, Any]) -> str:
    """The command that asks the service about one row, in lines of a readable width."""
    parts = []
    for field in decision.asked:
        value = example[field.column.label]
        part = f"{as_json(field.label)}: {as_json(value)},"
        parts.append(part.replace("'", "\\u0027"))  # an apostrophe would end the shell's string
    parts[-1] = parts[-1].removesuffix(",") + "}]}'"
    lines = [CURL]
    for part in parts:
        if len(lines[-1]) + len(part) > MAX_WIDTH:
            lines.append(f"  {part}")
        else:
            lines[-1] += f" {part}"
    return "\n".join(lines).replace("{ ", "{")  # the first part follows the brace


def _tidy(project: Project, path: Path, content: str) -> str:
    """A module as ruff formats it, or as it is where ruff is not installed.

    A comment at the top excuses what ruff cannot correct, such as long names and other scripts.
    """
    content = _ruff(project, path, content, "format") or content
    findings = json.loads(_ruff(project, path, content, "check", "--output-format=json") or "[]")
    codes = sorted({finding["code"] for finding in findings})
    if codes:
        content = f"# ruff: noqa: {', '.join(codes)}\n{content}"
    compile(content, path.name, "exec")
    return content


def _ruff(project: Project, path: Path, content: str, *words: str) -> str:
    """What ruff prints about a module that is not written yet."""
    options = ["--stdin-filename", str(path), "-"]
    return tools.run(project, "ruff", *words, *options, given=content).stdout


def replace_files(project: Project, written: Mapping[Path, str]) -> Path:
    """Write all files, and set aside what they replace and what was made of other data.

    Returns the folder with what was set aside.
    Raises: ProjectError if a file cannot be written; then everything is as before.
    """
    folder = project.root / DRAFTS / datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
    stale = [project.root / name for name in STALE]
    # If an error leaves the block, all steps are undone, the last one first.
    with ExitStack() as undo:
        try:
            for path in filter(Path.exists, [*stale, *written]):
                target = folder / path.relative_to(project.root)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
                undo.callback(target.rename, path)
            for path, content in written.items():
                write_text(path, content)
                undo.callback(path.unlink)
        except OSError as error:
            raise ProjectError(
                f"{error.filename} cannot be written: {error.strerror}. Everything is as before."
            ) from None
        undo.pop_all()  # nothing failed, so nothing is undone
    return folder
