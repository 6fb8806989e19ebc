"""The one renderer of reports: a table for the terminal, a page for people. JSON is `Report.to_dict`."""

import base64
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from mlgates.grid import Grid
from mlgates.verdict import Check, Report, Verdict

MARKS = {Verdict.OK: "ok", Verdict.FAIL: "FAIL", Verdict.INCONCLUSIVE: "inconclusive"}

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c2733;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}
.badge{padding:.1rem .6rem;border-radius:1rem;color:#fff;font-size:.85rem;white-space:nowrap}
.ok{background:#2e7d4f}.fail{background:#b3261e}.inconclusive{background:#8a6d00}
table{border-collapse:collapse;width:100%}td,th{padding:.35rem .6rem;border-bottom:1px solid #dde3ea;text-align:left;
vertical-align:top}.n{text-align:right;font-variant-numeric:tabular-nums}th{font-weight:600;color:#52606d}
img{max-width:100%;border:1px solid #dde3ea;border-radius:.4rem}figure{margin:1rem 0}figcaption{color:#52606d}
summary{cursor:pointer;color:#52606d;padding:.35rem .6rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:#52606d}dd{margin:0}
"""


def number(value: float | str | bool | None) -> str:
    """A value as a reader wants it: four significant digits, thousands separated, nothing for nothing."""
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def _cells(check: Check) -> list[str]:
    interval = f"[{check.interval[0]:+.4f}, {check.interval[1]:+.4f}]" if check.interval else ""
    optional = not check.required and check.verdict is Verdict.INCONCLUSIVE
    note = f"{check.evidence} (not required)".strip() if optional else check.evidence
    rows = "" if check.rows is None else f"{check.rows:,}"
    return [check.name, number(check.value), interval, number(check.limit), rows, note]


MOST_SHOWN = 4
HEADINGS = ["verdict", "check", "value", "interval", "limit", "rows", "evidence"]
NUMBERS = range(2, 6)  # of these, the columns that hold numbers


def _family(check: Check) -> str:
    family = check.name.rpartition(".")[0]
    return family if "." in family else check.name


def worst_first(checks: Iterable[Check]) -> list[Check]:
    """Failures, then what could not be judged, then the rest, each in its order."""
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.OK]
    return sorted(checks, key=lambda check: order.index(check.verdict))


def _families(checks: Iterable[Check]) -> Iterator[tuple[list[Check], bool]]:
    """Checks of one family and verdict, worst first; and whether one line will do: they are many and stop nothing."""
    members: dict[tuple[Verdict, str], list[Check]] = {}
    for check in worst_first(checks):
        members.setdefault((check.verdict, _family(check)), []).append(check)
    for (verdict, _), part in members.items():
        harmless = verdict is Verdict.OK or (
            verdict is Verdict.INCONCLUSIVE and not any(c.required for c in part)
        )
        yield part, harmless and len(part) > MOST_SHOWN


def _told(checks: Iterable[Check]) -> Iterator[list[str]]:
    """Lines of the terminal's table."""
    for members, folded in _families(checks):
        first = members[0]
        if folded:
            note = "" if first.verdict is Verdict.OK else " (not required)"
            yield [
                MARKS[first.verdict],
                f"{_family(first)}.*",
                "",
                "",
                "",
                "",
                f"{len(members)} checks{note}",
            ]
        else:
            yield from ([MARKS[check.verdict], *_cells(check)] for check in members)


def headline(report: Report) -> str:
    """How many checks went how, and which ones stop it."""
    ok, failed, unsure = (sum(check.verdict is one for check in report.checks) for one in MARKS)
    names = ", ".join(report.stops)
    return f"{ok} checks are ok, {failed} failed, {unsure} could not tell.{names and f' It stops at {names}.'}"


def terminal(report: Report) -> str:
    """The report for a terminal, worst first."""
    lines = [report.title, ""]
    told = list(_told(report.checks))
    lines.append(Grid(HEADINGS, told).text() if told else "no checks ran")
    failed = [check.name for check in report.drift if check.verdict is Verdict.FAIL]
    if moved := [name.partition("drift.")[2] or name for name in failed]:
        lines += ["", f"drift (asks for retraining, stops nothing): {', '.join(moved)}"]
    if doubtful := [check.name for check in report.warnings if check.verdict is Verdict.FAIL]:
        lines += [
            "",
            f"warnings (for a person to look at; they block nothing): {', '.join(doubtful)}",
        ]
    return "\n".join([*lines, "", f"verdict: {MARKS[report.verdict]}"])


def _html_table(checks: Iterable[Check]) -> str:
    """Worst first; large families that stop nothing are folded away."""
    families = list(_families(checks))
    shown = [check for members, folded in families if not folded for check in members]
    parts = [_html_rows(shown)] if shown else []
    for members in (members for members, folded in families if folded):
        told = f"{_family(members[0])}: {len(members)} checks are {MARKS[members[0].verdict]}"
        parts.append(f"<details><summary>{told}</summary>{_html_rows(members)}</details>")
    return "".join(parts)


def _html_rows(checks: Iterable[Check]) -> str:
    rows = [[str(check.verdict), *_cells(check)] for check in checks]
    return Grid(HEADINGS, rows, NUMBERS, badge=0).html()


def page(report: Report, pictures: Iterable[Path] = (), extra: str = "") -> str:
    """One self-contained HTML page: opens offline, loads nothing, runs no script."""
    facts = "".join(
        f"<dt>{escape(str(k))}</dt><dd>{escape(number(v))}</dd>"
        for k, v in report.facts.items()
        if v is not None
    )
    figures = "".join(_figure(path) for path in pictures)
    aside = "".join(
        f"<h2>{title}</h2><p>Asks {what}, stops nothing.</p>{_html_table(part)}"
        for title, what, part in (
            ("Drift", "for retraining", report.drift),
            ("Warnings", "a person", report.warnings),
        )
        if part
    )
    title, badge = (
        escape(report.title),
        f'<span class="badge {report.verdict}">{report.verdict}</span>',
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"<h1>{title}</h1><p>{badge} {escape(headline(report))}</p><dl>{facts}</dl>"
        f"<h2>Checks</h2>{_html_table(report.checks)}{figures}{aside}{extra}</html>\n"
    )


def _figure(path: Path) -> str:
    kind = "svg+xml" if path.suffix == ".svg" else path.suffix.removeprefix(".")
    data = base64.b64encode(path.read_bytes()).decode()
    name = escape(path.stem.replace("_", " "))
    return f'<figure><img alt="{name}" src="data:image/{kind};base64,{data}"><figcaption>{name}</figcaption></figure>'
