"""`mlops simulate`: play the next periods in a scratch clone, as a real year would go, unattended.

Each period is served over HTTP, its labels arrive, the monitor decides, training runs if it must,
the gate decides, and the service follows. All of that is done by the real tools. The team's tree,
tags, stores and remote are not touched.
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
from mlgates.screen import working
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

BATCH = 100  # rows in one request
SHOWN_CHECKS = 2  # failed checks that fit into a cell of the table
HEADINGS = ["period", "served by", "rows", "refused", "quality", "monitor", "gate", "decision"]


def simulate(project: Project, periods: int) -> int:
    """Play `periods` periods after the cycle's and print a line for each; 0 if all were played.

    Raises: ProjectError if there is nothing to play or a step fails.
    """
    periods_to_play = _next_periods(project, periods)
    with scratch(project) as clone:
        _ensure_champion(clone)
        print(f"\nplaying {', '.join(periods_to_play)}")
        print("data.py provides the requests and the labels; everything else is real\n")
        lines = []
        progress = working("simulate", total=len(periods_to_play))
        with served(clone, free_port()) as url, progress as work:
            for period in periods_to_play:
                line = _play(clone, project, period, url)
                lines.append(line)
                print("  " + "  ".join(line), flush=True)
                work.advance(period)
        print("\n" + Grid(HEADINGS, lines).text())

        pages = _keep_pages(clone, project.root / SIMULATED)
        names = [str(page.relative_to(project.root)) for page in pages]
        print(f"\nthe last pages of gate and monitor: {', '.join(names)}")
    return 0


def _next_periods(project: Project, count: int) -> list[str]:
    """At most `count` periods of data.py that follow the last closed one.

    If the cycle names none, the first period counts as closed, so that there is one to train on.
    """
    all_periods = [str(period) for period in project.data.periods()]
    until = project.cycle()["until"]
    start = 1
    if until in all_periods:
        start = all_periods.index(until) + 1
    periods = all_periods[start:][:count]
    if not periods:
        raise ProjectError(f"data.py has no period after {until}, so there is nothing to play.")
    return periods


def _keep_pages(clone: Project, folder: Path) -> list[Path]:
    """Copy the pages that people look at out of the clone, before it is deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        GATE_PAGE.name: clone.root / GATE_PAGE,
        "monitor.html": clone.root / MONITOR_PAGE,
    }
    kept = []
    for name, page in pages.items():
        if page.exists():
            kept.append(Path(shutil.copy(page, folder / name)))
    return kept


def _ensure_champion(clone: Project) -> None:
    """Let the clone follow the project's champion; train and promote one if there is none."""
    if releases.champion(clone):
        _run(clone, "mlops", "follow")
        return
    print("There is no champion yet: one is trained in the scratch clone.", flush=True)
    _train(clone, "First training")
    _promote(clone)


def _play(clone: Project, project: Project, period: str, url: str) -> list[str]:
    """One period, from its first request to the decision about its model.

    Returns the cells of its line in the table.
    """
    _run(clone, "mlops", "follow")
    started = time.time()
    rows = _rows_to_send(project, period, clone.settings().simulate.rows)
    release, refused = _send(url, project, rows)
    _deliver_labels(clone, project, period, rows)

    # A monitor that fails (3) or cannot tell (4) has done its work.
    _run(clone, "mlops", "monitor", "--since", str(started), allowed=(0, 3, 4))
    report = Report.from_dict(read_json(clone.root / MONITOR_LATEST))
    gate, decision = "", "keep"
    if report.verdict is Verdict.FAIL:
        gate, decision = _retrain(clone, period)

    return [
        period,
        release,
        f"{len(rows):,}",
        str(refused),
        _measured_quality(report),
        _monitor_cell(report),
        gate,
        decision,
    ]


def _deliver_labels(clone: Project, project: Project, period: str, rows: "pd.DataFrame") -> None:
    """Hand the labels of the served rows to the clone, as a file of a team would."""
    columns = [*project.contract.key, project.contract.outcome.name]
    file = clone.root / STATE / f"outcomes-{period}.csv"
    rows[columns].to_csv(file, index=False)
    _run(clone, "mlops", "outcomes", str(file))


