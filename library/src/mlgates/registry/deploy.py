"""The machine's champion: from the record and the DVC remote to `var/`, which is all that the service reads."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlgates.data.partitions import names
from mlgates.errors import ProjectError
from mlgates.files import digest, read_json, whole
from mlgates.layout import CHAMPION, CHECKED, GATE, ONLINE_STORE
from mlgates.model_folder import CONTRACT, IGNORED, described, is_whole
from mlgates.project import Project
from mlgates.registry import dvc_storage
from mlgates.registry.local_rollback import caught_up, pending
from mlgates.registry.releases import (
    Assignment,
    Record,
    Release,
    artifact,
    freshen,
    read,
    show_json,
    signature,
)
from mlgates.trust import champion, verify


def fetch(project: Project, release: Release) -> Path:
    """`var/models/<fingerprint>` with the recorded bytes, taken from DVC's cache or its remote.

    Raises: ProjectError if the bytes cannot be had, were erased or are not the recorded ones; what lay there stays.
    """
    if release.erased:
        raise ProjectError(f"{release.erased}.", "Take another one: uv run gto history")
    target = champion.place(project, release.fingerprint)
    if is_whole(target, release.digest):
        return target
    _, path = artifact(project)
    with whole(target) as temporary:
        dvc_storage.get(project, release.commit, path, temporary)
        if (found := digest(temporary, IGNORED)) != release.digest:
            told = f"{found[:8]}, not {release.digest[:8] or 'known: it was registered by hand'}"
            raise ProjectError(f"{path} of {release.tag} is not the recorded model ({told}).")
    return target


def usable(project: Project, release: Release) -> Path:
    """`fetch`, for a model that is to be served. Raises: ProjectError also if it reads a column that is barred now."""
    folder = fetch(project, release)
    described(folder, project.contract)
    return folder


def vouched(project: Project, folder: Path, held: Assignment | None) -> Path:
    """A fetched model with the assignment's signature beside it; a release that never had an alias has none.

    Raises: ProjectError unless a key vouches for it that the team trusts; the signature that lay there stays.
    """
    with whole(verify.signature(folder)) as temporary:
        temporary.write_text(signature(project, held) if held else "", encoding="utf-8")
        verify.signed(project, folder, temporary)
    return folder


def bring(project: Project, record: Record, release: Release) -> Path:
    """`fetch` and `vouched`, by whoever gave the release an alias last."""
    return vouched(project, fetch(project, release), next(reversed(record.history(release)), None))


def pointer(project: Project, held: Assignment) -> dict[str, object]:
    """What `var/champion.json` has to say; `report` is the gate's report on the release."""
    release, since = held.release, held.when.isoformat()
    report = show_json(project, release.commit, GATE) or None
    model = {
        "release": release.version,
        "fingerprint": release.fingerprint,
        "digest": release.digest,
    }
    model |= {"commit": release.commit}
    return {"alias": held.alias, **model, "since": since, "report": report, **held.again}


def _before(project: Project, record: Record, held: Assignment) -> dict[str, object]:
    """What `rollback --now` would switch to, its model brought to this machine; empty if there is none to be had."""
    for release in record.standing(held.alias)[-2::-1]:
        with suppress(ProjectError):
            last = record.history(release, held.alias)[-1]
            vouched(project, usable(project, release), last)
            return {"before": pointer(project, last)}
    return {}


def behind(project: Project, record: Record) -> Assignment | None:
    """What this machine's service should follow but does not; None if it does, or there is nothing to follow."""
    held = record.holder(project.settings().serve.alias)
    if held is None or pending(project):
        return None
    served = champion.in_service_or_nothing(project)  # what is missing or damaged is written again
    same = (served.get("fingerprint"), served.get("since")) == (
        held.release.fingerprint,
        held.when.isoformat(),
    )
    needed = (champion.place(project, held.release.fingerprint), project.root / ONLINE_STORE)
    there = all(path.exists() for path in needed)
    return None if same and there else held


def serve(project: Project, record: Record) -> str:
    """Let this machine's service follow the record: the model first, then `var/champion.json`.

    What `rollback --now` did here stays until it is recorded.
    Raises: ProjectError if nobody has the alias yet, or the model cannot be had.
    """
    if note := pending(project):
        return f"The service stays at {note['to']}: {note['told']}"
    alias = project.settings().serve.alias
    held = record.holder(alias)
    if held is None:
        raise ProjectError(f"Nobody is {alias} yet.", "Run: uv run mlops promote", code=4)
    vouched(project, usable(project, held.release), held)
    before = champion.in_service_or_nothing(project)
    if behind(project, record):
        champion.put_in_service(project, pointer(project, held) | _before(project, record, held))
    since = f"{held.release.tag}, {alias} since {held.when:%Y-%m-%d %H:%M} UTC"
    if reason := champion.other_contract(project, champion.in_service(project)):
        return f"{CHAMPION} names {since}. A service that runs this code answers 503: {reason}"
    return f"{CHAMPION} names {since}; a running service takes it with its next request.{_redeployed(before, project)}"


def _redeployed(before: dict[str, Any], project: Project) -> str:
    """A sentence for the case that the champion before was made for another contract; empty if it was not."""
    try:
        stored = read_json(champion.find(project, before["fingerprint"]) / CONTRACT)
    except (KeyError, ProjectError):  # nothing was in service, or its model is gone
        return ""
    if not project.contract.differences(stored):
        return ""
    return (
        "\nThe contract is another one than before: a service that still runs the old code answers 503 until it is"
        f" deployed anew, from commit {champion.in_service(project)['commit'][:12]}."
    )


def look_up(project: Project) -> None:
    """Bring the online store up to date. Raises: ProjectError if that fails; the old store stays."""
    from mlgates.serving import online_store

    try:
        online_store.refresh(project, opened(project))
    except ProjectError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ProjectError(
            f"The online store stays as it was: {reason}", "Then run: uv run mlops follow"
        ) from error


def forget(project: Project, record: Record) -> None:
    """Delete this machine's copies of models that were erased."""
    for release in record.releases:
        if release.erased:
            folder = champion.place(project, release.fingerprint)
            shutil.rmtree(folder, ignore_errors=True)
            verify.signature(folder).unlink(missing_ok=True)


def opened(project: Project) -> list[str]:
    """The periods whose look-ups come from data.py itself: the open ones, and all where data/checked is not here."""
    known, until = names(project.data), project.cycle()["until"]
    checked = any((project.root / CHECKED).glob("period=*"))
    return known[known.index(until) + 1 :] if until in known and checked else known


def follow(project: Project) -> str:
    """Bring the recorded champion, the opponent of the cycle and the look-ups to this machine.

    With the git remote away it follows what is known here, and says so. An opponent that cannot be had stops no
    service. Raises: ProjectError as `serve` does.
    """
    away = freshen(project)
    caught = caught_up(project)
    record = read(project)
    told = caught + serve(project, record)
    forget(project, record)
    look_up(project)
    if (opponent := project.cycle()["champion"]) and (release := record.of(opponent)):
        try:
            bring(project, record, release)
        except ProjectError as error:
            told += f"\n{error}\nFor another opponent than {release.tag}: uv run mlops close {project.cycle()['until']}"
    return told + away
