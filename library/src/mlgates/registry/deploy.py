"""The champion of this machine: from the record and the DVC remote to `var/`.

The service reads nothing but `var/`.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlgates.data.partitions import period_names
from mlgates.errors import ProjectError
from mlgates.files import atomic, digest, read_json
from mlgates.layout import CHAMPION, CHECKED, GATE, ONLINE_STORE
from mlgates.model_folder import CONTRACT, IGNORED, is_whole, stored_description
from mlgates.project import Project
from mlgates.registry import dvc_storage
from mlgates.registry.local_rollback import pending, record_pending_rollback
from mlgates.registry.releases import (
    Assignment,
    Record,
    Release,
    artifact,
    read,
    settle_if_reachable,
    show_json,
    signature,
)
from mlgates.trust import champion, verify


def fetch(project: Project, release: Release) -> Path:
    """`var/models/<fingerprint>` with the recorded model, taken from DVC's cache or its remote.

    Raises: ProjectError if the model is in neither of them, was erased, or is not the recorded one.
    What lay in the folder stays then.
    """
    if release.erased:
        raise ProjectError(f"{release.erased}.", "See the other releases: uv run gto history")
    folder = champion.model_path(project, release.fingerprint)
    if is_whole(folder, release.digest):
        return folder
    _, path = artifact(project)
    with atomic(folder) as temporary:
        dvc_storage.get(project, release.commit, path, temporary)
        if not release.digest:
            raise ProjectError(
                f"{path} of {release.tag} cannot be verified: the record holds no digest of it,"
                " because it was registered by hand."
            )
        fetched = digest(temporary, IGNORED)
        if fetched != release.digest:
            difference = f"{fetched[:8]}, not {release.digest[:8]}"
            raise ProjectError(f"{path} of {release.tag} is not the recorded model ({difference}).")
    return folder


def fetch_servable(project: Project, release: Release) -> Path:
    """`fetch`, for a model that is to be served.

    Raises: ProjectError also if the model reads a column that the contract bars by now.
    """
    folder = fetch(project, release)
    stored_description(folder, project.contract)
    return folder


def with_signature(project: Project, folder: Path, assignment: Assignment | None) -> Path:
    """The folder of a fetched model, once the signature of an assignment is verified and beside it.

    A release that never had an alias has no signature. Raises: ProjectError unless a key signed it
    that the team trusts. The signature that lay beside the folder stays then.
    """
    with atomic(verify.signature(folder)) as temporary:
        content = signature(project, assignment) if assignment else ""
        temporary.write_text(content, encoding="utf-8")
        verify.require_signature(project, folder, temporary)
    return folder


def fetch_signed(project: Project, record: Record, release: Release) -> Path:
    """`fetch`, with the signature of whoever gave the release an alias last.

    Raises: ProjectError as `fetch` and `with_signature`.
    """
    folder = fetch(project, release)
    last = next(reversed(record.history(release)), None)
    return with_signature(project, folder, last)


def pointer(project: Project, assignment: Assignment) -> dict[str, Any]:
    """The content of `var/champion.json`; `report` is the gate's report on the release."""
    release = assignment.release
    return {
        "alias": assignment.alias,
        "release": release.version,
        "fingerprint": release.fingerprint,
        "digest": release.digest,
        "commit": release.commit,
        "since": assignment.when.isoformat(),
        "report": show_json(project, release.commit, GATE) or None,
        **assignment.terms,
    }


def _pointer_before(
    project: Project, record: Record, assignment: Assignment
) -> dict[str, Any] | None:
    """What `rollback --now` switches to, its model brought to this machine.

    It is the newest of the releases before that can be served here; None if there is none.
    """
    releases_before = record.succession(assignment.alias)[:-1]
    for release in reversed(releases_before):
        with suppress(ProjectError):
            last = record.history(release, assignment.alias)[-1]
            with_signature(project, fetch_servable(project, release), last)
            return pointer(project, last)
    return None


def assignment_to_pick_up(project: Project, record: Record) -> Assignment | None:
    """The assignment that this machine's service has not picked up yet.

    None if it has, if nobody has the alias yet, or if `rollback --now` decides what is served.
    """
    assignment = record.holder(project.settings().serve.alias)
    if assignment is None or pending(project):
        return None
    release = assignment.release
    # A pointer that is missing or damaged is written again, so it is no error here.
    served = champion.read_pointer_if_any(project)
    served_since = (served.get("fingerprint"), served.get("since"))
    is_served = served_since == (release.fingerprint, assignment.when.isoformat())
    model = champion.model_path(project, release.fingerprint)
    if is_served and model.exists() and (project.root / ONLINE_STORE).exists():
        return None
    return assignment


