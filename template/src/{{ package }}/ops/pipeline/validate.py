"""validate: check each period once, send bad rows to quarantine, stop the run on schema skew, measure drift."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .. import tombstones
from ..contract import Column, Contract, Lookup
from ..project import command_line, cycle, digest, find_root, nearest, params, read_json, whole, write_json, yours
from ..report import terminal
from ..verdict import Check, Report, Verdict, at_most
from . import drift, poison, sheet
from . import periods as on_disk
from .ingest import MANIFEST
from .judging import vetoes
from .suite import ROW_RULES, Table, described, run, suite

if TYPE_CHECKING:
    import pandas as pd

SEVERITY = [Verdict.OK, Verdict.INSUFFICIENT, Verdict.FAIL]
SAMPLE, KEYS = "sample", "keys.npy"
SAMPLE_ROWS = 20_000
CODE = ("drift", "poison", "suite", "validate")


def check_table(
    frame: "pd.DataFrame",
    contract: Contract,
    limits: Mapping[str, Any],
    look: Lookup | None = None,
    earlier: np.ndarray | None = None,
) -> tuple[Report, "pd.DataFrame", "pd.DataFrame"]:
    """Check the rows, or one look-up; returns the report, what is kept (contract columns only), and the quarantine.

    `earlier` are the `on_disk.keys` of the periods before: a row that was delivered then is not taken again. The
    quarantine has one line per broken rule: `row` (position in `frame`), `rule`, `column`, `value`.
    """
    table = Table.of(contract, look)
    frame = frame.reset_index(drop=True)
    rows, suffix = len(frame), f":{table.name}" if look else ""
    report = Report(f"table {table.name}", _shape(frame, table, suffix))
    if report.verdict is Verdict.FAIL:
        return report, frame.iloc[:0].reindex(columns=list(table.columns)), _quarantine(frame, {})
    kept, rules = frame[list(table.columns)], suite(table)
    broken = run(kept, rules) if rows else {(one.meta["check"], ""): np.empty(0, int) for one in rules.expectations}
    if look is None and rows:
        impossible = contract.impossible(contract.arrays(kept))
        broken |= {("data.rule", name): places for name, places in impossible.items()}
        if earlier is not None and table.key:
            again = np.isin(on_disk.keys(kept, table.key), earlier)
            broken["data.repeated", "+".join(table.key)] = np.flatnonzero(again)
    twice = sum(len(places) for (rule, _), places in broken.items() if rule == "data.key")
    quarantine = _quarantine(kept, {which: places for which, places in broken.items() if which[0] in ROW_RULES})

    def add(name: str, broke: "pd.Series", most: str, **more: Any) -> None:
        share = broke.nunique() / rows if rows else None
        report.checks.append(at_most(name + suffix, share, limits[most], rows, required=False, **more))

    asked = {rule for rule, _ in broken}  # what no value could break is not shown as if it had been looked at
    for rule in (rule for rule in ROW_RULES if rule in asked):
        found = quarantine[quarantine["rule"] == rule]
        counts = found["column"].value_counts().head(3)
        told = ", ".join(f"{table.label(str(column))} ({count:,})" for column, count in counts.items())
        add(rule, found["row"], "max_bad_share", evidence=told)
    if table.key:
        report.checks.append(at_most(f"data.key{suffix}", twice if rows else None, 0, rows, required=False))
    add("data.quarantine", quarantine["row"], "max_quarantine_share")
    out = quarantine["row"].unique()
    kept = kept.drop(index=list(out)).reset_index(drop=True)
    report.facts = {"read": rows, "kept": len(kept), "quarantined": len(out)}
    return report, kept, quarantine


def _quarantine(kept: "pd.DataFrame", broken: "Mapping[tuple[str, str], np.ndarray]") -> "pd.DataFrame":
    import pandas as pd

    def lines(rule: str, column: str, places: np.ndarray) -> pd.DataFrame:
        names = [name for name in column.split("+") if name in kept]
        values = kept[names].iloc[places].astype(str).agg(" ".join, axis=1) if names else "impossible"
        return pd.DataFrame({"row": places, "rule": rule, "column": column, "value": values})

    if parts := [lines(*which, places) for which, places in broken.items() if len(places)]:
        return pd.concat(parts, ignore_index=True)
    return pd.DataFrame(columns=["row", "rule", "column", "value"]).astype({"row": np.int64})


def _shape(frame: "pd.DataFrame", table: Table, suffix: str) -> list[Check]:
    absent = [table.label(name) for name in table.columns if name not in frame]
    banned = [name for name in table.forbidden if name in frame]
    wrong = [name for name, column in table.columns.items() if name in frame and not has_type(frame[name], column)]
    extra = [str(name) for name in frame if name not in table.columns and name not in banned]
    told = f"not in the contract, left out: {', '.join(extra)}" if extra else ""
    if absent:
        told = f"missing: {', '.join(absent)}. {nearest(absent[0], extra) if extra else ''}".strip()
    found = {"data.columns": (absent, told), "data.type": (wrong, ", ".join(wrong))}
    if table.forbidden:
        found["data.forbidden"] = (banned, ", ".join(banned))
    return [
        at_most(f"{name}{suffix}", len(names), 0, len(frame), least=0, evidence=evidence)
        for name, (names, evidence) in found.items()
    ]


def has_type(values: "pd.Series", column: Column) -> bool:
    """Whether a column holds values of the contract's type; an empty or all-missing column has any."""
    from pandas.api import types

    known = values.dropna()
    if known.empty:
        return True
    if column.kind == "datetime":
        return bool(types.is_datetime64_dtype(values))  # a UTC offset would be lost in silence
    inferred = types.infer_dtype(known)
    if column.kind == "bool":
        return inferred == "boolean"
    if column.kind in ("category", "text"):
        return inferred in ("string", "categorical")
    if inferred not in ("integer", "floating", "mixed-integer-float", "decimal"):
        return False
    return column.kind == "float" or bool((known.astype(float) % 1 == 0).all())


