"""Who is champion since when, what was judged last, and what waits for whom."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..project import ProjectError, cycle, params, read_json
from ..report import table
from ..verdict import Report, Verdict
from . import cycle as cycles
from . import storage
from .erase import overdue
from .follow import behind
from .git import COMMIT, changes, few, head, unpushed
from .now import pending
from .promote import had, next_alias
from .record import Record, fingerprint, locked, read


def status(root: Path) -> str:
    """The project's state as a few lines, the last of them commands to run. Reads only, and asks no remote."""
    record, path = read(root), params(root)["promote"]["path"]
    lines = [[alias, _held(record, alias)] for alias in path]
    for name, file in (("gate", "reports/gate.json"), ("monitor", "var/monitor/latest.json")):
        lines.append([name, _judged(root / file)])
    waiting = [list(entry) for entry in waits(root, record, path)] or [["nothing", "nothing waits"]]
    return "\n".join([table([record.name, cycles_line(root)], lines), "", table(["next", "because"], waiting)])


def outputs(root: Path) -> dict[str, str]:
    """What a workflow wants to know: which kinds of command wait, at which commit, in which period."""
    waiting = " ".join(command for command, _ in waits(root, read(root), params(root)["promote"]["path"]))
    kept = ("commit", "promote") if storage.lasting(root) else ()
    kinds = [kind for kind in (*kept, "repro", "follow", "close") if f" {kind}" in waiting]
    return {"waits": " ".join(kinds), "commit": head(root), "period": str(cycle(root)["until"])}


def cycles_line(root: Path) -> str:
    """Until when the data go."""
    return f"cycle until {cycle(root)['until'] or 'no period yet'}"


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
    told = [check.name for check in report.checks if check.verdict is report.verdict is not Verdict.OK]
    return f"{report.verdict}{': ' + ', '.join(told[:3]) if told else ''}  ({report.title})"


def waits(root: Path, record: Record, path: list[str]) -> Iterator[tuple[str, str]]:
    """Commands that wait to be run, most urgent first, each with its reason."""
    until, stages, dirty = cycle(root)["until"], storage.outdated(root), changes(root)
    holders = [entry for alias in path if (entry := record.holder(alias))]
    for held in (entry for entry in holders if overdue(root, entry.release)):
        now = cycle(root)
        closed = now["champion"] == held.release.fingerprint and now["age"] >= cycles.OVERDUE
        command = "see docs/runbook.md" if closed else f"uv run mlops close {until}"
        yield command, f"{held.to} is {held.alias} and was trained on rows erased since"
    for held in (entry for entry in holders if entry.override and entry.override.days_over > 0):
        yield "uv run mlops rollback --reason TEXT", f"or promote another: {held.to} is {held.alias}, {held.override}"
    if note := pending(root):
        yield "uv run mlops follow", f"it tells the record: {note['told']}"
    if until is None:
        yield "uv run mlops close", "no period is closed yet"
    elif stages:
        yield "uv run dvc repro", f"{', '.join(stages)} must run"
    if dirty:
        yield COMMIT, f"not committed: {few(dirty)}"
    else:
        head(root)
        upstream, ahead = unpushed(root)
        if ahead:
            yield "git push", f"{upstream} lacks {ahead} of your commits"
    if not stages and (root / "reports/gate.json").exists():
        yield from _candidate(root, record, path)
    if new := behind(root, record):
        yield "uv run mlops follow", f"the service here does not follow {new.release.tag} yet"
    with suppress(ProjectError):
        if until and (period := cycles.following(root, until, cycles.periods())):
            yield "uv run mlops close", f"{period} can be closed; {path[-1]}'s next challenger trains on it"


def _candidate(root: Path, record: Record, path: list[str]) -> Iterator[tuple[str, str]]:
    report = Report.from_dict(read_json(root / "reports/gate.json"))
    release, champion = record.of(fingerprint(locked(root))), record.holder(path[-1])
    chosen = next_alias(record, release, path)
    done = release and had(record, release, chosen)
    if done or report.verdict is not Verdict.OK:
        return
    if (champion.release.fingerprint if champion else None) != report.facts["opponent"]:
        yield f"uv run mlops close {cycle(root)['until']}", f"the gate's opponent is not {path[-1]} any more"
    else:
        yield "uv run mlops promote", f"the gate says ok, and models/candidate is not {chosen} yet"
