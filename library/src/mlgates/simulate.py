"""`mlops simulate`: play the next periods in a scratch clone, with the tools that a real year would use and no prompt.

Each period is served over HTTP, its outcomes arrive, the monitor decides, training runs if it must, the gate decides,
the service follows. The team's tree, tags, stores and remote are not touched.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlgates import tools
from mlgates.errors import ProjectError
from mlgates.files import read_json
from mlgates.grid import Grid
from mlgates.layout import GATE, GATE_PAGE, MONITOR_LATEST, MONITOR_PAGE, SIMULATED, STATE
from mlgates.local_service import ask, free_port, served
from mlgates.project import Project
from mlgates.registry import releases
from mlgates.registry.sandbox import scratch
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

BATCH = 100
HEADINGS = ["period", "served by", "rows", "refused", "quality", "monitor", "gate", "decision"]


def simulate(project: Project, periods: int) -> int:
    """Play `periods` periods after the cycle's and print a line for each; 0 if all were played.

    Raises: ProjectError if there is nothing to play or a step fails.
    """
    known = [str(period) for period in project.data.periods()]
    until = project.cycle()["until"]
    coming = known[known.index(until) + 1 :][:periods] if until in known else known[1:][:periods]
    if not coming:
        raise ProjectError(f"data.py knows no period after {until}, so there is nothing to play.")
    with scratch(project) as work:
        _first_champion(work)
        print(
            f"\nplaying {', '.join(coming)}; requests and outcomes are data.py's, everything else is real\n"
        )
        lines = []
        with served(work, free_port()) as url:
            for period in coming:
                lines.append(_play(work, project, period, url))
                print("  " + "  ".join(lines[-1]), flush=True)
        print("\n" + Grid(HEADINGS, lines).text())
        pages = _keep(work, project.root / SIMULATED)
        print(
            "\nthe last pages: " + ", ".join(str(page.relative_to(project.root)) for page in pages)
        )
    return 0


def _keep(work: Project, folder: Path) -> list[Path]:
    """Copy the pages that people look at out of the clone, before it is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        GATE_PAGE.name: work.root / GATE_PAGE,
        "monitor.html": work.root / MONITOR_PAGE,
    }
    return [Path(shutil.copy(page, folder / name)) for name, page in pages.items() if page.exists()]


def _first_champion(work: Project) -> None:
    if releases.champion(work):
        _run(work, "mlops", "follow")
        return
    print("there is no champion yet: training and releasing one in the scratch clone", flush=True)
    _train(work, "First training")
    _promote(work)


def _play(work: Project, project: Project, period: str, url: str) -> list[str]:
    """One period from its first request to the decision about its model; returns the cells of its line."""
    _run(work, "mlops", "follow")
    started = time.time()
    rows = _rows(project, period, work.settings().simulate.rows)
    release, refused = _ask_all(url, project, rows)
    arrived = work.root / STATE / f"outcomes-{period}.csv"
    rows[[*project.contract.key, project.contract.outcome.name]].to_csv(arrived, index=False)
    _run(work, "mlops", "outcomes", str(arrived))
    _run(work, "mlops", "monitor", "--since", str(started), allowed=(0, 3, 4))
    watched = Report.from_dict(read_json(work.root / MONITOR_LATEST))
    reasons = [
        check.name.removeprefix("monitor.")
        for check in watched.checks
        if check.verdict is Verdict.FAIL
    ]
    quality = next(
        (
            check.evidence.split(",")[0]
            for check in watched.checks
            if check.name == "monitor.performance"
        ),
        "",
    )
    gate, decision = "", "keep"
    if watched.verdict is Verdict.FAIL:
        _run(work, "mlops", "close", period)
        _train(work, f"Training for {period}")
        report = Report.from_dict(read_json(work.root / GATE))
        vetoes = ", ".join(name.removeprefix("gate.") for name in report.stops[:2])
        gate, decision = f"{report.verdict}: {vetoes}", "keep"
        if report.verdict is Verdict.OK:
            gate, decision = "ok", "promoted " + _promote(work)
    seen = f"{watched.verdict}: {', '.join(reasons[:2])}" if reasons else str(watched.verdict)
    return [period, release, f"{len(rows):,}", str(refused), quality, seen, gate, decision]


def _rows(project: Project, period: str, most: int) -> "pd.DataFrame":
    rows = project.data.read(period)
    rows = rows.sample(min(len(rows), most), random_state=0)
    return rows.sort_values(project.contract.time) if project.contract.time else rows


def _ask_all(url: str, project: Project, rows: "pd.DataFrame") -> tuple[str, int]:
    """Send all rows in batches; one with a refused row again, row by row. Returns release and refused rows."""
    sent = json.loads(
        rows[list(project.contract.request_columns)].to_json(
            orient="records", date_format="iso", date_unit="us"
        )
    )
    for row in sent:
        for name, column in project.contract.request_columns.items():
            if column.kind == "datetime" and row[name]:
                row[name] = row[name].removesuffix("Z")
    release, refused = "", 0
    for start in range(0, len(sent), BATCH):
        batch = sent[start : start + BATCH]
        try:
            release = str(ask(url, batch)["release"])
        except ProjectError:
            refused += sum(not _answered(url, row) for row in batch)
    return release, refused


def _answered(url: str, row: Mapping[str, Any]) -> bool:
    try:
        ask(url, [dict(row)])
    except ProjectError:
        return False
    return True


def _train(work: Project, message: str) -> None:
    _commit(work, f"{message}: cycle")
    _run(work, "dvc", "repro")
    _commit(work, message)


def _promote(work: Project) -> str:
    _run(work, "mlops", "promote", "--reason", "simulated")
    held = releases.champion(work)
    return held.to if held else ""


def _commit(work: Project, message: str) -> None:
    _run(work, "git", "add", "--all")
    _run(work, "git", "commit", "--quiet", "--allow-empty", "-m", message)
    _run(work, "git", "push", "--quiet", "origin", "HEAD")


def _run(work: Project, *words: str, allowed: Sequence[int] = (0,)) -> str:
    """What a command in the clone prints. Raises: ProjectError with its last lines unless it ends as allowed."""
    return tools.run(work, *words).checked(allowed)
