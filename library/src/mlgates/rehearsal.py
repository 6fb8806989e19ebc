"""A project's stages, run in this process, on a few rows and in a folder of their own.

The promises of `mlgates.testing` look at what such a rehearsal leaves behind. A stage runs when a
promise first asks for it.
"""

import contextlib
import gc
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
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

ROWS = 3_000  # in all periods together: enough for every stage to measure something
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
class ObservedProject(Project):
    """A project that remembers which of the team's modules were used."""

    used: set[str] = field(default_factory=set)

    def module(self, name: str) -> ModuleType:
        """A module of the team's package; see `Project.module`."""
        self.used.add(name)
        return super().module(name)


@dataclass
class Performance:
    """What a stage did: the files that it wrote, and the team's modules that it used.

    `printed` is its standard output, `error_output` its standard error.
    """

    written: set[str]
    used: set[str]
    printed: str
    error_output: str


class Rehearsal:
    """The stages of a project on small periods.

    Their rows come from data.py, or are made from the contract where data.py has none.
    """

    def __init__(self, project: Project, folder: Path) -> None:
        """Nothing runs yet. Everything is written to `folder`, which must be empty or absent."""
        quiet_tools()
        # Collect garbage less often: importing the tools makes many objects that stay, and is a
        # sixth faster so.
        gc.set_threshold(50_000, 50)
        self.original = project
        self.folder = folder
        self.stages = STAGES  # those that promises about every stage look at
        self.performances: dict[str, Performance] = {}
        self.periods, self.real = small_periods(project)
        self.read_calls: list[str] = []
        self.data = self._data_module()

        folder.mkdir(parents=True, exist_ok=True)
        for name in COPIED:
            shutil.copy(project.root / name, folder / name)
        cycle = {"until": PERIODS[-1], "champion": None, "release": None, "age": 0}
        write_text(folder / CYCLE, yaml.safe_dump(cycle))
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
        copied = self.folder.with_name(f"{self.folder.name}-copy")
        shutil.copytree(self.folder, copied)
        try:
            yield self.project.moved(copied)
        finally:
            shutil.rmtree(copied)

    def serve(self) -> Project:
        """The project with the candidate in service.

        It is left as `mlops promote` leaves it, but without the record in git.
        """
        project = self.after("train")
        if not (project.root / CHAMPION).exists():
            self._put_candidate_in_service(project)
        return project

    def served_rows(self, least: int = 0) -> "pd.DataFrame":
        """Rows of the reference, look-ups joined, that a caller could ask the candidate about.

        At least so many: fewer ones are drawn again.
        """
        import pandas as pd

        rows = pd.read_parquet(self.after("train").root / CANDIDATE / REFERENCE)
        return enlarged(rows, self.contract, least)

    def _put_candidate_in_service(self, project: Project) -> None:
        """Copy the candidate to the folder of models, and write var/champion.json."""
        from mlgates.serving import online_store

        folder = champion.model_path(project, "rehearsed")
        shutil.copytree(project.root / CANDIDATE, folder)
        trained = read_json(project.root / TRAINING)
        # The facts of a verdict that the monitor reads
        facts = {"model": trained["model"], "trained on": ", ".join(trained["periods"]["train"])}
        passed = Report("gate", [Check("gate.finite", Verdict.OK)], facts)
        online_store.refresh(project)
        pointer = {
            "alias": "champion",
            "release": RELEASE,
            "fingerprint": folder.name,
            "digest": trained["model"],
            "since": "2026-01-01",
            "report": passed.to_dict(),
        }
        champion.put_in_service(project, pointer)

    def _perform(self, stage: str) -> Performance:
        """Run a stage, and compare the folder before and after it."""
        if stage == "track":
            _write_dvc_lock(self.folder)
        project = ObservedProject(self.folder, self.original.package, self.project.modules)
        before = _file_states(self.folder)
        reads_before = len(self.read_calls)
        output, error_output = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error_output):
            project.stage(stage).main(project)

        written = set()
        for name, state in _file_states(self.folder).items():
            if before.get(name) != state:
                written.add(name)

        # Every stage asks data.py for the names of the periods. It depends on data.py only if it
        # reads rows too.
        used = project.used - {"data"}
        if len(self.read_calls) > reads_before:
            used.add("data")
        return Performance(written, used, output.getvalue(), error_output.getvalue())

    def _data_module(self) -> ModuleType:
        """A module in place of data.py: it has the small periods, and records each read."""
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


