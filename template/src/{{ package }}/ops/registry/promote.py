"""Promote and roll back: an alias moves, nothing is rebuilt. What was killed half-way is ended by the next call."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from .. import signing
from ..pipeline import gate
from ..project import ProjectError, cycle, digest, nearest, params, read_json
from ..scoring import IGNORED
from ..verdict import Report, Verdict
from . import follow, keys, mirror, storage
from .git import COMMIT, changes, few, head, identity, unpushed
from .now import caught_up, pending
from .override import Override
from .record import Record, Release, artifact, fingerprint, locked, measured, next_version, read, settle, write

REPRO = "Run: uv run dvc repro, and commit"


def promote(root: Path, alias: str | None = None, reason: str = "", override: Override | None = None) -> str:
    """Release models/candidate and give it an alias: the next one of `promote.path` unless one is named.

    An override stands in for the verdict ok, and for nothing else; for a model that has the alias it is a new one.
    Raises: ProjectError with the command that is missing, unless all that made the model is committed (and pushed,
    where there is an upstream), dvc.lock agrees with the tree, the verdict, computed again, is ok for just this model,
    its opponent is still champion, and the aliases before were passed.
    """
    committed(root)
    keys.ready(root)
    settle(root)
    if not storage.lasting(root):
        raise ProjectError(
            "The DVC remote is a folder of this runner: the model would be lost.",
            "Add a remote that lasts: uv run dvc remote add",
        )
    if stages := storage.outdated(root):
        raise ProjectError(f"dvc.lock does not agree with the tree: {', '.join(stages)} must run.", REPRO)
    caught = caught_up(root)
    record, path = read(root), params(root)["promote"]["path"]
    release = record.of(fingerprint(locked(root)))
    chosen = alias or next_alias(record, release, path)
    if chosen not in path:
        raise ProjectError(f"promote.path has no alias {chosen!r}.", nearest(chosen, path))
    held = record.holder(chosen)
    if held and held.release == release:
        if not override:
            storage.push(root, artifact(root)[1])
            return caught + _publish(root, f"{held.release.tag} is {chosen} since {held.when:%Y-%m-%d %H:%M} UTC.")
    elif release and alias is None and record.history(release, chosen):
        told = f"{release.tag} was {chosen} before and is not any more."
        raise ProjectError(told, f"If you mean it: uv run mlops promote --to {chosen} --reason TEXT")
    _in_order(record, release, chosen, path)
    report = _believed(root, override)
    _against(root, record, release, report, path[-1])
    release = release or _new(root, record, report, reason)
    storage.push(root, artifact(root)[1])
    signed = keys.sign(root, follow.usable(root, release))
    more = {"verdict": str(report.verdict), "override": asdict(override)} if override else {}
    write(root, record, release, chosen, reason, signed, **more)
    told = f"{release.tag} is {chosen} now{f', {report.verdict} {override}' if override else ''}."
    return caught + _publish(root, told)


def rollback(root: Path, alias: str | None = None, reason: str = "") -> str:
    """Give the alias back to the release that had it before; a rollback again goes one further back.

    Raises: ProjectError without a reason, without a release before, or if its model cannot be had.
    """
    path = params(root)["promote"]["path"]
    alias = alias or path[-1]
    if alias not in path:
        raise ProjectError(f"promote.path has no alias {alias!r}.", nearest(alias, path))
    if not reason.strip():
        raise ProjectError("A rollback needs a reason, for those who read the record.", "Add: --reason TEXT", code=2)
    settle(root)
    note, caught = pending(root), caught_up(root).strip()
    if note.get("alias") == alias:
        if pending(root):
            raise ProjectError(caught)
        return _publish(root, caught)
    record = read(root)
    stack = record.standing(alias)
    if len(stack) < 2:
        first = f"{stack[0].tag} is the first {alias}" if stack else f"Nobody is {alias} yet"
        raise ProjectError(f"{first}: there is nothing to go back to.", "See: uv run mlops status")
    before = next((release for release in stack[-2::-1] if not release.erased), stack[-2])
    signed = keys.sign(root, follow.usable(root, before))
    write(root, record, before, alias, reason, signed, **record.history(before, alias)[-1].again)
    return _publish(root, f"{before.tag} is {alias} again, instead of {stack[-1].version}.")


def committed(root: Path) -> None:
    """Raises: ProjectError unless everything is committed, and pushed where the branch has an upstream."""
    head(root)
    if dirty := changes(root):
        raise ProjectError(f"Not committed: {few(dirty)}.", f"Run: {COMMIT}")
    if told := unpushed(root):
        raise ProjectError(f"{told}.", "Run: git push")


def next_alias(record: Record, release: Release | None, path: Sequence[str]) -> str:
    """The first alias of the path that the release does not have; the last one if it has them all."""
    return next((alias for alias in path if alias not in record.aliases(release)), path[-1])


def _in_order(record: Record, release: Release | None, alias: str, path: Sequence[str]) -> None:
    place = path.index(alias)
    if place and (before := path[place - 1]) not in record.aliases(release):
        told = f"{alias} comes after {before}, which this model is not."
        raise ProjectError(told, f"Run: uv run mlops promote --to {before}")


def _believed(root: Path, override: Override | None) -> Report:
    """The gate's report, computed again and found to be about just this model; ok, or else overridden."""
    report, stored = gate.decide(root), read_json(root / "reports" / "gate.json")
    if json.loads(json.dumps(report.to_dict(), default=str)) != stored:
        raise ProjectError("reports/gate.json is not what the gate says about these measurements.", REPRO)
    if override and report.verdict is Verdict.OK:
        raise ProjectError("The gate says ok: there is nothing to override.", "Run: uv run mlops promote")
    if report.verdict is not Verdict.OK and not override:
        told = f"The gate says {report.verdict}: {', '.join(report.stops)}."
        raise ProjectError(told, "Read reports/gate.html", code=report.exit_code)
    _, path = artifact(root)
    if not (root / path).exists():
        raise ProjectError(f"{path} is not on this machine.", f"Run: uv run dvc pull {path}")
    if (found := digest(root / path, IGNORED)) != report.facts["model"]:
        told = f"{path} is not the model that the gate judged ({found[:8]}, not {report.facts['model'][:8]})"
        raise ProjectError(f"gate.digest: {told}.", REPRO)
    return report


