"""Faults in the record.

Something is not committed, is not as it was judged, cannot be rebuilt, or is overridden for too
long.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from mlgates.dvc_lock import fingerprint, measured
from mlgates.faults.planting import Bench, fault, healthy
from mlgates.files import temporary_folder, write_json, write_text
from mlgates.layout import CHECKED, DVC_LOCK, GATE, METRICS, UV_LOCK
from mlgates.lineage import environment, reproduce
from mlgates.lineage.check_record import check_record
from mlgates.monitoring.watch import override_checks
from mlgates.project import Project
from mlgates.registry.git import git, head
from mlgates.registry.promote import require_committed
from mlgates.registry.releases import Release
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict

# Commits need an author, also on a machine whose git has none.
WHO = ("-c", "user.name=prove", "-c", "user.email=prove@localhost", "-c", "commit.gpgSign=false")
DIGEST = "d"  # of the model that is released
METRIC = 0.1  # what was measured of it


@contextmanager
def _repository() -> Iterator[Project]:
    """A project in an empty git repository of its own."""
    with temporary_folder() as folder:
        git(folder, "init", "--quiet")
        yield Project(folder, "model")


def _commit(project: Project) -> str:
    """Commit all files; returns the hash of the commit."""
    git(project.root, "add", "--all")
    git(project.root, *WHO, "commit", "--quiet", "-m", "released")
    return head(project.root)


def _release(model_id: str, commit: str, verdict: Verdict, gate_hash: str = "") -> Release:
    """A release of now; `gate_hash` stands for all that the gate judged."""
    return Release(
        name="model",
        version="v1.0.0",
        fingerprint=model_id,
        digest=DIGEST,
        commit=commit,
        verdict=str(verdict),
        why="",
        who="a",
        when=datetime.now(UTC),
        measured=gate_hash,
    )


def _gate_report(verdict: Verdict, digest: str = DIGEST) -> dict[str, Any]:
    """The gate's report on a model, as reports/gate.json holds it."""
    return Report("gate", [Check("gate.improvement", verdict)], {"model": digest}).to_dict()


def _lock(root: Path) -> str:
    """The text of a dvc.lock: the gate's outputs are the reports in `root`."""
    outs = []
    for path in (METRICS, GATE):
        md5 = hashlib.md5((root / path).read_bytes()).hexdigest()
        outs.append({"path": path.as_posix(), "md5": md5})
    train = {"cmd": "train"}
    gate = {"cmd": "gate", "outs": outs}
    return json.dumps({"stages": {"train": train, "gate": gate}})


def _record(forge: Callable[[Path], None]) -> Report:
    """What the record says of a model that failed in the gate, once its commit has been forged.

    `forge` is given the root of the repository and changes files before they are committed.
    """
    with _repository() as project:
        root = project.root
        write_json(root / METRICS, {"value": METRIC})
        write_json(root / GATE, _gate_report(Verdict.FAIL))
        lock = _lock(root)
        write_text(root / DVC_LOCK, lock)

        forge(root)
        commit = _commit(project)
        release = _release(fingerprint(lock), commit, Verdict.FAIL, measured(lock))
        return Report("record", check_record(project, release))


def _edit_lock(root: Path, old: str, new: str) -> None:
    """Replace a piece of dvc.lock."""
    path = root / DVC_LOCK
    write_text(path, path.read_text().replace(old, new))


@fault(
    "a number is edited in what was measured",
    caught_by="record.files",
    row="Infra 1",
    spared="record.verdict",
)
def forged_number(_: Bench) -> Report:
    """reports/metrics.json says 0.9 where 0.1 was measured."""
    return _record(lambda root: write_json(root / METRICS, {"value": 0.9}))


@fault(
    "a verdict is edited from fail to ok",
    caught_by="record.verdict",
    row="Infra 4",
    spared="record.measured",
)
def forged_verdict(_: Bench) -> Report:
    """reports/gate.json says ok where the gate said fail."""
    return _record(lambda root: write_json(root / GATE, _gate_report(Verdict.OK)))


@fault(
    "a limit is edited in dvc.lock",
    caught_by="record.measured",
    row="Infra 4",
    spared="record.files",
)
def forged_lock(_: Bench) -> Report:
    """The gate's entry is not the one that was judged."""
    return _record(lambda root: _edit_lock(root, '"cmd": "gate"', '"cmd": "other"'))


@fault(
    "a parameter of training is edited in dvc.lock",
    caught_by="record.model",
    row="Infra 4",
    spared="record.measured",
)
def forged_training(_: Bench) -> Report:
    """The entry of train is not that of the model that was released."""
    return _record(lambda root: _edit_lock(root, '"cmd": "train"', '"cmd": "other"'))


