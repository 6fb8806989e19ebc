"""Who is champion since when, what was judged last, and what waits for whom."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

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
from mlgates.registry.releases import Record, read
from mlgates.trust import champion
from mlgates.verdict import Report, Verdict


def status(project: Project) -> tuple[str, dict[str, str]]:
    """The project's state as a few lines, the last of them commands to run. Reads only, and asks no remote.

    Besides, what a workflow wants to know: which kinds of command wait, at which commit, in which period.
    """
    record, path, until = read(project), project.settings().promote.path, project.cycle()["until"]
    lines = [[alias, _held(record, alias)] for alias in path]
    for name, file in (("gate", GATE), ("monitor", MONITOR_LATEST)):
        lines.append([name, _judged(project.root / file)])
    waiting = [list(entry) for entry in waits(project, record, path)] or [
        ["nothing", "nothing waits"]
    ]
    state = Grid([record.name, f"cycle until {until or 'no period yet'}"], lines).text()
    commands = " ".join(command for command, _ in waiting)
    kept = ("commit", "promote") if dvc_storage.lasting(project) else ()
    kinds = [kind for kind in (*kept, "repro", "follow", "close") if f" {kind}" in commands]
    commit = git(project.root, "rev-parse", "HEAD", check=False)
    outputs = {"waits": " ".join(kinds), "commit": commit, "period": str(until)}
    return f"{state}\n\n{Grid(['next', 'because'], waiting).text()}", outputs


def _held(record: Record, alias: str) -> str:
    if not (held := record.holder(alias)):
        return "nobody yet"
    why = f": {held.why}" if held.why else ""
    why += f"; {held.release.verdict} {held.override}" if held.override else ""
    return f"{held.to} ({held.release.fingerprint[:8]}) since {held.when:%Y-%m-%d %H:%M} UTC, by {held.who}{why}"


def _judged(path: Path) -> str:
    if not path.exists():
        return "has not run yet"
    report = Report.from_dict(read_json(path))
    return f"{report.verdict}{': ' + ', '.join(report.stops[:3]) if report.stops else ''}  ({report.title})"


def waits(project: Project, record: Record, path: list[str]) -> Iterator[tuple[str, str]]:
    """Commands that wait to be run, most urgent first, each with its reason."""
    now, stages, dirty = project.cycle(), dvc_storage.outdated(project), changes(project.root)
    until = now["until"]
    for held in filter(None, map(record.holder, path)):
        who = f"{held.to} is {held.alias}"
        if overdue(project, held.release):
            closed = (
                now["champion"] == held.release.fingerprint and now["age"] >= training_cycle.OVERDUE
            )
            command = "see docs/runbook.md" if closed else f"uv run mlops close {until}"
            yield command, f"{who} and was trained on rows erased since"
        if held.override and held.override.days_over > 0:
            yield (
                "uv run mlops rollback --reason TEXT",
                f"or promote another: {who}, {held.override}",
            )
    if reason := _undeployed(project):
        yield "deploy the service", reason
    if note := pending(project):
        yield "uv run mlops follow", f"it tells the record: {note['told']}"
    if until is None:
        yield "uv run mlops close", "no period is closed yet"
    elif stages:
        yield "uv run dvc repro", f"{', '.join(stages)} must run"
    if dirty:
        yield COMMIT, f"not committed: {few(dirty)}"
    elif told := unpushed(project.root):
        yield "git push", told
    if not stages and (project.root / GATE).exists():
        yield from _candidate(project, record, path)
    if new := behind(project, record):
        yield "uv run mlops follow", f"the service here does not follow {new.release.tag} yet"
    with suppress(ProjectError):
        if until and (period := training_cycle.following(project, until, names(project.data))):
            yield (
                "uv run mlops close",
                f"{period} can be closed; {path[-1]}'s next challenger trains on it",
            )


def _undeployed(project: Project) -> str:
    """Why a service with this code cannot serve the champion of this machine; empty if it can, or if there is none."""
    with suppress(ProjectError):
        return champion.other_contract(project, champion.in_service(project))
    return ""


def _candidate(project: Project, record: Record, path: list[str]) -> Iterator[tuple[str, str]]:
    report = Report.from_dict(read_json(project.root / GATE))
    release, holder = record.of(fingerprint(locked(project))), record.holder(path[-1])
    chosen = next_alias(record, release, path)
    done = release and record.history(release, chosen)
    if done or report.verdict is not Verdict.OK:
        return
    if (holder.release.fingerprint if holder else None) != report.facts["champion"]:
        yield (
            f"uv run mlops close {project.cycle()['until']}",
            f"the gate compared with a model that is not {path[-1]} any more",
        )
    else:
        yield "uv run mlops promote", f"the gate says ok, and models/candidate is not {chosen} yet"
