"""`mlops draft TABLE --target COLUMN`: a project's own files from a team's own table.

The files are schema, data, features and model, their test, and the request in the README.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlgates.draft.decide import decide
from mlgates.draft.decision import Decision, Field, Wishes
from mlgates.draft.model import best_model_text
from mlgates.draft.profile import Table, profile
from mlgates.draft.source import Source, open_source
from mlgates.draft.write import files, replace_files
from mlgates.errors import ProjectError
from mlgates.grid import Grid
from mlgates.layout import CYCLE
from mlgates.project import Project

MIN_ROWS = 20
__all__ = ["Wishes", "draft"]


def draft(project: Project, given: str, wishes: Wishes, query: str = "") -> str:
    """Write what follows from the table; returns what was decided, and why.

    Raises: ProjectError with one sentence, and then nothing was written.
    """
    from mlgates.registry import training_cycle

    with open_source(project, given, query) as source:
        wishes.check(source.columns)
        needed = [wishes.target]
        if wishes.time:
            needed.append(wishes.time)
        table = profile(source, needed)
        if table.rows < MIN_ROWS:
            raise ProjectError(
                f"{source.label} has {table.rows:,} rows to learn from. "
                f"At least {MIN_ROWS} are needed."
            )
        settings = project.settings()
        decision = decide(table, wishes, settings, is_database=bool(source.query))
        model = best_model_text(decision, table.sample, settings.model)
        written = files(project, source, decision, model, _example(table, decision))
        periods = decision.periods
        cycle = training_cycle.written(project, periods.until, list(periods.ranges))
        written[project.root / CYCLE] = cycle
    replaced = replace_files(project, written)
    return _report(project, source, decision, replaced)


def _to_the_second(time: Any) -> str:
    return str(time)[:19]


# By the kind of a column: how its value is written in the example of a request.
SPELLINGS: dict[str, Callable[[Any], Any]] = {
    "datetime": _to_the_second,
    "int": int,  # a column with gaps comes as floats
}


def _example(table: Table, decision: Decision) -> dict[str, Any]:
    """A row as a caller sends it: the fullest of the first ones."""
    first = table.sample.head(50)
    fullest = int(first.notna().sum(axis=1).to_numpy().argmax())
    row = first.iloc[[fullest]]
    content = row.to_json(orient="records", date_format="iso", double_precision=15)
    example: dict[str, Any] = json.loads(content)[0]
    for field in decision.fields.values():
        label = field.column.label
        if field.kind in SPELLINGS and example.get(label) is not None:
            example[label] = SPELLINGS[field.kind](example[label])
    return example


def _report(project: Project, source: Source, decision: Decision, replaced: Path) -> str:
    """What was decided, and why, for the terminal."""
    target = f"{decision.target.column.label} of {source.label}"
    periods = decision.periods
    count = f"{len(periods.ranges)} ({periods.unit}), {periods.until} is the last closed one"
    key = ", ".join(decision.key) or "none"
    n_units = sum(map(_lacks_unit, decision.read))
    folder = replaced.relative_to(project.root)
    warnings = [f"warning: {warning}" for warning in decision.warnings]
    lines = [
        f"draft  {target}: {decision.task}, {decision.rows:,} rows",
        "",
        _table(decision),
        "",
        f"key: {key}    time: {decision.time or 'none'}    periods: {count}",
        *source.notes,
        *warnings,
        "",
        f"What was replaced lies in {folder}.",
        f"Yours to complete: {n_units} units, the owner and the privacy classes in schema.py,",
        "the roles above, and what the prediction is for (README.md).",
        "Next: git add -A; git commit -m 'Draft'; uv run mlops up",
    ]
    return "\n".join(lines)


def _table(decision: Decision) -> str:
    """What was decided for each column."""
    rows = []
    for field in decision.fields.values():
        label = field.column.label[:40] or field.name
        rows.append([label, field.name, field.role, _allowed(field), "; ".join(field.why)])
    return Grid(["column", "name", "role", "allowed", "why"], rows).text()


def _lacks_unit(field: Field) -> bool:
    """Whether the unit of a number is left to the team."""
    return field.kind in ("int", "float") and not field.unit


def _allowed(field: Field) -> str:
    """The values that the contract allows."""
    if not field.is_read:
        return ""
    allowed = field.kind
    if field.words:
        allowed += f" of {len(field.words)}"
    if field.low is not None:
        allowed += f" {field.low:g} to {field.high:g}"
    if field.nullable:
        allowed += " or missing"
    return allowed
