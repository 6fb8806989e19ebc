"""`mlops draft TABLE --target COLUMN`: the four files, their test and the README's request from a team's own table."""

import json
from pathlib import Path
from typing import Any

from mlgates.draft.decide import Decision, Wishes, decide
from mlgates.draft.model import choose
from mlgates.draft.profile import Table, profile
from mlgates.draft.source import Source, opened
from mlgates.draft.write import files, put
from mlgates.errors import ProjectError
from mlgates.grid import Grid
from mlgates.layout import CYCLE
from mlgates.project import Project

LEAST_ROWS = 20
__all__ = ["Wishes", "draft"]


def draft(project: Project, given: str, wishes: Wishes, query: str = "") -> str:
    """Write what follows from the table and say what was decided, and why.

    Raises: ProjectError with one sentence, and then nothing was written.
    """
    from mlgates.registry import training_cycle

    with opened(project, given, query) as source:
        wishes.found(source.columns)
        counted = profile(source, [name for name in (wishes.target, wishes.time) if name])
        if counted.rows < LEAST_ROWS:
            told = f"{source.label} has {counted.rows:,} rows to learn from"
            raise ProjectError(f"{told}; at least {LEAST_ROWS} are needed.")
        settings = project.settings()
        made = decide(counted, wishes, settings, database=bool(source.query))
        model = choose(made, counted.sample, settings.model)
        written = files(project, source, made, model, _example(counted, made))
        written[project.root / CYCLE] = training_cycle.written(
            project, made.until, list(made.periods)
        )
    kept = put(project, written)
    return _told(project, source, made, kept)


def _example(counted: Table, made: Decision) -> dict[str, Any]:
    """A row as a caller sends it: the fullest of the first ones."""
    first = counted.sample.head(50)
    row = first.iloc[[int(first.notna().sum(axis=1).to_numpy().argmax())]]
    found: dict[str, Any] = json.loads(
        row.to_json(orient="records", date_format="iso", double_precision=15)
    )[0]
    for one in made.fields.values():
        label = one.column.label
        if one.kind == "datetime" and found.get(label):
            found[label] = str(found[label])[:19]
        if one.kind == "int" and found.get(label) is not None:
            found[label] = int(found[label])
    return found


def _told(project: Project, source: Source, made: Decision, kept: Path) -> str:
    lines = [
        [one.column.label[:40] or one.name, one.name, one.role, _allowed(one), "; ".join(one.why)]
        for one in made.fields.values()
    ]
    head = f"draft  {made.target.column.label} of {source.label}: {made.task}, {made.rows:,} rows"
    periods = f"{len(made.periods)} ({made.unit}), {made.until} is the last closed one"
    key = ", ".join(made.key) or "none"
    facts = [f"key: {key}    time: {made.time or 'none'}    periods: {periods}", *source.notes]
    warned = [f"warning: {one}" for one in made.warnings]
    units = sum(
        one.kind in ("int", "float") and one.delivered and not one.unit
        for one in made.fields.values()
    )
    left = [
        f"\nWhat was replaced lies in {kept.relative_to(project.root)}. Yours to look at: {units} units, the owner",
        "and the privacy classes in schema.py, the roles above, what the prediction is for (README.md).",
        "Next: git add -A; git commit -m 'Draft'; uv run mlops up",
    ]
    told = Grid(["column", "name", "role", "allowed", "why"], lines).text()
    return "\n".join([head, "", told, "", *facts, *warned, *left])


def _allowed(one: Any) -> str:
    if not one.delivered:
        return ""
    bounds = "" if one.low is None else f" {one.low:g} to {one.high:g}"
    words = f" of {len(one.words)}" if one.words else ""
    return f"{one.kind}{words}{bounds}{' or missing' if one.nullable else ''}"
