"""`mlops simulate`: play the next periods in a scratch clone, with the tools that a real year would use and no prompt.

Each period is served over HTTP, its outcomes arrive, the monitor decides, training runs if it must, the gate decides,
the service follows. The team's tree, tags, stores and remote are not touched.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .project import ProjectError, Yours, cycle, params, read_json, yours
from .registry import record
from .registry.scratch import scratch
from .report import table
from .up import ask, command, environment, free_port, served
from .verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

BATCH = 100
HEADINGS = ["period", "served by", "rows", "refused", "quality", "monitor", "gate", "decision"]


def simulate(root: Path, periods: int) -> int:
    """Play `periods` periods after the cycle's and print a line for each; 0 if all were played.

    Raises: ProjectError if there is nothing to play or a step fails.
    """
    team = yours()
    known = [str(period) for period in team.data.periods()]
    until = cycle(root)["until"]
    coming = known[known.index(until) + 1 :][:periods] if until in known else known[1:][:periods]
    if not coming:
        raise ProjectError(f"data.py knows no period after {until}, so there is nothing to play.")
    with scratch(root) as work:
        _first_champion(work)
        print(f"\nplaying {', '.join(coming)}; requests and outcomes are data.py's, everything else is real\n")
        lines = []
        with served(work, free_port()) as url:
            for period in coming:
                lines.append(_play(work, team, period, url))
                print("  " + "  ".join(lines[-1]), flush=True)
        print("\n" + table(HEADINGS, lines))
        pages = _keep(work, root / "var" / "simulate")
        print("\nthe last pages: " + ", ".join(str(page.relative_to(root)) for page in pages))
    return 0


def _keep(work: Path, folder: Path) -> list[Path]:
    """Copy the pages that people look at out of the clone, before it is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"gate.html": work / "reports" / "gate.html", "monitor.html": work / "var" / "monitor" / "latest.html"}
    return [Path(shutil.copy(page, folder / name)) for name, page in pages.items() if page.exists()]


def _first_champion(work: Path) -> None:
    alias = params(work)["promote"]["path"][-1]
    if record.champion(work, alias):
        _run(work, "mlops", "follow")
        return
    print("there is no champion yet: training and releasing one in the scratch clone", flush=True)
    _train(work, "First training")
    _promote(work)


def _play(work: Path, team: Yours, period: str, url: str) -> list[str]:
    """One period from its first request to the decision about its model; returns the cells of its line."""
    _run(work, "mlops", "follow")
    started = time.time()
    rows = _rows(team, period, params(work)["simulate"]["rows"])
    release, refused = _ask_all(url, team, rows)
    arrived = work / "var" / f"outcomes-{period}.csv"
    rows[[*team.contract.key, team.contract.outcome.name]].to_csv(arrived, index=False)
    _run(work, "mlops", "outcomes", str(arrived))
    _run(work, "mlops", "monitor", "--since", str(started), allowed=(0, 3, 4))
    watched = Report.from_dict(read_json(work / "var" / "monitor" / "latest.json"))
    reasons = [check.name.removeprefix("monitor.") for check in watched.checks if check.verdict is Verdict.FAIL]
    quality = next((check.evidence.split(",")[0] for check in watched.checks if check.name == "monitor.quality"), "")
    gate, decision = "", "keep"
    if watched.verdict is Verdict.FAIL:
        _run(work, "mlops", "close", period)
        _train(work, f"Training for {period}")
        report = Report.from_dict(read_json(work / "reports" / "gate.json"))
        vetoes = ", ".join(name.removeprefix("gate.") for name in report.stops[:2])
        gate, decision = f"{report.verdict}: {vetoes}", "keep"
        if report.verdict is Verdict.OK:
            gate, decision = "ok", "promoted " + _promote(work)
    seen = f"{watched.verdict}: {', '.join(reasons[:2])}" if reasons else str(watched.verdict)
    return [period, release, f"{len(rows):,}", str(refused), quality, seen, gate, decision]


def _rows(team: Yours, period: str, most: int) -> "pd.DataFrame":
    rows = team.data.read(period)
    rows = rows.sample(min(len(rows), most), random_state=0)
    return rows.sort_values(team.contract.time) if team.contract.time else rows


def _ask_all(url: str, team: Yours, rows: "pd.DataFrame") -> tuple[str, int]:
    """Send all rows in batches; one with a refused row again, row by row. Returns release and refused rows."""
    sent = json.loads(
        rows[list(team.contract.request_columns)].to_json(orient="records", date_format="iso", date_unit="us")
    )
    for row in sent:
        for name, column in team.contract.request_columns.items():
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


def _train(work: Path, message: str) -> None:
    _commit(work, f"{message}: cycle")
    _run(work, "dvc", "repro")
    _commit(work, message)


def _promote(work: Path) -> str:
    _run(work, "mlops", "promote", "--reason", "simulated")
    held = record.champion(work, params(work)["promote"]["path"][-1])
    return held.to if held else ""


def _commit(work: Path, message: str) -> None:
    _run(work, "git", "add", "--all")
    _run(work, "git", "commit", "--quiet", "--allow-empty", "-m", message)
    _run(work, "git", "push", "--quiet", "origin", "HEAD")


def _run(work: Path, *words: str, allowed: Sequence[int] = (0,)) -> str:
    """A command in the clone. Raises: ProjectError with its last words if it ends otherwise than allowed."""
    settings = environment(work) | {"MLOPS_ROOT": str(work)}
    done = subprocess.run(command(words), cwd=work, env=settings, capture_output=True, text=True)
    if done.returncode not in allowed:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise ProjectError(f"simulate: `{' '.join(words[:2])}` stopped: {' '.join(last)}")
    return done.stdout
