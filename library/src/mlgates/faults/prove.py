"""`mlops prove`: plant faults, one after the other, and show that the named check catches each."""

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlgates.errors import ProjectError
from mlgates.grid import Grid
from mlgates.project import Project
from mlgates.verdict import EXIT_CODES, Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from mlgates.faults.planting import Bench, Fault, Healthy

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
MIN_ROWS = 12_000  # healthy rows to plant faults in; a smaller table is drawn from again
MAX_ROWS = 20_000  # of the first periods

# The results of a line. The tests of the template read them from the printed table.
CAUGHT = "caught"
ESCAPED = "ESCAPED"
NOT_APPLICABLE = "not applicable"
QUIET = "quiet"
FALSE_ALARM = "FALSE ALARM"


@dataclass(frozen=True)
class Line:
    """A line of the table: a fault, or a run without a fault; `false_alarms` counts failed checks.

    `subject` says what was run, `expectation` which check must catch the fault (of a run without a
    fault: how its checks went), `row` which row of Google's ML Test Score is proven.
    """

    result: str
    subject: str
    expectation: str
    row: str
    evidence: str
    false_alarms: int = 0

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the table."""
        return self.result, self.subject, self.expectation, self.row, self.evidence


def prove(project: Project, *, fast: bool = False) -> int:
    """Print the table of faults and of false alarms; `fast` leaves out what is slow.

    Returns the exit code: 0 if all faults were caught and no healthy run raised an alarm, else 3.
    """
    for name in FAULT_MODULES:
        importlib.import_module(f"mlgates.faults.{name}")  # it registers its faults
    from mlgates.faults.planting import FAULTS, HEALTHY, Bench

    started = time.monotonic()
    project.module("faults")  # the team's own faults register themselves
    faults = [fault for fault in FAULTS if not (fast and fault.slow)]
    healthy_runs = [run for run in HEALTHY if not (fast and run.slow)]
    bench = Bench(project, healthy_rows(project), project.settings())
    print(f"prove: {len(bench.rows):,} healthy rows; planting {len(faults)} faults", flush=True)

    lines = []
    for fault in faults:
        line = _plant(fault, bench)
        print(f"  {line.result:<15} {fault.name}", flush=True)
        lines.append(line)
    for healthy in healthy_runs:
        line = _run_healthy(healthy, bench)
        print(f"  {line.result:<15} healthy: {healthy.name}", flush=True)
        lines.append(line)
    return _conclude(lines, time.monotonic() - started)


def _plant(fault: "Fault", bench: "Bench") -> Line:
    """Whether a planted fault is caught."""
    from mlgates.faults.planting import outcome

    caught, evidence = outcome(fault, bench)
    if caught is None:
        result = NOT_APPLICABLE
    elif caught:
        result = CAUGHT
    else:
        result = ESCAPED
    return Line(result, fault.name, fault.caught_by, fault.row, evidence)


def _run_healthy(healthy: "Healthy", bench: "Bench") -> Line:
    """Which checks fail although there is no fault, over all seeds of a healthy run."""
    reports, notes = _healthy_reports(healthy, bench)
    checks: list[Check] = []
    for report in reports:
        checks.extend(report.checks)
    failed = [check for check in checks if check.verdict is Verdict.FAIL]
    for check in failed:
        notes.add(f"{check.name} {check.value} {check.evidence}")
    failed_runs = sum(report.verdict is Verdict.FAIL for report in reports)

    result = FALSE_ALARM if failed else QUIET
    return Line(
        result=result,
        subject=f"healthy: {healthy.name}, seeds: {healthy.seeds}",
        expectation=f"{len(failed)} of {len(checks)} checks failed, {failed_runs} runs failed",
        row="",
        evidence="; ".join(sorted(notes)),
        false_alarms=len(failed),
    )


def _healthy_reports(healthy: "Healthy", bench: "Bench") -> tuple[list[Report], set[str]]:
    """The report of each seed, and notes for the reader; no report if the run is not applicable."""
    from mlgates.faults.planting import NotApplicable

    try:
        reports = [healthy.run(bench, seed) for seed in range(healthy.seeds)]
    except NotApplicable as reason:
        return [], {f"not applicable: {reason}"}
    notes = {str(report.facts["told"]) for report in reports if "told" in report.facts}
    return reports, notes


def _conclude(lines: Sequence[Line], seconds: float) -> int:
    """Print the table and the totals; returns the exit code."""
    headings = ["result", "fault", "must be caught by", "row", "evidence"]
    table = Grid(headings, [line.cells for line in lines])
    print("\n" + table.text())

    caught = sum(line.result == CAUGHT for line in lines)
    escaped = sum(line.result == ESCAPED for line in lines)
    false_alarms = sum(line.false_alarms for line in lines)
    print(f"\n{caught} caught, {escaped} escaped, {false_alarms} false alarms, {seconds:.0f} s")
    verdict = Verdict.FAIL if escaped or false_alarms else Verdict.OK
    return EXIT_CODES[verdict]


def healthy_rows(project: Project) -> "pd.DataFrame":
    """Joined rows to plant faults in.

    They are the reference of the candidate; where there is none the rows of the first periods, and
    without any data synthetic rows. Where they are few, they are drawn again: the faults prove the
    checks, not how much a small table can tell.
    """
    import pandas as pd

    from mlgates import lookups
    from mlgates.faults.rows import enlarged, synthetic
    from mlgates.layout import CANDIDATE, REFERENCE

    contract = project.contract
    reference = project.root / CANDIDATE / REFERENCE
    if reference.exists():
        return enlarged(pd.read_parquet(reference), contract, MIN_ROWS)

    try:
        rows, tables = first_rows(project, MIN_ROWS)
    except ProjectError:
        return synthetic(contract, MIN_ROWS, seed=0)

    # Every fault works on these rows; more of them take longer and show no more.
    rows = rows.sample(min(len(rows), MAX_ROWS), random_state=0).reset_index(drop=True)
    return enlarged(lookups.join(rows, contract, tables), contract, MIN_ROWS)


def first_rows(project: Project, min_rows: int) -> "tuple[pd.DataFrame, dict[str, pd.DataFrame]]":
    """The rows of as many periods as hold `min_rows` rows, and their look-up tables by name.

    All columns have the contract's names. Raises: ProjectError if data.py has no data on this
    machine.
    """
    import pandas as pd

    contract = project.contract
    frames: list[pd.DataFrame] = []
    parts: dict[str, list[pd.DataFrame]] = {look.name: [] for look in contract.lookups}
    n_rows = 0
    for period in project.data.periods():
        rows = contract.named(project.data.read(period))
        frames.append(rows)
        for name in parts:
            parts[name].append(contract.named(project.data.lookup(name, period)))
        n_rows += len(rows)
        if n_rows >= min_rows:
            break

    tables = {name: pd.concat(periods, ignore_index=True) for name, periods in parts.items()}
    return pd.concat(frames, ignore_index=True), tables
