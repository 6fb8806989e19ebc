"""Promote and roll back: an alias moves, nothing is rebuilt. What was killed half-way is ended by the next call."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mlgates.dvc_lock import fingerprint, locked, measured, stages
from mlgates.errors import ProjectError, nearest
from mlgates.files import digest, read_json
from mlgates.gate import rules
from mlgates.layout import GATE, LIBRARY
from mlgates.model_folder import IGNORED
from mlgates.project import Project
from mlgates.registry import deploy, dvc_storage, mlflow_registry
from mlgates.registry.git import COMMIT, changes, few, head, identity, unpushed
from mlgates.registry.local_rollback import caught_up, pending
from mlgates.registry.override import Override
from mlgates.registry.releases import Record, Release, artifact, next_version, read, settle, write
from mlgates.trust import keys, verify
from mlgates.verdict import Report, Verdict

REPRO = "Run: uv run dvc repro, and commit"


def promote(
    project: Project, alias: str | None = None, reason: str = "", override: Override | None = None
) -> str:
    """Release models/candidate and give it an alias: the next one of `promote.path` unless one is named.

    An override stands in for the verdict ok, and for nothing else; for a model that has the alias it is a new one.
    Raises: ProjectError with the command that is missing, unless all that made the model is committed (and pushed,
    where there is an upstream), dvc.lock agrees with the tree, the verdict, computed again, is ok for just this model,
    the champion that it was compared with is still champion, and the aliases before were passed.
    """
    committed(project)
    keys.ready(project)
    settle(project)
    if not dvc_storage.lasting(project):
        raise ProjectError(
            "The DVC remote is a folder of this runner: the model would be lost.",
            "Add a remote that lasts: uv run dvc remote add",
        )
    if outdated := dvc_storage.outdated(project):
        raise ProjectError(
            f"dvc.lock does not agree with the tree: {', '.join(outdated)} must run.", REPRO
        )
    caught = caught_up(project)
    record, path = read(project), project.settings().promote.path
    release = record.of(fingerprint(locked(project)))
    chosen = alias or next_alias(record, release, path)
    if chosen not in path:
        raise ProjectError(f"promote.path has no alias {chosen!r}.", nearest(chosen, path))
    held = record.holder(chosen)
    if held and held.release == release:
        if not override:
            dvc_storage.push(project, *_kept(project))
            return caught + _publish(
                project, f"{held.release.tag} is {chosen} since {held.when:%Y-%m-%d %H:%M} UTC."
            )
    elif release and alias is None and record.history(release, chosen):
        told = f"{release.tag} was {chosen} before and is not any more."
        raise ProjectError(
            told, f"If you mean it: uv run mlops promote --to {chosen} --reason TEXT"
        )
    _in_order(record, release, chosen, path)
    report = _believed(project, override)
    _against(project, record, release, report, path[-1])
    release = release or _new(project, record, report, reason)
    dvc_storage.push(project, *_kept(project))
    signed = keys.sign(project, deploy.usable(project, release))
    more = {"verdict": str(report.verdict), "override": asdict(override)} if override else {}
    write(project, record, release, chosen, reason, signed, **more)
    told = f"{release.tag} is {chosen} now{f', {report.verdict} {override}' if override else ''}."
    return caught + _publish(project, told)


def rollback(project: Project, alias: str | None = None, reason: str = "") -> str:
    """Give the alias back to the release that had it before; a rollback again goes one further back.

    Raises: ProjectError without a reason, without a release before, or if its model cannot be had.
    """
    path = project.settings().promote.path
    alias = alias or path[-1]
    if alias not in path:
        raise ProjectError(f"promote.path has no alias {alias!r}.", nearest(alias, path))
    if not reason.strip():
        raise ProjectError(
            "A rollback needs a reason, for those who read the record.",
            "Add: --reason TEXT",
            code=2,
        )
    settle(project)
    note, caught = pending(project), caught_up(project).strip()
    if note.get("alias") == alias:
        if pending(project):
            raise ProjectError(caught)
        return _publish(project, caught)
    record = read(project)
    stack = record.standing(alias)
    if len(stack) < 2:
        first = f"{stack[0].tag} is the first {alias}" if stack else f"Nobody is {alias} yet"
        raise ProjectError(f"{first}: there is nothing to go back to.", "See: uv run mlops status")
    before = next((release for release in stack[-2::-1] if not release.erased), stack[-2])
    signed = keys.sign(project, deploy.usable(project, before))
    write(project, record, before, alias, reason, signed, **record.history(before, alias)[-1].again)
    return _publish(project, f"{before.tag} is {alias} again, instead of {stack[-1].version}.")


def committed(project: Project) -> None:
    """Raises: ProjectError unless everything is committed, and pushed where the branch has an upstream."""
    head(project.root)
    if dirty := changes(project.root):
        raise ProjectError(f"Not committed: {few(dirty)}.", f"Run: {COMMIT}")
    if told := unpushed(project.root):
        raise ProjectError(f"{told}.", "Run: git push")


def next_alias(record: Record, release: Release | None, path: Sequence[str]) -> str:
    """The first alias of the path that the release does not have; the last one if it has them all."""
    return next((alias for alias in path if alias not in record.aliases(release)), path[-1])


def _in_order(record: Record, release: Release | None, alias: str, path: Sequence[str]) -> None:
    place = path.index(alias)
    if place and (before := path[place - 1]) not in record.aliases(release):
        told = f"{alias} comes after {before}, which this model is not."
        raise ProjectError(told, f"Run: uv run mlops promote --to {before}")


def _believed(project: Project, override: Override | None) -> Report:
    """The gate's report, computed again and found to be about just this model; ok, or else overridden."""
    report, stored = rules.decide(project), read_json(project.root / GATE)
    if _judged(report.to_dict()) != _judged(stored):
        raise ProjectError(
            "reports/gate.json is not what the gate says about these measurements.", REPRO
        )
    if override and report.verdict is Verdict.OK:
        raise ProjectError(
            "The gate says ok: there is nothing to override.", "Run: uv run mlops promote"
        )
    if report.verdict is not Verdict.OK and not override:
        told = f"The gate says {report.verdict}: {', '.join(report.stops)}."
        raise ProjectError(told, "Read reports/gate.html", code=report.exit_code)
    _, path = artifact(project)
    if not (project.root / path).exists():
        raise ProjectError(f"{path} is not on this machine.", f"Run: uv run dvc pull {path}")
    if (found := digest(project.root / path, IGNORED)) != report.facts["model"]:
        told = f"{path} is not the model that the gate judged ({found[:8]}, not {report.facts['model'][:8]})"
        raise ProjectError(f"gate.digest: {told}.", REPRO)
    return report


