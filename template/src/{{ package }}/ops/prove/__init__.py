"""`mlops prove`: plant faults, one after the other, and show that the named check catches each."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..project import ProjectError, Yours, custom, params, yours
from ..report import table
from ..verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

LEAST_ROWS = 12_000


def prove(root: Path, *, fast: bool = False) -> int:
    """Print the table of faults and of false alarms; 0 if all were caught and no healthy run alarmed, else 3."""
    from . import conduct, data, live, model, monitoring, record, trust, worth  # noqa: F401  registering is what they do
    from .faults import FAULTS, HEALTHY, Bench, NotApplicable, outcome

    started = time.monotonic()
    custom("faults")
    team = yours()
    bench = Bench(team, healthy_rows(root, team), params(root), root)
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
        note = "; ".join(sorted(notes | {str(report.facts["told"]) for report in reports if "told" in report.facts}))
        word = "FALSE ALARM" if red else "quiet"
        lines.append([word, f"healthy: {sound.name}, seeds: {sound.seeds}", told, "", note])
        print(f"  {word:<15} healthy: {sound.name}", flush=True)
    print("\n" + table(["result", "fault", "must be caught by", "row", "evidence"], lines))
    counted = sum(line[0] == "caught" for line in lines)
    print(f"\n{counted} caught, {escaped} escaped, {alarms} false alarms, {time.monotonic() - started:.0f} s")
    return 3 if escaped or alarms else 0


def healthy_rows(root: Path, team: Yours) -> "pd.DataFrame":
    """Joined rows to plant faults in: the reference of the candidate, else the first periods, else synthetic ones.

    Where they are few, they are drawn again: the faults prove the checks, not how much a small table can tell.
    """
    import pandas as pd

    from .. import lookups
    from ..pipeline.train import CANDIDATE
    from ..scoring import REFERENCE
    from .rows import enlarged, synthetic

    if (root / CANDIDATE / REFERENCE).exists():
        return enlarged(pd.read_parquet(root / CANDIDATE / REFERENCE), team.contract, LEAST_ROWS)
    try:
        rows, tables = first_rows(team, LEAST_ROWS)
    except ProjectError:
        return synthetic(team.contract, LEAST_ROWS, seed=0)
    rows = rows.sample(min(len(rows), 20_000), random_state=0).reset_index(drop=True)
    return enlarged(lookups.join(rows, team.contract, tables), team.contract, LEAST_ROWS)


def first_rows(team: Yours, least: int) -> "tuple[pd.DataFrame, dict[str, pd.DataFrame]]":
    """The rows of as many periods as hold `least` rows, and their look-up tables, all under the contract's names.

    Raises: ProjectError if data.py has none on this machine.
    """
    import pandas as pd

    frames: list[pd.DataFrame] = []
    tables: dict[str, list[pd.DataFrame]] = {look.name: [] for look in team.contract.lookups}
    for period in team.data.periods():
        frames.append(team.contract.named(team.data.read(period)))
        for name, parts in tables.items():
            parts.append(team.contract.named(team.data.lookup(name, period)))
        if sum(map(len, frames)) >= least:
            break
    known = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    return pd.concat(frames, ignore_index=True), known
