"""A project's stages, run one after the other in this process, on a few rows and in a folder of their own.

The promises of `mlgates.testing` look at what a rehearsal leaves behind. A stage runs when a promise first asks for it.
"""

import contextlib
import gc
import io
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from mlgates.command import quiet_tools
from mlgates.contract import Contract, Lookup
from mlgates.data import partitions
from mlgates.errors import ProjectError
from mlgates.faults.prove import first_rows
from mlgates.faults.rows import enlarged, synthetic, synthetic_lookup
from mlgates.files import read_json, read_yaml, write_text
from mlgates.layout import (
    CANDIDATE,
    CHAMPION,
    CYCLE,
    DVC_LOCK,
    ERASED,
    PARAMS,
    PIPELINE,
    PYPROJECT,
    REFERENCE,
    TRAINING,
)
from mlgates.project import Project
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

ROWS = 3_000  # in all periods together: enough for every stage to have something to say
PERIODS = ("first", "second", "third")
STAGES = ("ingest", "validate", "train", "studies", "evaluate", "gate", "track")
COPIED = (PIPELINE, PYPROJECT, ERASED)
QUICK = {  # parameters that keep a rehearsal short
    "train": {"periods": 2},
    "evaluate": {
        "resamples": 40,
        "ablation_rows": 300,
        "tune_trials": 2,
        "tune_rows": 400,
        "behavior_rows": 600,
        "curve_rows": 300,
    },
    "monitor": {"min_rows": 100},
}
RELEASE = "v1.0.0"


@dataclass(frozen=True)
class Observed(Project):
    """A project that remembers which of the team's modules were asked for."""

    used: set[str] = field(default_factory=set)

    def module(self, name: str) -> ModuleType:
        """A module of the team's package; see `Project.module`."""
        self.used.add(name)
        return super().module(name)


@dataclass
class Performance:
    """What a stage did: the files that it wrote, the team's modules that it used, and what it said.

    `printed` is its standard output, `noise` its standard error.
    """

    written: set[str]
    used: set[str]
    printed: str
    noise: str


class Rehearsal:
    """The stages of a project on small periods: rows of data.py, or made from the contract where it has none."""

    def __init__(self, project: Project, folder: Path) -> None:
        """Nothing runs yet. `folder` is where everything is written; it must be empty or absent."""
        quiet_tools()
        gc.set_threshold(
            50_000, 50
        )  # the tools' imports make many objects and no garbage: a sixth of their time
        self.original = project
        self.folder = folder
        self.stages = STAGES  # that promises about every stage look at
        self.performances: dict[str, Performance] = {}
        self.periods, self.real = small_periods(project)
        self.read_calls: list[str] = []
        self.data = self._data_module()
        folder.mkdir(parents=True, exist_ok=True)
        for name in COPIED:
            shutil.copy(project.root / name, folder / name)
        write_text(folder / CYCLE, yaml.safe_dump(self._cycle()))
        write_text(folder / PARAMS, yaml.safe_dump(_quick_params(project)))

    @property
    def project(self) -> Project:
        """The project at work in the rehearsal's folder, on the small periods."""
        return self.original.moved(self.folder).having(data=self.data)

    @property
    def contract(self) -> Contract:
        """The project's contract."""
        return self.original.contract

    def after(self, stage: str) -> Project:
        """The project once all stages up to `stage` have run."""
        for name in STAGES[: STAGES.index(stage) + 1]:
            if name not in self.performances:
                self.performances[name] = self._perform(name)
        return self.project

    def performance(self, stage: str) -> Performance:
        """What a stage did."""
        self.after(stage)
        return self.performances[stage]

    @contextlib.contextmanager
    def copy(self, stage: str) -> Iterator[Project]:
        """The project in a copy of the folder as it is after `stage`, to change something in."""
        self.after(stage)
        place = self.folder.with_name(f"{self.folder.name}-copy")
        shutil.copytree(self.folder, place)
        try:
            yield self.project.moved(place)
        finally:
            shutil.rmtree(place)

    def serve(self) -> Project:
        """The project with the candidate in service: as `mlops promote` would leave it, without the record in git."""
        project = self.after("train")
        if not (project.root / CHAMPION).exists():
            folder = champion.place(project, "rehearsed")
            shutil.copytree(project.root / CANDIDATE, folder)
            digest = read_json(project.root / TRAINING)["model"]
            passed = Report("gate", [Check("gate.finite", Verdict.OK)], self._judged(digest))
            _store_lookups(project)
            pointer = {
                "alias": "champion",
                "release": RELEASE,
                "fingerprint": folder.name,
                "digest": digest,
            }
            pointer |= {"since": "2026-01-01", "report": passed.to_dict()}
            champion.put_in_service(project, pointer)
        return project

    def served_rows(self, least: int = 0) -> "pd.DataFrame":
        """Joined rows of the reference, which a service that holds the candidate could be asked about."""
        import pandas as pd

        rows = pd.read_parquet(self.after("train").root / CANDIDATE / REFERENCE)
        return enlarged(rows, self.contract, least)

    def _judged(self, digest: str) -> dict[str, Any]:
        """What a verdict says of the model, so far as the monitor reads it."""
        trained = read_json(self.folder / TRAINING)
        return {"model": digest, "trained on": ", ".join(trained["periods"]["train"])}

    def _perform(self, stage: str) -> Performance:
        if stage == "track":
            _lock(self.folder)
        project = Observed(self.folder, self.original.package, self.project.modules)
        before = _stamps(self.folder)
        printed, noise = io.StringIO(), io.StringIO()
        reads = len(self.read_calls)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(noise):
            project.stage(stage).main(project)
        after = _stamps(self.folder)
        written = {name for name, stamp in after.items() if before.get(name) != stamp}
        used = project.used - {"data"}
        if (
            len(self.read_calls) > reads
        ):  # every stage asks data.py for the names of the periods; rows are a dependency
            used.add("data")
        return Performance(written, used, printed.getvalue(), noise.getvalue())

    def _data_module(self) -> ModuleType:
        """In the place of data.py: the small periods, each read counted."""
        module = ModuleType(f"{self.original.package}.data")

        def periods() -> list[str]:
            return list(self.periods)

        def read(period: str) -> "pd.DataFrame":
            self.read_calls.append(period)
            return self.periods[period][partitions.ROWS].copy()

        def lookup(name: str, period: str) -> "pd.DataFrame":
            self.read_calls.append(f"{period} {name}")
            return self.periods[period][name].copy()

        vars(module).update(periods=periods, read=read, lookup=lookup)
        return module

    def _cycle(self) -> dict[str, Any]:
        return {"until": PERIODS[-1], "champion": None, "release": None, "age": 0}


