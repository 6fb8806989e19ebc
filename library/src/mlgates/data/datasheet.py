"""What people read about the data: the data sheet, made from the contract, and the page of the newest period."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from mlgates.contract import Column, Contract
from mlgates.data.expectations import ROW_RULES, described
from mlgates.data.partitions import ROWS
from mlgates.data.poisoning import is_id
from mlgates.evaluation.plots import BLUE, GREY, picture
from mlgates.files import temporary_folder, write_text
from mlgates.grid import Grid
from mlgates.reports import number
from mlgates.reports import page as report_page
from mlgates.verdict import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    Tables = Mapping[str, Sequence[pd.DataFrame]]  # rows and look-ups, by period


PRIVATE = ("personal", "sensitive")  # nothing measured of these leaves the data
TO_FILL = ("owner", "source", "privacy", "status")
MOST_BARS, ACROSS = 15, 4


def allowed(column: Column) -> str:
    """Type, bounds and categories in words."""
    words = [column.kind]
    if column.low is not None or column.high is not None:
        low, high = number(column.low) or "...", number(column.high) or "..."
        above = "above " if column.exclusive_low else ""
        below = "below " if column.exclusive_high else ""
        words.append(f"{above}{low} to {below}{high}")
    if column.earliest or column.latest:
        words.append(f"{column.earliest or '...'} to {column.latest or '...'}")
    if column.categories:
        words.append(" / ".join(column.categories))
    if column.min_length is not None or column.max_length is not None:
        most = "..." if column.max_length is None else column.max_length
        words.append(f"{column.min_length or 0} to {most} characters")
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
        low, high = (number(x) if column.is_number else str(x) for x in (known.min(), known.max()))
        return f"{low} to {high}{gone}"
    top = known.astype(str).value_counts(normalize=True).head(2)
    return ", ".join(f"{word} {share:.0%}" for word, share in top.items()) + gone


def write(
    folder: Path, contract: Contract, reports: Mapping[str, Report], tables: "Tables"
) -> None:
    """Write both; `reports` and `tables` are those of the periods in use, the newest one last."""
    newest = list(reports)[-1]
    write_text(folder / "datasheet.md", datasheet(contract, tables[newest], newest))
    write_text(folder / "data.html", page(contract, reports, tables))


def datasheet(contract: Contract, tables: "Sequence[pd.DataFrame]", period: str) -> str:
    """The data sheet as Markdown; `tables` are the rows and the look-ups of the newest period."""
    values = {name: table[name] for table in reversed(tables) for name in table}
    lines = [
        "# Data sheet",
        "",
        f"Made by `validate` from schema.py, and measured on period {period}. Nothing here is written by hand.",
        "",
    ]
    rows = []
    for name, column in contract.columns.items():
        about = column.about
        label = column.label + (f": {column.description}" if column.description else "")
        cells = [
            label,
            column.source,
            allowed(column),
            _measured(column, values[name]) if name in values else "",
        ]
        cells += [about.unit, about.owner, about.source, about.privacy, about.status]
        rows.append(cells)
    headings = [
        "column",
        "part",
        "allowed",
        "measured",
        "unit",
        "owner",
        "source",
        "privacy",
        "status",
    ]
    lines.append(Grid(headings, rows).markdown())
    for role in ("key", "slices", "groups", "forbidden"):
        if names := getattr(contract, role):
            lines += ["", f"{role}: {', '.join(names)}"]
    told = {
        name: [field for field in TO_FILL if not getattr(c.about, field)]
        for name, c in contract.columns.items()
    }
    for name, column in contract.columns.items():
        if column.kind in ("int", "float") and not column.about.unit and name not in contract.key:
            told[name].append("unit")
    if missing := [f"{name} ({', '.join(fields)})" for name, fields in told.items() if fields]:
        lines += ["", f"Left to fill in, by `About(...)` in schema.py: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def page(contract: Contract, reports: Mapping[str, Report], tables: "Tables") -> str:
    """The page of the newest period: its checks, its distributions against the periods before, quarantine, rules."""
    newest = list(reports)[-1]
    report, rows = reports[newest], reports[newest].facts[ROWS]
    facts = {
        "rows read": rows.get("read"),
        "kept": rows.get("kept"),
        "in quarantine": rows.get("quarantined"),
    }
    facts["compared with"] = ", ".join(list(reports)[:-1])
    shown = Report(f"data of {newest}", report.all_checks, facts)
    with temporary_folder() as folder:
        pictures = _draw(folder, contract, reports, tables)
        return report_page(shown, pictures, _rules(contract))


def _rules(contract: Contract) -> str:
    """All rules in words, table by table."""
    parts = []
    for name, table in described(contract).items():
        lines = [
            (
                ", ".join(f"{column} ({kind})" for column, kind in table["columns"].items()),
                "columns",
            )
        ]
        lines += [(word, "forbidden") for word in table["forbidden"]] + [
            (rule, "possible") for rule in table["rules"]
        ]
        for expectation in table["expectations"]:
            column = expectation.get("column") or ", ".join(expectation["column_list"])
            rest = {
                k: v for k, v in expectation.items() if k not in ("type", "column", "column_list")
            }
            told = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in rest.items())
            lines.append(
                (f"{column} {told}", expectation["type"].removeprefix("expect_").replace("_", " "))
            )
        rows = Grid([], [[kind, told] for told, kind in lines])
        parts.append(f"<h2>Rules for {escape(name)}</h2>{rows.html()}")
    return "".join(parts)


def _draw(
    folder: Path, contract: Contract, reports: Mapping[str, Report], tables: "Tables"
) -> list[Path]:
    import pandas as pd

    *before, now = tables.values()
    old = (
        {n: pd.concat([t[n] for part in before for t in part if n in t]) for n in contract.columns}
        if before
        else {}
    )
    new = {name: next(table[name] for table in now if name in table) for name in contract.columns}
    drawn = [
        c
        for name, c in contract.columns.items()
        if c.kind != "datetime" and new[name].notna().any()
    ]
    shown = [column for column in drawn if not _private(column, new[column.name].dropna())]
    down = max(1, -(-len(shown) // ACROSS))
    with picture(
        folder / "distributions, periods before in grey.svg", (11, 1.9 * down), down, ACROSS
    ) as grid:
        for axes, column in zip(grid, shown, strict=False):
            _distribution(axes, column, old.get(column.name), new[column.name])
        for axes in grid[len(shown) :]:
            axes.axis("off")
    with picture(folder / "quarantine by rule.svg", (8, 1 + 0.3 * len(reports))) as (axes,):
        _quarantine(axes, reports)
    return sorted(folder.glob("*.svg"))


def _quarantine(axes: "Axes", reports: Mapping[str, Report]) -> None:
    """The share of each period's rows that broke each rule; a row that broke two counts in both."""
    import pandas as pd

    checked = {}
    for period, report in reports.items():
        checked[period] = {check.name: check.value for check in report.checks}
    shares = pd.DataFrame(checked).reindex(ROW_RULES).astype(float).fillna(0).T
    broken = shares.loc[:, shares.any()]
    (shares if broken.empty else broken).plot.barh(stacked=True, ax=axes, legend=not broken.empty)
    axes.set_xlim(0, max(0.01, shares.sum(axis=1).max()) * 1.05)
    axes.invert_yaxis()
    axes.set_xlabel("no row is in quarantine" if broken.empty else "share of rows in quarantine")


def _distribution(axes: "Axes", column: Column, old: "pd.Series | None", new: "pd.Series") -> None:
    import pandas as pd

    sides = {
        colour: side
        for colour, side in ((GREY, old), (BLUE, new))
        if side is not None and side.notna().any()
    }
    if column.is_number and column.kind != "bool":
        values = [side.dropna().astype(float) for side in sides.values()]
        axes.hist(values, bins=30, density=True, histtype="step", color=[*sides])
    else:
        counted = {
            colour: side.astype(str).value_counts(normalize=True) for colour, side in sides.items()
        }
        words = counted[BLUE].index[:MOST_BARS]
        shares = pd.DataFrame(counted).reindex(words)
        shares.plot.bar(ax=axes, color=[*sides], width=0.8, legend=False, fontsize=6, xlabel="")
    axes.set_title(
        column.label + (f" ({column.about.unit})" if column.about.unit else ""), fontsize=8
    )
    axes.set_yticks([])