def _against(root: Path, record: Record, release: Release | None, report: Report, alias: str) -> None:
    held, opponent = record.holder(alias), report.facts["opponent"]
    if (held.release.fingerprint if held else None) == opponent or (held and held.release == release):
        return
    now = f"{held.to} is, by {held.who}" if held else "nobody is"
    than = f"{opponent[:8]} is not {alias} any more" if opponent else f"compared with no {alias}"
    remedy = f"Run: uv run mlops close {cycle(root)['until']}, commit, uv run dvc repro"
    raise ProjectError(f"The gate's opponent is out of date: {than}, {now}.", remedy)


def _new(root: Path, record: Record, report: Report, reason: str) -> Release:
    version = next_version(root, record.releases[-1] if record.releases else None)
    names = (record.name, version, fingerprint(locked(root)), report.facts["model"], head(root))
    lock = measured(locked(root))
    return Release(*names, str(report.verdict), reason, identity(root)[0], datetime.now(UTC), measured=lock)


def _publish(root: Path, told: str) -> str:
    """Let this machine's service and MLflow follow what is now recorded."""
    record = read(root)
    lines = [told] if signing.keys(root) else [told, signing.UNSIGNED]
    served = record.holder(params(root)["serve"]["alias"]) is not None
    if served:
        lines.append(follow.serve(root, record))
    try:
        lines.append(mirror.fill(root, record))
    except ProjectError as error:
        lines.append(f"Recorded, but MLflow does not show it yet (uv run mlops mirror). {error}")
    try:
        if served:
            follow.look_up(root)
    except ProjectError as error:
        lines.append(str(error))
    return "\n".join(lines)
