"""The machine's champion: from the record and the DVC remote to `var/`, which is all that the service reads."""

import shutil
from contextlib import suppress
from pathlib import Path

from .. import signing
from ..pipeline.periods import names
from ..project import ProjectError, cycle, digest, params, read_json, whole, write_json, yours
from ..scoring import IGNORED, described
from . import storage
from .now import CHAMPION, caught_up, pending
from .record import Assignment, Record, Release, artifact, freshen, read, show_json, signature

STORE = Path("var/online.db")


def fetch(root: Path, release: Release) -> Path:
    """`var/models/<fingerprint>` with the recorded bytes, taken from DVC's cache or its remote.

    Raises: ProjectError if the bytes cannot be had, were erased or are not the recorded ones; what lay there stays.
    """
    if release.erased:
        raise ProjectError(f"{release.erased}.", "Take another one: uv run gto history")
    target = root / "var" / "models" / release.fingerprint
    if target.exists() and digest(target, IGNORED) == release.digest:
        return target
    _, path = artifact(root)
    with whole(target) as temporary:
        storage.get(root, release.commit, path, temporary)
        if (found := digest(temporary, IGNORED)) != release.digest:
            told = f"{found[:8]}, not {release.digest[:8] or 'known: it was registered by hand'}"
            raise ProjectError(f"{path} of {release.tag} is not the recorded model ({told}).")
    return target


def usable(root: Path, release: Release) -> Path:
    """`fetch`, for a model that is to be served. Raises: ProjectError also if it reads a column that is barred now."""
    folder = fetch(root, release)
    described(folder, yours().contract)
    return folder


def vouched(root: Path, folder: Path, held: Assignment | None) -> Path:
    """A fetched model with the assignment's signature beside it; a release that never had an alias has none.

    Raises: ProjectError unless a key vouches for it that the team trusts; the signature that lay there stays.
    """
    with whole(signing.signature(folder)) as temporary:
        temporary.write_text(signature(root, held) if held else "", encoding="utf-8")
        signing.signed(root, folder, temporary)
    return folder


def bring(root: Path, record: Record, release: Release) -> Path:
    """`fetch` and `vouched`, by whoever gave the release an alias last."""
    return vouched(root, fetch(root, release), next(reversed(record.history(release)), None))


def pointer(root: Path, held: Assignment) -> dict[str, object]:
    """What `var/champion.json` has to say; `report` is the gate's report on the release."""
    release, since = held.release, held.when.isoformat()
    report = show_json(root, release.commit, "reports/gate.json") or None
    model = {"release": release.version, "fingerprint": release.fingerprint, "digest": release.digest}
    return {"alias": held.alias, **model, "since": since, "report": report, **held.again}


def _before(root: Path, record: Record, held: Assignment) -> dict[str, object]:
    """What `rollback --now` would switch to, its model brought to this machine; empty if there is none to be had."""
    for release in record.standing(held.alias)[-2::-1]:
        with suppress(ProjectError):
            last = record.history(release, held.alias)[-1]
            vouched(root, usable(root, release), last)
            return {"before": pointer(root, last)}
    return {}


def behind(root: Path, record: Record) -> Assignment | None:
    """What this machine's service should follow but does not; None if it does, or there is nothing to follow."""
    held = record.holder(params(root)["serve"]["alias"])
    if held is None or pending(root):
        return None
    known = {}
    with suppress(ProjectError):  # what is missing or damaged is written again
        known = read_json(root / CHAMPION)
    same = (known.get("fingerprint"), known.get("since")) == (held.release.fingerprint, held.when.isoformat())
    there = (root / "var" / "models" / held.release.fingerprint).exists() and (root / STORE).exists()
    return None if same and there else held


def serve(root: Path, record: Record) -> str:
    """Let this machine's service follow the record: the model first, then `var/champion.json`.

    What `rollback --now` did here stays until it is recorded.
    Raises: ProjectError if nobody has the alias yet, or the model cannot be had.
    """
    if note := pending(root):
        return f"The service stays at {note['to']}: {note['told']}"
    alias = params(root)["serve"]["alias"]
    held = record.holder(alias)
    if held is None:
        raise ProjectError(f"Nobody is {alias} yet.", "Run: uv run mlops promote", code=4)
    vouched(root, usable(root, held.release), held)
    if behind(root, record):
        write_json(root / CHAMPION, pointer(root, held) | _before(root, record, held))
    return f"The service follows {held.release.tag}, {alias} since {held.when:%Y-%m-%d %H:%M} UTC."


def look_up(root: Path) -> None:
    """Bring the online store up to date. Raises: ProjectError if that fails; the old store stays."""
    from ..serving import online

    try:
        online.refresh(root, opened(root))
    except ProjectError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ProjectError(f"The online store stays as it was: {reason}", "Then run: uv run mlops follow") from error


def forget(root: Path, record: Record) -> None:
    """Delete this machine's copies of models that were erased."""
    for release in record.releases:
        if release.erased:
            folder = root / "var" / "models" / release.fingerprint
            shutil.rmtree(folder, ignore_errors=True)
            signing.signature(folder).unlink(missing_ok=True)


def opened(root: Path) -> list[str]:
    """The periods whose look-ups come from data.py itself: the open ones, and all where data/checked is not here."""
    known, until = names(yours().data), cycle(root)["until"]
    checked = any((root / "data" / "checked").glob("period=*"))
    return known[known.index(until) + 1 :] if until in known and checked else known


def follow(root: Path) -> str:
    """Bring the recorded champion, the opponent of the cycle and the look-ups to this machine.

    With the git remote away it follows what is known here, and says so. An opponent that cannot be had stops no
    service. Raises: ProjectError as `serve` does.
    """
    away = freshen(root)
    caught = caught_up(root)
    record = read(root)
    told = caught + serve(root, record)
    forget(root, record)
    look_up(root)
    if (opponent := cycle(root)["champion"]) and (release := record.of(opponent)):
        try:
            bring(root, record, release)
        except ProjectError as error:
            told += f"\n{error}\nFor another opponent than {release.tag}: uv run mlops close {cycle(root)['until']}"
    return told + away
