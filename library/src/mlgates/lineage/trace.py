"""`mlops trace`: lineage both ways, read from git and the prediction log.

From a release or a prediction to what made it and what it served; from a period to the models that
saw it.
"""

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mlgates.dvc_lock import stages
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
from mlgates.lineage import stage_files
from mlgates.lineage.check_record import check_record
from mlgates.project import Project
from mlgates.registry.git import git
from mlgates.registry.mlflow_client import flat, parameters
from mlgates.registry.releases import Record, Release, artifact, read, show, show_json
from mlgates.reports import number, worst_first
from mlgates.verdict import Report, Verdict

MIN_CHARACTERS = 4  # of a fingerprint: fewer would find a release by chance


def trace(project: Project, what: str | None = None) -> tuple[Grid, Verdict]:
    """A table about a release, a prediction or a period; without any of them of all releases.

    The verdict is that of `check_record` on the release; `ok` for a period and for all releases.
    Raises: ProjectError if nothing has that name.
    """
    record = read(project)
    if what is None:
        return _all_releases(project, record), Verdict.OK

    release = find_release(record, what)
    if release:
        return _release(project, record, release)

    uses = _uses_of_period(project, record, what)
    if uses:
        headings = [f"period {what}", "seen as", "data", "alias"]
        return Grid(headings, uses), Verdict.OK

    logged = prediction(project, what)
    if logged:
        return _prediction(project, record, what, logged)
    raise _unknown_name(project, record, what)


def _unknown_name(project: Project, record: Record, what: str) -> ProjectError:
    """The error for a name that belongs to nothing, with the most similar name as its remedy."""
    names = set()
    for release in record.releases:
        names.add(release.version)
        names.update(_manifest(project, release))
    return ProjectError(
        f"{what!r} is not a release, a period of a release or a prediction that was logged here.",
        similar(what, names),
    )


def similar(name: str, known: Collection[str]) -> str:
    """The remedy for the name of a release that does not exist, given the names that do."""
    remedy = "Nothing was released yet. Run: uv run mlops status"
    if known:
        remedy = nearest(name, known)
    return remedy


def find_release(record: Record, what: str) -> Release | None:
    """The release with that version, tag or beginning of its fingerprint; None unless it is one."""
    matching = []
    for release in record.releases:
        beginning = release.fingerprint[: max(len(what), MIN_CHARACTERS)]
        if what in (release.version, release.tag, beginning):
            matching.append(release)
    return matching[0] if len(matching) == 1 else None


# A table of all releases


def _all_releases(project: Project, record: Record) -> Grid:
    """A line for each release, the newest first."""
    headings = [
        record.name,
        "model",
        "alias",
        "gate",
        "trained > evaluated",
        "released (UTC)",
        "by",
    ]
    rows = []
    for release in reversed(record.releases):
        row = [
            release.version,
            release.fingerprint[:8],
            ", ".join(record.aliases(release)),
            release.verdict,
            _periods(project, release),
            f"{release.when:%Y-%m-%d %H:%M}",
            _reasons(record, release),
        ]
        rows.append(row)
    return Grid(headings, rows)


def _periods(project: Project, release: Release) -> str:
    """The periods that a release was trained and evaluated on."""
    periods = show_json(project, release.commit, TRAINING).get("periods", {})
    trained = ", ".join(periods.get("train", []))
    evaluated = ", ".join(periods.get("evaluation", []))
    return f"{trained} > {evaluated}"


def _reasons(record: Record, release: Release) -> str:
    """Who released it and why, whether it was erased, and its last override."""
    reasons = [f"{release.who}: {release.why}"]
    if release.erased:
        reasons.append(release.erased)
    overrides = []
    for entry in record.history(release):
        if entry.override:
            overrides.append(str(entry.override))
    reasons += overrides[-1:]
    return "; ".join(reasons)


# A table of one release


def _release(project: Project, record: Record, release: Release) -> tuple[Grid, Verdict]:
    """What made a release and what it served, and the verdict on its record."""
    report = Report("record", check_record(project, release))
    rows = []
    if release.erased:
        rows.append(["erased", release.erased])
    rows += _training_rows(project, record, release)
    rows += _gate_rows(project, release)
    rows += _history_rows(record, release)
    rows.append(["served here", _served(project, release)])
    rows += _problem_rows(report)
    headings = [release.tag, f"released {release.when:%Y-%m-%d %H:%M} UTC"]
    return Grid(headings, rows), report.verdict


