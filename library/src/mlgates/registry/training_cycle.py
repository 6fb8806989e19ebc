"""Open the next cycle: which period is the last, and which champion has to be beaten."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mlgates.data.partitions import folder, names
from mlgates.errors import ProjectError, nearest
from mlgates.files import read_json, read_yaml, write_json, write_text
from mlgates.layout import CYCLE, MANIFEST
from mlgates.privacy.purge import overdue
from mlgates.project import Project
from mlgates.registry.git import changes
from mlgates.registry.releases import Release, champion, freshen, show

OVERDUE = 999  # periods: older than any staleness curve allows


def following(project: Project, until: str | None, known: list[str]) -> str | None:
    """The period after the last closed one, None if there is none; the first cycle takes as many as training needs."""
    if until is None:
        place = project.settings().train.periods
    else:
        place = known.index(until) + 1 if until in known else len(known)
    return known[place] if place < len(known) else None


def close(project: Project, period: str | None = None) -> str:
    """Write period and champion into cycle.yaml, comments kept; committing is up to you.

    The period that was closed last may be named again, to take the present champion as opponent.
    Raises: ProjectError if there is no such period, it lies before the last one, or cycle.yaml has uncommitted changes.
    """
    if changes(project.root, CYCLE.name):
        remedy = "Run: git commit cycle.yaml -m TEXT, or git restore cycle.yaml"
        raise ProjectError("cycle.yaml has changes that are not committed.", remedy)
    away = freshen(project)
    known, last = names(project.data), (read_yaml(project.root / CYCLE) or {}).get("until")
    last = None if last is None else str(last)
    until = period or following(project, last, known)
    if until is None:
        told = f"There is no period after {last or 'none'} yet"
        raise ProjectError(
            f"{told}: data.py knows {len(known)}.", "Wait, or see periods() in data.py"
        )
    if until not in known:
        raise ProjectError(f"data.py knows no period {until!r}.", nearest(until, known))
    if last in known and known.index(until) < known.index(last):
        raise ProjectError(
            f"{until} is closed: cycle.yaml stands at {last}.",
            "A closed period does not open again.",
        )
    write_text(project.root / CYCLE, written(project, until, known))
    held = champion(project)
    against = (
        f"against {held.release.tag}"
        if held
        else "against the baselines, for there is no champion yet"
    )
    told = f"The cycle goes until {until}, {against}.{away}"
    return f"{told}\nRun: git commit cycle.yaml -m 'Close {until}', then uv run dvc repro"


def written(project: Project, until: str, known: list[str]) -> str:
    """cycle.yaml with this period and the present champion, comments kept."""
    values: dict[str, object] = {"until": until, "champion": None, "release": None, "age": 0}
    if held := champion(project):
        named = f"{held.to} ({held.override})" if held.override else held.to
        age = _age(project, held.release, until, known)
        values |= {"champion": held.release.fingerprint, "release": named, "age": age}
    text = (project.root / CYCLE).read_text(encoding="utf-8")
    for name, value in values.items():
        text = _set(text, name, json.dumps(value, ensure_ascii=False))
    return text


def amend(project: Project, period: str) -> str:
    """Take a closed period out of the data, to be read again by the next `dvc repro`.

    Its former rows stay in the remote and in the commits before. Raises: ProjectError if it is not closed.
    """
    manifest = read_json(project.root / MANIFEST)
    if period not in manifest:
        raise ProjectError(f"No period {period!r} is closed.", nearest(period, manifest))
    _take_out(project, [period], manifest)
    return f"{period} will be read again.\nRun: uv run dvc repro, then git commit -am 'Amend {period}: WHY'"


def amend_all(project: Project) -> str:
    """Take every closed period out of the data, to be read again: the contract has other columns now.

    As `amend` for each. Raises: ProjectError if none is closed.
    """
    manifest = read_json(project.root / MANIFEST)
    if not manifest:
        raise ProjectError("No period is closed.", "Run: uv run mlops close")
    _take_out(project, list(manifest), manifest)
    told = f"{len(manifest)} periods, {min(manifest)} to {max(manifest)}, will be read again."
    return f"{told}\nRun: uv run dvc repro, then git commit -am 'Read all periods again: WHY'"


def _take_out(project: Project, periods: Sequence[str], manifest: Mapping[str, Any]) -> None:
    """Forget closed periods; the next `dvc repro` reads them."""
    kept = {name: entry for name, entry in manifest.items() if name not in periods}
    write_json(project.root / MANIFEST, kept)
    for period in periods:
        shutil.rmtree(folder(project, "raw", period), ignore_errors=True)


def _age(project: Project, release: Release, until: str, known: list[str]) -> int:
    """How many periods a release's data are behind; one that was trained on erased rows counts as too old."""
    then = str(yaml.safe_load(show(project, release.commit, CYCLE))["until"])
    least = OVERDUE if overdue(project, release) else 0
    return max(least, known.index(until) - known.index(then) if then in known else 0)


def _set(text: str, name: str, value: str) -> str:
    line = re.compile(rf"^{name}:[^#\n]*?([ \t]+#.*)?$", re.MULTILINE)
    written, times = line.subn(lambda found: f"{name}: {value}{found[1] or ''}", text, count=1)
    return written if times else f"{text.rstrip()}\n{name}: {value}\n"
