"""`rollback --now`: this machine's service goes back at once, with git and remote away; the record learns later."""

import getpass
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from mlgates.errors import ProjectError
from mlgates.model_folder import is_whole
from mlgates.project import Project
from mlgates.registry.git import identity
from mlgates.registry.releases import read, settle, signature, write
from mlgates.trust import champion


def now(project: Project, reason: str) -> str:
    """Let this machine's service use the release that it would be rolled back to; reads and writes `var/` alone.

    One write switches and notes that the record lacks it. Raises: ProjectError without a reason, or without a release
    before whose model lies here whole.
    """
    if not reason.strip():
        raise ProjectError(
            "A rollback needs a reason, for those who read the record.",
            "Add: --reason TEXT",
            code=2,
        )
    served = champion.in_service(project)
    if note := served.get("pending"):
        raise ProjectError(
            f"This machine is at {note['to']} already: {note['told']}", "Run: uv run mlops status"
        )
    before = served.get("before")
    if not before:
        raise ProjectError(
            f"This machine knows no release before {served['release']}.", "See: uv run mlops status"
        )
    if not is_whole(champion.place(project, before["fingerprint"]), before["digest"]):
        raise ProjectError(
            f"The model of {before['release']} is not here, or not whole.",
            "Run: uv run mlops rollback",
        )
    when, who = datetime.now(UTC), _who(project)
    told = f"{who} rolled {socket.gethostname()} back from {served['release']} at {when:%Y-%m-%d %H:%M} UTC: {reason}"
    note = {
        "alias": served["alias"],
        "from": served["release"],
        "to": before["release"],
        "since": served["since"],
    }
    note |= {"by": who, "at": when.isoformat(), "why": reason, "told": told}
    champion.put_in_service(project, before | {"since": when.isoformat(), "pending": note})
    return f"This machine serves {before['release']} now.\nThe record does not know it yet. Run: uv run mlops follow"


def _who(project: Project) -> str:
    with suppress(ProjectError):
        return identity(project.root)[0]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "somebody"


def pending(project: Project) -> dict[str, Any]:
    """What `rollback --now` did here and the record lacks; empty if there is nothing."""
    return dict(champion.in_service_or_nothing(project).get("pending") or {})


def caught_up(project: Project) -> str:
    """Write what `rollback --now` did here into the record, unless that went on meanwhile; returns a line about it.

    Where it cannot be written nothing changes: the service stays where it is, and the line says why.
    """
    note = pending(project)
    if not note:
        return ""
    recorded = f"Recorded: {note['told']}\n"
    try:
        settle(project)
        held = (record := read(project)).holder(note["alias"])
        if held and (held.to, held.when.isoformat()) == (note["from"], note["since"]):
            release = next(one for one in record.releases if one.version == note["to"])
            before = record.history(release, note["alias"])[-1]
            more = before.again | {"switched": {"by": note["by"], "at": note["at"]}}
            write(
                project,
                record,
                release,
                note["alias"],
                note["told"],
                signature(project, before),
                **more,
            )
        elif not held or held.to != note["to"]:
            recorded = (
                f"{note['alias']} is {held.to if held else 'nobody'} by now: {note['told']}\n"
            )
    except ProjectError as error:
        return f"{note['told']} The record does not know it yet. {error}\n"
    served = champion.in_service(project)
    del served["pending"]
    champion.put_in_service(project, served)
    return recorded
