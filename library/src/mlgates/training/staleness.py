"""How fast a model goes stale.

A model is fitted on each of some earlier periods, and all are measured on the newest one.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mlgates.data import partitions
from mlgates.errors import ProjectError
from mlgates.evaluation import metrics
from mlgates.evaluation.metrics import MAIN, margin_unit
from mlgates.evaluation.plots import intervals
from mlgates.files import write_json
from mlgates.layout import STALENESS
from mlgates.project import Project
from mlgates.settings import Settings
from mlgates.training.sanity_checks import difference_of_fits, refit
from mlgates.training.split import read_with_lookups, with_required_lookups

if TYPE_CHECKING:
    import pandas as pd

    from mlgates.training.ablation import Parts

AGES = (1, 2, 3, 4, 6, 9, 12)  # in periods: the older a model is, the less one more period says


def curve(
    project: Project,
    parts: "Mapping[int, pd.DataFrame]",
    evaluation: "pd.DataFrame",
    settings: Settings,
) -> list[dict[str, Any]]:
    """The metric of models that were fitted on one period each, and the difference to the youngest.

    The differences are paired. `parts` are the periods' rows by age. A period to which the model
    cannot be fitted, such as one with a single class, is left out.
    """
    contract = project.contract
    metric = MAIN[contract.task]
    make_metric = metrics.metrics_of(contract.task)[metric]
    arrays = contract.arrays(evaluation)
    truth = contract.target(evaluation)
    measures: dict[int, metrics.Measure] = {}
    for age, rows in parts.items():
        with suppress(ProjectError):
            _, scores = refit(
                project, contract.arrays(rows), contract.target(rows), arrays, settings
            )
            measures[age] = make_metric(truth, scores)
    if not measures:
        return []

    estimates = metrics.estimates(
        measures, len(evaluation), metrics.RESAMPLES, settings.evaluate.seed
    )
    youngest = estimates[min(estimates)]
    entries = []
    for age, estimate in estimates.items():
        entry = {
            "age": age,
            "rows": len(parts[age]),
            "value": estimate.plain(),
            "difference": estimate.minus(youngest, metric).plain(),
        }
        entries.append(entry)
    return entries


def write(project: Project, parts: "Parts", settings: Settings, known: Sequence[str]) -> str:
    """Report on the `known` (closed) periods to `STALENESS`, and draw it; returns a line about it.

    Gate and monitor read the report.
    """
    rows, unseen = parts
    most_rows = settings.evaluate.curve_rows
    periods = _periods_by_age(project, most_rows, known)
    entries: list[dict[str, Any]] = []
    if periods:
        older_rows = _rows_by_age(project, periods, most_rows, known)
        entries = curve(project, older_rows, partitions.thin(unseen, most_rows), settings)
    for entry in entries:
        entry["period"] = periods[entry["age"]]

    metric = MAIN[project.contract.task]
    youngest_value = entries[0]["value"]["value"] if entries else None
    largest_difference = None
    if most_rows:
        largest_difference = difference_of_fits(project, partitions.thin(rows, most_rows), settings)
    report = {
        "metric": metric,
        "unit": margin_unit(project.contract.task, youngest_value),
        "rows": min(len(unseen), most_rows),
        "ages": entries,
        # How old a model may get if there is no curve: then no row that it was fitted on is among
        # those that are trained on now.
        "otherwise": settings.train.periods + 1,
        "repeatable": largest_difference,
    }
    write_json(project.root / STALENESS, report)
    _draw(project, metric, entries)
    if not entries:
        return "age: no earlier period could be measured"
    return f"age: models of {', '.join(periods.values())}, each on {report['rows']:,} rows"


def _periods_by_age(project: Project, most_rows: int, known: Sequence[str]) -> dict[int, str]:
    """The period of each age that is to be measured; the newest closed period has age 0."""
    if not project.contract.time or not most_rows:
        return {}
    return {age: known[-1 - age] for age in AGES if age < len(known)}


def _rows_by_age(
    project: Project, periods: Mapping[int, str], most_rows: int, known: Sequence[str]
) -> dict[int, "pd.DataFrame"]:
    """At most `most_rows` rows of each period, with their look-ups, by age."""
    contract = project.contract
    by_age = {}
    for age, period in periods.items():
        rows = with_required_lookups(
            contract, read_with_lookups(project, contract, [period], known), period
        )
        by_age[age] = partitions.thin(rows, most_rows)
    return by_age


def _draw(project: Project, metric: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """The picture beside the report: the difference of each age to the youngest."""
    axis_label = "staleness: no earlier period could be measured"
    if entries:
        axis_label = f"{metric} of a model of that period (its age), right is better"
    differences = {}
    for entry in entries:
        differences[f"{entry['period']} ({entry['age']})"] = entry["difference"]
    path = (project.root / STALENESS).with_suffix(".svg")
    intervals(path, differences, axis_label, zero=True)