def small_periods(project: Project) -> "tuple[dict[str, dict[str, pd.DataFrame]], bool]":
    """Three periods of `ROWS` rows in all, and whether the rows come from data.py.

    A period is its tables by name: the rows, and each look-up.
    Raises: ProjectError if data.py has rows without the times by which they are divided.
    """
    contract = project.contract
    rows, tables = _rows_of_data_py(project)
    real = len(rows) > 0
    if real:
        _check_times(contract, rows, tables)
    else:
        rows, tables = _synthetic_rows(contract)

    rows = partitions.thin(rows, ROWS)
    rows = enlarged(rows, contract, ROWS)
    if contract.time:
        rows = rows.sort_values(contract.time, kind="stable")
    parts = np.array_split(np.arange(len(rows)), len(PERIODS))

    periods: dict[str, dict[str, pd.DataFrame]] = {}
    for number, period in enumerate(PERIODS):
        period_rows = rows.iloc[parts[number]].reset_index(drop=True)
        periods[period] = {partitions.ROWS: period_rows}
        for look in contract.lookups:
            table = tables[look.name]
            in_period = _period_numbers(table, look, rows, parts) == number
            periods[period][look.name] = table[in_period].reset_index(drop=True)
    return periods, real


def _rows_of_data_py(project: Project) -> "tuple[pd.DataFrame, dict[str, pd.DataFrame]]":
    """The first rows of data.py and its look-up tables; no rows if it cannot deliver any here.

    It may still be a stub, or read a source that this machine cannot reach.
    """
    import pandas as pd

    try:
        return first_rows(project, ROWS)
    except (ProjectError, ValueError):
        return pd.DataFrame(), {}


def _check_times(
    contract: Contract, rows: "pd.DataFrame", tables: "Mapping[str, pd.DataFrame]"
) -> None:
    """Raises: ProjectError if data.py does not deliver a time that divides rows into periods."""
    times = {look.at for look in contract.lookups}
    if contract.time:
        times.add(contract.time)
    missing = sorted(times - set(rows))
    for look in contract.lookups:
        if look.time not in tables[look.name]:
            missing.append(f"{look.time} of the look-up {look.name}")
    if missing:
        raise ProjectError(f"data.py does not deliver the columns {', '.join(missing)}.")


def _synthetic_rows(contract: Contract) -> "tuple[pd.DataFrame, dict[str, pd.DataFrame]]":
    """Rows and look-up tables made from the contract, which break none of its rules."""
    rows = synthetic(contract, ROWS, seed=0)
    tables = {look.name: synthetic_lookup(contract, look, rows) for look in contract.lookups}
    rows = rows[[*contract.request_columns, contract.outcome.name]]
    impossible = list(contract.impossible(contract.arrays(rows)).values())
    if impossible:
        rows = rows.drop(index=list(np.unique(np.concatenate(impossible))))
    return rows, tables


def _period_numbers(
    table: "pd.DataFrame", look: Lookup, rows: "pd.DataFrame", parts: Sequence[np.ndarray]
) -> np.ndarray:
    """For each row of a look-up's table, the number of the period in which it became known.

    A period ends with the time of its last request: what became known later is of the next one.
    `rows` are those of all periods, and `parts` are the positions of each period's rows.
    """
    asked = rows[look.at].to_numpy(dtype="datetime64[us]")
    ends = []
    for part in parts[:-1]:
        # The latest of all rows so far: the column need not be the one that rows are sorted by.
        ends.append(asked[: part[-1] + 1].max())
    return np.searchsorted(np.array(ends), table[look.time].to_numpy(dtype="datetime64[us]"))


def _quick_params(project: Project) -> dict[str, Any]:
    """The team's parameters, with some replaced to keep a rehearsal short."""
    params: dict[str, Any] = read_yaml(project.root / PARAMS) or {}
    for section, values in QUICK.items():
        own_values = params.get(section) or {}
        params[section] = {**own_values, **values}
    return params


def _file_states(folder: Path) -> dict[str, tuple[int, int, int]]:
    """For each file, by its path in the folder: numbers of which one differs once it is written.

    They are the time of its last change, its inode (another one after a rename) and its size.
    """
    states = {}
    for path in folder.rglob("*"):
        if path.is_file():
            state = path.stat()
            name = path.relative_to(folder).as_posix()
            states[name] = (state.st_mtime_ns, state.st_ino, state.st_size)
    return states


def _write_dvc_lock(folder: Path) -> None:
    """Write a dvc.lock as if DVC had run train: the hash of that entry identifies a model."""
    digest = read_json(folder / TRAINING)["model"]
    entry = {"cmd": "mlops run train", "outs": [{"path": CANDIDATE.as_posix(), "md5": digest}]}
    write_text(folder / DVC_LOCK, yaml.safe_dump({"schema": "2.0", "stages": {"train": entry}}))
