"""Lineage both ways: what made a release and what it served; which models saw a period. Read from git and the logs."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from mlgates.dvc_lock import fingerprint, measured, stages
from mlgates.errors import ProjectError, nearest
from mlgates.grid import Grid
from mlgates.layout import (
    DATA,
    DVC_LOCK,
    GATE,
    MANIFEST,
    METRICS,
    TRAINING,
    UV_LOCK,
    prediction_logs,
)
from mlgates.project import Project
from mlgates.registry.git import git
from mlgates.registry.mlflow_client import flat, parameters
from mlgates.registry.releases import Record, Release, artifact, read, show, show_json
from mlgates.reports import number, worst_first
from mlgates.verdict import Check, Report, Verdict, at_most

LEAST = 4  # characters of a fingerprint that are taken for one


def trace(project: Project, what: str | None = None) -> tuple[str, Verdict]:
    """A release, a prediction or a period, told as a table; without any of them all releases.

    The verdict is that of `vouched`, for a release. Raises: ProjectError if nothing has that name.
    """
    record = read(project)
    if what is None:
        return _releases(project, record), Verdict.OK
    if release := found(record, what):
        return _release(project, record, release)
    if saw := list(_saw(project, record, what)):
        return Grid([f"period {what}", "seen as", "data", "alias"], saw).text(), Verdict.OK
    if made := prediction(project, what):
        at, name = datetime.fromtimestamp(made["at"], UTC), made["release"]
        told = f"prediction {what}, made {at:%Y-%m-%d %H:%M:%S} UTC by {name}"
        if not (release := record.of(made["fingerprint"])):
            raise ProjectError(
                f"{told}, which the record does not have ({made['fingerprint'][:8]})."
            )
        text, verdict = _release(project, record, release)
        return f"{told}\n\n{text}", verdict
    known = {
        part
        for release in record.releases
        for part in (release.version, *_manifest(project, release))
    }
    told = f"{what!r} is no release, no period of a release and no prediction that was logged here."
    raise ProjectError(
        told,
        nearest(what, known) if known else "Nothing was released yet. Run: uv run mlops status",
    )


def found(record: Record, what: str) -> Release | None:
    """The release of that version, tag or beginning of a fingerprint."""
    starts = what if len(what) >= LEAST else "none"
    named = [
        one
        for one in record.releases
        if what in (one.version, one.tag) or one.fingerprint.startswith(starts)
    ]
    return named[0] if len(named) == 1 else None


def vouched(project: Project, release: Release) -> list[Check]:
    """Whether the commit of a release still says what its annotation says: model, numbers, limits, verdict."""
    lock, name = show(project, release.commit, DVC_LOCK), f"{release.commit[:8]}:{DVC_LOCK}"
    parts = [
        part
        for entry in stages(lock).values()
        for side in ("deps", "outs")
        for part in entry.get(side, [])
    ]
    hashes = {part["path"]: part.get("md5") for part in parts if part["path"].endswith(".json")}
    texts = {path: text for path in hashes if (text := show(project, release.commit, path))}
    other = [
        path for path, text in texts.items() if hashes[path] not in (_md5(text), _md5(f"{text}\n"))
    ]
    gate_path = GATE.as_posix()
    gate = Report.from_dict(json.loads(texts[gate_path])) if gate_path in texts else Report("gate")
    checks = [
        _same("record.model", release.fingerprint, lock and fingerprint(lock), f"train in {name}"),
        _same("record.measured", release.measured, lock and measured(lock), f"gate in {name}"),
        at_most("record.files", len(other), 0, len(texts), evidence=", ".join(other)),
        _same("record.verdict", release.verdict, str(gate.verdict), f"checks in {gate_path}"),
        _same(
            "record.digest", release.digest, gate.facts.get("model", ""), f"model in {gate_path}"
        ),
    ]
    return (
        checks
        if texts
        else [*checks[:2], Check("record.files", Verdict.INCONCLUSIVE, evidence="no reports there")]
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _same(name: str, recorded: str, now: str, where: str) -> Check:
    if not recorded:
        return Check(
            name,
            Verdict.INCONCLUSIVE,
            required=False,
            evidence="the release's tag does not name it",
        )
    same = recorded == now
    return Check(
        name,
        Verdict.OK if same else Verdict.FAIL,
        now[:8],
        recorded[:8],
        evidence="" if same else where,
    )


def _manifest(project: Project, release: Release) -> dict[str, Any]:
    return show_json(project, release.commit, MANIFEST)


def _releases(project: Project, record: Record) -> str:
    rows = []
    for one in reversed(record.releases):
        periods = show_json(project, one.commit, TRAINING).get("periods", {})
        data = " > ".join(", ".join(periods.get(part, [])) for part in ("train", "evaluation"))
        overrides = [str(entry.override) for entry in record.history(one) if entry.override]
        told = "; ".join(filter(None, [f"{one.who}: {one.why}", one.erased, *overrides[-1:]]))
        when = f"{one.when:%Y-%m-%d %H:%M}"
        rows.append(
            [
                one.version,
                one.fingerprint[:8],
                ", ".join(record.aliases(one)),
                one.verdict,
                data,
                when,
                told,
            ]
        )
    return Grid(
        [record.name, "model", "alias", "gate", "trained > evaluated", "released (UTC)", "by"], rows
    ).text()


def _release(project: Project, record: Record, release: Release) -> tuple[str, Verdict]:
    report = Report("record", vouched(project, release))
    rows = [list(row) for row in _told(project, record, release)]
    for check in worst_first(report.checks):
        value = f": {check.value} is not {check.limit}" if check.verdict is Verdict.FAIL else ""
        rows += (
            [[check.name, f"{check.verdict}{value}  {check.evidence}"]]
            if check.verdict is not Verdict.OK
            else []
        )
    return Grid(
        [release.tag, f"released {release.when:%Y-%m-%d %H:%M} UTC"], rows
    ).text(), report.verdict


def _told(project: Project, record: Record, release: Release) -> Iterator[tuple[str, str]]:
    lock, (_, path) = show(project, release.commit, DVC_LOCK), artifact(project)
    gate = show_json(project, release.commit, GATE)
    metrics = show_json(project, release.commit, METRICS)
    outs = {
        out["path"]: f"{out.get('md5')} in DVC"
        for entry in stages(lock).values()
        for out in entry.get("outs", [])
    }
    if release.erased:
        yield "erased", release.erased
    yield (
        "model",
        f"fingerprint {release.fingerprint}, digest {release.digest[:8]}, {outs.get(path)}",
    )
    made = ("show", "--no-patch", "--date=short", "--format=%h of %ad by %an: %s", release.commit)
    yield "commit", git(project.root, *made)
    facts = gate.get("facts", {})
    yield "data", f"trained on {facts.get('trained on')}; evaluated on {facts.get('evaluated on')}"
    yield from ((name, oid) for name, oid in outs.items() if name.startswith(f"{DATA}/"))
    yield "parameters", _changed(project, record, release)
    libraries = show(project, release.commit, UV_LOCK)
    yield (
        UV_LOCK.name,
        hashlib.sha256(libraries.encode()).hexdigest() if libraries else "none at that commit",
    )
    yield "gate", f"{gate.get('verdict')}: {gate.get('title')}"
    for model, values in metrics.get("values", {}).items():
        yield (
            f"  {model}",
            ", ".join(f"{name} {number(entry['value'])}" for name, entry in values.items()),
        )
    yield "numbers", f"{release.measured[:8] or 'no hash'} vouches for them"
    yield "released", f"by {release.who}: {release.why}"
    for entry in record.history(release):
        more = f"; {release.verdict} {entry.override}" if entry.override else ""
        after = f", after {entry.from_}" if entry.from_ else ""
        yield entry.tag, f"{entry.when:%Y-%m-%d %H:%M} UTC by {entry.who}{after}: {entry.why}{more}"
    yield "alias now", ", ".join(record.aliases(release)) or "none"
    yield "served here", _served(project, release)


def _changed(project: Project, record: Record, release: Release) -> str:
    """Parameters that are not those of the release before; all that training reads, for the first."""
    now = used_parameters(project, release)
    before = [other for other in record.releases if other.order < release.order]
    if not before:
        return ", ".join(
            f"{name} {now[name]}" for name in sorted(now) if name.startswith(("model.", "train."))
        )
    then = used_parameters(project, before[-1])
    changed = []
    for name in sorted(now | then):
        if now.get(name) != then.get(name):
            changed.append(f"{name} {then.get(name)} -> {now.get(name)}")
    return f"since {before[-1].version}: {', '.join(changed) or 'the same'}"


def used_parameters(project: Project, release: Release) -> dict[str, Any]:
    """The parameters of a release: those that dvc.lock names, and all that training used.

    dvc.lock has what the team set in params.yaml; reports/train.json has the defaults of the library too.
    """
    lock = show(project, release.commit, DVC_LOCK)
    trained = show_json(project, release.commit, TRAINING)
    return parameters(stages(lock).values()) | flat(trained.get("params", {}))


def _saw(project: Project, record: Record, period: str) -> Iterator[list[str]]:
    """The releases that saw a period: as what (`trained`, `champion before v1.1.0`), and which version of it."""
    told: dict[str, list[str]] = {release.fingerprint: [] for release in record.releases}
    for release in record.releases:
        facts = show_json(project, release.commit, GATE).get("facts", {})
        for word in ("trained", "evaluated"):
            if period in str(facts.get(f"{word} on")).split(", "):
                told[release.fingerprint].append(word)
        champion = facts.get("champion", facts.get("opponent"))  # the second until 0.3
        if "evaluated" in told[release.fingerprint] and champion in told:
            told[champion].append(f"champion before {release.version}")
    for release in record.releases:
        if seen := told[release.fingerprint]:
            tables = _manifest(project, release).get(
                period, {}
            )  # an amended period has another hash
            data = ", ".join(
                f"{name} {held['sha256'][:8]} ({held['rows']:,})" for name, held in tables.items()
            )
            yield [release.tag, ", ".join(seen), data, ", ".join(record.aliases(release))]


def _query(project: Project, sql: str, value: str) -> Iterator[sqlite3.Row]:
    for path in prediction_logs(project.root):
        try:
            with closing(
                sqlite3.connect(f"file:{path.as_posix()}?mode=ro", uri=True, timeout=10)
            ) as database:
                database.row_factory = sqlite3.Row
                yield from database.execute(sql, [value]).fetchall()
        except sqlite3.DatabaseError as error:
            if "no such table" in str(error):  # nothing was answered yet
                continue
            raise ProjectError(
                f"{path.name} of the prediction log cannot be read: {error}", "Move it away."
            ) from error


def prediction(project: Project, name: str) -> sqlite3.Row | None:
    """Who answered and when, if this machine logged a prediction of that id."""
    sql = "SELECT at, release, fingerprint FROM predictions WHERE prediction_id = ?"
    return next(_query(project, sql, name), None)


def _served(project: Project, release: Release) -> str:
    sql = "SELECT count(*) AS rows, min(at) AS first, max(at) AS last FROM predictions WHERE fingerprint = ?"
    parts = [row for row in _query(project, sql, release.fingerprint) if row["rows"]]
    if not parts:
        return "no row in this machine's log"
    ends = (min(row["first"] for row in parts), max(row["last"] for row in parts))
    first, last = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" for at in ends)
    return f"{sum(row['rows'] for row in parts):,} rows, {first} to {last} UTC"
