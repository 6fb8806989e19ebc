"""The page of the newest period: its checks, its distributions, its quarantine, and all rules."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlgates.contract import Column, Contract
from mlgates.data.datasheet import datasheet, is_private, values_by_column
from mlgates.data.expectations import ROW_RULES, suite_as_data
from mlgates.data.partitions import ROWS
from mlgates.evaluation.plots import BLUE, GREY, picture
from mlgates.files import temporary_folder, write_text
from mlgates.grid import Grid
from mlgates.reports import page as report_page
from mlgates.verdict import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    Tables = Mapping[str, Sequence[pd.DataFrame]]  # rows and look-ups, by period

ACROSS = 4  # distributions side by side
MAX_BARS = 15  # words of a column that are drawn, the most frequent ones


def write(
    folder: Path, contract: Contract, reports: Mapping[str, Report], tables: "Tables"
) -> None:
    """Write the data sheet and the page of the newest period.

    `reports` and `tables` are those of the periods in use, the newest one last.
    """
    newest = list(reports)[-1]
    write_text(folder / "datasheet.md", datasheet(contract, tables[newest], newest))
    write_text(folder / "data.html", page(contract, reports, tables))


def page(contract: Contract, reports: Mapping[str, Report], tables: "Tables") -> str:
    """The page of the newest period, whose distributions are drawn against the periods before."""
    *before, newest = reports
    rows = reports[newest].facts[ROWS]
    facts = {
        "rows read": rows.get("read"),
        "kept": rows.get("kept"),
        "in quarantine": rows.get("quarantined"),
        "compared with": ", ".join(before),
    }
    report = Report(f"data of {newest}", reports[newest].all_checks, facts)
    with temporary_folder() as folder:
        _draw_distributions(folder, contract, tables)
        _draw_quarantine(folder, reports)
        pictures = sorted(folder.glob("*.svg"))
        return report_page(report, pictures, _rules_as_html(contract))


def _rules_as_html(contract: Contract) -> str:
    """All rules in words, table by table."""
    parts = []
    for name, table in suite_as_data(contract).items():
        rows = Grid([], _rules_in_words(table))
        parts.append(f"<h2>Rules for {escape(name)}</h2>{rows.html()}")
    return "".join(parts)


def _rules_in_words(table: Mapping[str, Any]) -> list[list[str]]:
    """The kind of each rule, and what it says; `table` is one of `described`."""
    columns = [f"{column} ({kind})" for column, kind in table["columns"].items()]
    rows = [["columns", ", ".join(columns)]]
    for name in table["forbidden"]:
        rows.append(["forbidden", name])
    for rule in table["rules"]:
        rows.append(["between columns", rule])
    for expectation in table["expectations"]:
        kind = expectation["type"].removeprefix("expect_").replace("_", " ")
        rows.append([kind, _expectation_in_words(expectation)])
    return rows


def _expectation_in_words(expectation: Mapping[str, Any]) -> str:
    columns = expectation.get("column_list", [expectation.get("column")])
    arguments = []
    for name, value in expectation.items():
        if name not in ("type", "column", "column_list"):
            arguments.append(f"{name.replace('_', ' ')} {value}")
    return f"{', '.join(columns)} {', '.join(arguments)}"


def _draw_distributions(folder: Path, contract: Contract, tables: "Tables") -> None:
    """Draw each column of the newest period, and in grey the same column of the periods before."""
    *before, now = map(values_by_column, tables.values())
    columns = []
    for name, column in contract.columns.items():
        present = now[name].dropna()
        if column.kind != "datetime" and len(present) and not is_private(column, present):
            columns.append(column)

    down = max(1, math.ceil(len(columns) / ACROSS))
    path = folder / "distributions, periods before in grey.svg"
    with picture(path, (11, 1.9 * down), down, ACROSS) as grid:
        for axes, column in zip(grid, columns, strict=False):
            old = _pooled([values[column.name] for values in before])
            _draw_distribution(axes, column, old, now[column.name])
        for axes in grid[len(columns) :]:
            axes.axis("off")


def _pooled(parts: "Sequence[pd.Series]") -> "pd.Series | None":
    """A column of several periods; None without a period, or if all values are missing."""
    import pandas as pd

    if not parts:
        return None
    values = pd.concat(parts)
    if values.isna().all():
        return None
    return values


def _draw_distribution(
    axes: "Axes", column: Column, old: "pd.Series | None", new: "pd.Series"
) -> None:
    """A histogram of a number, or the shares of the most frequent words."""
    samples = {BLUE: new}
    if old is not None:
        samples = {GREY: old, BLUE: new}  # what is drawn last lies on top

    if column.kind in ("int", "float"):
        _draw_histogram(axes, samples)
    else:
        _draw_bars(axes, samples)
    title = column.label
    if column.about.unit:
        title = f"{title} ({column.about.unit})"
    axes.set_title(title, fontsize=8)
    axes.set_yticks([])


def _draw_histogram(axes: "Axes", samples: "Mapping[str, pd.Series]") -> None:
    values = [sample.dropna().astype(float) for sample in samples.values()]
    axes.hist(values, bins=30, density=True, histtype="step", color=list(samples))


def _draw_bars(axes: "Axes", samples: "Mapping[str, pd.Series]") -> None:
    import pandas as pd

    shares = {}
    for colour, sample in samples.items():
        shares[colour] = sample.astype(str).value_counts(normalize=True)
    words = shares[BLUE].index[:MAX_BARS]
    frame = pd.DataFrame(shares).reindex(words)
    colours: Any = list(samples)
    frame.plot.bar(ax=axes, color=colours, width=0.8, legend=False, fontsize=6, xlabel="")


def _draw_quarantine(folder: Path, reports: Mapping[str, Report]) -> None:
    """The share of each period's rows that broke each rule; a row that broke two counts in both."""
    import pandas as pd

    values = {}
    for period, report in reports.items():
        values[period] = {check.name: check.value for check in report.checks}
    shares = pd.DataFrame(values).reindex(ROW_RULES).astype(float).fillna(0).T
    broken = shares.loc[:, shares.any()]

    with picture(folder / "quarantine by rule.svg", (8, 1 + 0.3 * len(reports))) as (axes,):
        if broken.empty:
            shares.plot.barh(stacked=True, ax=axes, legend=False)
            axes.set_xlabel("no row is in quarantine")
        else:
            broken.plot.barh(stacked=True, ax=axes, legend=True)
            axes.set_xlabel("share of rows in quarantine")
        axes.set_xlim(0, max(0.01, shares.sum(axis=1).max()) * 1.05)
        axes.invert_yaxis()
