"""`mlops reproduce`: a release made again in a clean clone, from git and the DVC remote alone, and compared."""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ..pipeline.train import CANDIDATE
from ..project import PACKAGE, ProjectError, digest, nearest, read_json, read_yaml, write_json
from ..scoring import IGNORED
from ..verdict import Check, Report, Verdict, at_most
from . import storage
from .follow import bring, fetch
from .git import git
from .record import BEFORE_REFIT, Record, Release, freshen, locked, read, show, stages
from .scratch import environment
from .trace import found, vouched

TRAIN, MEASURING, GATE = "train", ("evaluate", "refit", *BEFORE_REFIT), "gate"
SYNC = ("sync", "--frozen", "--quiet", "--no-install-project", "--no-compile-bytecode", "--python")
SPEED = ("seconds", "milliseconds_1", "milliseconds_100", "microseconds", "batch_microseconds", "lookup_microseconds")
OF_THE_MACHINE = {*SPEED, "memory", "bytes", "measured"}  # the last is the day
REPORTS = "reports"
SCORES = f"""
import sys
from pathlib import Path
import numpy as np
import pandas as pd
from {PACKAGE}.ops.project import yours
from {PACKAGE}.ops.scoring import load
team, rows = yours(), pd.read_parquet("data/evaluation.parquet")
for folder, target in zip(sys.argv[1::2], sys.argv[2::2]):
    scorer = load(Path(folder), team.contract, team.features)
    np.save(target, scorer.score(scorer.matrix(team.contract.arrays(rows))))
"""


def reproduce(root: Path, name: str) -> Report:
    """Rebuild a release and compare data, predictions, numbers and model with what was released.

    What cannot be had any more is `insufficient` and says what is missing.
    Raises: ProjectError if there is no such release.
    """
    away, started = freshen(root), time.monotonic()
    record = read(root)
    if not (release := found(record, name)):
        told = f"There is no release {name!r}."
        raise ProjectError(told, nearest(name, [one.version for one in record.releases]) if record.releases else "")
    report = Report(f"reproduce  {release.tag} ({release.fingerprint[:8]})", vouched(root, release))
    if release.erased:
        report.checks.append(_missing("reproduce.data", release.erased))
        return report
    try:
        with clean(root, release.commit) as (work, base):
            report.checks += _rebuilt(root, work, base, record, release)
    except ProjectError as error:
        report.checks.append(_missing("reproduce.data", str(error)))
    report.facts["seconds"] = round(time.monotonic() - started, 1)
    report.title += f", {report.facts['seconds']} s{away}"
    return report


def _missing(name: str, told: str) -> Check:
    return Check(name, Verdict.INSUFFICIENT, evidence=" ".join(told.split()))


@contextmanager
def clean(root: Path, commit: str) -> Iterator[tuple[Path, Path]]:
    """The project as it was at a commit, in a clone with an empty cache; and the folder around the clone.

    Git alone fills it: the repository here, whose tags `settle` has just made equal to the remote's.
    """
    top, prefix = git(root, "rev-parse", "--show-toplevel"), git(root, "rev-parse", "--show-prefix")
    with tempfile.TemporaryDirectory(prefix="mlops-", ignore_cleanup_errors=True) as folder:
        base = Path(folder).resolve()
        git(base, "clone", "--quiet", "--no-checkout", top, root.name)
        git(base / root.name, "checkout", "--quiet", "--detach", commit)
        work = base / root.name / prefix
        with environment(work):
            yield work, base


def _rebuilt(root: Path, work: Path, base: Path, record: Record, release: Release) -> Iterator[Check]:
    """The checks of a rebuild, in the order in which they can be made; ends where the next cannot be."""
    storage.lend(root, work, base / "cache")
    lock, released, then = stages(locked(work)), fetch(work, release), _reports(work)
    for path in list(_needed(work, lock)):
        storage.pull(work, path)
    programs, told = surroundings(root, work, base, release)
    yield told
    if said := _run(work, programs, TRAIN):
        yield Check("reproduce.predictions", Verdict.FAIL, evidence=said)
        return
    yield _data(lock[TRAIN], stages(locked(work))[TRAIN])
    yield _predictions(work, programs, base, released)
    made = digest(work / CANDIDATE, IGNORED)
    same = Verdict.OK if made == release.digest else Verdict.INSUFFICIENT
    yield Check("reproduce.model", same, made[:8], release.digest[:8], required=False, evidence="bytes of the model")
    try:
        _opponent(work, record)
    except ProjectError as error:
        yield _missing("reproduce.metrics", str(error))
        return
    for stage in _measuring(lock):
        if said := _run(work, programs, stage):
            yield Check("reproduce.metrics", Verdict.FAIL, evidence=said)
            return
    again = _reports(work)
    yield metrics(then, again)
    for name, content in again.items():
        write_json(work / REPORTS / name, _as_fast(content, then.get(name)))
    if said := _run(work, programs, GATE):
        yield Check("reproduce.verdict", Verdict.FAIL, evidence=said)
        return
    verdict = str(Report.from_dict(read_json(work / REPORTS / "gate.json")).verdict)
    same = Verdict.OK if verdict == release.verdict else Verdict.FAIL
    yield Check("reproduce.verdict", same, verdict, release.verdict, evidence="what the gate says of these numbers")


