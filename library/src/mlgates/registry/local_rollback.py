"""`rollback --now`: this machine's service goes back at once, without git and without any remote.

The record gets it later: the next `follow`, `promote` or `rollback` writes it.
"""

import getpass
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from mlgates.errors import ProjectError
from mlgates.model_folder import is_whole
from mlgates.project import Project
from mlgates.registry.git import identity
from mlgates.registry.releases import Assignment, Record, exchange_tags, read, signature, write
from mlgates.trust import champion


def now(project: Project, reason: str) -> str:
    """Let this machine's service use the release that it would be rolled back to.

    It needs and writes nothing but `var/`. One write both switches the service and notes that the
    record lacks the rollback, so a crash cannot separate them.

    Raises: ProjectError without a reason, after another `rollback --now` that is not recorded yet,
    or if there is no release before whose model is on this machine, whole.
    """
    require_reason(reason)
    served = champion.read_pointer(project)
    before = _pointer_before(project, served)

    when = datetime.now(UTC)
    who = _who(project)
    message = f"{who} rolled {socket.gethostname()} back from {served['release']}"
    message += f" at {when:%Y-%m-%d %H:%M} UTC: {reason}"
    note = {
        "alias": served["alias"],
        "from": served["release"],
        "to": before["release"],
        "since": served["since"],
        "by": who,
        "at": when.isoformat(),
        "why": reason,
        "told": message,
    }
    champion.put_in_service(project, {**before, "since": when.isoformat(), "pending": note})
    return (
        f"This machine serves {before['release']} now.\n"
        "The record does not know it yet. Run: uv run mlops follow"
    )


def require_reason(reason: str) -> None:
    """Raises: ProjectError (a usage error) if a rollback has no reason."""
    if not reason.strip():
        raise ProjectError(
            "A rollback needs a reason, for those who read the record.",
            "Add: --reason TEXT",
            code=2,
        )


def _pointer_before(project: Project, served: dict[str, Any]) -> dict[str, Any]:
    """What `var/champion.json` has to say of the release before.

    Raises: ProjectError if this machine cannot serve it.
    """
    note = served.get("pending")
    if note:
        raise ProjectError(
            f"This machine is at {note['to']} already: {note['told']}", "Run: uv run mlops status"
        )
    before: dict[str, Any] | None = served.get("before")
    if not before:
        raise ProjectError(
            f"This machine knows no release before {served['release']}.", "See: uv run mlops status"
        )
    if not is_whole(champion.model_path(project, before["fingerprint"]), before["digest"]):
        raise ProjectError(
            f"The model of {before['release']} is not here, or not whole.",
            "Run: uv run mlops rollback",
        )
    return before


def _who(project: Project) -> str:
    """Who acts: the name that git knows, else that of the user of this machine."""
    with suppress(ProjectError):
        name, _ = identity(project.root)
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "somebody"


def pending(project: Project) -> dict[str, Any]:
    """The note of a `rollback --now` that the record lacks; empty if there is none."""
    return dict(champion.read_pointer_if_any(project).get("pending") or {})


def record_pending_rollback(project: Project) -> str:
    """Write the `rollback --now` of this machine into the record; returns a line about it.

    If the alias has moved on in the record meanwhile, the rollback is dropped. If the record cannot
    be written nothing changes: the service stays where it is, and the line says why.
    """
    note = pending(project)
    if not note:
        return ""
    try:
        exchange_tags(project)
        message = _record_rollback(project, read(project), note)
    except ProjectError as error:
        return f"{note['told']} The record does not know it yet. {error}\n"
    served = champion.read_pointer(project)
    del served["pending"]
    champion.put_in_service(project, served)
    return f"{message}\n"


def _record_rollback(project: Project, record: Record, note: dict[str, Any]) -> str:
    """Write a rollback into the record, unless others have moved the alias.

    Returns what was done. Raises: ProjectError if the record does not take it.
    """
    alias = note["alias"]
    assignment = record.holder(alias)
    if assignment is None:
        return f"Nobody is {alias} by now, so this is not recorded: {note['told']}"

    nobody_moved_it = assignment.to == note["from"] and assignment.when.isoformat() == note["since"]
    if nobody_moved_it:
        before = _last_assignment(record, alias, note["to"])
        signed = signature(project, before)
        terms = {**before.terms, "switched": {"by": note["by"], "at": note["at"]}}
        write(project, record, before.release, alias, note["told"], signed, **terms)
        return f"Recorded: {note['told']}"

    # It may be recorded already, by a call that was killed before it could delete the note.
    if assignment.to == note["to"]:
        return f"Recorded: {note['told']}"
    return f"{alias} is {assignment.to} by now, so this is not recorded: {note['told']}"


def _last_assignment(record: Record, alias: str, version: str) -> Assignment:
    """When a version had the alias the last time. Raises: ProjectError if the record lacks that."""
    for assignment in reversed(record.assignments):
        if assignment.alias == alias and assignment.to == version:
            return assignment
    raise ProjectError(
        f"A tag was deleted: the record does not say any more that {version} was {alias}.",
        "Bring it back: git fetch --tags, or git push --tags from a clone that has it",
    )
