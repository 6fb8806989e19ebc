"""What people read about the data: the data sheet, made from the contract, and the page of the newest period."""

import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .. import report as renderer
from ..contract import Column, Contract
from ..verdict import Report
from .periods import ROWS
from .poison import is_id
from .suite import ROW_RULES, described

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PRIVATE = ("personal", "sensitive")  # nothing measured of these leaves the data
TO_FILL = ("owner", "source", "privacy", "status")
BLUE, GREY = "#1f6feb", "#8b949e"
MOST_BARS = 15


def allowed(column: Column) -> str:
    """Type, bounds and categories in words."""
    words = [column.kind]
    if column.low is not None or column.high is not None:
        words.append(f"{renderer.number(column.low) or '...'} to {renderer.number(column.high) or '...'}")
    if column.categories:
        words.append(" / ".join(column.categories))
    if column.pattern:
        words.append(f"`{column.pattern}`")
    return ", ".join([*words, *(["may be missing"] if column.nullable else [])])


def _private(column: Column, known: "pd.Series") -> bool:
    return column.about.privacy in PRIVATE or (column.kind == "text" and is_id(known))


def _measured(column: Column, values: "pd.Series") -> str:
    known = values.dropna()
    if known.empty or _private(column, known):
        return ""
    gone = f", {values.isna().mean():.1%} missing" if column.nullable else ""
    if (column.is_number and column.kind != "bool") or column.kind == "datetime":
        low, high = (renderer.number(x) if column.is_number else str(x) for x in (known.min(), known.max()))
        return f"{low} to {high}{gone}"
    top = known.astype(str).value_counts(normalize=True).head(2)
    return ", ".join(f"{word} {share:.0%}" for word, share in top.items()) + gone