def _judged(report: dict[str, Any]) -> dict[str, Any]:
    """A report as it is stored, without what names the candidate.

    Where train ran again and gave the same bytes, the model has a new id, and DVC does not run gate again.
    """
    content: dict[str, Any] = json.loads(json.dumps(report, default=str))
    del content["title"]
    content["facts"].pop("id", None)
    return content


def _kept(project: Project) -> list[str]:
    """What a release needs in the DVC remote: the model, and the library that judged it if dvc.lock names one."""
    _, model = artifact(project)
    paths = [model]
    outs = stages(locked(project)).get("gate", {}).get("outs", [])
    if any(out["path"] == LIBRARY.as_posix() for out in outs):
        paths.append(LIBRARY.as_posix())
    return paths


def _against(
    project: Project, record: Record, release: Release | None, report: Report, alias: str
) -> None:
    held, compared_with = record.holder(alias), report.facts["champion"]
    if (held.release.fingerprint if held else None) == compared_with or (
        held and held.release == release
    ):
        return
    now = f"There is no {alias} now."
    if held:
        now = f"{held.to} is {alias} now, by {held.who}."
    before = f"The gate compared with no {alias}."
    if compared_with:
        before = f"The gate compared with {compared_with[:8]}, which is not {alias} any more."
    remedy = f"Run: uv run mlops close {project.cycle()['until']}, commit, uv run dvc repro"
    raise ProjectError(f"{before} {now}", remedy)


def _new(project: Project, record: Record, report: Report, reason: str) -> Release:
    version = next_version(project, record.releases[-1] if record.releases else None)
    names = (
        record.name,
        version,
        fingerprint(locked(project)),
        report.facts["model"],
        head(project.root),
    )
    lock = measured(locked(project))
    return Release(
        *names,
        str(report.verdict),
        reason,
        identity(project.root)[0],
        datetime.now(UTC),
        measured=lock,
    )


def _publish(project: Project, told: str) -> str:
    """Let this machine's service and MLflow follow what is now recorded."""
    record = read(project)
    lines = [told] if verify.keys(project) else [told, verify.UNSIGNED]
    served = record.holder(project.settings().serve.alias) is not None
    if served:
        lines.append(deploy.serve(project, record))
    try:
        lines.append(mlflow_registry.fill(project, record))
    except ProjectError as error:
        lines.append(f"Recorded, but MLflow does not show it yet (uv run mlops mirror). {error}")
    try:
        if served:
            deploy.look_up(project)
    except ProjectError as error:
        lines.append(str(error))
    return "\n".join(lines)
