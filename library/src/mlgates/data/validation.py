"""validate: check each period once, send bad rows to quarantine, measure drift.

Schema skew (missing, forbidden or mistyped columns) stops the run.
"""

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Contract, Lookup
from mlgates.data import partitions, period_page, tombstones
from mlgates.data.comparison import compare, measure_delivery
from mlgates.data.expectations import Table, Validate
from mlgates.data.period_checks import check_erased, check_manifest, check_min_rows
from mlgates.data.table_checks import check_table
from mlgates.errors import ProjectError
from mlgates.files import atomic, digest, read_json, write_json
from mlgates.layout import MANIFEST, REPORTS, VALIDATION
from mlgates.project import Project
from mlgates.results import results
from mlgates.settings import ValidateSettings
from mlgates.verdict import Check, Effect, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

SEVERITY = [Verdict.OK, Verdict.INCONCLUSIVE, Verdict.FAIL]

# What is kept in data/checked of each period, beside its tables and its report.
SAMPLE = "sample"
SAMPLE_ROWS = 20_000
KEYS = "keys.npy"


def validate_periods(
    project: Project, periods: Sequence[str], validate: Validate
) -> dict[str, Report]:
    """The report of each period, checked in their order.

    Folders of periods beyond the cycle are deleted.
    """
    partitions.drop_others(project, "checked", periods)
    n_before = project.settings().train.periods
    reports = {}
    for place, period in enumerate(periods):
        before = periods[max(0, place - n_before) : place]
        reports[period] = check_period(project, period, before, validate)
    return reports


def check_period(
    project: Project, period: str, before: Sequence[str], validate: Validate
) -> Report:
    """Check one period's tables, write what is kept and what is not to data/checked.

    `before` are the periods that it is compared with, `validate` is the wiring's own (see
    `check_table`). Nothing is done if neither the files nor the rules nor the periods before have
    changed since the last time. Returns the report.
    """
    check = _PeriodCheck(
        project=project,
        period=period,
        before=before,
        validate=validate,
        limits=project.settings().validate,
        closed=read_json(project.root / MANIFEST).get(period, {}),
    )
    content = check.content()
    target = partitions.folder(project, "checked", period)
    if (target / "report.json").exists():
        stored = read_json(target / "report.json")
        if stored["facts"].get("content") == content:
            return Report.from_dict(stored)

    with atomic(target) as folder:
        folder.mkdir(parents=True)
        report = check.run(folder)
        report.facts["content"] = content
        write_json(folder / "report.json", report.to_dict())
    return report


