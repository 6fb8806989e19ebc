"""Promote and roll back: an alias moves, and nothing is rebuilt.

What was killed half-way is completed by the next call.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mlgates.dvc_lock import fingerprint, locked, measured
from mlgates.errors import ProjectError, nearest
from mlgates.files import digest, read_json
from mlgates.gate import rules
from mlgates.layout import GATE, LIBRARY
from mlgates.model_folder import IGNORED
from mlgates.project import Project
from mlgates.registry import deploy, dvc_storage, mlflow_registry, wheel
from mlgates.registry.git import COMMIT, changes, first_names, head, identity, unpushed
from mlgates.registry.local_rollback import pending, record_pending_rollback, require_reason
from mlgates.registry.override import Override
from mlgates.registry.releases import (
    Assignment,
    Record,
    Release,
    artifact,
    exchange_tags,
    next_version,
    read,
    write,
)
from mlgates.trust import keys, verify
from mlgates.verdict import Report, Verdict

REPRO = "Run: uv run dvc repro, and commit"


def promote(
    project: Project, alias: str | None = None, reason: str = "", override: Override | None = None
) -> str:
    """Release models/candidate and give it an alias: the next one of `promote.path` by default.

    Returns what was done, for the user. An override stands in for the verdict ok, and for nothing
    else. A model that has the alias already gets a new override by it.

    Raises: ProjectError with the command that is missing, unless

    - all that made the model is committed (and pushed, where there is an upstream),
    - dvc.lock agrees with the tree,
    - the verdict, computed again, is ok for exactly this model,
    - the champion that it was compared with is still champion,
    - and the model had the earlier aliases of the path.
    """
    _require_ready(project)
    rollback_note = record_pending_rollback(project)

    record = read(project)
    path = project.settings().promote.path
    release = record.release_of_model(fingerprint(locked(project)))
    chosen = alias or next_alias(record, release, path)
    _require_alias(chosen, path)

    has_alias = chosen in record.aliases(release)
    if has_alias and not override:
        return rollback_note + _completed(project, record.holders[chosen])

    if alias is None and not has_alias:
        _require_new(record, release, chosen)
    _require_earlier_alias(record, release, chosen, path)
    report = _accepted_report(project, override)
    _require_same_champion(project, record, release, report, path[-1])

    release = release or _new_release(project, record, report, reason)
    dvc_storage.push(project, *_outputs_to_keep(project))
    signature = keys.sign(project, deploy.fetch_servable(project, release))
    message = f"{release.tag} is {chosen} now"
    terms: dict[str, Any] = {}
    if override:
        terms = {"verdict": str(report.verdict), "override": asdict(override)}
        message += f", {report.verdict} {override}"
    write(project, record, release, chosen, reason, signature, **terms)
    return rollback_note + _publish(project, f"{message}.")


def _completed(project: Project, assignment: Assignment) -> str:
    """Do again what follows after an assignment is recorded; returns what was done.

    A promote that was killed may have recorded it and no more.
    """
    dvc_storage.push(project, *_outputs_to_keep(project))
    since = f"{assignment.when:%Y-%m-%d %H:%M} UTC"
    message = f"{assignment.release.tag} is {assignment.alias} since {since}."
    return _publish(project, message)


def rollback(
    project: Project, alias: str | None = None, reason: str = "", to: str | None = None
) -> str:
    """Give the alias back to the release that had it before; a second rollback goes one further.

    `to` names another release that had the alias, such as v1.2.0. Returns what was done, for the
    user.
    Raises: ProjectError without a reason, without such a release, or if its model cannot be
    fetched.
    """
    path = project.settings().promote.path
    alias = alias or path[-1]
    _require_alias(alias, path)
    require_reason(reason)
    exchange_tags(project)

    # After a `rollback --now` on this machine the record lacks just this rollback: write that one.
    note = pending(project)
    message = record_pending_rollback(project).strip()
    if note.get("alias") == alias and to in (None, note["to"]):
        if pending(project):  # the record could not be written, and the message says why
            raise ProjectError(message)
        return _publish(project, message)

    record = read(project)
    standing = record.succession(alias)
    if len(standing) < 2:
        state = f"Nobody is {alias} yet"
        if standing:
            state = f"{standing[0].tag} is the first {alias}"
        raise ProjectError(f"{state}: there is nothing to go back to.", "See: uv run mlops status")

    before = _newest_usable(standing[:-1])
    if to:
        before = _named_release(record, alias, to)
    signature = keys.sign(project, deploy.fetch_servable(project, before))
    terms = record.history(before, alias)[-1].terms
    write(project, record, before, alias, reason, signature, **terms)
    message = f"{before.tag} is {alias} again, instead of {standing[-1].version}."
    return _publish(project, message)


def _named_release(record: Record, alias: str, name: str) -> Release:
    """The release of that name, which had the alias before.

    Raises: ProjectError (a usage error) if there is none, if it has the alias now, or if its model
    was erased.
    """
    had_alias = {}
    for release in record.releases:
        if record.history(release, alias):
            had_alias[release.version] = release
    version = name.rpartition("@")[2]  # of a tag, such as late-flights@v1.2.0
    if version not in had_alias:
        message = f"{name!r} is not a release that was {alias}."
        raise ProjectError(message, nearest(version, had_alias), code=2)

    release = had_alias[version]
    if alias in record.aliases(release):
        raise ProjectError(f"{release.tag} is {alias} already.", "See: uv run mlops trace", code=2)
    if release.erased:
        raise ProjectError(f"{release.tag} cannot be used any more: {release.erased}.", code=2)
    return release


def _newest_usable(releases: Sequence[Release]) -> Release:
    """The newest release that was not erased; the newest of all if all were erased."""
    for release in reversed(releases):
        if not release.erased:
            return release
    return releases[-1]


def require_committed(project: Project) -> None:
    """Check that everything is committed, and pushed where the branch has an upstream.

    Raises: ProjectError if it is not.
    """
    head(project.root)
    uncommitted = changes(project.root)
    if uncommitted:
        raise ProjectError(f"Not committed: {first_names(uncommitted)}.", f"Run: {COMMIT}")
    message = unpushed(project.root)
    if message:
        raise ProjectError(f"{message}.", "Run: git push")


def next_alias(record: Record, release: Release | None, path: Sequence[str]) -> str:
    """The first alias of the path that the release does not have; the last if it has them all."""
    aliases = record.aliases(release)
    for alias in path:
        if alias not in aliases:
            return alias
    return path[-1]


def _require_ready(project: Project) -> None:
    """Complete what an earlier call left, and check that models/candidate can be released.

    Raises: ProjectError unless all is committed, the model would outlive the machine that runs
    this, and dvc.lock agrees with the tree.
    """
    require_committed(project)
    keys.require_trusted_key(project)
    exchange_tags(project)
    if not dvc_storage.has_lasting_remote(project):
        raise ProjectError(
            "The DVC remote is a folder of this runner: the model would be lost.",
            "Add a remote that lasts: uv run dvc remote add",
        )
    outdated = dvc_storage.outdated(project)
    if outdated:
        raise ProjectError(
            f"dvc.lock does not agree with the tree: {', '.join(outdated)} must run.", REPRO
        )


def _require_alias(alias: str, path: Sequence[str]) -> None:
    """Raises: ProjectError for an alias that the parameter `promote.path` does not have."""
    if alias not in path:
        raise ProjectError(f"promote.path has no alias {alias!r}.", nearest(alias, path))


def _require_new(record: Record, release: Release | None, alias: str) -> None:
    """Raises: ProjectError if the release had the alias before, so that it was rolled back."""
    if release and record.history(release, alias):
        raise ProjectError(
            f"{release.tag} was {alias} before and is not any more.",
            f"If you mean it: uv run mlops promote --to {alias} --reason TEXT",
        )


def _require_earlier_alias(
    record: Record, release: Release | None, alias: str, path: Sequence[str]
) -> None:
    """Raises: ProjectError if the release does not have the alias just before in the path."""
    position = path.index(alias)
    if position == 0:
        return
    earlier = path[position - 1]
    if earlier not in record.aliases(release):
        raise ProjectError(
            f"{alias} comes after {earlier}, which this model is not.",
            f"Run: uv run mlops promote --to {earlier}",
        )


def _require_same_champion(
    project: Project, record: Record, release: Release | None, report: Report, alias: str
) -> None:
    """Raises: ProjectError unless the gate compared with the release that has the alias now.

    A release that has the alias itself may pass: what it was compared with was champion before it.
    """
    current = None
    now = f"There is no {alias} now."
    holder = record.holder(alias)
    if holder:
        current = holder.release.fingerprint
        now = f"{holder.to} is {alias} now, by {holder.who}."

    compared_with = report.facts["champion"]
    has_alias = alias in record.aliases(release)
    if has_alias or current == compared_with:
        return

    before = f"The gate compared with no {alias}."
    if compared_with:
        before = f"The gate compared with {compared_with[:8]}, which is not {alias} any more."
    remedy = f"Run: uv run mlops close {project.cycle()['until']}, commit, uv run dvc repro"
    raise ProjectError(f"{before} {now}", remedy)


def _accepted_report(project: Project, override: Override | None) -> Report:
    """The gate's report on exactly this model, computed again, with the verdict ok or overridden.

    Raises: ProjectError if the stored report differs, if the verdict does not allow a promotion, or
    if models/candidate is not the model that the report is about.
    """
    report = rules.decide(project)
    stored = read_json(project.root / GATE)
    if rules.without_names(report.to_dict()) != rules.without_names(stored):
        raise ProjectError(
            "reports/gate.json is not what the gate says about these measurements.", REPRO
        )
    _require_verdict(report, override)
    _require_judged_model(project, report)
    return report


def _require_verdict(report: Report, override: Override | None) -> None:
    """Raises: ProjectError unless the verdict is ok, or is not and is overridden."""
    is_ok = report.verdict is Verdict.OK
    if is_ok and override:
        raise ProjectError(
            "The gate says ok: there is nothing to override.", "Run: uv run mlops promote"
        )
    if not is_ok and not override:
        raise ProjectError(
            f"The gate says {report.verdict}: {', '.join(report.stops)}.",
            "Read reports/gate.html",
            code=report.exit_code,
        )


def _require_judged_model(project: Project, report: Report) -> None:
    """Raises: ProjectError unless models/candidate is the model that the report is about."""
    _, path = artifact(project)
    if not (project.root / path).exists():
        raise ProjectError(f"{path} is not on this machine.", f"Run: uv run dvc pull {path}")
    expected = report.facts["model"]
    actual = digest(project.root / path, IGNORED)
    if actual != expected:
        raise ProjectError(
            f"gate.digest: {path} is not the model that the gate judged"
            f" ({actual[:8]}, not {expected[:8]}).",
            REPRO,
        )


def _outputs_to_keep(project: Project) -> list[str]:
    """The paths of what a release needs in the DVC remote.

    These are the model, and the library that judged it if dvc.lock names one.
    """
    _, model = artifact(project)
    paths = [model]
    if wheel.is_kept(project):
        paths.append(LIBRARY.as_posix())
    return paths


def _new_release(project: Project, record: Record, report: Report, reason: str) -> Release:
    """The release of models/candidate, which the record does not have yet."""
    previous = next(reversed(record.releases), None)
    lock_text = locked(project)
    who, _ = identity(project.root)
    return Release(
        name=record.name,
        version=next_version(project, previous),
        fingerprint=fingerprint(lock_text),
        digest=report.facts["model"],
        commit=head(project.root),
        verdict=str(report.verdict),
        why=reason,
        who=who,
        when=datetime.now(UTC),
        measured=measured(lock_text),
    )


def _publish(project: Project, message: str) -> str:
    """Let this machine's service and MLflow follow what is now recorded; returns all messages.

    Neither MLflow nor a look-up that fails undoes a promotion: both can follow later.
    """
    record = read(project)
    lines = [message]
    if not verify.trusted_keys(project):
        lines.append(verify.UNSIGNED)
    is_served = record.holder(project.settings().serve.alias) is not None
    if is_served:
        lines.append(deploy.serve(project, record))
    try:
        lines.append(mlflow_registry.fill(project, record))
    except ProjectError as error:
        lines.append(f"Recorded, but MLflow does not show it yet (uv run mlops mirror). {error}")
    try:
        if is_served:
            deploy.refresh_online_store(project)
    except ProjectError as error:
        lines.append(str(error))
    return "\n".join(lines)