def _training_rows(project: Project, record: Record, release: Release) -> list[list[str]]:
    """The model, and what it was made of: commit, data, parameters and libraries."""
    outputs: stage_files.Hashes = {}
    for stage in stages(show(project, release.commit, DVC_LOCK)).values():
        outputs.update(stage_files.outputs(stage))
    _, path = artifact(project)
    model = f"fingerprint {release.fingerprint}, digest {release.digest[:8]}"
    model += f", {outputs.get(path)} in DVC"
    commit = git(
        project.root,
        "show",
        "--no-patch",
        "--date=short",
        "--format=%h of %ad by %an: %s",
        release.commit,
    )
    facts = show_json(project, release.commit, GATE).get("facts", {})
    data = f"trained on {facts.get('trained on')}; evaluated on {facts.get('evaluated on')}"

    rows = [["model", model], ["commit", commit], ["data", data]]
    for name, md5 in outputs.items():
        if name.startswith(f"{DATA}/"):
            rows.append([name, f"{md5} in DVC"])
    rows.append(["parameters", _changed_parameters(project, record, release)])
    libraries = show(project, release.commit, UV_LOCK)
    digest = "none at that commit"
    if libraries:
        digest = hashlib.sha256(libraries.encode()).hexdigest()
    rows.append([UV_LOCK.name, digest])
    return rows


def _gate_rows(project: Project, release: Release) -> list[list[str]]:
    """The gate's verdict, and the metrics that it judged."""
    gate = show_json(project, release.commit, GATE)
    rows = [["gate", f"{gate.get('verdict')}: {gate.get('title')}"]]
    metrics = show_json(project, release.commit, METRICS)
    for model, values in metrics.get("values", {}).items():
        cells = [f"{name} {number(measured['value'])}" for name, measured in values.items()]
        rows.append([f"  {model}", ", ".join(cells)])
    recorded = "no hash of them is recorded"
    if release.measured:
        recorded = f"recorded under the hash {release.measured[:8]}"
    rows.append(["numbers", recorded])
    return rows


def _history_rows(record: Record, release: Release) -> list[list[str]]:
    """Who released it, each time that it got an alias, and the aliases that it has now."""
    rows = [["released", f"by {release.who}: {release.why}"]]
    for entry in record.history(release):
        event = f"{entry.when:%Y-%m-%d %H:%M} UTC by {entry.who}"
        if entry.from_:
            event += f", after {entry.from_}"
        event += f": {entry.why}"
        if entry.override:
            event += f"; {release.verdict} {entry.override}"
        rows.append([entry.tag, event])
    rows.append(["alias now", ", ".join(record.aliases(release)) or "none"])
    return rows


def _problem_rows(report: Report) -> list[list[str]]:
    """The checks of the record that are not ok, the worst first."""
    rows = []
    for check in worst_first(report.checks):
        if check.verdict is Verdict.OK:
            continue
        verdict = str(check.verdict)
        if check.verdict is Verdict.FAIL:
            verdict += f": {check.value} is not {check.limit}"
        rows.append([check.name, f"{verdict}  {check.evidence}"])
    return rows


def _changed_parameters(project: Project, record: Record, release: Release) -> str:
    """The parameters that differ from the release before; for the first one all of training."""
    now = used_parameters(project, release)
    place = record.releases.index(release)
    if place == 0:
        used = []
        for name, value in sorted(now.items()):
            if name.startswith(("model.", "train.")):
                used.append(f"{name} {value}")
        return ", ".join(used)

    previous = record.releases[place - 1]
    then = used_parameters(project, previous)
    different = sorted(dict(now.items() ^ then.items()))  # names, of which one may lack a value
    changed = [f"{name} {then.get(name)} -> {now.get(name)}" for name in different]
    return f"since {previous.version}: {', '.join(changed) or 'the same'}"


def used_parameters(project: Project, release: Release) -> dict[str, Any]:
    """The parameters of a release by dotted name: those in dvc.lock, and all that training used.

    dvc.lock has what the team set in params.yaml. reports/train.json has the library's defaults
    too.
    """
    lock = show(project, release.commit, DVC_LOCK)
    trained = show_json(project, release.commit, TRAINING)
    return parameters(stages(lock).values()) | flat(trained.get("params", {}))


