"""What `mlops prove` has shown: a line for each planted fault and each run without a fault."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from mlgates.grid import Grid
from mlgates.layout import PROOF_PAGE
from mlgates.reports import STYLE
from mlgates.verdict import EXIT_CODES, Verdict

# The results of a line
CAUGHT = "caught"
ESCAPED = "ESCAPED"
NOT_APPLICABLE = "not applicable"
QUIET = "quiet"
FALSE_ALARM = "FALSE ALARM"

HEADINGS = ["result", "fault", "must be caught by", "row", "evidence"]
HEALTHY = "healthy runs"  # the area of runs without a fault


@dataclass(frozen=True)
class Line:
    """A planted fault, or a run without a fault.

    `area` is what the fault is planted in. `subject` says what was run, `expectation` which check
    must catch the fault (of a run without a fault: how its checks went), `row` which row of
    Google's ML Test Score is proven. `false_alarms` counts the checks that failed without a fault.
    """

    area: str
    result: str
    subject: str
    expectation: str
    row: str
    evidence: str
    false_alarms: int = 0

    @property
    def is_bad(self) -> bool:
        """Whether a gate let a fault pass, or stopped where there was none."""
        return self.result in (ESCAPED, FALSE_ALARM)


@dataclass(frozen=True)
class Proof:
    """All lines, how many seconds they took, and whether the slow faults were left out."""

    lines: Sequence[Line]
    seconds: float
    fast: bool = False

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Proof":
        """Read back what `to_dict` wrote."""
        lines = [Line(**line) for line in stored["lines"]]
        return cls(lines, stored["seconds"], stored["fast"])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `verdict` and `totals` are for readers."""
        return {
            "verdict": str(self.verdict),
            "totals": self.totals,
            "fast": self.fast,
            "seconds": round(self.seconds, 1),
            "lines": [asdict(line) for line in self.lines],
        }

    @property
    def verdict(self) -> Verdict:
        """`fail` if a fault escaped or a healthy run raised an alarm."""
        return Verdict.FAIL if any(line.is_bad for line in self.lines) else Verdict.OK

    @property
    def exit_code(self) -> int:
        """0 ok, 3 fail."""
        return EXIT_CODES[self.verdict]

    @property
    def totals(self) -> str:
        """How many faults were caught and escaped, and how many checks failed without a fault."""
        results = Counter(line.result for line in self.lines)
        false_alarms = sum(line.false_alarms for line in self.lines)
        return (
            f"{results[CAUGHT]} caught, {results[ESCAPED]} escaped, {false_alarms} false alarms,"
            f" {results[NOT_APPLICABLE]} not applicable"
        )

    def text(self, *, verbose: bool = False) -> str:
        """For a terminal: totals by area and each line that is bad; `verbose` shows every line."""
        bad = [line for line in self.lines if line.is_bad]
        paragraphs = []
        if verbose:
            paragraphs.append(_table(self.lines).text())
        else:
            paragraphs.append(self._areas().text())
            if bad:
                paragraphs.append(_table(bad).text())
        totals = [f"{self.totals}, {self.seconds:.0f} s"]
        if self.fast:
            totals.append("--fast left out the faults that need a service or whole cycles.")
        paragraphs.append("\n".join(totals))
        if not verbose:
            page = PROOF_PAGE.as_posix()
            paragraphs.append(f"Each fault: uv run mlops report prove --verbose, or {page}")
        return "\n\n".join(paragraphs)

    def _areas(self) -> Grid:
        """How the lines went, by area, in the order in which the areas came."""
        counts: dict[str, Counter[str]] = {}
        for line in self.lines:
            counts.setdefault(line.area, Counter())[line.result] += 1
        rows = []
        for area, results in counts.items():
            if area == HEALTHY:
                cells = [f"{results[QUIET]} quiet", f"{results[FALSE_ALARM]} alarms", ""]
            else:
                cells = [str(results[name]) for name in (CAUGHT, ESCAPED, NOT_APPLICABLE)]
            rows.append([area, *cells])
        return Grid(["faults are planted in", CAUGHT, ESCAPED, NOT_APPLICABLE], rows)

    def page(self) -> str:
        """One self-contained HTML page with every line, those that are bad first."""
        lines = sorted(self.lines, key=lambda line: not line.is_bad)
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            f"<title>prove</title><style>{STYLE}</style><h1>prove</h1>"
            f'<p><span class="badge {self.verdict}">{self.verdict}</span>'
            f" {escape(self.totals)}</p>"
            f"<p>Each line is a fault that was planted on purpose, and the check that must see it."
            f" A healthy run has no fault, so no check may fail.</p>{_table(lines).html()}</html>\n"
        )


def _table(lines: Sequence[Line]) -> Grid:
    """A table with all cells of some lines."""
    rows = []
    for line in lines:
        rows.append([line.result, line.subject, line.expectation, line.row, line.evidence])
    return Grid(HEADINGS, rows)
