"""The one renderer of reports: a table for the terminal, and a page of HTML.

The third form, JSON, is `Report.to_dict`.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from mlgates.grid import Grid
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


HEADINGS = ["verdict", "check", "value", "interval", "limit", "rows", "evidence"]
NUMBERS = range(2, 6)  # the columns that hold numbers: value, interval, limit, rows
MOST_SHOWN = 4  # a family with more checks that stop nothing is one line

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
        return len(self.checks) > MOST_SHOWN and self._is_harmless()

    def _is_harmless(self) -> bool:
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


def _terminal_lines(checks: Iterable[Check]) -> list[list[str]]:
    """The lines of the terminal's table."""
    lines = []
    for family in _families(checks):
        mark = MARKS[family.verdict]
        if family.is_folded:
            note = f"{len(family.checks)} checks"
            if family.verdict is not Verdict.OK:
                note += " (not required)"
            lines.append([mark, f"{family.name}.*", "", "", "", "", note])
        else:
            for check in family.checks:
                lines.append([mark, *_cells(check)])
    return lines


def headline(report: Report) -> str:
    """How many checks have which verdict, and which ones the report's verdict comes from."""
    counts = Counter(check.verdict for check in report.checks)
    text = f"{counts[Verdict.OK]} checks are ok, {counts[Verdict.FAIL]} failed,"
    text += f" {counts[Verdict.INCONCLUSIVE]} are inconclusive."
    if report.stops:
        text += f" The verdict comes from {', '.join(report.stops)}."
    return text


def terminal(report: Report) -> str:
    """The report for a terminal, worst first."""
    table = "no checks ran"
    lines = _terminal_lines(report.checks)
    if lines:
        table = Grid(HEADINGS, lines).text()
    paragraphs = [report.title, table]

    drifted = _failed(report.drift)
    if drifted:
        # The rest of a name is the column that drifted, which is all that the line needs.
        columns = [name.partition("drift.")[2] or name for name in drifted]
        paragraphs.append(f"drift (asks for retraining, stops nothing): {', '.join(columns)}")
    warnings = _failed(report.warnings)
    if warnings:
        names = ", ".join(warnings)
        paragraphs.append(f"warnings (for a person to look at; they block nothing): {names}")
    paragraphs.append(f"verdict: {MARKS[report.verdict]}")
    return "\n\n".join(paragraphs)


def _failed(checks: Iterable[Check]) -> list[str]:
    """The names of the checks that failed."""
    return [check.name for check in checks if check.verdict is Verdict.FAIL]


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
