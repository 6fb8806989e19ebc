"""validate: check each period once, send bad rows to quarantine, stop the run on schema skew, measure drift."""

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Contract, Lookup
from mlgates.data import datasheet, drift, partitions, poisoning, tombstones
from mlgates.data.expectations import ROW_RULES, Table, Validate, broken_rows, has_type
from mlgates.data.quarantine import quarantine_of
from mlgates.errors import ProjectError, nearest
from mlgates.files import digest, read_json, whole, write_json
from mlgates.layout import ERASED, MANIFEST, REPORTS, VALIDATION
from mlgates.project import Project
from mlgates.results import results
from mlgates.settings import ValidateSettings
from mlgates.verdict import Check, Effect, Report, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd

SEVERITY = [Verdict.OK, Verdict.INCONCLUSIVE, Verdict.FAIL]
SAMPLE, KEYS = "sample", "keys.npy"
SAMPLE_ROWS = 20_000


def check_table(
    frame: "pd.DataFrame",
    contract: Contract,
    limits: ValidateSettings,
    validate: Validate,
    look: Lookup | None = None,
    earlier: np.ndarray | None = None,
) -> tuple[Report, "pd.DataFrame", "pd.DataFrame"]:
    """Check the rows, or one look-up; returns the report, what is kept (contract columns only), and the quarantine.

    `validate` lets Great Expectations check a table (pipeline/validate.py). `earlier` are the keys of the periods
    before: a row that was delivered then is not taken again. The quarantine has one line per broken rule: `row`
    (position in `frame`), `rule`, `column`, `value`.
    """
    table = Table.of(contract, look)
    frame = frame.reset_index(drop=True)
    rows, suffix = len(frame), f":{table.name}" if look else ""
    report = Report(f"table {table.name}", _shape(frame, table, suffix))
    if report.verdict is Verdict.FAIL:
        return report, frame.iloc[:0].reindex(columns=list(table.columns)), quarantine_of(frame, {})
    kept = frame[list(table.columns)]
    broken = broken_rows(kept, table, contract, validate)
    if look is None and rows and earlier is not None and table.key:
        again = np.isin(partitions.keys(kept, table.key), earlier)
        broken["data.repeated", "+".join(table.key)] = np.flatnonzero(again)
    twice = sum(len(places) for (rule, _), places in broken.items() if rule == "data.unique_key")
    quarantine = quarantine_of(
        kept, {which: places for which, places in broken.items() if which[0] in ROW_RULES}
    )

    def add(name: str, broke: "pd.Series", most: float, **more: Any) -> None:
        share = broke.nunique() / rows if rows else None
        report.add(at_most(name + suffix, share, most, rows, required=False, **more))

    asked = {
        rule for rule, _ in broken
    }  # what no value could break is not shown as if it had been looked at
    for rule in (rule for rule in ROW_RULES if rule in asked):
        found = quarantine[quarantine["rule"] == rule]
        counts = found["column"].value_counts().head(3)
        told = ", ".join(
            f"{table.label(str(column))} ({count:,})" for column, count in counts.items()
        )
        add(rule, found["row"], limits.max_bad_share, evidence=told)
    if table.key:
        report.add(
            at_most(f"data.unique_key{suffix}", twice if rows else None, 0, rows, required=False)
        )
    add("data.quarantine", quarantine["row"], limits.max_quarantine_share)
    out = quarantine["row"].unique()
    kept = kept.drop(index=list(out)).reset_index(drop=True)
    report.facts = {"read": rows, "kept": len(kept), "quarantined": len(out)}
    return report, kept, quarantine


def _shape(frame: "pd.DataFrame", table: Table, suffix: str) -> list[Check]:
    absent = [table.label(name) for name in table.columns if name not in frame]
    banned = [name for name in table.forbidden if name in frame]
    wrong = [
        name
        for name, column in table.columns.items()
        if name in frame and not has_type(frame[name], column)
    ]
    extra = [str(name) for name in frame if name not in table.columns and name not in banned]
    told = f"not in the contract, left out: {', '.join(extra)}" if extra else ""
    if absent:
        told = f"missing: {', '.join(absent)}. {nearest(absent[0], extra) if extra else ''}".strip()
    found = {"data.columns": (absent, told), "data.type": (wrong, ", ".join(wrong))}
    if table.forbidden:
        found["data.forbidden"] = (banned, ", ".join(banned))
    return [
        at_most(f"{name}{suffix}", len(names), 0, len(frame), min_rows=0, evidence=evidence)
        for name, (names, evidence) in found.items()
    ]