def serve(project: Project, record: Record) -> str:
    """Let this machine's service follow the record: the model first, then `var/champion.json`.

    After `rollback --now` the service stays where it is until the record has that rollback.

    Raises: ProjectError if nobody has the alias yet, or if the model cannot be fetched or served.
    """
    note = pending(project)
    if note:
        return f"The service stays at {note['to']}: {note['told']}"
    alias = project.settings().serve.alias
    assignment = record.holder(alias)
    if assignment is None:
        raise ProjectError(f"Nobody is {alias} yet.", "Run: uv run mlops promote", code=4)

    release = assignment.release
    with_signature(project, fetch_servable(project, release), assignment)
    served_before = champion.read_pointer_if_any(project)
    if assignment_to_pick_up(project, record):
        content = pointer(project, assignment)
        before = _pointer_before(project, record, assignment)
        if before:
            content["before"] = before
        champion.put_in_service(project, content)

    since = f"{release.tag}, {alias} since {assignment.when:%Y-%m-%d %H:%M} UTC"
    refusal = champion.other_contract(project, champion.read_pointer(project))
    if refusal:
        return f"{CHAMPION} names {since}. A service that runs this code answers 503: {refusal}"
    warning = _contract_changed(project, served_before)
    return f"{CHAMPION} names {since}; a running service takes it with its next request.{warning}"


def _contract_changed(project: Project, served_before: dict[str, Any]) -> str:
    """A warning if the champion before was made for another contract; else empty."""
    try:
        folder = champion.find(project, served_before["fingerprint"])
        stored = read_json(folder / CONTRACT)
    except (KeyError, ProjectError):  # nothing was in service, or its model is gone
        return ""
    if not project.contract.differences(stored):
        return ""
    commit = champion.read_pointer(project)["commit"][:12]
    return (
        "\nThe contract has changed. A service that still runs the old code answers 503 until it is"
        f" deployed anew, from commit {commit}."
    )


def refresh_online_store(project: Project) -> None:
    """Bring the online store up to date.

    Raises: ProjectError if that fails. The old store stays then.
    """
    from mlgates.serving import online_store

    try:
        online_store.refresh(project, open_periods(project))
    except ProjectError:
        raise
    except Exception as error:  # data.py may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ProjectError(
            f"The online store stays as it was: {reason}", "Then run: uv run mlops follow"
        ) from error


def delete_erased_models(project: Project, record: Record) -> None:
    """Delete this machine's copies of models that were erased."""
    for release in record.releases:
        if release.erased:
            folder = champion.model_path(project, release.fingerprint)
            shutil.rmtree(folder, ignore_errors=True)
            verify.signature(folder).unlink(missing_ok=True)


def open_periods(project: Project) -> list[str]:
    """The periods whose look-ups come from data.py itself: those that are not closed yet.

    Where data/checked is not on this machine, these are all periods.
    """
    periods = period_names(project.data)
    until = project.cycle()["until"]
    is_checked = any((project.root / CHECKED).glob("period=*"))
    if not is_checked or until not in periods:
        return periods
    return periods[periods.index(until) + 1 :]


def follow(project: Project) -> str:
    """Bring to this machine what the record says.

    That is the champion in service, the look-ups, and the champion that the cycle compares with.
    Where the git remote cannot be reached, the record is what this clone has; the message says so.
    If the model to compare with cannot be fetched, the service goes on.

    Raises: ProjectError as `serve` and `look_up`.
    """
    unreachable = settle_if_reachable(project)
    recorded = record_pending_rollback(project)
    record = read(project)
    message = recorded + serve(project, record)
    delete_erased_models(project, record)
    refresh_online_store(project)
    message += _bring_champion_to_beat(project, record)
    return message + unreachable


def _bring_champion_to_beat(project: Project, record: Record) -> str:
    """Bring the champion that cycle.yaml names; returns why that failed, or nothing."""
    cycle = project.cycle()
    release = record.release_of_model(cycle["champion"])
    if release is None:
        return ""
    try:
        fetch_signed(project, record, release)
    except ProjectError as error:
        remedy = f"To compare with another champion than {release.tag}, run: uv run mlops close"
        return f"\n{error}\n{remedy} {cycle['until']}"
    return ""
