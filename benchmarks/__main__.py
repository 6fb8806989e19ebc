"""The budgets of the design, measured on this machine.

`python -m benchmarks [FIGURE ...]` measures the figures that it names, by default all.
Times are CPU seconds of processes, or ratios of them.
Exit code 1 if a figure is beyond twice its budget.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

from tests.projects import (
    LIBRARY,
    NOBODY,
    NOW,
    ROOT,
    Project,
    clean,
    copy,
    environment,
    paths,
    publish,
    questions,
    releases,
)

from . import drafts as tables
from . import pipeline
from .pipeline import cpu

HEAD = ("what", "budget", "measured", "within")
YOURS = ("schema", "data", "features", "model")
BY_NAME_ONLY = ("tests", "drafts", "rates")  # figures that take long
NO_CODE = {  # tokens that do not make a line one of code
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Row:
    """One line of the table; with no budget it is for information."""

    what: str
    budget: float | None
    measured: float | None
    digits: int = 0

    @property
    def within(self) -> str:
        """Whether the budget is kept."""
        if self.budget is None or self.measured is None:
            return ""
        if self.measured <= self.budget:
            return "yes"
        if self.measured <= 2 * self.budget:
            return "over"
        return "BEYOND TWICE"

    @property
    def cells(self) -> list[str]:
        """The line as words."""
        return [self.what, self._number(self.budget), self._number(self.measured), self.within]

    def _number(self, value: float | None) -> str:
        """A number as it is printed, or "-" for none."""
        if value is None:
            return "-"
        return f"{value:,.{self.digits}f}"


@dataclass(frozen=True)
class Bench:
    """The template as a release, and a folder for projects made of it."""

    folder: Path

    @cache  # noqa: B019
    def template(self) -> Path:
        """A clone with all releases and the work tree as the newest."""
        return publish(self.folder / "template")

    @cache  # noqa: B019
    def project(self, name: str = "plain") -> Project:
        """A committed copy of the sample project."""
        folder = copy(self.template(), self.folder / name / "late-flights")
        return Project(folder, environment(folder / "pyproject.toml"))


def command(folder: Path, *words: str | Path) -> None:
    """Run a command of the template's own environment."""
    subprocess.run(words, cwd=folder, env=clean(), check=True, capture_output=True)


def code_lines(path: Path) -> int:
    """The lines of a module that hold code: no blanks, comments or docstrings."""
    with_code: set[int] = set()
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in NO_CODE:
                with_code |= set(range(token.start[0], token.end[0] + 1))

    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(path.read_bytes())):
        if not isinstance(node, documented) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):  # the docstring
            with_code -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(with_code)


def lines_of_text(files: list[Path]) -> int:
    """The lines of some files together, blank ones and comments too."""
    return sum(len(path.read_text().splitlines()) for path in files)


def printed_json(project: Project, script: str, *words: str) -> Any:
    """The JSON that a script of this folder prints as its last line, run in a project."""
    printed = project.run("python", str(ROOT / script), *words)
    return json.loads(printed.strip().splitlines()[-1])


def size(bench: Bench) -> Iterator[Row]:
    """What people are asked, write and read."""
    all_questions = questions((ROOT / "copier.yml").read_text()).values()
    asked = [question for question in all_questions if question.get("ask", True)]
    yield Row("questions asked", 8, len(asked))

    package = bench.project().folder / "src/late_flights"
    four_files = [package / f"{name}.py" for name in YOURS]
    yield Row("lines in the four files", 300, lines_of_text(four_files))
    wiring = [path for path in package.rglob("*.py") if path.stem not in YOURS]
    yield Row("files that a newcomer sees", 60, len(paths(bench.project().folder)))
    yield Row("lines of wiring", 500, lines_of_text(wiring))

    for folder in sorted({path.parent for path in (LIBRARY / "src").rglob("*.py")}):
        name = folder.relative_to(LIBRARY / "src").as_posix()
        lines = sum(code_lines(path) for path in folder.glob("*.py"))
        yield Row(f"  code lines in {name}", None, lines)