@fault(
    "the report of another model is put in place",
    caught_by="record.digest",
    row="Infra 4",
    spared="record.verdict",
)
def other_report(_: Bench) -> Report:
    """reports/gate.json has the released verdict, but is about a model that was not released."""
    other = _gate_report(Verdict.FAIL, digest="other")
    return _record(lambda root: write_json(root / GATE, other))


@fault("a tree with changes is promoted", caught_by="Not committed", row="Model 1")
def dirty_tree(_: Bench) -> Report:
    """Somebody edits a file between training and promotion."""
    with _repository() as project:
        write_text(project.root / "model.py", "depth = 3\n")
        _commit(project)
        write_text(project.root / "model.py", "depth = 4\n")
        require_committed(project)  # it must refuse
    return Report("promote", [Check("Not committed", Verdict.OK)])


@fault("the seed is the clock", caught_by="reproduce.predictions", row="Infra 1")
def clock_as_seed(bench: Bench) -> Report:
    """The same rows are fitted twice, by a model that draws its seed from the time."""
    first = _predictions(bench, time.time_ns() % 2**31)
    # A coarse clock may show the same time twice, so one is added to the second seed.
    second = _predictions(bench, time.time_ns() % 2**31 + 1)
    return Report("reproduce", [reproduce.equal(first, second)])


def _predictions(bench: Bench, seed: int) -> Any:
    """(n,) predictions of random trees for the rows that they were fitted on."""
    from sklearn.ensemble import ExtraTreesRegressor

    rows = bench.rows.head(500)
    target = bench.contract.target(rows).astype(float)
    matrix = np.random.default_rng(0).normal(size=(len(rows), 3))
    trees = ExtraTreesRegressor(5, max_depth=4, random_state=seed)
    return trees.fit(matrix, target).predict(matrix)


def _rebuilt(data_hash: str = "1", metric: float = METRIC) -> list[Check]:
    """What reproduce says of the data that it read and of the metric that it measured again.

    In the record they are "1" and `METRIC`.
    """
    recorded = {"deps": [{"path": CHECKED.as_posix(), "md5": "1"}], "outs": []}
    again = {"deps": [{"path": CHECKED.as_posix(), "md5": data_hash}], "outs": []}
    return [
        reproduce.data(recorded, again),
        reproduce.metrics({"value": METRIC}, {"value": metric}),
    ]


@fault(
    "a release is made again from other data",
    caught_by="reproduce.data",
    row="Infra 1",
    spared="reproduce.metrics",
)
def other_data(_: Bench) -> Report:
    """A closed period has changed since the release."""
    return Report("reproduce", _rebuilt(data_hash="2"))


@fault(
    "a number of a release cannot be had again",
    caught_by="reproduce.metrics",
    row="Infra 1",
    spared="reproduce.data",
)
def other_number(_: Bench) -> Report:
    """The recorded number was never measured; it differs in the 15th decimal place."""
    return Report("reproduce", _rebuilt(metric=METRIC + 1e-15))


@fault(
    "the libraries of a release cannot be had again",
    caught_by="reproduce.environment",
    row="Infra 1",
    expected=Verdict.INCONCLUSIVE,
)
def lost_libraries(_: Bench) -> Report:
    """It was trained with Python 3.0, which cannot be installed any more."""
    with _repository() as project:
        root = project.root
        write_text(root / UV_LOCK, "version = 1\n")
        release = _release("f", _commit(project), Verdict.OK)
        folder = champion.model_path(project, release.fingerprint)
        write_text(folder / "python_env.yaml", "python: '3.0'\n")
        _environment, check = environment.environment_of(project, project, root, release)
        return Report("reproduce", [check])


def _override(days: int) -> list[Check]:
    """The monitor's check of an override that ends in so many days; negative is in the past."""
    until = datetime.now(UTC).date() + timedelta(days)
    return override_checks({"by": "somebody", "until": str(until), "reason": "the season"})


@fault("an override has ended", caught_by="monitor.override", row="Infra 7")
def ended_override(_: Bench) -> Report:
    """A model that the gate did not pass is in service a day longer than it was allowed to be."""
    return Report("monitor", _override(days=-1))


@healthy("record", seeds=1)
def healthy_record(bench: Bench, seed: int) -> Report:
    """Nothing is forged, the seed is fixed, the override has a month to go."""
    checks = [*_record(lambda _: None).checks]
    checks.append(reproduce.equal(_predictions(bench, seed), _predictions(bench, seed)))
    checks.extend(_rebuilt())
    checks.extend(_override(days=30))
    return Report("record", checks)