def check_period(
    project: Project, period: str, before: Sequence[str], validate: Validate
) -> Report:
    """Check one period's tables, write what is kept and what is not to data/checked, and return the report.

    `before` are the periods that it is compared with, `validate` is the wiring's own (see `check_table`). Work is
    skipped when neither the files nor the rules nor the periods before changed since the last time.
    """
    import pandas as pd

    contract, limits = project.contract, project.settings().validate
    target, tables = partitions.folder(project, "checked", period), [None, *contract.lookups]
    manifest = read_json(project.root / MANIFEST).get(period, {})
    content = _content(project, period, before, limits)
    if (target / "report.json").exists():
        stored = read_json(target / "report.json")
        if stored["facts"].get("content") == content:
            return Report.from_dict(stored)
    earlier = [partitions.folder(project, "checked", one) for one in before]
    known = np.concatenate([np.load(folder / KEYS) for folder in earlier]) if earlier else None
    signs = [
        found
        for folder in earlier
        if (found := read_json(folder / "report.json")["facts"]["signs"])
    ]
    report = Report(f"period {period}", facts={"content": content})
    with whole(target) as folder:
        folder.mkdir(parents=True)
        samples = []
        for look in tables:
            name = look.name if look else partitions.ROWS
            frame = partitions.read(project, "raw", period, name)
            part, kept, quarantine = check_table(frame, contract, limits, validate, look, known)
            partitions.write(kept, folder / f"{name}.parquet")
            partitions.write(quarantine, folder / f"{name}.quarantine.parquet")
            report.add(*part.checks, *books(folder, name, frame, manifest.get(name, {}), part))
            report.facts[name] = part.facts
            samples.append(partitions.thin(kept, SAMPLE_ROWS))
            partitions.write(samples[-1], folder / f"{name}.{SAMPLE}.parquet")
            if look is None:
                np.save(folder / KEYS, partitions.keys(kept, contract.key))
                report.add(enough(len(frame), limits))
                last = signs[-1]["last"] if signs else None
                report.facts["signs"] = (
                    delivered(contract, kept, last, limits) if part.facts else {}
                )
        if signs and report.facts["signs"]:
            old = [_samples(project, contract, one) for one in before]
            pooled = [pd.concat(parts, ignore_index=True) for parts in zip(*old, strict=True)]
            compare(report, contract, signs, (pooled, samples), limits)
        write_json(folder / "report.json", report.to_dict())
    return report


def enough(rows: int, limits: ValidateSettings) -> Check:
    """`data.min_rows`: too few rows to say anything are not a pass."""
    verdict = Verdict.OK if rows >= limits.min_rows else Verdict.INCONCLUSIVE
    return Check("data.min_rows", verdict, rows, limits.min_rows, rows=rows)