def copier(bench: Bench) -> Iterator[Row]:
    """The whole commands, the median of three."""
    newest = ["--defaults", "--quiet", f"--vcs-ref={NOW}"]
    oldest = min(releases(), default=NOW)
    words = [sys.executable, "-m", "copier"]

    seconds = []
    for number in range(4):  # the first one warms up
        folder = bench.folder / f"copy{number}" / "late-flights"
        copying: list[str | Path] = [*words, "copy", *newest, bench.template(), folder]
        seconds.append(cpu(partial(command, bench.folder, *copying)))
    yield Row("copier copy, CPU s", 1.3, median(seconds[1:]), 2)

    old_projects = []
    for number in range(4):
        folder = bench.folder / f"old{number}" / "late-flights"
        old_projects.append(copy(bench.template(), folder, tag=oldest))
    seconds = []
    for folder in old_projects:
        seconds.append(cpu(partial(command, folder, *words, "update", *newest)))
    yield Row(f"copier update from {oldest}, CPU s", 2.5, median(seconds[1:]), 2)


def repro(bench: Bench) -> Iterator[Row]:
    """Nothing is to be done."""
    for periods, seconds in pipeline.unchanged(bench.project("days")).items():
        yield Row(f"dvc repro, nothing changed, {periods} periods, CPU s", 1.0, seconds, 2)


def help_(bench: Bench) -> Iterator[Row]:
    """The start of the project's own command, the median of five."""
    seconds = [cpu(lambda: bench.project().run("mlops", "--help")) for _ in range(6)]
    yield Row("mlops --help, CPU s", 0.3, median(seconds[1:]), 2)


def whole(bench: Bench) -> Iterator[Row]:
    """The full pipeline, and below the table each stage."""
    runs = [pipeline.run(bench.project(f"rows{times}"), times) for times in pipeline.TIMES]
    fixed, slope = pipeline.line(runs, lambda run: run.whole)
    bare_fixed, bare_slope = pipeline.line(runs, lambda run: run.bare)
    yield Row("pipeline minus bare script, fixed, CPU s", 10, fixed - bare_fixed, 1)
    yield Row("pipeline / bare script, per row", 1.2, slope / bare_slope, 2)
    for run in runs:
        yield Row(f"  pipeline / bare script at {run.rows:,} rows", None, run.whole / run.bare, 2)
    NOTES.append(pipeline.by_stage(runs))


def serving(bench: Bench) -> Iterator[Row]:
    """CPU of a request to the service against the same by FastAPI."""
    project = bench.project()
    file = bench.folder / "serving.json"
    script = str(ROOT / "benchmarks/serving.py")
    project.run("python", script, str(project.folder), "--json", str(file))
    figures = json.loads(file.read_text())
    ratios = figures["ratios"]
    yield Row("1 served row / FastAPI with pandas", 0.2, 1 / ratios["pandas_to_bento_1"], 2)
    yield Row("1 served row / FastAPI on the fast path", 2, ratios["bento_to_fast_1"], 2)
    yield Row("100 served rows / FastAPI with pandas", 1, 1 / ratios["pandas_to_bento_100"], 2)
    yield Row("100 served rows / FastAPI on the fast path", 1, ratios["bento_to_fast_100"], 2)
    micros = figures["cpu_us_per_request"].items()
    NOTES.append("CPU us of a request: " + ", ".join(f"{name} {value:,}" for name, value in micros))


def intervals(bench: Bench) -> Iterator[Row]:
    """What the intervals of a decision cost."""
    seconds = printed_json(bench.project(), "benchmarks/intervals.py")
    yield Row("intervals of 30,000 rows and 40 slices, CPU s", 5, seconds["ours"], 2)
    yield Row("  the same / naive resampling", 1, seconds["ours"] / seconds["naive"], 3)


def ci(bench: Bench) -> Iterator[Row]:
    """Parts of a project's ci.

    A second is one of CPU: a figure beyond twice its budget fills both cores for the time allowed.
    """
    project = bench.project("ci")
    yield Row("ci: pytest, CPU s", 30, cpu(lambda: project.run("pytest", "-q")))
    yield Row(
        "ci: prove --fast, CPU s (1 minute)",
        60,
        cpu(lambda: project.run("mlops", "prove", "--fast")),
    )