# A table of one period


def _uses_of_period(project: Project, record: Record, period: str) -> list[list[str]]:
    """A row for each release that saw a period: its tag, as what, the data, and its aliases.

    The data are named by their hash: an amended period has another one.
    """
    uses = _uses_by_model(project, record, period)
    rows = []
    for release in record.releases:
        if release.fingerprint in uses:
            seen_as = ", ".join(uses[release.fingerprint])
            aliases = ", ".join(record.aliases(release))
            rows.append([release.tag, seen_as, _data_of_period(project, release, period), aliases])
    return rows


def _uses_by_model(project: Project, record: Record, period: str) -> dict[str, list[str]]:
    """What each model saw a period for, by fingerprint.

    `trained`, `evaluated`, or `champion against v1.1.0` where the candidate v1.1.0 was compared
    with it.
    """
    uses: dict[str, list[str]] = defaultdict(list)
    for release in record.releases:
        facts = show_json(project, release.commit, GATE).get("facts", {})
        for use in ("trained", "evaluated"):
            if period in str(facts.get(f"{use} on")).split(", "):
                uses[release.fingerprint].append(use)
        champion = facts.get("champion", facts.get("opponent"))  # the second until 0.3
        if "evaluated" in uses.get(release.fingerprint, []):
            uses[champion].append(f"champion against {release.version}")
    return uses


def _data_of_period(project: Project, release: Release, period: str) -> str:
    """The tables of a period that a release saw, with their hashes and rows."""
    tables = []
    for name, table in _manifest(project, release).get(period, {}).items():
        tables.append(f"{name} {table['sha256'][:8]} ({table['rows']:,})")
    return ", ".join(tables)


def _manifest(project: Project, release: Release) -> dict[str, Any]:
    """The periods that a release knew, with the tables of each."""
    return show_json(project, release.commit, MANIFEST)


# The prediction log of this machine


def _prediction(
    project: Project, record: Record, name: str, logged: sqlite3.Row
) -> tuple[Grid, Verdict]:
    """When a prediction was made, and the table of the release that made it."""
    made = datetime.fromtimestamp(logged["at"], UTC)
    story = f"{name}, made {made:%Y-%m-%d %H:%M:%S} UTC by {logged['release']}"
    release = record.release_of_model(logged["fingerprint"])
    if not release:
        model = logged["fingerprint"][:8]
        raise ProjectError(
            f"Prediction {story}. The record does not have its model {model}.",
            "Run: git fetch --tags",
        )
    table, verdict = _release(project, record, release)
    return replace(table, rows=[["prediction", story], *table.rows]), verdict


def prediction(project: Project, name: str) -> sqlite3.Row | None:
    """Who made a prediction and when: `at`, `release` and `fingerprint`; None if it is not here."""
    sql = "SELECT at, release, fingerprint FROM predictions WHERE prediction_id = ?"
    return next(_query(project, sql, name), None)


def _served(project: Project, release: Release) -> str:
    """How many rows of this machine's log a release answered, and when."""
    sql = (
        "SELECT count(*) AS rows, min(at) AS first, max(at) AS last"
        " FROM predictions WHERE fingerprint = ?"
    )
    rows = 0
    times = []
    for counted in _query(project, sql, release.fingerprint):  # one row for each file of the log
        if counted["rows"]:
            rows += counted["rows"]
            times += [counted["first"], counted["last"]]
    if not rows:
        return "no row in this machine's log"
    first = datetime.fromtimestamp(min(times), UTC)
    last = datetime.fromtimestamp(max(times), UTC)
    return f"{rows:,} rows, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"


def _query(project: Project, sql: str, value: str) -> Iterator[sqlite3.Row]:
    """The rows that a query with one parameter finds in all files of the prediction log."""
    for path in prediction_logs(project.root):
        address = f"file:{path.as_posix()}?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=10)) as database:
                database.row_factory = sqlite3.Row
                yield from database.execute(sql, [value]).fetchall()
        except sqlite3.DatabaseError as error:
            if "no such table" in str(error):  # the service has not answered a request yet
                continue
            raise ProjectError(
                f"{path.name} of the prediction log cannot be read: {error}", "Move it away."
            ) from error
