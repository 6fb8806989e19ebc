"""Faults in the record: not committed, not as it was judged, not to be made again, or overridden for too long."""

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
from mlgates.lineage import reproduce
from mlgates.lineage.trace import vouched
from mlgates.monitoring.watch import overridden
from mlgates.project import Project
from mlgates.registry.git import git, head
from mlgates.registry.promote import committed
from mlgates.registry.releases import Release
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict

WHO = ("-c", "user.name=prove", "-c", "user.email=prove@localhost", "-c", "commit.gpgSign=false")


@contextmanager
def _repository() -> Iterator[Project]:
    """A project in an empty git repository of its own."""
    with temporary_folder() as folder:
        git(folder, "init", "--quiet")
        yield Project(folder, "model")


def _commit(project: Project) -> str:
    git(project.root, "add", "--all")
    git(project.root, *WHO, "commit", "--quiet", "-m", "released")
    return head(project.root)


def _record(forge: Callable[[Path], None]) -> Report:
    """A release that was vetoed, and what its record says once somebody has forged its commit."""
    with _repository() as project:
        root = project.root
        write_json(root / METRICS, {"value": 0.1})
        write_json(
            root / GATE,
            Report("gate", [Check("gate.improvement", Verdict.FAIL)], {"model": "d"}).to_dict(),
        )
        outs = []
        for path in (METRICS, GATE):
            md5 = hashlib.md5((root / path).read_bytes()).hexdigest()
            outs.append({"path": path.as_posix(), "md5": md5})
        lock = json.dumps(
            {"stages": {"train": {"cmd": "train"}, "gate": {"cmd": "gate", "outs": outs}}}
        )
        write_text(root / DVC_LOCK, lock)
        forge(root)
        made = (fingerprint(lock), "d", _commit(project), "fail", "", "a", datetime.now(UTC))
        return Report(
            "record", vouched(project, Release("model", "v1.0.0", *made, measured=measured(lock)))
        )


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
    good = Report("gate", [Check("gate.improvement", Verdict.OK)], {"model": "d"})
    return _record(lambda root: write_json(root / GATE, good.to_dict()))


@fault(
    "a limit is edited in dvc.lock",
    caught_by="record.measured",
    row="Infra 4",
    spared="record.files",
)
def forged_lock(_: Bench) -> Report:
    """The gate's entry is not the one that was judged."""
    gate, other = '"cmd": "gate"', '"cmd": "other"'
    return _record(
        lambda root: write_text(root / DVC_LOCK, (root / DVC_LOCK).read_text().replace(gate, other))
    )


@fault(
    "a parameter of training is edited in dvc.lock",
    caught_by="record.model",
    row="Infra 4",
    spared="record.measured",
)
def forged_training(_: Bench) -> Report:
    """The entry of train is not that of the model that was released."""
    train, other = '"cmd": "train"', '"cmd": "other"'
    return _record(
        lambda root: write_text(
            root / DVC_LOCK, (root / DVC_LOCK).read_text().replace(train, other)
        )
    )


@fault(
    "the report of another model is put in place",
    caught_by="record.digest",
    row="Infra 4",
    spared="record.verdict",
)
def other_report(_: Bench) -> Report:
    """reports/gate.json has the released verdict, of a model that was not released."""
    other = Report("gate", [Check("gate.improvement", Verdict.FAIL)], {"model": "other"})
    return _record(lambda root: write_json(root / GATE, other.to_dict()))


@fault("a tree with changes is promoted", caught_by="Not committed", row="Model 1")
def dirty_tree(_: Bench) -> Report:
    """Somebody edits a file between training and promotion."""
    with _repository() as project:
        write_text(project.root / "model.py", "depth = 3\n")
        _commit(project)
        write_text(project.root / "model.py", "depth = 4\n")
        committed(project)
    return Report("promote", [Check("Not committed", Verdict.OK)])


@fault("the seed is the clock", caught_by="reproduce.predictions", row="Infra 1")
def clock_as_seed(bench: Bench) -> Report:
    """The same rows are fitted twice, by a model that draws its seed from the time."""
    return Report(
        "reproduce",
        [reproduce.equal(*(_fitted(bench, time.time_ns() % 2**31 + fit) for fit in range(2)))],
    )


def _fitted(bench: Bench, seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    rows = bench.rows.head(500)
    target = bench.contract.target(rows).astype(float)
    matrix = np.random.default_rng(0).normal(size=(len(rows), 3))
    return (
        ExtraTreesRegressor(5, max_depth=4, random_state=seed).fit(matrix, target).predict(matrix)
    )


def _rebuilt(oid: str = "1", number: float = 0.1) -> list[Check]:
    """What reproduce says of the data that it read and of the numbers that it measured again."""
    then, again = (
        {"deps": [{"path": CHECKED.as_posix(), "md5": md5}], "outs": []} for md5 in ("1", oid)
    )
    return [reproduce._data(then, again), reproduce.metrics({"value": 0.1}, {"value": number})]


@fault(
    "a release is made again from other data",
    caught_by="reproduce.data",
    row="Infra 1",
    spared="reproduce.metrics",
)
def other_data(_: Bench) -> Report:
    """A closed period is not what it was then."""
    return Report("reproduce", _rebuilt(oid="2"))


@fault(
    "a number of a release cannot be had again",
    caught_by="reproduce.metrics",
    row="Infra 1",
    spared="reproduce.data",
)
def other_number(_: Bench) -> Report:
    """Somebody wrote down what was never measured."""
    return Report("reproduce", _rebuilt(number=0.1 + 1e-15))


@fault(
    "the libraries of a release cannot be had again",
    caught_by="reproduce.environment",
    row="Infra 1",
    expected=Verdict.INCONCLUSIVE,
)
def lost_libraries(_: Bench) -> Report:
    """Python 3.0 trained it, which nobody can install any more."""
    with _repository() as project:
        root = project.root
        write_text(root / UV_LOCK, "version = 1\n")
        made = Release(
            "model", "v1.0.0", "f", "d", _commit(project), "ok", "", "a", datetime.now(UTC)
        )
        write_text(champion.place(project, "f") / "python_env.yaml", "python: '3.0'\n")
        return Report("reproduce", [reproduce.surroundings(project, project, root, made)[1]])


@fault("an override has ended", caught_by="monitor.override", row="Infra 7")
def ended_override(_: Bench) -> Report:
    """Nobody answers any more for a model that the gate did not pass."""
    until = datetime.now(UTC).date() - timedelta(1)
    return Report(
        "monitor", overridden({"by": "somebody", "until": str(until), "reason": "the season"})
    )


@healthy("record", seeds=1)
def healthy_record(bench: Bench, seed: int) -> Report:
    """Nothing is forged, the seed is fixed, the override has a month to go."""
    until = datetime.now(UTC).date() + timedelta(30)
    shown = overridden({"by": "somebody", "until": str(until), "reason": "the season"})
    again = reproduce.equal(_fitted(bench, seed), _fitted(bench, seed))
    return Report("record", [*_record(lambda _: None).checks, again, *_rebuilt(), *shown])
