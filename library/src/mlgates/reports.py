"""The one renderer of reports: a table for the terminal, and a page of HTML.

The third form, JSON, is `Report.to_dict`.
"""

import base64
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from mlgates.grid import WIDTH, Grid
from mlgates.layout import STORED_REPORTS
from mlgates.verdict import Check, Report, Verdict

MARKS = {Verdict.OK: "ok", Verdict.FAIL: "FAIL", Verdict.INCONCLUSIVE: "inconclusive"}

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;
color:#1c2733;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}
.badge{padding:.1rem .6rem;border-radius:1rem;color:#fff;font-size:.85rem;white-space:nowrap}
.ok{background:#2e7d4f}.fail{background:#b3261e}.inconclusive{background:#8a6d00}
table{border-collapse:collapse;width:100%}
td,th{padding:.35rem .6rem;border-bottom:1px solid #dde3ea;text-align:left;vertical-align:top}
.n{text-align:right;font-variant-numeric:tabular-nums}th{font-weight:600;color:#52606d}
img{max-width:100%;border:1px solid #dde3ea;border-radius:.4rem}
figure{margin:1rem 0}figcaption{color:#52606d}
summary{cursor:pointer;color:#52606d;padding:.35rem .6rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:#52606d}dd{margin:0}
"""


HEADINGS = ["verdict", "check", "value", "95 % interval", "limit", "rows", "evidence"]
NUMBERS = range(2, 6)  # the columns that hold numbers: value, interval, limit, rows
MOST_SHOWN = 4  # a family with more checks that stop nothing is one line
ONE_SCREEN = 12  # a table with more lines than this shows only what decides
INDENT = " " * 14  # evidence stands below its check: after the longest verdict and a gap
# A longer name or value is cut in the table, and stands whole in the next line.
LONGEST_NAME = 36
LONGEST_CELL = 20

LARGEST_WHOLE_NUMBER = 1e15  # above, a float does not hold every whole number any more


def number(value: float | str | bool | None) -> str:
    """A value for a reader: four significant digits, thousands separated; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return str(value)
    if float(value).is_integer() and abs(value) < LARGEST_WHOLE_NUMBER:
        return f"{int(value):,}"
    return f"{value:.4g}"


def _cells(check: Check) -> list[str]:
    """A check's line of the table, without the verdict."""
    interval = ""
    if check.interval:
        low, high = check.interval
        interval = f"[{low:+.4f}, {high:+.4f}]"
    rows = "" if check.rows is None else f"{check.rows:,}"
    note = check.evidence
    if check.verdict is Verdict.INCONCLUSIVE and not check.required:
        note = f"{note} (not required)".strip()
    return [check.name, number(check.value), interval, number(check.limit), rows, note]


def _family(check: Check) -> str:
    """What the names of similar checks have in common: `gate.slice` of `gate.slice.origin=LGA`."""
    family = check.name.rpartition(".")[0]
    return family if "." in family else check.name


def worst_first(checks: Iterable[Check]) -> list[Check]:
    """Checks that failed, then inconclusive ones, then the rest, each in its order."""
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.OK]
    return sorted(checks, key=lambda check: order.index(check.verdict))


@dataclass(frozen=True)
class _Family:
    """Checks of one family with the same verdict."""

    name: str
    verdict: Verdict
    checks: list[Check]

    @property
    def is_folded(self) -> bool:
        """Whether one line is enough for them: they are many and stop nothing."""
        return len(self.checks) > MOST_SHOWN and self.is_harmless

    @property
    def n_lines(self) -> int:
        """How many lines of the terminal's table they take."""
        return 1 if self.is_folded else len(self.checks)

    @property
    def decides(self) -> bool:
        """Whether a short table shows them: they stop something, or they were compared."""
        if self.is_folded:
            return False
        if not self.is_harmless:
            return True
        return self.verdict is Verdict.OK and any(check.interval for check in self.checks)

    @property
    def is_harmless(self) -> bool:
        """Whether they stop nothing."""
        if self.verdict is Verdict.INCONCLUSIVE:
            return not any(check.required for check in self.checks)
        return self.verdict is Verdict.OK


def _families(checks: Iterable[Check]) -> list[_Family]:
    """The families of some checks, worst first."""
    families: dict[tuple[Verdict, str], _Family] = {}
    for check in worst_first(checks):
        name = _family(check)
        family = families.setdefault((check.verdict, name), _Family(name, check.verdict, checks=[]))
        family.checks.append(check)
    return list(families.values())


def headline(report: Report) -> str:
    """How many checks have which verdict, and which ones the report's verdict comes from."""
    counts = Counter(check.verdict for check in report.checks)
    text = f"{counts[Verdict.OK]} checks are ok, {counts[Verdict.FAIL]} failed,"
    text += f" {counts[Verdict.INCONCLUSIVE]} are inconclusive."
    if report.stops:
        text += f" The verdict comes from {', '.join(report.stops)}."
    return text


def terminal(report: Report, *, verbose: bool = False) -> str:
    """The report for a terminal, worst first.

    A long report shows what decides: what failed, what could not be measured although it had to be,
    and what was compared. `verbose` shows every check, with its evidence.
    """
    paragraphs = [
        _wrapped(report.title),
        _verbose_table(report) if verbose else _short_table(report),
        _drift_line(report),
        _warning_lines(report),
        f"verdict: {MARKS[report.verdict]}",
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _verbose_table(report: Report) -> str:
    """Every check, with its evidence."""
    lines = []
    for check in worst_first(report.checks):
        lines.append(_CheckLine.of(check, with_evidence=True))
    return _table_text(lines)


def _short_table(report: Report) -> str:
    """The checks that decide, and how many others there are; all checks if they fit a screen."""
    families = _families(report.checks)
    if not families:
        return "no checks ran"
    n_lines = sum(family.n_lines for family in families)
    shown, hidden = [], []
    for family in families:
        if n_lines <= ONE_SCREEN or family.decides:
            shown.append(family)
        else:
            hidden.append(family)

    lines = []
    for family in shown:
        lines += _family_lines(family)
    text = _table_text(lines)
    if hidden:
        text = f"{text}\n\n{_summary(report, hidden)}".strip()
    return text


@dataclass(frozen=True)
class _CheckLine:
    """A line of the terminal's table, and the text that stands below it."""

    cells: list[str]
    note: str = ""

    @classmethod
    def of(cls, check: Check, *, with_evidence: bool) -> "_CheckLine":
        """The line of one check. Texts that are too long for a column go into the note."""
        name, *numbers, evidence = _cells(check)
        notes = []
        if len(name) > LONGEST_NAME:
            notes.append(name)
        for heading, cell in zip(HEADINGS[2:], numbers, strict=False):
            if len(cell) > LONGEST_CELL:
                notes.append(f"{heading} {cell}")
        if with_evidence and evidence:
            notes.append(evidence)

        cells = [MARKS[check.verdict], _cut(name, LONGEST_NAME)]
        cells += [_cut(cell, LONGEST_CELL) for cell in numbers]
        return cls(cells, "; ".join(notes))


def _cut(text: str, length: int) -> str:
    """The beginning of a text, with dots if it is longer than that."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _family_lines(family: _Family) -> list[_CheckLine]:
    """The lines of a family: one for each check, or just one if it is folded."""
    if family.is_folded:
        n_checks = f"{len(family.checks)} checks"
        return [_CheckLine([MARKS[family.verdict], f"{family.name}.*", n_checks, "", "", ""])]
    is_bad = not family.is_harmless
    return [_CheckLine.of(check, with_evidence=is_bad) for check in family.checks]


def _table_text(lines: Sequence[_CheckLine]) -> str:
    """The table, with each note below its line."""
    if not lines:
        return ""
    # The cells are short already, and each check must stay one line: nothing is wrapped here.
    table = Grid(HEADINGS[:-1], [line.cells for line in lines]).text(width=10 * WIDTH)
    heading, *rows = table.splitlines()
    text = [heading]
    for row, line in zip(rows, lines, strict=True):
        text.append(row)
        if line.note:
            text.append(_wrapped(line.note, INDENT))
    return "\n".join(text)


def _drift_line(report: Report) -> str:
    """The columns that drifted; empty if none did."""
    columns = []
    for check in _failed(report.drift):
        # The rest of a name is the column that drifted, which is all that the line needs.
        columns.append(check.name.partition("drift.")[2] or check.name)
    if not columns:
        return ""
    return _wrapped(f"drift (asks for retraining): {', '.join(columns)}")


def _warning_lines(report: Report) -> str:
    """The warnings, each with its evidence; empty if there are none."""
    warnings = _failed(report.warnings)
    if not warnings:
        return ""
    lines = ["warnings (for a person to look at; they block nothing):"]
    for check in warnings:
        lines.append(_wrapped(f"{check.name}: {check.evidence}".rstrip(": "), "  "))
    return "\n".join(lines)


def _summary(report: Report, hidden: Iterable[_Family]) -> str:
    """How many checks a short table leaves out, by verdict, and where they are shown."""
    counts = Counter[Verdict]()
    for family in hidden:
        counts[family.verdict] += len(family.checks)
    parts = []
    if counts[Verdict.OK]:
        parts.append(f"{counts[Verdict.OK]} other checks are ok")
    if counts[Verdict.INCONCLUSIVE]:
        parts.append(f"{counts[Verdict.INCONCLUSIVE]} are inconclusive and not required")
    text = _wrapped(f"{', '.join(parts)}.")

    name = report.title.split()[0]
    if name in STORED_REPORTS:
        text += f"\nAll checks: uv run mlops report {name} --verbose"
    return text


def _wrapped(text: str, indent: str = "") -> str:
    """A text in lines that fit a terminal."""
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _failed(checks: Iterable[Check]) -> list[Check]:
    """The checks that failed."""
    return [check for check in checks if check.verdict is Verdict.FAIL]


def page(report: Report, pictures: Iterable[Path] = (), extra: str = "") -> str:
    """One self-contained HTML page: opens offline, loads nothing, runs no script."""
    title = escape(report.title)
    badge = f'<span class="badge {report.verdict}">{report.verdict}</span>'
    figures = "".join(_figure(path) for path in pictures)
    drift = _html_section("Drift", "Asks for retraining, stops nothing.", report.drift)
    warnings = _html_section(
        "Warnings", "For a person to look at; they block nothing.", report.warnings
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{title}</title><style>{STYLE}</style>"
        f"<h1>{title}</h1><p>{badge} {escape(headline(report))}</p>"
        f"<dl>{_html_facts(report)}</dl>"
        f"<h2>Checks</h2>{_html_table(report.checks)}{figures}{drift}{warnings}{extra}</html>\n"
    )


def _html_facts(report: Report) -> str:
    parts = []
    for name, value in report.facts.items():
        if value is not None:
            parts.append(f"<dt>{escape(str(name))}</dt><dd>{escape(number(value))}</dd>")
    return "".join(parts)


def _html_section(title: str, effect: str, checks: Sequence[Check]) -> str:
    """Checks that stop nothing, under a heading; empty without checks."""
    if not checks:
        return ""
    return f"<h2>{title}</h2><p>{effect}</p>{_html_table(checks)}"


def _html_table(checks: Iterable[Check]) -> str:
    """Worst first; large families that stop nothing are folded away."""
    shown = []
    folded = []
    for family in _families(checks):
        if family.is_folded:
            folded.append(family)
        else:
            shown += family.checks

    parts = []
    if shown:
        parts.append(_html_rows(shown))
    for family in folded:
        name = escape(family.name)  # a slice's name holds values of the data
        summary = f"{name}: {len(family.checks)} checks are {MARKS[family.verdict]}"
        table = _html_rows(family.checks)
        parts.append(f"<details><summary>{summary}</summary>{table}</details>")
    return "".join(parts)


def _html_rows(checks: Iterable[Check]) -> str:
    rows = [[str(check.verdict), *_cells(check)] for check in checks]
    return Grid(HEADINGS, rows, NUMBERS, badge=0).html()


def _figure(path: Path) -> str:
    """A picture, embedded in the page."""
    kind = path.suffix.removeprefix(".")
    if kind == "svg":
        kind = "svg+xml"
    data = base64.b64encode(path.read_bytes()).decode()
    name = escape(path.stem.replace("_", " "))
    image = f'<img alt="{name}" src="data:image/{kind};base64,{data}">'
    return f"<figure>{image}<figcaption>{name}</figcaption></figure>"