def check_period(
    root: Path, contract: Contract, period: str, before: Sequence[str], limits: Mapping[str, Any]
) -> Report:
    """Check one period's tables, write what is kept and what is not to data/checked, and return the report.

    `before` are the periods that it is compared with. Work is skipped when neither the files nor the rules nor the
    periods before changed since the last time.
    """
    import pandas as pd

    target, tables = on_disk.folder(root, "checked", period), [None, *contract.lookups]
    manifest = read_json(root / MANIFEST).get(period, {})
    content = _content(root, contract, period, before, limits)
    if (target / "report.json").exists():
        stored = read_json(target / "report.json")
        if stored["facts"].get("content") == content:
            return Report.from_dict(stored)
    earlier = [on_disk.folder(root, "checked", one) for one in before]
    known = np.concatenate([np.load(folder / KEYS) for folder in earlier]) if earlier else None
    signs = [found for folder in earlier if (found := read_json(folder / "report.json")["facts"]["signs"])]
    report = Report(f"period {period}", facts={"content": content})
    with whole(target) as folder:
        folder.mkdir(parents=True)
        samples = []
        for look in tables:
            name = look.name if look else on_disk.ROWS
            frame = on_disk.read(root, "raw", period, name)
            part, kept, quarantine = check_table(frame, contract, limits, look, known)
            on_disk.write(kept, folder / f"{name}.parquet")
            on_disk.write(quarantine, folder / f"{name}.quarantine.parquet")
            report.checks += [*part.checks, *books(folder, name, frame, manifest.get(name, {}), part)]
            report.facts[name] = part.facts
            samples.append(on_disk.thin(kept, SAMPLE_ROWS))
            on_disk.write(samples[-1], folder / f"{name}.{SAMPLE}.parquet")
            if look is None:
                np.save(folder / KEYS, on_disk.keys(kept, contract.key))
                report.checks.append(enough(len(frame), limits))
                last = signs[-1]["last"] if signs else None
                report.facts["signs"] = delivered(contract, kept, last, limits) if part.facts else {}
        if signs and report.facts["signs"]:
            old = [_samples(root, contract, one) for one in before]
            pooled = [pd.concat(parts, ignore_index=True) for parts in zip(*old, strict=True)]
            compare(report, contract, signs, (pooled, samples), limits)
        write_json(folder / "report.json", report.to_dict())
    return report


def enough(rows: int, limits: Mapping[str, Any]) -> Check:
    """`data.rows`: too few rows to say anything are not a pass."""
    verdict = Verdict.OK if rows >= limits["min_rows"] else Verdict.INSUFFICIENT
    return Check("data.rows", verdict, rows, limits["min_rows"], rows=rows)


def _content(root: Path, contract: Contract, period: str, before: Sequence[str], limits: Mapping[str, Any]) -> str:
    """All that decides a period's report, as one hash."""
    rules = [(rule.__name__, rule.__code__.co_code, rule.__code__.co_consts) for rule in contract.rules]
    decides = (sorted(contract.columns.items()), contract.key, contract.slices, contract.forbidden, rules)
    code = [digest(Path(__file__).with_name(f"{name}.py")) for name in CODE]
    earlier = [digest(on_disk.folder(root, "checked", one) / f"{on_disk.ROWS}.{SAMPLE}.parquet") for one in before]
    told = (digest(on_disk.folder(root, "raw", period)), decides, sorted(limits.items()), code, earlier)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def forgotten(erased: tombstones.Tombstones, tables: Sequence[Path | IO[bytes]]) -> Check:
    """Whether no Parquet table holds a row that was erased."""
    found = sum(map(erased.hold, tables))
    evidence = f"tables hold rows of {tombstones.FILE}; run: uv run dvc repro --force ingest" if found else ""
    return at_most("data.erased", found, 0, len(tables), least=0, evidence=evidence)