def surroundings(root: Path, work: Path, base: Path, release: Release) -> tuple[Path, Check]:
    """The programs to rebuild with: this interpreter's where version and uv.lock are those of then, else made by uv."""
    here, name = Path(sys.executable).parent, "reproduce.environment"
    then = str(read_yaml(work / "var/models" / release.fingerprint / "python_env.yaml")["python"])
    lock, present = show(work, release.commit, "uv.lock"), root / "uv.lock"
    current = present.read_text(encoding="utf-8") if present.exists() else ""
    python = platform.python_version()
    if python == then and lock.strip() == current.strip():
        told = "" if lock else "; the release has no uv.lock"
        return here, Check(name, Verdict.OK, python, then, evidence=f"this interpreter{told}")
    if not lock:
        return here, Check(name, Verdict.INSUFFICIENT, python, then, required=False, evidence="this one; no uv.lock")
    settings = os.environ | {"UV_PROJECT_ENVIRONMENT": str(base / "env")}
    try:
        done = subprocess.run(["uv", *SYNC, then], cwd=work, env=settings, capture_output=True, text=True)
        said = (done.stderr.strip().splitlines() or ["no reason"])[-1] if done.returncode else ""
    except FileNotFoundError:
        said = "uv is not installed"
    if said:
        told = f"this interpreter, for uv sync cannot make that of then: {said}"
        return here, Check(name, Verdict.INSUFFICIENT, python, then, evidence=told)
    programs = base / "env" / here.name
    return programs, Check(name, Verdict.OK, then, then, evidence="made again by uv sync --frozen")


def _measuring(lock: dict[str, Any]) -> list[str]:
    """The measuring stages that the release has."""
    return [name for name in MEASURING if name in lock]


def _needed(work: Path, lock: dict[str, Any]) -> Iterator[str]:
    """What the stages read and neither they nor git have."""
    names = [TRAIN, *_measuring(lock), GATE]
    made = {out["path"] for name in names for out in lock[name]["outs"]}
    deps = dict.fromkeys(dep["path"] for name in names for dep in lock[name]["deps"])
    yield from (path for path in deps if path not in made and not (work / path).exists())


def _reports(work: Path) -> dict[str, Any]:
    """The reports that are in git, by name."""
    paths = sorted((work / REPORTS).rglob("*.json"))
    return {path.relative_to(work / REPORTS).as_posix(): read_json(path) for path in paths}


def _run(work: Path, programs: Path, stage: str) -> str:
    """Run a stage as DVC does, with the programs of then; returns why they stopped, or nothing."""
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    words = [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", "--no-commit", stage]
    done = subprocess.run(words, cwd=work, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    lines = [line for line in done.stderr.strip().splitlines() if line.startswith(("error:", "ERROR:"))]
    return f"{stage} stopped: {' '.join(lines[:2]) or done.stderr[-200:]}" if done.returncode else ""


def _data(then: dict[str, Any], again: dict[str, Any]) -> Check:
    """`reproduce.data`: what training read, and the rows to evaluate on, are those of then."""
    sides = [{part["path"]: part["md5"] for part in [*entry["deps"], *entry["outs"]]} for entry in (then, again)]
    compared = [path for path in sides[0] if not path.startswith(("models/", "reports/"))]
    other = [path for path in compared if sides[1].get(path) != sides[0][path]]
    return at_most("reproduce.data", len(other), 0, len(compared), evidence=", ".join(other) or "hashes equal")


def _predictions(work: Path, programs: Path, base: Path, released: Path) -> Check:
    files = [base / "then.npy", base / "again.npy"]
    words = [str(part) for pair in zip((released, work / CANDIDATE), files, strict=True) for part in pair]
    python = str(programs / Path(sys.executable).name)
    done = subprocess.run([python, "-c", SCORES, *words], cwd=work, capture_output=True, text=True)
    if done.returncode:
        return Check("reproduce.predictions", Verdict.FAIL, evidence=done.stderr.strip().rpartition("\n")[2])
    return equal(*map(np.load, files))


def equal(then: np.ndarray, again: np.ndarray) -> Check:
    """`reproduce.predictions`: no score differs, not in its last bit."""
    if then.shape != again.shape:
        return Check("reproduce.predictions", Verdict.FAIL, str(again.shape), str(then.shape))
    differ = (then != again) & ~(np.isnan(then) & np.isnan(again))
    largest = float(np.nanmax(np.abs(then - again), initial=0.0))
    told = f"rows that differ; largest difference {largest:.3g}"
    return at_most("reproduce.predictions", int(differ.sum()), 0, len(then), evidence=told)


def _as_fast(again: Any, then: Any, name: str = "") -> Any:
    """Measurements with what those of then say of speed and memory."""
    if isinstance(again, dict):
        known = then if isinstance(then, dict) else {}
        return {key: _as_fast(part, known.get(key), key) for key, part in again.items()}
    if isinstance(again, list):
        parts = then if isinstance(then, list) else []
        return [_as_fast(part, one) for part, one in zip_longest(again, parts[: len(again)])]
    return then if name in OF_THE_MACHINE else again


def metrics(then: dict[str, Any], again: dict[str, Any]) -> Check:
    """`reproduce.metrics`: every number is that of then, but for speed and memory."""
    sides = [_leaves(then), _leaves(_as_fast(again, then))]
    other = sorted({name for name, _ in sides[0].items() ^ sides[1].items()})
    few = ", ".join(f"{name[1:]}: {sides[1].get(name)}, recorded {sides[0].get(name)}" for name in other[:3])
    return at_most("reproduce.metrics", len(other), 0, len(sides[0]), evidence=few or "numbers equal")


def _leaves(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict | list):
        return {prefix: content}
    parts = content.items() if isinstance(content, dict) else enumerate(content)
    return {name: leaf for key, part in parts for name, leaf in _leaves(part, f"{prefix}.{key}").items()}


def _opponent(work: Path, record: Record) -> None:
    """Put the opponent of the cycle where evaluate reads it. Raises: ProjectError if it cannot be had."""
    if opponent := read_yaml(work / "cycle.yaml")["champion"]:
        if not (release := record.of(opponent)):
            raise ProjectError(f"The opponent {opponent[:8]} is not in the record.")
        bring(work, record, release)
