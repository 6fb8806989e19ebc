"""The pictures of the reports, drawn from what was measured: the same bytes for the same numbers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Contract
from mlgates.evaluation.metrics import MAIN
from mlgates.files import whole

if TYPE_CHECKING:
    import pandas as pd

BLUE, GREY = "#1f6feb", "#8b949e"
COLOURS = {
    "candidate": BLUE,
    "champion": "#2e7d4f",
    "baseline.simple": "#8a6d00",
    "baseline.trivial": GREY,
}


@contextmanager
def picture(
    path: Path, size: tuple[float, float], down: int = 1, across: int = 1
) -> Iterator[list[Any]]:
    """Axes to draw on; what was drawn is an SVG when the block ends."""
    import matplotlib

    matplotlib.use("Agg")
    spines = {"axes.spines.top": False, "axes.spines.right": False}
    matplotlib.rcParams |= {
        "svg.hashsalt": "mlops",
        "font.size": 10 if down * across == 1 else 8,
        **spines,
    }
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(down, across, figsize=size, layout="constrained", squeeze=False)
    yield list(grid.flat)
    with whole(path) as target:
        figure.savefig(target, format="svg", metadata={"Date": None})
    plt.close(figure)


def draw(
    folder: Path,
    contract: Contract,
    rows: "pd.DataFrame",
    scores: Mapping[str, np.ndarray],
    measured: Mapping[str, Any],
) -> None:
    """Write `models.svg`, `reliability.svg` and, where there are slices and groups, `slices.svg` and `groups.svg`."""
    metric = MAIN[contract.task]
    single = [entry for entry in measured["slices"] if "," not in entry["column"]]
    with whole(folder) as target:
        values = {model: each[metric] for model, each in measured["values"].items()}
        told = f"{metric} with 95 % interval, {measured['rows']:,} rows"
        intervals(target / "models.svg", values, told, [COLOURS[model] for model in values])
        _reliability(target / "reliability.svg", contract, rows, scores)
        if single:
            compared = "difference" in single[0]
            told = f"{metric}: candidate{' minus champion, right is better' if compared else ''}"
            shown = "difference" if compared else "candidate"
            values = {
                f"{e['column']}={e['value']} ({e['rows']:,})": e[shown][metric] for e in single
            }
            intervals(target / "slices.svg", values, told, zero=compared)
        if rates := measured["groups"].get("rates"):
            gaps = {
                f"{e['rate']} of {e['column']}={e['value']} ({e['rows']:,})": e["gap"]
                for e in rates
            }
            intervals(
                target / "groups.svg",
                gaps,
                "rate of the group minus that of all other rows",
                zero=True,
            )


def intervals(
    path: Path,
    entries: Mapping[str, Mapping[str, Any]],
    told: str,
    colours: Sequence[str] = (),
    *,
    zero: bool = False,
) -> None:
    """Values with their intervals, one below the other; a line at `zero` where they are differences."""
    with picture(path, (8, 1 + 0.25 * len(entries))) as (axes,):
        for place, (entry, colour) in enumerate(
            zip(entries.values(), colours or [BLUE] * len(entries), strict=True)
        ):
            if entry["value"] is not None:
                low, high = (
                    entry["value"] if bound is None else bound for bound in entry["interval"]
                )
                axes.plot([low, high], [place, place], color=colour, linewidth=2)
                axes.plot(entry["value"], place, "o", color=colour)
        axes.set_yticks(range(len(entries)), entries)
        axes.set_ylim(max(1, len(entries)) - 0.5, -0.5)  # without entries the axes are empty
        axes.set_xlabel(told.replace("_", " "))
        if zero:
            axes.axvline(0, color=GREY, linewidth=1)


def _reliability(
    path: Path, contract: Contract, rows: "pd.DataFrame", scores: Mapping[str, np.ndarray]
) -> None:
    """A reliability diagram: what happened against what was predicted, in ten equal groups of rows by prediction."""
    target = contract.target(rows)
    with picture(path, (6, 4)) as (axes,):
        for model in ("champion", "candidate"):
            if model not in scores:
                continue
            predicted, happened = scores[model], target
            if predicted.ndim == 2:
                happened = (predicted.argmax(axis=1) == target).astype(float)
                predicted = predicted.max(axis=1)
            groups = np.array_split(np.argsort(predicted, kind="stable"), 10)
            points = np.array([(predicted[g].mean(), happened[g].mean()) for g in groups if len(g)])
            axes.plot(*points.T, "o-", color=COLOURS[model], label=model)
        low, high = (f(axes.get_xlim()[i], axes.get_ylim()[i]) for i, f in enumerate((min, max)))
        axes.plot([low, high], [low, high], color=GREY, linewidth=1, zorder=0)
        axes.set_xlabel(
            "predicted" if contract.task != "multiclass" else "confidence in the chosen class"
        )
        axes.set_ylabel("happened")
        axes.legend(frameon=False)