def datasheet(contract: Contract, tables: "Sequence[pd.DataFrame]", period: str) -> str:
    """The data sheet as Markdown; `tables` are the rows and the look-ups of the newest period."""
    values = {name: table[name] for table in reversed(tables) for name in table}
    lines = [
        "# Data sheet",
        "",
        f"Made by `validate` from schema.py, and measured on period {period}. Nothing here is written by hand.",
        "",
        "| column | part | allowed | measured | unit | owner | source | privacy | status |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, column in contract.columns.items():
        about = column.about
        label = column.label + (f": {column.description}" if column.description else "")
        cells = [label, column.source, allowed(column), _measured(column, values[name]) if name in values else ""]
        cells += [about.unit, about.owner, about.source, about.privacy, about.status]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    for role in ("key", "slices", "groups", "forbidden"):
        if names := getattr(contract, role):
            lines += ["", f"{role}: {', '.join(names)}"]
    told = {name: [field for field in TO_FILL if not getattr(c.about, field)] for name, c in contract.columns.items()}
    for name, column in contract.columns.items():
        if column.kind in ("int", "float") and not column.about.unit and name not in contract.key:
            told[name].append("unit")
    if missing := [f"{name} ({', '.join(fields)})" for name, fields in told.items() if fields]:
        lines += ["", f"Left to fill in, by `About(...)` in schema.py: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def page(contract: Contract, reports: Mapping[str, Report], tables: "Mapping[str, Sequence[pd.DataFrame]]") -> str:
    """The page of the newest period: its checks, its distributions against the periods before, quarantine, rules."""
    newest = list(reports)[-1]
    report, before = reports[newest], [tables[period] for period in list(reports)[:-1]]
    rows = report.facts[ROWS]
    facts = {"rows read": rows.get("read"), "kept": rows.get("kept"), "in quarantine": rows.get("quarantined")}
    facts["compared with"] = ", ".join(list(reports)[:-1])
    shown = Report(f"data of {newest}", report.checks, facts, report.drift, report.advice)
    with tempfile.TemporaryDirectory() as folder:
        pictures = _draw(Path(folder), contract, before, tables[newest], reports)
        return renderer.page(shown, pictures, _rules(contract))


def _rules(contract: Contract) -> str:
    """All rules in words, table by table."""
    parts = []
    for name, table in described(contract).items():
        lines = [(", ".join(f"{column} ({kind})" for column, kind in table["columns"].items()), "columns")]
        lines += [(word, "forbidden") for word in table["forbidden"]] + [(rule, "possible") for rule in table["rules"]]
        for expectation in table["expectations"]:
            column = expectation.get("column") or ", ".join(expectation["column_list"])
            rest = {k: v for k, v in expectation.items() if k not in ("type", "column", "column_list")}
            told = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in rest.items())
            lines.append((f"{column} {told}", expectation["type"].removeprefix("expect_").replace("_", " ")))
        body = "".join(f"<tr><td>{escape(kind)}</td><td>{escape(told)}</td></tr>" for told, kind in lines)
        parts.append(f"<h2>Rules for {escape(name)}</h2><table>{body}</table>")
    return "".join(parts)


def _draw(
    folder: Path,
    contract: Contract,
    before: "Sequence[Sequence[pd.DataFrame]]",
    now: "Sequence[pd.DataFrame]",
    reports: Mapping[str, Report],
) -> list[Path]:
    import matplotlib

    matplotlib.use("Agg")
    spines = {"axes.spines.top": False, "axes.spines.right": False}
    matplotlib.rcParams |= {"svg.hashsalt": "mlops", "font.size": 8, **spines}
    import matplotlib.pyplot as plt
    import pandas as pd

    old = {n: pd.concat([t[n] for part in before for t in part if n in t]) for n in contract.columns} if before else {}
    new = {name: next(table[name] for table in now if name in table) for name in contract.columns}
    drawn = [c for name, c in contract.columns.items() if c.kind != "datetime" and new[name].notna().any()]
    shown = [column for column in drawn if not _private(column, new[column.name].dropna())]
    across, down = 4, -(-len(shown) // 4)
    figure, grid = plt.subplots(down, across, figsize=(11, 1.9 * down), squeeze=False)
    for axes, column in zip(grid.flat, shown, strict=False):
        _distribution(axes, column, old.get(column.name), new[column.name])
    for axes in list(grid.flat)[len(shown) :]:
        axes.axis("off")
    figure.tight_layout()
    _save(figure, folder / "distributions, periods before in grey.svg")
    figure, axes = plt.subplots(figsize=(8, 1 + 0.3 * len(reports)), layout="constrained")
    _quarantine(axes, reports)
    _save(figure, folder / "quarantine by rule.svg")
    return sorted(folder.glob("*.svg"))


def _quarantine(axes: "Axes", reports: Mapping[str, Report]) -> None:
    """The share of each period's rows that broke each rule; a row that broke two counts in both."""
    checked = {period: {c.name: c.value for c in report.named("data.")} for period, report in reports.items()}
    ends = dict.fromkeys(checked, 0.0)
    for rule in ROW_RULES:
        shares = {period: float(values.get(rule) or 0.0) for period, values in checked.items()}
        if any(shares.values()):
            axes.barh(list(shares), list(shares.values()), left=list(ends.values()), label=rule)
            ends = {period: end + shares[period] for period, end in ends.items()}
    if any(ends.values()):
        axes.legend(frameon=False)
    else:
        axes.barh(list(ends), [0.0] * len(ends))
    axes.set_xlim(0, max(0.01, *ends.values()) * 1.05)
    axes.invert_yaxis()
    axes.set_xlabel("share of rows in quarantine" if any(ends.values()) else "no row is in quarantine")


def _save(figure: object, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure.savefig(path, metadata={"Date": None})  # type: ignore[attr-defined]
    plt.close(figure)


def _distribution(axes: "Axes", column: Column, old: "pd.Series | None", new: "pd.Series") -> None:
    import numpy as np
    import pandas as pd

    sides = [(side, colour) for side, colour in ((old, GREY), (new, BLUE)) if side is not None]
    if column.is_number and column.kind != "bool":
        known = pd.concat([side for side, _ in sides]).dropna().astype(float)
        edges = np.histogram_bin_edges(known, bins=30)
        for side, colour in sides:
            values = side.dropna().astype(float)
            if len(values):
                shares = np.histogram(values, edges)[0] / len(values)
                axes.stairs(shares, edges, color=colour)
    else:
        words = new.astype(str).value_counts().index[:MOST_BARS]
        for place, (side, colour) in enumerate(sides):
            known_shares = side.astype(str).value_counts(normalize=True).reindex(words, fill_value=0)
            axes.bar(np.arange(len(words)) + 0.4 * place, known_shares, 0.4, color=colour)
        axes.set_xticks(np.arange(len(words)) + 0.2, words, rotation=90, fontsize=6)
    axes.set_title(column.label + (f" ({column.about.unit})" if column.about.unit else ""), fontsize=8)
    axes.set_yticks([])
