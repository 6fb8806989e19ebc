"""`mlops prove`: plant faults, one after the other, and show that the named check catches each."""

import importlib
import time
from typing import TYPE_CHECKING

from mlgates.errors import ProjectError
from mlgates.grid import Grid
from mlgates.project import Project
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

FAULT_MODULES = (
    "behavior",
    "constraints",
    "data",
    "drill",
    "features",
    "live",
    "model",
    "monitoring",
    "registry",
    "trust",
)
LEAST_ROWS = 12_000


def prove(project: Project, *, fast: bool = False) -> int:
    """Print the table of faults and of false alarms; 0 if all were caught and no healthy run alarmed, else 3."""
    for name in FAULT_MODULES:
        importlib.import_module(f"mlgates.faults.{name}")  # it registers its faults
    from mlgates.faults.planting import FAULTS, HEALTHY, Bench, NotApplicable, outcome

    started = time.monotonic()
    project.module("faults")  # the team's own faults register themselves
    bench = Bench(project, healthy_rows(project), project.settings())
    print(
        f"prove: {len(bench.rows):,} healthy rows; planting {sum(not (f.slow and fast) for f in FAULTS)} faults",
        flush=True,
    )
    lines, escaped, alarms = [], 0, 0
    for fault in (fault for fault in FAULTS if not (fault.slow and fast)):
        caught, evidence = outcome(fault, bench)
        escaped += caught is False
        word = {True: "caught", False: "ESCAPED", None: "not applicable"}[caught]
        lines.append([word, fault.name, fault.caught_by, fault.row, evidence])
        print(f"  {word:<15} {fault.name}", flush=True)
    for sound in (sound for sound in HEALTHY if not (sound.slow and fast)):
        try:
            reports = [sound.run(bench, seed) for seed in range(sound.seeds)]
        except NotApplicable as reason:
            reports = [Report(sound.name, facts={"told": f"not applicable: {reason}"})]
        checks = [check for report in reports for check in report.checks]
        red = [check for check in checks if check.verdict is Verdict.FAIL]
        alarms += len(red)
        vetoed = sum(report.verdict is Verdict.FAIL for report in reports)
        told = f"{len(red)} of {len(checks)} checks red, {vetoed} runs vetoed"
        notes = {f"{check.name} {check.value} {check.evidence}" for check in red}
        note = "; ".join(
            sorted(
                notes | {str(report.facts["told"]) for report in reports if "told" in report.facts}
            )
        )
        word = "FALSE ALARM" if red else "quiet"
        lines.append([word, f"healthy: {sound.name}, seeds: {sound.seeds}", told, "", note])
        print(f"  {word:<15} healthy: {sound.name}", flush=True)
    print("\n" + Grid(["result", "fault", "must be caught by", "row", "evidence"], lines).text())
    counted = sum(line[0] == "caught" for line in lines)
    print(
        f"\n{counted} caught, {escaped} escaped, {alarms} false alarms, {time.monotonic() - started:.0f} s"
    )
    return 3 if escaped or alarms else 0


def healthy_rows(project: Project) -> "pd.DataFrame":
    """Joined rows to plant faults in: the reference of the candidate, else the first periods, else synthetic ones.

    Where they are few, they are drawn again: the faults prove the checks, not how much a small table can tell.
    """
    import pandas as pd

    from mlgates import lookups
    from mlgates.faults.rows import enlarged, synthetic
    from mlgates.layout import CANDIDATE, REFERENCE

    if (project.root / CANDIDATE / REFERENCE).exists():
        return enlarged(
            pd.read_parquet(project.root / CANDIDATE / REFERENCE), project.contract, LEAST_ROWS
        )
    try:
        rows, tables = first_rows(project, LEAST_ROWS)
    except ProjectError:
        return synthetic(project.contract, LEAST_ROWS, seed=0)
    rows = rows.sample(min(len(rows), 20_000), random_state=0).reset_index(drop=True)
    return enlarged(lookups.join(rows, project.contract, tables), project.contract, LEAST_ROWS)


def first_rows(project: Project, least: int) -> "tuple[pd.DataFrame, dict[str, pd.DataFrame]]":
    """The rows of as many periods as hold `least` rows, and their look-up tables, all under the contract's names.

    Raises: ProjectError if data.py has none on this machine.
    """
    import pandas as pd

    frames: list[pd.DataFrame] = []
    tables: dict[str, list[pd.DataFrame]] = {look.name: [] for look in project.contract.lookups}
    for period in project.data.periods():
        frames.append(project.contract.named(project.data.read(period)))
        for name, parts in tables.items():
            parts.append(project.contract.named(project.data.lookup(name, period)))
        if sum(map(len, frames)) >= least:
            break
    known = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    return pd.concat(frames, ignore_index=True), known
