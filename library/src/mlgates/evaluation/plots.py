"""The pictures of the reports: the same bytes for the same numbers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Contract
from mlgates.evaluation.metrics import MAIN
from mlgates.files import atomic

if TYPE_CHECKING:
    import pandas as pd

BLUE = "#1f6feb"
GREY = "#8b949e"
COLOURS = {
    "candidate": BLUE,
    "champion": "#2e7d4f",
    "baseline.simple": "#8a6d00",
    "baseline.trivial": GREY,
}

RELIABILITY_GROUPS = 10
# The axes of the reliability diagram, by task: x, then y.
RELIABILITY_AXES = {
    "binary": ("mean predicted probability", "observed frequency"),
    "multiclass": ("mean probability of the chosen class", "observed frequency of that class"),
    "regression": ("mean prediction", "mean label"),
}


@contextmanager
def picture(
    path: Path, size: tuple[float, float], down: int = 1, across: int = 1
) -> Iterator[list[Any]]:
    """Axes to draw on; what was drawn is an SVG when the block ends.

    `size` is in inches. There are `down` rows of `across` axes, in one list.
    """
    import matplotlib

    matplotlib.use("Agg")
    is_single = down * across == 1
    matplotlib.rcParams |= {
        "svg.hashsalt": "mlops",  # without it the ids in the file are random
        "font.size": 10 if is_single else 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(down, across, figsize=size, layout="constrained", squeeze=False)
    yield list(grid.flat)
    with atomic(path) as target:
        figure.savefig(target, format="svg", metadata={"Date": None})
    plt.close(figure)


def draw(
    folder: Path,
    contract: Contract,
    rows: "pd.DataFrame",
    scores: Mapping[str, np.ndarray],
    measured: Mapping[str, Any],
) -> None:
    """Write the pictures of what was measured.

    They are `models.svg`, `reliability.svg` and, where there are slices and groups, `slices.svg`
    and `groups.svg`.
    """
    metric = MAIN[contract.task]
    with atomic(folder) as target:
        _models(target / "models.svg", metric, measured)
        _reliability(target / "reliability.svg", contract, rows, scores)
        _slices(target / "slices.svg", metric, measured["slices"])
        _groups(target / "groups.svg", measured["groups"].get("rates", []))


def intervals(
    path: Path,
    entries: Mapping[str, Mapping[str, Any]],
    axis_label: str,
    colours: Sequence[str] = (),
    *,
    zero: bool = False,
) -> None:
    """Values with their intervals, one below the other, each beside its name.

    With `zero` there is a line at 0, for differences. Underscores of the label become spaces.
    """
    if not colours:
        colours = [BLUE] * len(entries)
    with picture(path, (8, 1 + 0.25 * len(entries))) as (axes,):
        for place, (entry, colour) in enumerate(zip(entries.values(), colours, strict=True)):
            value = entry["value"]
            if value is None:
                continue  # its line stays empty
            low, high = entry["interval"]
            low = value if low is None else low
            high = value if high is None else high
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            axes.plot(value, place, "o", color=colour)

        axes.set_yticks(range(len(entries)), entries)
        axes.set_ylim(max(1, len(entries)) - 0.5, -0.5)  # empty axes have a height too
        axes.set_xlabel(axis_label.replace("_", " "))
        if zero:
            axes.axvline(0, color=GREY, linewidth=1)


def _models(path: Path, metric: str, measured: Mapping[str, Any]) -> None:
    """The metric of each model, in the model's colour."""
    values = {}
    colours = []
    for model, by_metric in measured["values"].items():
        values[model] = by_metric[metric]
        colours.append(COLOURS[model])
    intervals(path, values, f"{metric} with 95 % interval, {measured['rows']:,} rows", colours)


def _slices(path: Path, metric: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """The metric of each slice of one column, or if there is a champion the difference to it."""
    single = [entry for entry in entries if "," not in entry["column"]]  # crossed slices are many
    if not single:
        return

    has_champion = "difference" in single[0]
    if has_champion:
        kind = "difference"
        axis_label = f"{metric}: candidate minus champion, right is better"
    else:
        kind = "candidate"
        axis_label = f"{metric}: candidate"

    values = {}
    for entry in single:
        name = f"{entry['column']}={entry['value']} ({entry['rows']:,})"
        values[name] = entry[kind][metric]
    intervals(path, values, axis_label, zero=has_champion)


def _groups(path: Path, rates: Sequence[Mapping[str, Any]]) -> None:
    """By how much each rate of a group differs from that of all other rows."""
    if not rates:
        return
    gaps = {}
    for entry in rates:
        group = f"{entry['column']}={entry['value']}"
        gaps[f"{entry['rate']} of {group} ({entry['rows']:,})"] = entry["gap"]
    intervals(path, gaps, "rate of the group minus that of all other rows", zero=True)


def _reliability(
    path: Path, contract: Contract, rows: "pd.DataFrame", scores: Mapping[str, np.ndarray]
) -> None:
    """A reliability diagram: labels against predictions, in equal groups of rows by prediction."""
    target = contract.target(rows)
    with picture(path, (6, 4)) as (axes,):
        for model in ("champion", "candidate"):
            if model in scores:
                points = _reliability_points(target, scores[model])
                axes.plot(*points.T, "o-", color=COLOURS[model], label=model)

        # The diagonal, on which a calibrated model lies, as far as both axes reach.
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        low, high = min(left, bottom), max(right, top)
        axes.plot([low, high], [low, high], color=GREY, linewidth=1, zorder=0)
        x_label, y_label = RELIABILITY_AXES[contract.task]
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.legend(frameon=False)


def _reliability_points(target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(g, 2): the mean prediction and the mean label of each group of rows by prediction.

    With more than two classes the prediction is the probability of the chosen class, and the label
    is whether the row has that class.
    """
    observed = target
    if predicted.ndim == 2:
        observed = (predicted.argmax(axis=1) == target).astype(float)
        predicted = predicted.max(axis=1)
    order = np.argsort(predicted, kind="stable")
    points = []
    for group in np.array_split(order, RELIABILITY_GROUPS):
        if len(group):
            points.append((predicted[group].mean(), observed[group].mean()))
    return np.array(points)