def small_periods(project: Project) -> "tuple[dict[str, dict[str, pd.DataFrame]], bool]":
    """Three periods of `ROWS` rows in all, tables by name; and whether the rows come from data.py.

    Raises: ProjectError if data.py has rows that do not hold what the contract needs.
    """
    contract = project.contract
    try:
        rows, tables = first_rows(project, ROWS)
        real = len(rows) > 0
    except (ProjectError, ValueError):  # a stub, or a source that this machine does not reach
        real = False
    if not real:
        rows = synthetic(contract, ROWS, seed=0)
        tables = {look.name: synthetic_lookup(contract, look, rows) for look in contract.lookups}
        rows = rows[[*contract.request_columns, contract.outcome.name]]
        impossible = list(contract.impossible(contract.arrays(rows)).values())
        if impossible:
            rows = rows.drop(index=list(np.unique(np.concatenate(impossible))))
    rows = partitions.thin(rows, ROWS)
    rows = enlarged(rows, contract, ROWS)
    if contract.time:
        rows = rows.sort_values(contract.time, kind="stable")
    parts = np.array_split(np.arange(len(rows)), len(PERIODS))
    periods: dict[str, dict[str, pd.DataFrame]] = {}
    for place, period in enumerate(PERIODS):
        part = rows.iloc[parts[place]].reset_index(drop=True)
        periods[period] = {partitions.ROWS: part}
        for look in contract.lookups:
            periods[period][look.name] = _known_in(place, tables[look.name], look, rows, parts)
    return periods, real


def _known_in(
    place: int,
    table: "pd.DataFrame",
    look: Lookup,
    rows: "pd.DataFrame",
    parts: Sequence[np.ndarray],
) -> "pd.DataFrame":
    """The rows of a look-up that became known in a period: before the last row of it asks, and after those before."""
    asked = rows[look.at].to_numpy(dtype="datetime64[us]")
    ends = [asked[: part[-1] + 1].max() for part in parts[:-1]]
    period = np.searchsorted(np.array(ends), table[look.time].to_numpy(dtype="datetime64[us]"))
    return table[period == place].reset_index(drop=True)


def _quick_params(project: Project) -> dict[str, Any]:
    """The team's own parameters, with those in their place that keep a rehearsal short."""
    params: dict[str, Any] = read_yaml(project.root / PARAMS) or {}
    for section, values in QUICK.items():
        params[section] = {**(params.get(section) or {}), **values}
    return params


def _stamps(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What tells whether a file was written: by its path in the folder."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            state = path.stat()
            found[path.relative_to(folder).as_posix()] = (
                state.st_mtime_ns,
                state.st_ino,
                state.st_size,
            )
    return found


def _lock(folder: Path) -> None:
    """A dvc.lock as if DVC had run train: a model's identity is the hash of that entry."""
    digest = read_json(folder / TRAINING)["model"]
    entry = {"cmd": "mlops run train", "outs": [{"path": CANDIDATE.as_posix(), "md5": digest}]}
    write_text(folder / DVC_LOCK, yaml.safe_dump({"schema": "2.0", "stages": {"train": entry}}))


def _store_lookups(project: Project) -> None:
    """The online store of the periods' look-ups, as `mlops promote` makes it."""
    from mlgates.serving import online_store

    online_store.refresh(project)
