"""Who is champion since when, what was judged last, and which commands come next."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from mlgates.answer import Answer
from mlgates.data.partitions import period_names
from mlgates.dvc_lock import fingerprint, locked
from mlgates.errors import ProjectError
from mlgates.files import read_json
from mlgates.grid import Grid
from mlgates.layout import GATE, MONITOR_LATEST
from mlgates.privacy.purge import has_erased_rows
from mlgates.project import Project
from mlgates.registry import dvc_storage, training_cycle
from mlgates.registry.deploy import assignment_to_pick_up
from mlgates.registry.git import COMMIT, changes, first_names, git, unpushed
from mlgates.registry.local_rollback import pending
from mlgates.registry.promote import next_alias
from mlgates.registry.releases import Assignment, Record, read
from mlgates.trust import champion
from mlgates.verdict import Report, Verdict

Waiting = tuple[str, str]  # a command, and why it waits to be run
Reports = dict[str, Report | None]  # of gate and monitor; None for one that has not run yet


def status(project: Project, *, verbose: bool = False) -> tuple[Answer, dict[str, str]]:
    """The project's state as a few lines, the last of them commands to run.

    It reads only, and asks no remote. The second value is what a workflow wants to know: which
    kinds of command wait, at which commit, in which period. `verbose` names every check that a
    verdict comes from.
    """
    record = read(project)
    path = project.settings().promote.path
    until = project.cycle()["until"]
    reports = _stored_reports(project)
    waiting = list(waits(project, record, path, reports))

    lines = []
    for alias in path:
        lines.append([alias, _champion_line(record, alias)])
    for name, report in reports.items():
        lines.append([name, _verdict_line(report, verbose)])
    state = Grid([record.name, f"cycle until {until or 'no period yet'}"], lines)
    commands = [list(entry) for entry in waiting] or [["nothing", "nothing waits"]]
    text = f"{state.text()}\n\n{Grid(['next', 'because'], commands).text()}"

    data = {
        "project": record.name,
        "until": until,
        "aliases": {alias: _holder(record, alias) for alias in path},
        "verdicts": {name: _verdict(report) for name, report in reports.items()},
        "next": [{"command": command, "because": reason} for command, reason in waiting],
    }
    outputs = {
        "waits": " ".join(_kinds(project, [command for command, _ in waiting])),
        "commit": git(project.root, "rev-parse", "HEAD", check=False),
        "period": str(until),
    }
    return Answer(text, data), outputs


def _stored_reports(project: Project) -> Reports:
    """The last reports of gate and monitor; None for one that has not run yet."""
    reports: Reports = {}
    for name, path in (("gate", GATE), ("monitor", MONITOR_LATEST)):
        file = project.root / path
        reports[name] = Report.from_dict(read_json(file)) if file.exists() else None
    return reports


def _holder(record: Record, alias: str) -> dict[str, str] | None:
    """Which release has the alias, as plain data."""
    assignment = record.holder(alias)
    if assignment is None:
        return None
    return {
        "release": assignment.release.version,
        "model": assignment.release.fingerprint,
        "since": assignment.when.isoformat(),
        "by": assignment.who,
        "reason": assignment.why,
        "override": str(assignment.override or ""),
    }


def _verdict(report: Report | None) -> dict[str, Any] | None:
    """The verdict of a report, and the checks that it comes from, as plain data."""
    if report is None:
        return None
    return {"verdict": str(report.verdict), "because": report.stops, "title": report.title}


def _kinds(project: Project, commands: Sequence[str]) -> list[str]:
    """Which kinds of command wait, of those that a workflow can run."""
    kinds = ["repro", "follow", "close"]
    # What is promoted on a runner is lost with it, unless the DVC remote lasts.
    if dvc_storage.has_lasting_remote(project):
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


def _verdict_line(report: Report | None, verbose: bool) -> str:
    """The verdict of a report, and the checks that it comes from: all, or the first three."""
    if report is None:
        return "has not run yet"
    return f"{report.verdict}{_because(report, None if verbose else 3)}  ({report.title})"


def _because(report: Report, at_most: int | None) -> str:
    """The checks that a verdict comes from, after a colon; empty if it is ok."""
    if not report.stops:
        return ""
    names = report.stops[:at_most]
    more = len(report.stops) - len(names)
    text = f": {', '.join(names)}"
    if more:
        text += f" and {more} more"
    return text


def waits(project: Project, record: Record, path: list[str], reports: Reports) -> Iterator[Waiting]:
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
    if not outdated_stages and reports["gate"]:
        yield from _for_candidate(project, record, path, reports["gate"])
    new = assignment_to_pick_up(project, record)
    if new:
        yield "uv run mlops follow", f"the service here does not follow {new.release.tag} yet"
    yield from _for_monitor(reports["monitor"])
    yield from _for_next_period(project, cycle["until"], path[-1])


def _for_release(
    project: Project, assignment: Assignment, cycle: dict[str, Any]
) -> Iterator[Waiting]:
    """What a release that has an alias asks for: erased rows, or an override that has ended."""
    release = assignment.release
    subject = f"{assignment.to} is {assignment.alias}"
    if has_erased_rows(project, release):
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
        return champion.other_contract(project, champion.read_pointer(project))
    return ""


def _for_git(project: Project) -> Iterator[Waiting]:
    """A commit, or else a push."""
    uncommitted = changes(project.root)
    if uncommitted:
        yield COMMIT, f"not committed: {first_names(uncommitted)}"
        return
    message = unpushed(project.root)
    if message:
        yield "git push", message


def _for_candidate(
    project: Project, record: Record, path: list[str], report: Report
) -> Iterator[Waiting]:
    """What models/candidate waits for: its promotion, or what that needs first."""
    release = record.release_of_model(fingerprint(locked(project)))
    chosen = next_alias(record, release, path)
    if release and record.history(release, chosen):
        return  # it had the alias already, and keeps it or was rolled back
    if report.verdict is not Verdict.OK:
        reason = f"the gate says {report.verdict}{_because(report, 3)}; {path[-1]} stays as it is"
        yield "uv run mlops report gate", reason
        return

    holder = record.holder(path[-1])
    current = holder.release.fingerprint if holder else None
    if current != report.facts["champion"]:
        command = f"uv run mlops close {project.cycle()['until']}"
        yield command, f"the gate compared with a model that is not {path[-1]} any more"
    else:
        yield "uv run mlops promote", f"the gate says ok, and models/candidate is not {chosen} yet"


def _for_monitor(report: Report | None) -> Iterator[Waiting]:
    """A look at the monitor's last report, if it is not ok."""
    if report and report.verdict is not Verdict.OK:
        yield (
            "uv run mlops report monitor",
            f"the monitor says {report.verdict}{_because(report, 3)}; see docs/runbook.md",
        )


def _for_next_period(project: Project, until: str | None, alias: str) -> Iterator[Waiting]:
    """A period that can be closed, if the team's data.py can say which periods there are."""
    if not until:
        return
    with suppress(ProjectError):
        period = training_cycle.next_period(project, until, period_names(project.data))
        if period:
            reason = f"{period} can be closed; {alias}'s next challenger trains on it"
            yield "uv run mlops close", reason
