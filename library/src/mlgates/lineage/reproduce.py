"""`mlops reproduce`: a release made again in a clean clone, from git and the DVC remote alone, and compared."""

import platform
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from mlgates import tools
from mlgates.dvc_lock import locked, stages
from mlgates.errors import ProjectError, nearest
from mlgates.files import digest, read_json, read_yaml, write_json
from mlgates.layout import CANDIDATE, CYCLE, LIBRARY, MADE, REPORTS, UV_LOCK
from mlgates.layout import GATE as GATE_REPORT
from mlgates.lineage.trace import found, vouched
from mlgates.model_folder import IGNORED
from mlgates.project import Project
from mlgates.registry import dvc_storage, wheel
from mlgates.registry.deploy import bring, fetch
from mlgates.registry.releases import Record, Release, freshen, read, show
from mlgates.registry.sandbox import cloned
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict, at_most

TRAIN, MEASURING, GATE = "train", ("evaluate", "studies"), "gate"
SYNC = ("sync", "--frozen", "--quiet", "--no-install-project", "--no-compile-bytecode")
WITHOUT_LIBRARY = (
    "--no-install-package",
    wheel.NAME,
)  # so the git host that it came from is not asked
INSTALL = ("pip", "install", "--quiet", "--offline", "--no-deps")
SPEED = (
    "seconds",
    "milliseconds_1",
    "milliseconds_100",
    "microseconds",
    "batch_microseconds",
    "lookup_microseconds",
)
OF_THE_MACHINE = {*SPEED, "memory", "bytes", "measured"}  # the last is the day


@dataclass(frozen=True)
class Surroundings:
    """What a release is made again with: a folder of programs, and a library that goes before theirs, if any."""

    programs: Path
    library: Path | None = None

    def run(self, work: Project, *words: str) -> tools.Ended:
        """Run a tool that finds them before those of this process."""
        return tools.run(
            work, *words, environs=tools.environment(work, self.programs, self.library)
        )

    @property
    def python(self) -> str:
        """Their interpreter."""
        return str(self.programs / Path(sys.executable).name)


def reproduce(project: Project, name: str) -> Report:
    """Rebuild a release and compare data, predictions, numbers and model with what was released.

    What cannot be had any more is `inconclusive` and says what is missing.
    Raises: ProjectError if there is no such release.
    """
    away, started = freshen(project), time.monotonic()
    record = read(project)
    if not (release := found(record, name)):
        told = f"There is no release {name!r}."
        raise ProjectError(
            told, nearest(name, [one.version for one in record.releases]) if record.releases else ""
        )
    report = Report(
        f"reproduce  {release.tag} ({release.fingerprint[:8]})", vouched(project, release)
    )
    if release.erased:
        report.add(_missing("reproduce.data", release.erased))
        return report
    try:
        with cloned(project, release.commit) as (work, base):
            report.add(*_rebuilt(project, work, base, record, release))
    except ProjectError as error:
        report.add(_missing("reproduce.data", str(error)))
    report.facts["seconds"] = round(time.monotonic() - started, 1)
    report.title += f", {report.facts['seconds']} s{away}"
    return report


def _missing(name: str, told: str) -> Check:
    return Check(name, Verdict.INCONCLUSIVE, evidence=" ".join(told.split()))


