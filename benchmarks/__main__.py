"""The budgets of the design, measured on this machine: `python -m benchmarks [FIGURE ...]`, by default all.

Times are CPU seconds of processes, or ratios of them. Exit code 1 if a figure is beyond twice its budget.
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
        return (
            "yes"
            if self.measured <= self.budget
            else "over"
            if self.measured <= 2 * self.budget
            else "BEYOND TWICE"
        )

    @property
    def cells(self) -> list[str]:
        """The line as words."""
        numbers = [
            "-" if x is None else f"{x:,.{self.digits}f}" for x in (self.budget, self.measured)
        ]
        return [self.what, *numbers, self.within]


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
    holds: set[int] = set()
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
    }
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in silent | {tokenize.ENDMARKER}:
                holds |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                holds -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(holds)


def size(bench: Bench) -> Iterator[Row]:
    """What people are asked, write and read."""
    asked = [
        body
        for body in questions((ROOT / "copier.yml").read_text()).values()
        if body.get("ask", True)
    ]
    yield Row("questions asked", 8, len(asked))
    package = bench.project().folder / "src/late_flights"
    yield Row(
        "lines in the four files",
        300,
        sum(len((package / f"{n}.py").read_text().splitlines()) for n in YOURS),
    )
    wiring = [path for path in package.rglob("*.py") if path.stem not in YOURS]
    yield Row("files that a newcomer sees", 60, len(paths(bench.project().folder)))
    yield Row("lines of wiring", 500, sum(len(path.read_text().splitlines()) for path in wiring))
    for folder in sorted({path.parent for path in (LIBRARY / "src").rglob("*.py")}):
        name = folder.relative_to(LIBRARY / "src").as_posix()
        yield Row(f"  code lines in {name}", None, sum(map(code_lines, folder.glob("*.py"))))


def copier(bench: Bench) -> Iterator[Row]:
    """The whole commands, the median of three."""
    newest, oldest = ["--defaults", "--quiet", f"--vcs-ref={NOW}"], min(releases(), default=NOW)
    projects = [
        bench.folder / f"copy{n}" / "late-flights" for n in range(4)
    ]  # the first one warms up
    words = [sys.executable, "-m", "copier"]
    used = [
        cpu(partial(command, bench.folder, *words, "copy", *newest, bench.template(), to))
        for to in projects
    ]
    yield Row("copier copy, CPU s", 1.3, median(used[1:]), 2)
    old = [
        copy(bench.template(), bench.folder / f"old{n}" / "late-flights", tag=oldest)
        for n in range(4)
    ]
    used = [cpu(partial(command, at, *words, "update", *newest)) for at in old]
    yield Row(f"copier update from {oldest}, CPU s", 2.5, median(used[1:]), 2)


def repro(bench: Bench) -> Iterator[Row]:
    """Nothing is to be done."""
    for periods, seconds in pipeline.unchanged(bench.project("days")).items():
        yield Row(f"dvc repro, nothing changed, {periods} periods, CPU s", 1.0, seconds, 2)


def help_(bench: Bench) -> Iterator[Row]:
    """The start of the project's own command, the median of five."""
    used = [cpu(lambda: bench.project().run("mlops", "--help")) for _ in range(6)]
    yield Row("mlops --help, CPU s", 0.3, median(used[1:]), 2)


def whole(bench: Bench) -> Iterator[Row]:
    """The full pipeline, and below the table each stage."""
    runs = [pipeline.run(bench.project(f"rows{times}"), times) for times in pipeline.TIMES]
    (fixed, slope), (bare, bare_slope) = (
        pipeline.line(runs, of) for of in (lambda r: r.whole, lambda r: r.bare)
    )
    yield Row("pipeline minus bare script, fixed, CPU s", 10, fixed - bare, 1)
    yield Row("pipeline / bare script, per row", 1.2, slope / bare_slope, 2)
    for run in runs:
        yield Row(f"  pipeline / bare script at {run.rows:,} rows", None, run.whole / run.bare, 2)
    NOTES.append(pipeline.by_stage(runs))


