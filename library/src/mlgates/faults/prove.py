"""`mlops prove`: plant faults, one after the other, and show that the named check catches each."""

import importlib
import sys
import time
from typing import TYPE_CHECKING

from mlgates.errors import ProjectError
from mlgates.faults.proof import (
    CAUGHT,
    ESCAPED,
    FALSE_ALARM,
    HEALTHY,
    NOT_APPLICABLE,
    QUIET,
    Line,
    Proof,
)
from mlgates.files import write_json, write_text
from mlgates.layout import PROOF, PROOF_PAGE
from mlgates.project import Project
from mlgates.screen import working
from mlgates.verdict import Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from mlgates.faults.planting import Bench, Fault, Healthy

# The modules that plant faults, and what they plant them in
AREAS = {
    "behavior": "what the model answers",
    "constraints": "each rule of the contract",
    "data": "periods and deliveries",
    "drill": "whole cycles with a service",
    "features": "features and their cost",
    "live": "a running service",
    "model": "the candidate",
    "monitoring": "the prediction log",
    "registry": "the record of releases",
    "trust": "model files and signatures",
}
TEAM = "faults.py of the team"
MIN_ROWS = 12_000  # healthy rows to plant faults in; a smaller table is drawn from again
MAX_ROWS = 20_000  # of the first periods


def prove(project: Project, *, fast: bool = False) -> Proof:
    """Plant every fault and run everything healthy; `fast` leaves out what is slow.

    The proof is kept in var/prove, as JSON and as a page.
    """
    for name in AREAS:
        importlib.import_module(f"mlgates.faults.{name}")  # it registers its faults
    from mlgates.faults import planting

    project.module("faults")  # the team's own faults register themselves
    faults = [fault for fault in planting.FAULTS if not (fast and fault.slow)]
    healthy_runs = [run for run in planting.HEALTHY if not (fast and run.slow)]
    bench = planting.Bench(project, healthy_rows(project), project.settings())
    print(
        f"prove: {len(faults)} faults are planted in {len(bench.rows):,} healthy rows",
        file=sys.stderr,
        flush=True,
    )

    started = time.monotonic()
    lines = []
    with working("prove", total=len(faults) + len(healthy_runs)) as work:
        for fault in faults:
            lines.append(_plant(fault, bench))
            work.advance(fault.name)
        for healthy in healthy_runs:
            lines.append(_run_healthy(healthy, bench))
            work.advance(healthy.name)
    proof = Proof(lines, time.monotonic() - started, fast)
    write_json(project.root / PROOF, proof.to_dict())
    write_text(project.root / PROOF_PAGE, proof.page())
    return proof


def _plant(fault: "Fault", bench: "Bench") -> Line:
    """Whether a planted fault is caught."""
    from mlgates.faults.planting import try_fault

    caught, evidence = try_fault(fault, bench)
    if caught is None:
        result = NOT_APPLICABLE
    elif caught:
        result = CAUGHT
    else:
        result = ESCAPED
    area = AREAS.get(fault.area, TEAM)
    return Line(area, result, fault.name, fault.caught_by, fault.row, evidence)


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
        area=HEALTHY,
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
    notes = {str(report.facts["note"]) for report in reports if "note" in report.facts}
    return reports, notes


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
        rows = contract.with_contract_names(project.data.read(period))
        frames.append(rows)
        for name in parts:
            parts[name].append(contract.with_contract_names(project.data.lookup(name, period)))
        n_rows += len(rows)
        if n_rows >= min_rows:
            break

    tables = {name: pd.concat(periods, ignore_index=True) for name, periods in parts.items()}
    return pd.concat(frames, ignore_index=True), tables