def _rebuilt(
    project: Project, work: Project, base: Path, record: Record, release: Release
) -> Iterator[Check]:
    """The checks of a rebuild, in the order in which they can be made; ends where the next cannot be."""
    dvc_storage.lend(project, work, base / "cache")
    lock, released, then = stages(locked(work)), fetch(work, release), _reports(work)
    for path in list(_needed(work, lock)):
        dvc_storage.pull(work, path)
    then_with, told = surroundings(project, work, base, release)
    yield told
    if said := _run(work, then_with, TRAIN):
        yield Check("reproduce.predictions", Verdict.FAIL, evidence=said)
        return
    yield _data(lock[TRAIN], stages(locked(work))[TRAIN])
    yield _predictions(work, then_with, base, released)
    made = digest(work.root / CANDIDATE, IGNORED)
    same = Verdict.OK if made == release.digest else Verdict.INCONCLUSIVE
    yield Check(
        "reproduce.model",
        same,
        made[:8],
        release.digest[:8],
        required=False,
        evidence="bytes of the model",
    )
    try:
        _opponent(work, record)
    except ProjectError as error:
        yield _missing("reproduce.metrics", str(error))
        return
    for stage in _measuring(lock):
        if said := _run(work, then_with, stage):
            yield Check("reproduce.metrics", Verdict.FAIL, evidence=said)
            return
    again = _reports(work)
    yield metrics(then, again)
    for name, content in again.items():
        write_json(work.root / REPORTS / name, _as_fast(content, then.get(name)))
    if said := _run(work, then_with, GATE):
        yield Check("reproduce.verdict", Verdict.FAIL, evidence=said)
        return
    verdict = str(Report.from_dict(read_json(work.root / GATE_REPORT)).verdict)
    same = Verdict.OK if verdict == release.verdict else Verdict.FAIL
    yield Check(
        "reproduce.verdict",
        same,
        verdict,
        release.verdict,
        evidence="what the gate says of these numbers",
    )


def surroundings(
    project: Project, work: Project, base: Path, release: Release
) -> tuple[Surroundings, Check]:
    """The programs and the library to rebuild with.

    The interpreter that runs serves where its version and what uv.lock names are those of then; else uv makes another.
    The library is that of the wheel which the release kept in the DVC remote.
    """
    name = "reproduce.environment"
    now = platform.python_version()
    then = str(read_yaml(champion.place(work, release.fingerprint) / "python_env.yaml")["python"])
    here = Path(sys.executable).parent
    library = _library(work, base)
    lock, present = show(work, release.commit, UV_LOCK), project.root / UV_LOCK
    current = present.read_text(encoding="utf-8") if present.exists() else ""

    if now == then and _others(lock) == _others(current):
        told = "this interpreter"
        if library and not wheel.is_running(library):
            told += f", with the mlgates of then ({_version(library)})"
        else:
            library = None
        if not lock:
            told += "; the release has no uv.lock"
        return Surroundings(here, library), Check(name, Verdict.OK, now, then, evidence=told)
    if not lock:
        told = "this one; no uv.lock"
        return Surroundings(here, library), Check(
            name, Verdict.INCONCLUSIVE, now, then, required=False, evidence=told
        )
    said = _make(work, base, then)
    if said:
        told = f"this interpreter, for uv sync cannot make that of then: {said}"
        return Surroundings(here, library), Check(
            name, Verdict.INCONCLUSIVE, now, then, evidence=told
        )
    told = "made again by uv sync --frozen"
    if library:
        told += f", with mlgates {_version(library)} from the DVC remote"
    return Surroundings(base / "env" / here.name), Check(
        name, Verdict.OK, then, then, evidence=told
    )


def _library(work: Project, base: Path) -> Path | None:
    """The library that judged a release, unpacked; None if the release kept none.

    Raises: ProjectError if the DVC remote does not have it any more.
    """
    outs = stages(locked(work)).get(GATE, {}).get("outs", [])
    if not any(out["path"] == LIBRARY.as_posix() for out in outs):
        return None
    dvc_storage.pull(work, LIBRARY.as_posix())
    return wheel.unpack(_wheel(work), base / "library")


def _wheel(work: Project) -> Path:
    return next((work.root / LIBRARY).glob("*.whl"))


def _version(library: Path) -> str:
    """The version of an unpacked library."""
    (described,) = library.glob(f"{wheel.NAME}-*.dist-info")
    return described.name.removeprefix(f"{wheel.NAME}-").removesuffix(".dist-info")


def _others(lock: str) -> list[dict[str, Any]]:
    """What uv.lock names, without mlgates, which is a file of the release, and the project, which is in git."""
    packages = tomllib.loads(lock).get("package", [])
    return [
        one for one in packages if one["name"] != wheel.NAME and "editable" not in one["source"]
    ]


