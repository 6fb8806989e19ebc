"""Who is champion since when, what was judged last, and what waits for whom."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlgates.data.partitions import names
from mlgates.dvc_lock import fingerprint, locked
from mlgates.errors import ProjectError
from mlgates.files import read_json
from mlgates.grid import Grid
from mlgates.layout import GATE, MONITOR_LATEST
from mlgates.privacy.purge import overdue
from mlgates.project import Project
from mlgates.registry import dvc_storage, training_cycle
from mlgates.registry.deploy import behind
from mlgates.registry.git import COMMIT, changes, few, git, unpushed
from mlgates.registry.local_rollback import pending
from mlgates.registry.promote import next_alias
from mlgates.registry.releases import Assignment, Record, read
from mlgates.trust import champion
from mlgates.verdict import Report, Verdict

Waiting = tuple[str, str]  # a command, and why it waits to be run


def status(project: Project) -> tuple[str, dict[str, str]]:
    """The project's state as a few lines, the last of them commands to run.

    It reads only, and asks no remote. The second value is what a workflow wants to know: which
    kinds of command wait, at which commit, in which period.
    """
    record = read(project)
    path = project.settings().promote.path
    until = project.cycle()["until"]

    lines = []
    for alias in path:
        lines.append([alias, _champion_line(record, alias)])
    for name, file in (("gate", GATE), ("monitor", MONITOR_LATEST)):
        lines.append([name, _verdict_line(project.root / file)])
    state = Grid([record.name, f"cycle until {until or 'no period yet'}"], lines)

    waiting = [list(entry) for entry in waits(project, record, path)]
    if not waiting:
        waiting = [["nothing", "nothing waits"]]
    text = f"{state.text()}\n\n{Grid(['next', 'because'], waiting).text()}"

    outputs = {
        "waits": " ".join(_kinds(project, [command for command, _ in waiting])),
        "commit": git(project.root, "rev-parse", "HEAD", check=False),
        "period": str(until),
    }
    return text, outputs


def _kinds(project: Project, commands: Sequence[str]) -> list[str]:
    """Which kinds of command wait, of those that a workflow can run."""
    kinds = ["repro", "follow", "close"]
    # What is promoted on a runner is lost with it, unless the DVC remote lasts.
    if dvc_storage.lasting(project):
        kinds = ["commit", "promote", *kinds]
    text = " ".join(commands)
    return [kind for kind in kinds if f" {kind}" in text]


def _champion_line(record: Record, alias: str) -> str:
    """Which release has the alias, since when, by whom and why."""
    assignment = record.holder(alias)
    if assignment is None:
        return "nobody yet"
    release = assignment.release
    line = f"{assignment.to} ({release.fingerprint[:8]})"
    line += f" since {assignment.when:%Y-%m-%d %H:%M} UTC, by {assignment.who}"
    if assignment.why:
        line += f": {assignment.why}"
    if assignment.override:
        line += f"; {release.verdict} {assignment.override}"
    return line


def _verdict_line(path: Path) -> str:
    """The verdict of a stored report, and at most three checks that it comes from."""
    if not path.exists():
        return "has not run yet"
    report = Report.from_dict(read_json(path))
    line = str(report.verdict)
    if report.stops:
        line += f": {', '.join(report.stops[:3])}"
    return f"{line}  ({report.title})"


def waits(project: Project, record: Record, path: list[str]) -> Iterator[Waiting]:
    """Commands that wait to be run, most urgent first, each with its reason."""
    cycle = project.cycle()
    outdated_stages = dvc_storage.outdated(project)

    for alias in path:
        assignment = record.holder(alias)
        if assignment:
            yield from _for_release(project, assignment, cycle)
    yield from _for_service(project)
    if cycle["until"] is None:
        yield "uv run mlops close", "no period is closed yet"
    elif outdated_stages:
        yield "uv run dvc repro", f"{', '.join(outdated_stages)} must run"
    yield from _for_git(project)
    if not outdated_stages and (project.root / GATE).exists():
        yield from _for_candidate(project, record, path)
    new = behind(project, record)
    if new:
        yield "uv run mlops follow", f"the service here does not follow {new.release.tag} yet"
    yield from _for_next_period(project, cycle["until"], path[-1])


def _for_release(
    project: Project, assignment: Assignment, cycle: dict[str, Any]
) -> Iterator[Waiting]:
    """What a release that has an alias asks for: erased rows, or an override that has ended."""
    release = assignment.release
    subject = f"{assignment.to} is {assignment.alias}"
    if overdue(project, release):
        command = f"uv run mlops close {cycle['until']}"
        # `close` gives a champion this age so that the gate accepts a candidate that is no better.
        is_closed = cycle["champion"] == release.fingerprint
        if is_closed and cycle["age"] >= training_cycle.OVERDUE:
            command = "see docs/runbook.md"
        yield command, f"{subject} and was trained on rows erased since"
    override = assignment.override
    if override and override.days_over > 0:
        command = "uv run mlops rollback --reason TEXT"
        yield command, f"or promote another: {subject}, {override}"


def _for_service(project: Project) -> Iterator[Waiting]:
    """What the service of this machine asks for."""
    reason = _undeployed(project)
    if reason:
        yield "deploy the service", reason
    note = pending(project)
    if note:
        yield "uv run mlops follow", f"the record does not have this yet: {note['told']}"


def _undeployed(project: Project) -> str:
    """Why a service with this code cannot serve the champion of this machine.

    It is empty if it can, or if there is no champion.
    """
    with suppress(ProjectError):
        return champion.other_contract(project, champion.in_service(project))
    return ""


def _for_git(project: Project) -> Iterator[Waiting]:
    """A commit, or else a push."""
    uncommitted = changes(project.root)
    if uncommitted:
        yield COMMIT, f"not committed: {few(uncommitted)}"
        return
    message = unpushed(project.root)
    if message:
        yield "git push", message


def _for_candidate(project: Project, record: Record, path: list[str]) -> Iterator[Waiting]:
    """The promotion of models/candidate, or what it needs first; nothing if the gate is not ok."""
    report = Report.from_dict(read_json(project.root / GATE))
    if report.verdict is not Verdict.OK:
        return
    release = record.of(fingerprint(locked(project)))
    chosen = next_alias(record, release, path)
    if release and record.history(release, chosen):
        return  # it had the alias already, and keeps it or was rolled back

    holder = record.holder(path[-1])
    current = holder.release.fingerprint if holder else None
    if current != report.facts["champion"]:
        command = f"uv run mlops close {project.cycle()['until']}"
        yield command, f"the gate compared with a model that is not {path[-1]} any more"
    else:
        yield "uv run mlops promote", f"the gate says ok, and models/candidate is not {chosen} yet"


def _for_next_period(project: Project, until: str | None, alias: str) -> Iterator[Waiting]:
    """A period that can be closed, if the team's data.py can say which periods there are."""
    if not until:
        return
    with suppress(ProjectError):
        period = training_cycle.following(project, until, names(project.data))
        if period:
            reason = f"{period} can be closed; {alias}'s next challenger trains on it"
            yield "uv run mlops close", reason
