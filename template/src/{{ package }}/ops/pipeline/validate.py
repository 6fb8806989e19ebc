"""validate: check each period once, send bad rows to quarantine, stop the run on schema skew, measure drift."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract import Column, Contract
from ..project import command_line, cycle, digest, find_root, params, read_json, whole, write_json, yours
from ..report import terminal
from ..verdict import Check, Report, Verdict, at_most
from . import periods as on_disk
from .drift import drift
from .suite import ROW_RULES, run, suite

if TYPE_CHECKING:
    import pandas as pd

SEVERITY = [Verdict.OK, Verdict.INSUFFICIENT, Verdict.FAIL]


def check_table(
    frame: "pd.DataFrame",
    columns: Mapping[str, Column],
    limits: Mapping[str, Any],
    *,
    key: Sequence[str] = (),
    forbidden: Sequence[str] = (),
    name: str = on_disk.ROWS,
) -> tuple[Report, "pd.DataFrame", "pd.DataFrame"]:
    """Check one table; returns the report, the rows kept (contract columns only), and the quarantine.

    The quarantine has one line per broken rule: `row` (position in `frame`), `rule`, `column`, `value`.
    """
    import pandas as pd

    frame = frame.reset_index(drop=True)
    suffix = "" if name == on_disk.ROWS else f":{name}"
    rows = len(frame)
    report = Report(f"table {name}", _shape(frame, columns, forbidden, suffix))
    nothing = pd.DataFrame({"row": [], "rule": [], "column": [], "value": []})
    if report.verdict is Verdict.FAIL:
        return report, frame.iloc[:0], nothing
    kept = frame[list(columns)]
    broken = run(kept, suite(name, columns, key)) if rows else []
    lines = [(row, rule, column) for rule, column, places in broken if rule in ROW_RULES for row in places]
    values = [str(kept.at[row, column]) for row, _, column in lines]
    quarantine = pd.DataFrame(lines, columns=["row", "rule", "column"]).assign(value=pd.Series(values, dtype=object))
    for rule in ROW_RULES:
        worst = Counter({column: len(places) for check, column, places in broken if check == rule})
        bad = len({row for row, check, _ in lines if check == rule})
        evidence = ", ".join(f"{columns[name].label} ({count:,})" for name, count in worst.most_common(3) if count)
        report.checks.append(
            at_most(
                rule + suffix,
                bad / rows if rows else None,
                limits["max_bad_share"],
                rows,
                required=False,
                evidence=evidence,
            )
        )
    if key:
        twice = sum(len(places) for check, _, places in broken if check == "data.key")
        report.checks.append(at_most(f"data.key{suffix}", twice if rows else None, 0, rows, required=False))
    out = set(quarantine["row"])
    share = len(out) / rows if rows else None
    report.checks.append(
        at_most(f"data.quarantine{suffix}", share, limits["max_quarantine_share"], rows, required=False)
    )
    kept = kept.drop(index=sorted(out)).reset_index(drop=True)
    report.facts = {"read": rows, "kept": len(kept), "quarantined": len(out)}
    return report, kept, quarantine


def _shape(frame: "pd.DataFrame", columns: Mapping[str, Column], forbidden: Sequence[str], suffix: str) -> list[Check]:
    absent = [column.label for name, column in columns.items() if name not in frame]
    banned = [name for name in forbidden if name in frame]
    wrong = [name for name, column in columns.items() if name in frame and not has_type(frame[name], column)]
    rows = len(frame)
    extra = [name for name in frame if name not in columns and name not in banned]
    left = f"not in the contract, left out: {', '.join(map(str, extra))}" if extra else ""
    return [
        at_most(
            f"data.columns{suffix}",
            len(absent),
            0,
            rows,
            least=0,
            evidence=f"missing: {', '.join(absent)}" if absent else left,
        ),
        at_most(f"data.forbidden{suffix}", len(banned), 0, rows, least=0, evidence=", ".join(banned)),
        at_most(
            f"data.type{suffix}",
            len(wrong),
            0,
            rows,
            least=0,
            evidence=", ".join(f"{n} is {frame[n].dtype}" for n in wrong),
        ),
    ]


def has_type(values: "pd.Series", column: Column) -> bool:
    """Whether a column's values have the contract's kind; an empty or all-missing column has any."""
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


def check_period(root: Path, contract: Contract, period: str, limits: Mapping[str, Any]) -> Report:
    """Check one period's tables, write what is kept and what is not to data/checked, and return the report.

    Work is skipped when neither the files nor the rules changed since the last time.
    """
    raw, target = (on_disk.folder(root, step, period) for step in ("raw", "checked"))
    rules = repr((sorted(contract.columns.items()), contract.key, contract.forbidden, sorted(limits.items())))
    code = "".join(digest(Path(__file__).with_name(f"{name}.py")) for name in ("suite", "validate"))
    content = hashlib.sha256((digest(raw) + rules + code).encode()).hexdigest()
    if (target / "report.json").exists():
        stored = read_json(target / "report.json")
        if stored["facts"].get("content") == content:
            return Report.from_dict(stored)
    report = Report(f"period {period}", facts={"content": content})
    rows = on_disk.read(root, "raw", period)
    row_columns = contract.request_columns | contract.from_source("outcome")
    tables = [(on_disk.ROWS, rows, row_columns, list(contract.key), contract.forbidden)]
    for look in contract.lookups:
        known = Column(look.time, "datetime", look.name)
        columns = (
            {name: contract.columns[name] for name in look.keys} | {look.time: known} | contract.from_source(look.name)
        )
        tables.append((look.name, on_disk.read(root, "raw", period, look.name), columns, [*look.keys, look.time], ()))
    with whole(target) as folder:
        folder.mkdir(parents=True)
        for name, frame, columns, key, forbidden in tables:
            part, kept, quarantine = check_table(frame, columns, limits, key=key, forbidden=forbidden, name=name)
            report.checks += part.checks
            report.facts[name] = part.facts
            on_disk.write(kept, folder / f"{name}.parquet")
            on_disk.write(quarantine, folder / f"{name}.quarantine.parquet")
        report.checks.append(_volume(len(rows), limits["min_rows"]))
        write_json(folder / "report.json", report.to_dict())
    return report


def _volume(rows: int, least: int) -> Check:
    return Check("data.rows", Verdict.OK if rows >= least else Verdict.INSUFFICIENT, rows, least, rows=rows)


def summarise(periods: Mapping[str, Report], shown: Sequence[Check]) -> Report:
    """One report over several periods: of each check the worst, naming its period."""
    worst: dict[str, Check] = {}
    for period, report in periods.items():
        for check in report.checks:
            known = worst.get(check.name)
            if known is None or SEVERITY.index(check.verdict) >= SEVERITY.index(known.verdict):
                evidence = f"{period}: {check.evidence}" if check.evidence else period
                worst[check.name] = Check(**{**check.__dict__, "evidence": evidence})
    facts = {period: report.facts.get(on_disk.ROWS) for period, report in periods.items()}
    return Report("validate", list(worst.values()), {"rows": facts}, list(shown))


def main() -> int:
    """Run the stage. Exit code 3, which stops the pipeline, if a period in use has schema skew or too many bad rows."""
    root, team = find_root(), yours()
    settings = params(root)
    contract, limits = team.contract, settings["validate"]
    periods = on_disk.closed(team.data, cycle(root)["until"])
    on_disk.drop_others(root, "checked", periods)
    reports = {period: check_period(root, contract, period, limits) for period in periods}
    train, evaluation = on_disk.window(periods, settings["train"]["periods"], contract)
    used = dict.fromkeys([*train, *evaluation])
    moved = []
    if contract.time:
        old, new = (concat(root, contract, part) for part in (train, evaluation))
        columns = list(contract.columns.values())
        moved = drift(old, new, columns, limits["drift_limit"], limits["drift_min_rows"])
    report = summarise({period: reports[period] for period in used}, moved)
    write_json(root / "reports" / "validate.json", report.to_dict())
    print(terminal(report))
    if report.verdict is not Verdict.FAIL:
        return 0
    print("\nOnce the source is mended, delete data/raw/period=... of the period named above; then: uv run dvc repro")
    return 3


def concat(root: Path, contract: Contract, periods: Sequence[str]) -> dict[str, Any]:
    """The rows of several checked periods as arrays."""
    import pandas as pd

    return contract.arrays(pd.concat([on_disk.read(root, "checked", period) for period in periods], ignore_index=True))


if __name__ == "__main__":
    raise SystemExit(command_line(main))