def _make(work: Project, base: Path, python: str) -> str:
    """Let uv make the environment of then in `base/env`; returns why it cannot, or nothing."""
    made = base / "env"
    kept = (work.root / LIBRARY).exists()
    without = WITHOUT_LIBRARY if kept else ()
    said = _uv(work, made, *SYNC, *without, "--python", python)
    if said or not kept:
        return said
    return _uv(work, made, *INSTALL, "--python", str(made), str(_wheel(work)))


def _uv(work: Project, made: Path, *words: str) -> str:
    """Run uv on the environment `made`; returns why it stopped, or nothing."""
    environs = tools.environment(work) | {"UV_PROJECT_ENVIRONMENT": str(made)}
    try:
        ran = tools.run(work, "uv", *words, environs=environs)
    except ProjectError as error:
        return " ".join(str(error).split())
    return ran.reason if ran.code else ""


def _measuring(lock: dict[str, Any]) -> list[str]:
    """The measuring stages that the release has."""
    return [name for name in MEASURING if name in lock]


def _needed(work: Project, lock: dict[str, Any]) -> Iterator[str]:
    """What the stages read and neither they nor git have."""
    names = [TRAIN, *_measuring(lock), GATE]
    made = {out["path"] for name in names for out in lock[name]["outs"]}
    deps = dict.fromkeys(dep["path"] for name in names for dep in lock[name]["deps"])
    yield from (path for path in deps if path not in made and not (work.root / path).exists())


def _reports(work: Project) -> dict[str, Any]:
    """The reports that are in git, by name."""
    paths = sorted((work.root / REPORTS).rglob("*.json"))
    return {path.relative_to(work.root / REPORTS).as_posix(): read_json(path) for path in paths}


def _run(work: Project, then_with: Surroundings, stage: str) -> str:
    """Run a stage as DVC does, with the programs and the library of then; returns why they stopped, or nothing.

    DVC itself is that of now: only the stage's own command finds the programs of then first.
    """
    return then_with.run(
        work, "dvc", "repro", "--force", "--single-item", "--no-commit", stage
    ).failure


def _data(then: dict[str, Any], again: dict[str, Any]) -> Check:
    """`reproduce.data`: what training read, and the rows to evaluate on, are those of then."""
    sides = [
        {part["path"]: part["md5"] for part in [*entry["deps"], *entry["outs"]]}
        for entry in (then, again)
    ]
    compared = [path for path in sides[0] if Path(path).parts[0] not in (str(MADE), str(REPORTS))]
    other = [path for path in compared if sides[1].get(path) != sides[0][path]]
    return at_most(
        "reproduce.data", len(other), 0, len(compared), evidence=", ".join(other) or "hashes equal"
    )


def _predictions(work: Project, then_with: Surroundings, base: Path, released: Path) -> Check:
    """Both models score the same rows, by the library of then."""
    files = [base / "then.npy", base / "again.npy"]
    words = [
        str(part)
        for pair in zip((released, work.root / CANDIDATE), files, strict=True)
        for part in pair
    ]
    scored = then_with.run(work, then_with.python, "-m", "mlgates.lineage.score_again", *words)
    if scored.code:
        return Check("reproduce.predictions", Verdict.FAIL, evidence=scored.reason)
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
    few = ", ".join(
        f"{name[1:]}: {sides[1].get(name)}, recorded {sides[0].get(name)}" for name in other[:3]
    )
    return at_most(
        "reproduce.metrics", len(other), 0, len(sides[0]), evidence=few or "numbers equal"
    )


def _leaves(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict | list):
        return {prefix: content}
    parts = content.items() if isinstance(content, dict) else enumerate(content)
    return {
        name: leaf for key, part in parts for name, leaf in _leaves(part, f"{prefix}.{key}").items()
    }


def _opponent(work: Project, record: Record) -> None:
    """Put the opponent of the cycle where evaluate reads it. Raises: ProjectError if it cannot be had."""
    if opponent := read_yaml(work.root / CYCLE)["champion"]:
        if not (release := record.of(opponent)):
            raise ProjectError(f"The opponent {opponent[:8]} is not in the record.")
        bring(work, record, release)