def tests(_: Bench) -> Iterator[Row]:
    """All of the template's own tests."""
    yield Row(".ci/run, CPU s (30 minutes)", 1_800, cpu(partial(command, ROOT, ROOT / ".ci/run")))


def months(bench: Bench) -> Iterator[Row]:
    """The data gate on real months.

    What it costs, what it catches, and when it is red though nothing was planted.
    """
    words = ["2013-12", "--rows", "100000", "1000000", "10000000"]
    figures = printed_json(bench.project("months"), "benchmarks/months.py", *words)
    for rows, used in figures["cost"].items():
        yield Row(f"validation of {int(rows):,} rows, CPU s", None, used["seconds"], 1)
        yield Row(f"  and gigabytes beyond the rows, {int(rows):,}", None, used["gigabytes"], 2)
    for kind, (hit, planted) in figures["caught"].items():
        yield Row(f"{kind}: caught of {planted}", None, hit)

    red = figures["red"].items()
    without_drift = sum(times for name, times in red if not name.startswith("drift."))
    healthy = f"red checks in {figures['months']} healthy months, without drift"
    yield Row(healthy, None, without_drift)
    NOTES.append("red in healthy months: " + ", ".join(f"{name} {times}" for name, times in red))


def drafts(bench: Bench) -> Iterator[Row]:
    """Ten real tables through the whole loop; their table is printed as it grows."""

    def make(name: str) -> Project:
        folder = copy(bench.template(), bench.folder / name / "late-flights", {"sample": "none"})
        return Project(folder, environment(folder / "pyproject.toml"))

    tables.show(make)
    yield Row("tables drafted", None, len(tables.TABLES))


def rates(bench: Bench) -> Iterator[Row]:
    """How often the gate promotes or blocks a candidate that is as good as the champion.

    More than 5 % is an error.
    """
    figures = printed_json(bench.project("rates"), "benchmarks/rates.py")
    stated = figures["stated"]
    for name, shares in figures["found"].items():
        for what, (count, pairs, low, high) in shares.items():
            interval = f"95 % interval {low:.1%} to {high:.1%}"
            NOTES.append(f"{name}: {count} of {pairs} {what}, {interval}")

            if name.startswith("equally good"):
                yield Row(f"{name}: % {what}", 100 * stated, 100 * count / pairs, 1)
                yield Row("  beyond the stated rate", 0, float(count / pairs > stated))
            else:
                yield Row(f"{name}: % {what}", None, 100 * count / pairs, 1)


NOTES: list[str] = []
FIGURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "size": size,
    "copier": copier,
    "repro": repro,
    "help": help_,
    "pipeline": whole,
    "intervals": intervals,
    "serving": serving,
    "ci": ci,
    "months": months,
    "tests": tests,
    "drafts": drafts,
    "rates": rates,
}


def main() -> int:
    """Measure and print, row by row."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "figures",
        nargs="*",
        metavar="FIGURE",
        help=f"of {', '.join(FIGURES)}; {', '.join(BY_NAME_ONLY)}: by name only",
    )
    wanted = parser.parse_args().figures
    if not wanted:
        wanted = [name for name in FIGURES if name not in BY_NAME_ONLY]
    unknown = set(wanted) - set(FIGURES)
    if unknown:
        parser.error(f"there is no figure {sorted(unknown)[0]!r}; there are: {', '.join(FIGURES)}")
    os.environ |= NOBODY | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    beyond = False
    print("| {:<50} | {:>8} | {:>9} | {:<12} |\n|---|---|---|---|".format(*HEAD))
    with tempfile.TemporaryDirectory(prefix="copier-mlops-bench-") as folder:
        bench = Bench(Path(folder))
        for name in wanted:
            for row in FIGURES[name](bench):
                print("| {:<50} | {:>8} | {:>9} | {:<12} |".format(*row.cells), flush=True)
                beyond |= row.within == "BEYOND TWICE"
    print(*NOTES, sep="\n\n")
    return int(beyond)


if __name__ == "__main__":
    sys.exit(main())