def _content(project: Project, period: str, before: Sequence[str], limits: ValidateSettings) -> str:
    """All that decides a period's report, as one hash."""
    contract = project.contract
    rules = [
        (rule.__name__, rule.__code__.co_code, rule.__code__.co_consts) for rule in contract.rules
    ]
    decides = (
        sorted(contract.columns.items()),
        contract.key,
        contract.slices,
        contract.forbidden,
        rules,
    )
    code = (results(project)["data"], inspect.getsource(project.stage("validate")))
    earlier = [
        digest(partitions.folder(project, "checked", one) / f"{partitions.ROWS}.{SAMPLE}.parquet")
        for one in before
    ]
    told = (
        digest(partitions.folder(project, "raw", period)),
        decides,
        sorted(asdict(limits).items()),
        code,
        earlier,
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()


def forgotten(erased: tombstones.Tombstones, tables: Sequence[Path | IO[bytes]]) -> Check:
    """Whether no Parquet table holds a row that was erased."""
    found = sum(map(erased.hold, tables))
    evidence = (
        f"tables hold rows of {ERASED}; run: uv run dvc repro --force ingest" if found else ""
    )
    return at_most("data.erased", found, 0, len(tables), min_rows=0, evidence=evidence)


def books(
    folder: Path, name: str, read: "pd.DataFrame", closed: Mapping[str, Any], part: Report
) -> list[Check]:
    """`data.manifest`: what is read is what the period was closed with. `data.row_count`: no row read is lost."""
    import pandas as pd

    same = closed.get("sha256") == partitions.content(read)
    kept = partitions.length(folder / f"{name}.parquet")
    out = pd.read_parquet(folder / f"{name}.quarantine.parquet", columns=["row"])["row"].nunique()
    told = f"{len(read):,} rows read, {closed.get('rows', 0):,} closed, {kept:,} kept, {out:,} in quarantine"
    left = (
        abs(closed.get("rows", 0) - kept - out) if part.facts else 0
    )  # a table of another shape is refused whole
    suffix = "" if name == partitions.ROWS else f":{name}"
    return [
        at_most(
            f"data.manifest{suffix}",
            int(not same),
            0,
            len(read),
            min_rows=0,
            evidence="" if same else told,
        ),
        at_most(f"data.row_count{suffix}", left, 0, len(read), min_rows=0, evidence=told),
    ]


def _samples(project: Project, contract: Contract, period: str) -> "list[pd.DataFrame]":
    return [
        partitions.read(project, "checked", period, f"{name}.{SAMPLE}")
        for name in partitions.tables(contract)
    ]


def delivered(
    contract: Contract, kept: "pd.DataFrame", last: float | None, limits: ValidateSettings
) -> dict[str, Any]:
    """What later periods are compared with; `last` is the time (unix seconds) at which the period before ended."""
    found: dict[str, Any] = {
        "rows": len(kept),
        "first": None,
        "last": None,
        "late": 0.0,
        "outcome": [],
        "spread": 1.0,
    }
    if contract.time and len(kept):
        times = kept[contract.time].to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
        found["first"], found["last"] = (
            float(np.quantile(times, share, method="nearest")) for share in (0.001, 0.999)
        )
        found["late"] = 0.0 if last is None else round(float((times < last).mean()), 6)
    if len(kept):
        target, classes = contract.target(kept), len(contract.classes)
        shares = (
            np.bincount(target.astype(int), minlength=classes) / len(kept)
            if classes
            else [target.mean()]
        )
        found["outcome"] = [round(float(share), 9) for share in shares]
        found["spread"] = 1.0 if classes else float(target.std())
    return found | poisoning.signs(contract, kept, 2 * limits.drift_min_rows)


def compare(
    report: Report,
    contract: Contract,
    before: Sequence[Mapping[str, Any]],
    samples: "tuple[Sequence[pd.DataFrame], Sequence[pd.DataFrame]]",
    limits: ValidateSettings,
) -> None:
    """Add drift and signs of poison to a period's report; `samples` are the tables before and those of this period."""
    old, new = (
        {k: v for t in reversed(side) for k, v in contract.arrays(t).items()} for side in samples
    )
    targets = [contract.target(side[0]) for side in samples]
    signs, rows = report.facts["signs"], (samples[0][0], samples[1][0])
    report.add(*drift.delivery(before, signs, limits))
    report.add(*drift.columns(contract, old, new, targets, limits))
    report.add(*poisoning.poison(contract, before, signs, rows, limits))


def summarise(periods: Mapping[str, Report]) -> Report:
    """One report over several periods: of each check the worst, naming its period; drift and advice of the newest."""
    worst: dict[str, Check] = {}
    for period, report in periods.items():
        for check in report.checks:
            known = worst.get(check.name)
            if known is None or SEVERITY.index(check.verdict) >= SEVERITY.index(known.verdict):
                evidence = f"{period}: {check.evidence}" if check.evidence else period
                worst[check.name] = replace(check, evidence=evidence)
    facts = {period: report.facts.get(partitions.ROWS) for period, report in periods.items()}
    newest = list(periods.values())[-1]
    return Report("validate", [*worst.values(), *newest.drift, *newest.warnings], {"rows": facts})


def validate_periods(
    project: Project, periods: Sequence[str], validate: Validate
) -> dict[str, Report]:
    """The report of each period, checked in their order; folders of periods beyond the cycle are deleted."""
    length = project.settings().train.periods
    partitions.drop_others(project, "checked", periods)
    reports = {}
    for place, period in enumerate(periods):
        before = periods[max(0, place - length) : place]
        reports[period] = check_period(project, period, before, validate)
    return reports


def write_report(project: Project, reports: Mapping[str, Report]) -> Report:
    """Write reports/validate.json, the data sheet and the page of the newest period; returns the report.

    It is about the periods in use: those to train on and the one to evaluate on.
    """
    train, evaluation = partitions.window(
        list(reports), project.settings().train.periods, project.contract
    )
    used = {period: reports[period] for period in dict.fromkeys([*train, *evaluation])}
    report = summarise(used)
    tables = partitions.files(project, "raw")
    report.add(forgotten(tombstones.read(project, project.contract), tables))
    write_json(project.root / VALIDATION, report.to_dict())
    samples = {period: _samples(project, project.contract, period) for period in used}
    datasheet.write(project.root / REPORTS, project.contract, used, samples)
    return report


def stop_on_schema_skew(report: Report) -> None:
    """Stop the pipeline, so that nothing is trained, if a check of the data failed.

    A sign of poison that vetoes the promotion stops no run. Raises: ProjectError, exit code 3.
    """
    failed = []
    for check in report.checks:
        if check.verdict is Verdict.FAIL and check.effect is Effect.BLOCK:
            failed.append(check.name)
    if failed:
        raise ProjectError(
            f"The data of this cycle cannot be used: {', '.join(failed)}.",
            "Correct the source; then, for each period named: uv run mlops close --amend PERIOD; then uv run dvc repro",
            code=3,
        )