def books(folder: Path, name: str, read: "pd.DataFrame", closed: Mapping[str, Any], part: Report) -> list[Check]:
    """`data.manifest`: what is read is what the period was closed with. `data.account`: rows read are rows written."""
    import pandas as pd

    same = closed.get("sha256") == on_disk.content(read)
    kept = on_disk.length(folder / f"{name}.parquet")
    out = pd.read_parquet(folder / f"{name}.quarantine.parquet", columns=["row"])["row"].nunique()
    told = f"{len(read):,} rows read, {closed.get('rows', 0):,} closed, {kept:,} kept, {out:,} in quarantine"
    left = abs(closed.get("rows", 0) - kept - out) if part.facts else 0  # a table of another shape is refused whole
    suffix = "" if name == on_disk.ROWS else f":{name}"
    return [
        at_most(f"data.manifest{suffix}", int(not same), 0, len(read), least=0, evidence="" if same else told),
        at_most(f"data.account{suffix}", left, 0, len(read), least=0, evidence=told),
    ]


def _samples(root: Path, contract: Contract, period: str) -> "list[pd.DataFrame]":
    return [on_disk.read(root, "checked", period, f"{name}.{SAMPLE}") for name in on_disk.tables(contract)]


def delivered(
    contract: Contract, kept: "pd.DataFrame", last: float | None, limits: Mapping[str, Any]
) -> dict[str, Any]:
    """What later periods are compared with; `last` is the time (unix seconds) at which the period before ended."""
    found: dict[str, Any] = {"rows": len(kept), "first": None, "last": None, "late": 0.0, "outcome": [], "spread": 1.0}
    if contract.time and len(kept):
        times = kept[contract.time].to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
        found["first"], found["last"] = (float(np.quantile(times, share, method="nearest")) for share in (0.001, 0.999))
        found["late"] = 0.0 if last is None else round(float((times < last).mean()), 6)
    if len(kept):
        target, classes = contract.target(kept), len(contract.classes)
        shares = np.bincount(target.astype(int), minlength=classes) / len(kept) if classes else [target.mean()]
        found["outcome"] = [round(float(share), 9) for share in shares]
        found["spread"] = 1.0 if classes else float(target.std())
    return found | poison.signs(contract, kept, 2 * limits["drift_min_rows"])


def compare(
    report: Report,
    contract: Contract,
    before: Sequence[Mapping[str, Any]],
    samples: "tuple[Sequence[pd.DataFrame], Sequence[pd.DataFrame]]",
    limits: Mapping[str, Any],
) -> None:
    """Add drift and signs of poison to a period's report; `samples` are the tables before and those of this period."""
    old, new = ({k: v for t in reversed(side) for k, v in contract.arrays(t).items()} for side in samples)
    targets = [contract.target(side[0]) for side in samples]
    report.drift += drift.delivery(before, report.facts["signs"], limits)
    report.drift += drift.columns(contract, old, new, targets, limits)
    found = poison.poison(contract, before, report.facts["signs"], (samples[0][0], samples[1][0]), limits)
    vetoing = vetoes(limits, "poison_vetoes", poison.KINDS, "validate")
    for check in found:
        (report.checks if check.name.split(".")[1] in vetoing else report.advice).append(check)


def summarise(periods: Mapping[str, Report]) -> Report:
    """One report over several periods: of each check the worst, naming its period; drift and advice of the newest."""
    worst: dict[str, Check] = {}
    for period, report in periods.items():
        for check in report.checks:
            known = worst.get(check.name)
            if known is None or SEVERITY.index(check.verdict) >= SEVERITY.index(known.verdict):
                evidence = f"{period}: {check.evidence}" if check.evidence else period
                worst[check.name] = replace(check, evidence=evidence)
    facts = {period: report.facts.get(on_disk.ROWS) for period, report in periods.items()}
    newest = list(periods.values())[-1]
    return Report("validate", list(worst.values()), {"rows": facts}, newest.drift, newest.advice)


def main() -> int:
    """Run the stage. Exit code 3, which stops the pipeline, if a period in use has schema skew or too many bad rows."""
    root, team = find_root(), yours()
    settings = params(root)
    contract, limits, length = team.contract, settings["validate"], settings["train"]["periods"]
    periods = on_disk.closed(team.data, cycle(root)["until"])
    write_json(root / "reports" / "suite.json", described(contract))
    on_disk.drop_others(root, "checked", periods)
    reports = {}
    for place, period in enumerate(periods):
        before = periods[max(0, place - length) : place]
        reports[period] = check_period(root, contract, period, before, limits)
    train, evaluation = on_disk.window(periods, length, contract)
    used = {period: reports[period] for period in dict.fromkeys([*train, *evaluation])}
    report = summarise(used)
    tables = sorted(root.glob("data/raw/period=*/*.parquet"))
    report.checks.append(forgotten(tombstones.read(root, contract), tables))
    write_json(root / "reports" / "validate.json", report.to_dict())
    samples = {period: _samples(root, contract, period) for period in used}
    sheet.write(root / "reports", contract, used, samples)
    print(terminal(report))
    failed = [check.name for check in report.checks if check.verdict is Verdict.FAIL]
    if not any(name.startswith("data.") for name in failed):
        return 0
    print(
        "\nOnce the source is mended, for each period named: uv run mlops close --amend PERIOD; then uv run dvc repro"
    )
    return 3


if __name__ == "__main__":
    raise SystemExit(command_line(main))