@dataclass(frozen=True)
class _PeriodCheck:
    """One period, and what it is checked with.

    `before` are the periods that it is compared with. `closed` is what the manifest says of its
    tables.
    """

    project: Project
    period: str
    before: Sequence[str]
    validate: Validate
    limits: ValidateSettings
    closed: Mapping[str, Any]

    @property
    def contract(self) -> Contract:
        return self.project.contract

    @property
    def folders_before(self) -> list[Path]:
        return [partitions.folder(self.project, "checked", period) for period in self.before]

    def content(self) -> str:
        """Everything that decides the report, as one hash."""
        contract = self.contract
        rules = []
        for rule in contract.rules:
            rules.append((rule.__name__, rule.__code__.co_code, rule.__code__.co_consts))
        schema = (
            sorted(contract.columns.items()),
            contract.key,
            contract.slices,
            contract.forbidden,
            rules,
        )
        raw = digest(partitions.folder(self.project, "raw", self.period))
        limits = sorted(asdict(self.limits).items())
        wiring = inspect.getsource(self.project.stage("validate"))
        code = (results(self.project)["data"], wiring)
        sample = f"{partitions.ROWS}.{SAMPLE}.parquet"
        samples_before = [digest(folder / sample) for folder in self.folders_before]
        decisive = (raw, schema, limits, code, samples_before)
        return hashlib.sha256(repr(decisive).encode()).hexdigest()

    def run(self, folder: Path) -> Report:
        """Check all tables, and write to `folder` what is kept of them and what is not."""
        report = Report(f"period {self.period}")
        keys_before = self._keys_before()
        measured_before = self._measured_before()

        rows = self._check_table(report, folder, None, keys_before)
        np.save(folder / KEYS, partitions.key_hashes(rows, self.contract.key))
        report.facts["signs"] = self._measured(report, rows, measured_before)
        samples = [self._write_sample(folder, partitions.ROWS, rows)]
        del rows  # a period may be large; from here on its sample is enough
        for look in self.contract.lookups:
            kept = self._check_table(report, folder, look, None)
            samples.append(self._write_sample(folder, look.name, kept))

        if measured_before and report.facts["signs"]:
            both = (self._samples_before(), samples)
            compare(report, self.contract, measured_before, both, self.limits)
        return report

    def _check_table(
        self, report: Report, folder: Path, look: Lookup | None, keys_before: np.ndarray | None
    ) -> "pd.DataFrame":
        """Add the checks of the rows or of a look-up to the report, and write both parts of it.

        Returns the rows that are kept.
        """
        name = Table.of(self.contract, look).name
        read = partitions.read(self.project, "raw", self.period, name)
        table, kept, quarantine = check_table(
            read, self.contract, self.limits, self.validate, look, keys_before
        )
        partitions.write(kept, folder / f"{name}.parquet")
        partitions.write(quarantine, folder / f"{name}.quarantine.parquet")
        report.add(*table.checks)
        report.add(*check_manifest(folder, name, read, self.closed.get(name, {}), table))
        if look is None:
            report.add(check_min_rows(len(read), self.limits))
        report.facts[name] = table.facts
        return kept

    def _measured(
        self,
        report: Report,
        rows: "pd.DataFrame",
        measured_before: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """What later periods are compared with; empty if the table was refused as a whole."""
        if not report.facts[partitions.ROWS]:
            return {}
        last = None
        if measured_before:
            last = measured_before[-1]["last"]
        return measure_delivery(self.contract, rows, last, self.limits)

    def _write_sample(self, folder: Path, name: str, kept: "pd.DataFrame") -> "pd.DataFrame":
        sample = partitions.thin(kept, SAMPLE_ROWS)
        partitions.write(sample, folder / f"{name}.{SAMPLE}.parquet")
        return sample

    def _keys_before(self) -> np.ndarray | None:
        """The keys of all rows of the periods before; None if there are no such periods."""
        if not self.before:
            return None
        return np.concatenate([np.load(folder / KEYS) for folder in self.folders_before])

    def _measured_before(self) -> list[dict[str, Any]]:
        """What was measured of the periods before, without those that were refused as a whole."""
        measured = []
        for folder in self.folders_before:
            signs = read_json(folder / "report.json")["facts"]["signs"]
            if signs:
                measured.append(signs)
        return measured

    def _samples_before(self) -> "list[pd.DataFrame]":
        """The samples of the periods before, one frame a table."""
        import pandas as pd

        by_period = [samples(self.project, period) for period in self.before]
        by_table = zip(*by_period, strict=True)
        return [pd.concat(parts, ignore_index=True) for parts in by_table]


def samples(project: Project, period: str) -> "list[pd.DataFrame]":
    """Some rows that were kept of each table of a period: the rows first, then the look-ups."""
    frames = []
    for name in partitions.table_names(project.contract):
        frames.append(partitions.read(project, "checked", period, f"{name}.{SAMPLE}"))
    return frames


def summarise(periods: Mapping[str, Report]) -> Report:
    """One report over several periods.

    Of each check it has the worst one, whose evidence names its period. Drift and warnings are
    those of the newest period.
    """
    worst: dict[str, Check] = {}
    rows = {}
    for period, report in periods.items():
        rows[period] = report.facts.get(partitions.ROWS)
        for check in report.checks:
            other = worst.get(check.name, check)
            if _severity(check) >= _severity(other):
                worst[check.name] = _naming_period(check, period)

    newest = list(periods.values())[-1]
    return Report("validate", [*worst.values(), *newest.drift, *newest.warnings], {"rows": rows})


def _severity(check: Check) -> int:
    return SEVERITY.index(check.verdict)


def _naming_period(check: Check, period: str) -> Check:
    evidence = period
    if check.evidence:
        evidence = f"{period}: {check.evidence}"
    return replace(check, evidence=evidence)


def write_report(project: Project, reports: Mapping[str, Report]) -> Report:
    """Write reports/validate.json, the data sheet and the page of the newest period.

    Returns the report. It is about the periods in use: those to train on, and the one to evaluate
    on.
    """
    n_train = project.settings().train.periods
    train, evaluation = partitions.training_and_evaluation_periods(
        list(reports), n_train, project.contract
    )
    reports_in_use = {}
    tables = {}
    for period in dict.fromkeys([*train, *evaluation]):  # without a time, both are the same ones
        reports_in_use[period] = reports[period]
        tables[period] = samples(project, period)

    report = summarise(reports_in_use)
    erased = tombstones.read(project, project.contract)
    report.add(check_erased(erased, partitions.files(project, "raw")))
    write_json(project.root / VALIDATION, report.to_dict())

    period_page.write(project.root / REPORTS, project.contract, reports_in_use, tables)
    return report


def stop_on_schema_skew(report: Report) -> None:
    """Stop the pipeline, so that nothing is trained, if a check of the data failed.

    A sign of poison that blocks the promotion stops no run.

    Raises: ProjectError, exit code 3.
    """
    failed = []
    for check in report.checks:
        if check.verdict is Verdict.FAIL and check.effect is Effect.BLOCK:
            failed.append(check.name)
    if failed:
        raise ProjectError(
            f"The data of this cycle cannot be used. Failed: {', '.join(failed)}.",
            "Correct the source. Read each period that reports/validate.json names again:"
            " uv run mlops close --amend PERIOD. Then: uv run dvc repro",
            code=3,
        )
