"""The pictures of a gate report, drawn from what was measured: the same bytes for the same numbers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract import Contract
from ..project import whole
from .measured import MAIN

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLOURS = {"candidate": "#1f6feb", "champion": "#2e7d4f", "baseline.simple": "#8a6d00", "baseline.trivial": "#8b949e"}


def draw(
    folder: Path,
    contract: Contract,
    rows: "pd.DataFrame",
    scores: Mapping[str, np.ndarray],
    measured: Mapping[str, Any],
) -> None:
    """Write `models.svg`, `calibration.svg` and, where there are slices, `slices.svg`."""
    metric = MAIN[contract.task]
    drawings: dict[str, Any] = {
        "models": (lambda axes: _models(axes, measured, metric), (8, 2.6)),
        "calibration": (lambda axes: _calibration(axes, contract, rows, scores), (6, 4)),
    }
    if single := _single(measured):
        drawings["slices"] = (lambda axes: _slices(axes, measured, metric), (8, 1 + 0.25 * len(single)))
    with whole(folder) as target:
        target.mkdir(parents=True)
        for name, (paint, size) in drawings.items():
            _save(target / f"{name}.svg", paint, size)


def draw_features(path: Path, found: Mapping[str, Any]) -> None:
    """What each feature gains, the most useful first."""
    entries = {name: entry["gain"] for name, entry in found["features"].items()}
    names = sorted(entries, key=lambda name: -(entries[name]["value"] or 0.0))

    def paint(axes: "Axes") -> None:
        _bars(axes, names, [entries[name] for name in names], [COLOURS["candidate"]] * len(names))
        axes.axvline(0, color="#8b949e", linewidth=1)
        axes.set_xlabel(f"{found['metric'].replace('_', ' ')} lost without the feature, right is worth more")

    with whole(path) as target:
        _save(target, paint, (8, 1 + 0.25 * len(names)))


def draw_age(path: Path, found: Mapping[str, Any]) -> None:
    """What a model of one earlier period loses against the youngest."""
    labels = [f"{entry['period']} ({entry['age']})" for entry in found["ages"]]

    def paint(axes: "Axes") -> None:
        entries = [entry["difference"] for entry in found["ages"]]
        _bars(axes, labels, entries, [COLOURS["candidate"]] * len(labels))
        axes.axvline(0, color="#8b949e", linewidth=1)
        told = f"{found['metric'].replace('_', ' ')} of a model of that period (its age), right is better"
        axes.set_xlabel(told if labels else "staleness: no earlier period could be measured")

    with whole(path) as target:
        _save(target, paint, (8, 1 + 0.25 * len(labels)))


def _save(path: Path, paint: Callable[["Axes"], None], size: tuple[float, float]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {
        "svg.hashsalt": "mlops",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 10,
    }
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=size, layout="constrained")
    paint(axes)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def _bars(axes: "Axes", labels: list[str], entries: list[Mapping[str, Any]], colours: list[str]) -> None:
    for place, (entry, colour) in enumerate(zip(entries, colours, strict=True)):
        if entry["value"] is None:
            continue
        low, high = (entry["value"] if bound is None else bound for bound in entry["interval"])
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot(entry["value"], place, "o", color=colour)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()


def _models(axes: "Axes", measured: Mapping[str, Any], metric: str) -> None:
    models = list(measured["values"])
    entries = [measured["values"][model][metric] for model in models]
    _bars(axes, models, entries, [COLOURS.get(model, "#555555") for model in models])
    axes.set_xlabel(f"{metric.replace('_', ' ')} with 95 % interval, {measured['rows']:,} rows")


def _single(measured: Mapping[str, Any]) -> list[Any]:
    """The slices by one column."""
    return [entry for entry in measured["slices"] if "," not in entry["column"]]


def _slices(axes: "Axes", measured: Mapping[str, Any], metric: str) -> None:
    entries = _single(measured)
    labels = [f"{entry['column']}={entry['value']} ({entry['rows']:,})" for entry in entries]
    compared = "difference" in entries[0]
    shown = [entry["difference" if compared else "candidate"][metric] for entry in entries]
    _bars(axes, labels, shown, [COLOURS["candidate"]] * len(shown))
    if compared:
        axes.axvline(0, color="#8b949e", linewidth=1)
    what = "candidate minus champion, right is better" if compared else "candidate"
    axes.set_xlabel(f"{metric.replace('_', ' ')}: {what}")


def _calibration(axes: "Axes", contract: Contract, rows: "pd.DataFrame", scores: Mapping[str, np.ndarray]) -> None:
    """What happened against what was predicted, in ten equal groups of rows by prediction."""
    target = contract.target(rows)
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
    axes.plot([low, high], [low, high], color="#8b949e", linewidth=1, zorder=0)
    axes.set_xlabel("predicted" if contract.task != "multiclass" else "confidence in the chosen class")
    axes.set_ylabel("happened")
    axes.legend(frameon=False)