def serving(bench: Bench) -> Iterator[Row]:
    """CPU of a request to the service against the same by FastAPI."""
    project, file = bench.project(), bench.folder / "serving.json"
    project.run(
        "python", str(ROOT / "benchmarks/serving.py"), str(project.folder), "--json", str(file)
    )
    found = json.loads(file.read_text())
    ratios, micros = found["ratios"], found["cpu_us_per_request"]
    yield Row("1 served row / FastAPI with pandas", 0.2, 1 / ratios["pandas_to_bento_1"], 2)
    yield Row("1 served row / FastAPI on the fast path", 2, ratios["bento_to_fast_1"], 2)
    yield Row("100 served rows / FastAPI with pandas", 1, 1 / ratios["pandas_to_bento_100"], 2)
    yield Row("100 served rows / FastAPI on the fast path", 1, ratios["bento_to_fast_100"], 2)
    NOTES.append(
        "CPU us of a request: " + ", ".join(f"{name} {value:,}" for name, value in micros.items())
    )


def intervals(bench: Bench) -> Iterator[Row]:
    """What the intervals of a decision cost."""
    words = (ROOT / "benchmarks/intervals.py",)
    found = json.loads(bench.project().run("python", *map(str, words)).strip().splitlines()[-1])
    yield Row("intervals of 30,000 rows and 40 slices, CPU s", 5, found["ours"], 2)
    yield Row("  the same / naive resampling", 1, found["ours"] / found["naive"], 3)


def ci(bench: Bench) -> Iterator[Row]:
    """Parts of a project's ci; a second is one of CPU, so one beyond twice the budget fills both cores for its time."""
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
    """The data gate on real months: its cost, what it catches, and when it is red though nothing was planted."""
    words = [
        str(ROOT / "benchmarks/months.py"),
        "2013-12",
        "--rows",
        "100000",
        "1000000",
        "10000000",
    ]
    found = json.loads(bench.project("months").run("python", *words).strip().splitlines()[-1])
    for rows, used in found["cost"].items():
        yield Row(f"validation of {int(rows):,} rows, CPU s", None, used["seconds"], 1)
        yield Row(f"  and gigabytes beyond the rows, {int(rows):,}", None, used["gigabytes"], 2)
    for kind, (hit, planted) in found["caught"].items():
        yield Row(f"{kind}: caught of {planted}", None, hit)
    red = {name: times for name, times in found["red"].items() if not name.startswith("drift.")}
    yield Row(
        f"red checks in {found['months']} healthy months, without drift", None, sum(red.values())
    )
    NOTES.append(
        "red in healthy months: "
        + ", ".join(f"{name} {times}" for name, times in found["red"].items())
    )


def drafts(bench: Bench) -> Iterator[Row]:
    """Ten real tables through the whole loop; their table is printed as it grows."""

    def make(name: str) -> Project:
        folder = copy(bench.template(), bench.folder / name / "late-flights", {"sample": "none"})
        return Project(folder, environment(folder / "pyproject.toml"))

    tables.show(make)
    yield Row("tables drafted", None, len(tables.TABLES))


def rates(bench: Bench) -> Iterator[Row]:
    """How often the gate promotes or vetoes a candidate that is as good as the champion; beyond 5 % is an error."""
    words = (ROOT / "benchmarks/rates.py",)
    found = json.loads(
        bench.project("rates").run("python", *map(str, words)).strip().splitlines()[-1]
    )
    for name, shares in found["found"].items():
        equal = name.startswith("equally good")
        for what, (count, pairs, low, high) in shares.items():
            NOTES.append(
                f"{name}: {count} of {pairs} {what}, 95 % interval {low:.1%} to {high:.1%}"
            )
            yield Row(
                f"{name}: % {what}",
                100 * found["stated"] if equal else None,
                100 * count / pairs,
                1,
            )
            if equal:
                yield Row("  beyond the stated rate", 0, float(count / pairs > found["stated"]))


NOTES: list[str] = []
FIGURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    **{
        "size": size,
        "copier": copier,
        "repro": repro,
        "help": help_,
        "pipeline": whole,
        "intervals": intervals,
    },
    **{
        "serving": serving,
        "ci": ci,
        "months": months,
        "tests": tests,
        "drafts": drafts,
        "rates": rates,
    },
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
        help=f"of {', '.join(FIGURES)}; tests, drafts, rates: by name only",
    )
    wanted = parser.parse_args().figures or [
        name for name in FIGURES if name not in ("tests", "drafts", "rates")
    ]
    if unknown := set(wanted) - set(FIGURES):
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
