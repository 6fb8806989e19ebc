"""Open the next cycle: which period is the last, and which champion has to be beaten."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mlgates.data.partitions import folder, period_names
from mlgates.errors import ProjectError, nearest
from mlgates.files import read_json, read_yaml, write_json, write_text
from mlgates.layout import CYCLE, MANIFEST
from mlgates.privacy.purge import has_erased_rows
from mlgates.project import Project
from mlgates.registry.git import changes
from mlgates.registry.releases import Release, champion, settle_if_reachable, show

# The age, in periods, of a champion that was trained on rows erased since: older than any that a
# staleness curve allows, so that it must be replaced.
OVERDUE = 999


def next_period(project: Project, until: str | None, periods: list[str]) -> str | None:
    """The period after the last closed one, `until`; None if there is none.

    The first cycle closes as many periods as training needs.
    """
    if until is None:
        place = project.settings().train.periods
    elif until in periods:
        place = periods.index(until) + 1
    else:
        return None
    return next(iter(periods[place:]), None)


def close(project: Project, period: str | None = None) -> str:
    """Write period and champion into cycle.yaml, comments kept; committing is up to you.

    The period that was closed last may be named again, to compare with the present champion.

    Raises: ProjectError if there is no such period, if it lies before the last one, or if
    cycle.yaml has changes that are not committed.
    """
    if changes(project.root, CYCLE.name):
        raise ProjectError(
            "cycle.yaml has changes that are not committed.",
            "Run: git commit cycle.yaml -m TEXT, or git restore cycle.yaml",
        )
    unreachable = settle_if_reachable(project)
    periods = period_names(project.data)
    until = _period_to_close(project, period, periods)
    write_text(project.root / CYCLE, written(project, until, periods))
    assignment = champion(project)
    if assignment:
        comparison = f"against {assignment.release.tag}"
    else:
        comparison = "against the baselines, because there is no champion yet"
    return (
        f"The cycle goes until {until}, {comparison}.{unreachable}\n"
        f"Run: git commit cycle.yaml -m 'Close {until}', then uv run dvc repro"
    )


def _period_to_close(project: Project, period: str | None, periods: list[str]) -> str:
    """The period that is named, or else the next one. Raises: ProjectError as `close`."""
    # Not `project.cycle()`, which refuses a damaged file: this one is about to be written again.
    cycle = read_yaml(project.root / CYCLE) or {}
    last = cycle.get("until")
    if last is not None:
        last = str(last)

    until = period or next_period(project, last, periods)
    if until is None:
        raise ProjectError(
            f"There is no period after {last or 'none'} yet: data.py names {len(periods)} periods.",
            "Wait, or see periods() in data.py",
        )
    if until not in periods:
        raise ProjectError(f"data.py names no period {until!r}.", nearest(until, periods))
    later_periods = periods[periods.index(until) + 1 :]
    if last in later_periods:
        raise ProjectError(
            f"{until} is closed already: cycle.yaml stands at {last}.",
            "A closed period does not open again.",
        )
    return until


def written(project: Project, until: str, periods: list[str]) -> str:
    """The text of cycle.yaml with this period and the present champion, comments kept."""
    values: dict[str, object] = {"until": until, "champion": None, "release": None, "age": 0}
    assignment = champion(project)
    if assignment:
        release = assignment.to
        if assignment.override:
            release += f" ({assignment.override})"
        values["champion"] = assignment.release.fingerprint
        values["release"] = release
        values["age"] = _age(project, assignment.release, until, periods)
    text = (project.root / CYCLE).read_text(encoding="utf-8")
    for name, value in values.items():
        text = _with_value(text, name, json.dumps(value, ensure_ascii=False))
    return text


def amend(project: Project, period: str) -> str:
    """Take a closed period out of the data; the next `dvc repro` reads it again.

    Its former rows stay in the remote and in the commits before. Raises: ProjectError if the period
    is not closed.
    """
    manifest = read_json(project.root / MANIFEST)
    if period not in manifest:
        raise ProjectError(f"No period {period!r} is closed.", nearest(period, manifest))
    _take_out(project, [period], manifest)
    return (
        f"{period} will be read again.\n"
        f"Run: uv run dvc repro, then git commit -am 'Amend {period}: WHY'"
    )


def amend_all(project: Project) -> str:
    """Take every closed period out of the data, as `amend`: the contract has other columns now.

    Raises: ProjectError if none is closed.
    """
    manifest = read_json(project.root / MANIFEST)
    if not manifest:
        raise ProjectError("No period is closed.", "Run: uv run mlops close")
    _take_out(project, list(manifest), manifest)
    return (
        f"{len(manifest)} periods, {min(manifest)} to {max(manifest)}, will be read again.\n"
        "Run: uv run dvc repro, then git commit -am 'Read all periods again: WHY'"
    )


def _take_out(project: Project, periods: Sequence[str], manifest: Mapping[str, Any]) -> None:
    """Forget closed periods; the next `dvc repro` reads them again."""
    kept = dict(manifest)
    for period in periods:
        del kept[period]
    write_json(project.root / MANIFEST, kept)
    for period in periods:
        shutil.rmtree(folder(project, "raw", period), ignore_errors=True)


def _age(project: Project, release: Release, until: str, periods: list[str]) -> int:
    """By how many periods the data of a release are behind.

    It is at least OVERDUE if rows that the release was trained on were erased since.
    """
    released_until = str(yaml.safe_load(show(project, release.commit, CYCLE))["until"])
    age = 0
    if released_until in periods:
        age = periods.index(until) - periods.index(released_until)
    if has_erased_rows(project, release):
        return max(OVERDUE, age)
    return max(0, age)


def _with_value(text: str, name: str, value: str) -> str:
    """YAML with another value of a top-level name, the comment of its line kept.

    A name that is not there is added at the end. A YAML library would lose the comments.
    """
    line = re.compile(rf"^{name}:[^#\n]*?((?:[ \t]+#.*)?)$", re.MULTILINE)
    match = line.search(text)
    if match is None:
        return f"{text.rstrip()}\n{name}: {value}\n"
    comment = match[1]
    return f"{text[: match.start()]}{name}: {value}{comment}{text[match.end() :]}"