def _measured_quality(report: Report) -> str:
    """What the monitor measured of the main metric; empty if it has no such check."""
    for check in report.checks:
        if check.name == "monitor.performance":
            return check.evidence.split(",")[0]
    return ""


def _monitor_cell(report: Report) -> str:
    """The monitor's verdict, with the first failed checks."""
    failed = []
    for check in report.checks:
        if check.verdict is Verdict.FAIL:
            failed.append(check.name.removeprefix("monitor."))
    if not failed:
        return str(report.verdict)
    return f"{report.verdict}: {', '.join(failed[:SHOWN_CHECKS])}"


def _retrain(clone: Project, period: str) -> tuple[str, str]:
    """Close the period, train on it, and promote what passes the gate.

    Returns the cells of the gate and of the decision.
    """
    _run(clone, "mlops", "close", period)
    _train(clone, f"Training for {period}")
    report = Report.from_dict(read_json(clone.root / GATE))
    if report.verdict is Verdict.OK:
        return "ok", "promoted " + _promote(clone)
    blocking = [name.removeprefix("gate.") for name in report.stops]
    return f"{report.verdict}: {', '.join(blocking[:SHOWN_CHECKS])}", "keep"


def _rows_to_send(project: Project, period: str, max_rows: int) -> "pd.DataFrame":
    """At most `max_rows` rows of a period, drawn by a fixed seed, in the order of their time."""
    rows = project.data.read(period)
    rows = rows.sample(min(len(rows), max_rows), random_state=0)
    if project.contract.time:
        rows = rows.sort_values(project.contract.time)
    return rows


def _send(url: str, project: Project, rows: "pd.DataFrame") -> tuple[str, int]:
    """Ask the service about all rows, in batches; returns its release, and how many it refused.

    A batch with a row that is refused is refused as a whole, so it is sent again row by row.
    """
    payload = _payload(project, rows)
    release, refused = "", 0
    for start in range(0, len(payload), BATCH):
        batch = payload[start : start + BATCH]
        try:
            release = str(ask(url, batch)["release"])
        except ProjectError:
            refused += sum(not _is_answered(url, row) for row in batch)
    return release, refused


def _payload(project: Project, rows: "pd.DataFrame") -> list[dict[str, Any]]:
    """The rows as a caller sends them, wrong values included: what is refused is counted."""
    request_columns = project.contract.request_columns
    text = rows[list(request_columns)].to_json(orient="records", date_format="iso", date_unit="us")
    payload: list[dict[str, Any]] = json.loads(text)
    times = [name for name, column in request_columns.items() if column.kind == "datetime"]
    for row in payload:
        for name in times:
            if row[name]:
                # pandas writes times as UTC; those of the contract have no time zone.
                row[name] = row[name].removesuffix("Z")
    return payload


def _is_answered(url: str, row: Mapping[str, Any]) -> bool:
    """Whether the service answers a request with this one row."""
    try:
        ask(url, [dict(row)])
    except ProjectError:
        return False
    return True


def _train(clone: Project, message: str) -> None:
    """Run the pipeline, and commit before and after: promote asks that everything is committed."""
    _commit(clone, f"{message}: cycle")
    _run(clone, "dvc", "repro")
    _commit(clone, message)


def _promote(clone: Project) -> str:
    """Promote the candidate; returns the name of the new release."""
    _run(clone, "mlops", "promote", "--reason", "simulated")
    champion = releases.champion(clone)
    return champion.to if champion else ""


def _commit(clone: Project, message: str) -> None:
    """Commit everything and push it to the clone's own origin."""
    _run(clone, "git", "add", "--all")
    _run(clone, "git", "commit", "--quiet", "--allow-empty", "-m", message)
    _run(clone, "git", "push", "--quiet", "origin", "HEAD")


def _run(clone: Project, *words: str, allowed: Sequence[int] = (0,)) -> str:
    """What a command in the clone prints. Raises: ProjectError with its last lines if it fails."""
    return tools.run(clone, *words).checked(allowed)
