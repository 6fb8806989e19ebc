"""age: how fast a model goes stale: fitted on one earlier period at a time, all measured on the newest one."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mlgates.data import partitions
from mlgates.errors import ProjectError
from mlgates.evaluation import metrics
from mlgates.evaluation.metrics import MAIN, unit
from mlgates.evaluation.plots import intervals
from mlgates.files import write_json
from mlgates.layout import STALENESS
from mlgates.project import Project
from mlgates.settings import Settings
from mlgates.training.sanity_checks import refit, repeatable
from mlgates.training.split import answered, joined

if TYPE_CHECKING:
    import pandas as pd

    from mlgates.training.ablation import Parts

AGES = (1, 2, 3, 4, 6, 9, 12)  # in periods: the older, the less each one more says


def curve(
    project: Project,
    parts: "Mapping[int, pd.DataFrame]",
    evaluation: "pd.DataFrame",
    settings: Settings,
) -> list[dict[str, Any]]:
    """What models fitted on one period each are worth now, and the paired difference to the youngest.

    `parts` are the periods' rows by age; a period with one class only is left out.
    """
    contract, arrays = project.contract, project.contract.arrays(evaluation)
    metric, truth = MAIN[contract.task], contract.target(evaluation)
    measures: dict[int, metrics.Measure] = {}
    for age, rows in parts.items():
        with suppress(ProjectError):
            _, scores = refit(
                project, contract.arrays(rows), contract.target(rows), arrays, settings
            )
            measures[age] = metrics.named(contract.task)[metric](truth, scores)
    found = metrics.estimates(measures, len(evaluation), metrics.RESAMPLES, settings.evaluate.seed)
    return [
        {
            "age": age,
            "rows": len(parts[age]),
            "value": each.plain(),
            "difference": each.minus(found[min(found)], metric).plain(),
        }
        for age, each in found.items()
    ]


def write(project: Project, parts: "Parts", settings: Settings, known: Sequence[str]) -> str:
    """Report on the `known` periods to `STALENESS`, for gate and monitor, and draw it; returns a line about it."""
    most, contract, (rows, unseen) = settings.evaluate.curve_rows, project.contract, parts
    ages = {age: known[-1 - age] for age in AGES if contract.time and most and age < len(known)}
    older = {
        age: partitions.thin(
            answered(contract, joined(project, contract, [period], known), period), most
        )
        for age, period in ages.items()
    }
    entries = curve(project, older, partitions.thin(unseen, most), settings) if older else []
    found = {
        "metric": MAIN[contract.task],
        "unit": unit(contract.task, entries[0]["value"]["value"] if entries else None),
        "rows": min(len(unseen), most),
        "ages": [entry | {"period": ages[entry["age"]]} for entry in entries],
        "otherwise": settings.train.periods
        + 1,  # then no row that it was trained on is in the window
        "repeatable": repeatable(project, partitions.thin(rows, most or 1), settings)
        if most
        else None,
    }
    write_json(project.root / STALENESS, found)
    shown = {f"{ages[entry['age']]} ({entry['age']})": entry["difference"] for entry in entries}
    told = f"{found['metric']} of a model of that period (its age), right is better"
    told = told if entries else "staleness: no earlier period could be measured"
    intervals((project.root / STALENESS).with_suffix(".svg"), shown, told, zero=True)
    told = (
        f"models of {', '.join(ages.values())}, each on {found['rows']:,} rows"
        if entries
        else "no curve"
    )
    return f"age: {told}"
