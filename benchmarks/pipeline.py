"""The pipeline's CPU seconds.

Against the bare script at two sizes, by stage, and with nothing changed.
"""

import json
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from tests.projects import Project, commit

# For both sides: a thread that spins while it waits is no work.
os.environ["OMP_WAIT_POLICY"] = "passive"
TIMES = (1, 10)  # each row of the first four months this often: about 100,000 and 1,000,000 rows
RELATIVE = "average_precision"
TOLD = '''\
"""Each stage that is run says at its end which CPU seconds it used."""
import atexit, pathlib, resource, sys

def tell():
    seconds = sum(sum(resource.getrusage(who)[:2]) for who in \
(resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    with (pathlib.Path(__file__).parents[1] / "stages.txt").open("a") as file:
        print(sys.orig_argv[-1], seconds, file=file)

if sys.orig_argv[-2] == "run" and pathlib.Path(sys.orig_argv[-3]).stem == "mlops":
    atexit.register(tell)
'''
OFTEN = '''

_once = read


def read(period: str) -> pd.DataFrame:
    """Each flight several times, a minute apart."""
    rows, minutes = _once(period), [pd.Timedelta(minutes=k) for k in range({times})]
    copies = [rows.assign(scheduled=rows["scheduled"] + k, asked=rows["asked"] + k) \
for k in minutes]
    return pd.concat(copies, ignore_index=True)
'''
DAYS = '''

_month, _weather = cache(read), cache(lookup)


def periods() -> list[str]:
    """Days."""
    return [str(day)[:10] for day in pd.date_range("2013-01-01", periods=120)]


def read(period: str) -> pd.DataFrame:
    """The first flights of a day."""
    rows = _month(period[:7])
    return rows[rows["scheduled"].dt.normalize() == pd.Timestamp(period)]\
.head(200).reset_index(drop=True)


def lookup(name: str, period: str) -> pd.DataFrame:
    """The weather of a day."""
    rows = _weather(name, period[:7])
    return rows[rows["observed"].dt.normalize() == pd.Timestamp(period)].reset_index(drop=True)
'''


def cpu(call: Callable[[], object]) -> float:
    """CPU seconds of the processes that a call starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    call()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _append(project: Project, text: str) -> None:
    path = project.folder / "src/late_flights/data.py"
    path.write_text(path.read_text() + text)
    commit(project.folder, "Other data")


@dataclass(frozen=True)
class Run:
    """One size: rows, CPU seconds of the bare script, of `dvc repro`, and of each stage in it."""

    rows: int
    bare: float
    whole: float
    stages: dict[str, float]

    def seconds_of(self, stage: str) -> float:
        """CPU seconds of a stage."""
        return self.stages[stage]


def run(project: Project, times: int) -> Run:
    """Train a fresh project and run the bare script on the same rows.

    Raises: ValueError if their figures differ.
    """
    if times > 1:
        _append(project, OFTEN.format(times=times))
    (project.folder / "src/sitecustomize.py").write_text(TOLD)
    project.run("python", "-m", "compileall", "-q", "src")
    whole = cpu(lambda: project.run("dvc", "repro"))
    script = [str(Path(__file__).with_name("bare.py")), str(times), "."]
    bare = cpu(lambda: project.run("python", *script))
    stages = [line.split() for line in (project.folder / "stages.txt").read_text().splitlines()]
    report = json.loads((project.folder / "reports/metrics.json").read_text())
    bare_report = json.loads((project.folder / "bare.json").read_text())
    values = [
        report["values"]["candidate"][RELATIVE]["value"],
        bare_report[f"candidate {RELATIVE}"][0],
    ]
    if abs(values[0] - values[1]) > 0.005:
        raise ValueError(
            f"The pipeline and the bare script do not do the same: {RELATIVE} {values}."
        )
    counts = json.loads((project.folder / "reports/train.json").read_text())["rows"]
    rows = sum(counts[part] for part in ("train", "evaluation", "holdout"))
    return Run(rows, bare, whole, {name: float(seconds) for name, seconds in stages})


def line(runs: list[Run], of: Callable[[Run], float]) -> tuple[float, float]:
    """Fixed CPU seconds, and CPU microseconds per row, through the smallest and the largest run."""
    small, large = runs[0], runs[-1]
    slope = (of(large) - of(small)) / (large.rows - small.rows)
    return of(small) - slope * small.rows, slope * 1e6


def by_stage(runs: list[Run]) -> str:
    """A table: CPU seconds at each size, fixed, and per row; what no stage used is DVC's own."""
    parts: dict[str, Callable[[Run], float]] = {}
    for name in runs[0].stages:
        parts[name] = partial(Run.seconds_of, stage=name)
    parts["dvc"] = lambda run: run.whole - sum(run.stages.values())
    parts["pipeline"] = lambda run: run.whole
    parts["bare"] = lambda run: run.bare
    sizes = "".join(f"{f'{run.rows:,} rows':>17}" for run in runs)
    lines = [f"{'CPU s of':<10}{sizes}{'fixed s':>10}{'us per row':>12}"]
    for name, of in parts.items():
        fixed, slope = line(runs, of)
        seconds = "".join(f"{of(run):>17.1f}" for run in runs)
        lines.append(f"{name:<10}{seconds}{fixed:>10.1f}{slope:>12.1f}")
    return "\n".join(lines)


def unchanged(project: Project) -> dict[int, float]:
    """CPU seconds of `dvc repro` with nothing changed, by the number of closed periods."""
    _append(project, DAYS)
    found = {}
    for until, periods in {"2013-01-12": 12, "2013-04-30": 120}.items():
        cycle = project.folder / "cycle.yaml"
        lines = cycle.read_text().splitlines()
        for place, text in enumerate(lines):
            if text.startswith("until"):
                lines[place] = f'until: "{until}"'
        cycle.write_text("\n".join(lines) + "\n")
        project.run("dvc", "repro")
        seconds = [cpu(lambda: project.run("dvc", "repro")) for _ in range(3)]
        found[periods] = median(seconds)
    return found
