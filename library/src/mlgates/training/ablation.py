"""What each feature gains and costs.

The gain is the loss when the model is fitted again without the feature.
"""

import hashlib
import inspect
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import lookups
from mlgates.contract import Arrays, Contract, Lookup
from mlgates.data import partitions
from mlgates.evaluation import metrics
from mlgates.evaluation.metrics import MAIN, margin_unit
from mlgates.evaluation.plots import intervals
from mlgates.evaluation.timing import rounded, seconds
from mlgates.features import Plan, plan
from mlgates.files import write_json
from mlgates.layout import FEATURES
from mlgates.model_folder import Scorer
from mlgates.project import Project
from mlgates.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    Parts = tuple[pd.DataFrame, pd.DataFrame]  # to fit on, and to measure on


BATCH = 1_000  # rows of the call that is timed beside the call for a single row
MICROSECONDS = 1e6  # in a second
NOTHING = ""  # left out: the model with all features


def ablate(
    project: Project,
    features: Plan,
    rows: "pd.DataFrame",
    unseen: "pd.DataFrame",
    settings: Settings,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Gain and cost of each feature (or of `names`), as plain data.

    `gain` is the main metric of a model with all features minus that of one without the feature, so
    positive is better. Both are fitted on `rows` and measured on `unseen` with the same weights.
    Costs are measured on this machine: microseconds for one row alone and in a batch, the share in
    the look-ups that the feature reads, and bytes for each row.
    """
    contract = project.contract
    names = names or features.names
    most_rows = settings.evaluate.ablation_rows
    rows = partitions.thin(rows, most_rows)
    unseen = partitions.thin(unseen, most_rows or BATCH)

    metric = MAIN[contract.task]
    estimates: dict[str, metrics.Estimate] = {}
    if most_rows:
        estimates = _metric_without(project, features, (rows, unseen), settings, names)
    complete = estimates.get(NOTHING)
    value = complete.plain()["value"] if complete else None

    entries: dict[str, dict[str, Any]] = {}
    for name in names:
        gain: dict[str, Any] = {"value": None, "interval": [None, None]}
        if complete:
            gain = complete.minus(estimates[name], metric).plain()
        entries[name] = {"gain": gain, **_cost(contract, features, name, unseen)}
    _add_lookup_costs(entries, contract, features, unseen)
    return {
        "metric": metric,
        "value": value,
        "unit": margin_unit(contract.task, value),
        "rows": len(unseen),
        "fitted": len(rows),
        "features": entries,
    }


def _metric_without(
    project: Project,
    features: Plan,
    parts: "Parts",
    settings: Settings,
    names: Sequence[str],
) -> dict[str, metrics.Estimate]:
    """The main metric without each feature, and under `NOTHING` with all of them.

    Empty if the rows to fit on have one class only.
    """
    from threadpoolctl import threadpool_limits

    contract = project.contract
    rows, unseen = parts
    arrays, target = contract.arrays(rows), contract.target(rows)
    truth = contract.target(unseen)
    if contract.task != "regression" and len(np.unique(target)) < 2:
        return {}

    vocabulary = features.vocabulary(arrays)
    fit_matrix = features.matrix(arrays, vocabulary)
    unseen_matrix = features.matrix(contract.arrays(unseen), vocabulary)
    make_metric = metrics.metrics_of(contract.task)[MAIN[contract.task]]
    categorical = list(map(features.names.index, features.categorical))
    seed = settings.train.seed
    measures = {}
    with threadpool_limits(1):  # on so few rows, threads cost four times what they save
        for left_out in (NOTHING, *names):
            # A column of zeros says nothing, and the places of the other columns stay the same.
            is_kept = np.array(features.names) != left_out
            estimator = project.model.build(settings.model, categorical, seed)
            estimator = estimator.fit(np.where(is_kept, fit_matrix, 0), target)
            scorer = Scorer(estimator, features, {}, contract.task, contract.classes, 0.5)
            scores = scorer.score(np.where(is_kept, unseen_matrix, 0))
            measures[left_out] = make_metric(truth, scores)
    return metrics.estimates(measures, len(unseen), metrics.RESAMPLES, settings.evaluate.seed)


def all_inputs(features: Plan, name: str) -> set[str]:
    """A feature, and all features and columns that it is computed from."""
    names = {name}
    for argument in features.arguments.get(name, ()):
        names |= all_inputs(features, argument)
    return names


def _alone(features: Plan, name: str) -> Plan:
    """The plan of a single feature: with the functions that it needs, and no others."""
    needed_names = all_inputs(features, name)
    functions = {
        part: function for part, function in features.functions.items() if part in needed_names
    }
    categorical = (name,) if name in features.categorical else ()
    return replace(features, names=(name,), functions=functions, categorical=categorical)


def _cost(contract: Contract, features: Plan, name: str, rows: "pd.DataFrame") -> dict[str, Any]:
    """What it costs to compute a feature; its look-ups are added later."""
    alone = _alone(features, name)
    columns = sorted(features.ancestors(name))
    arrays = contract.arrays(rows.head(BATCH))
    batch: Arrays = {}
    single: Arrays = {}
    for column in columns:
        batch[column] = arrays[column]
        single[column] = arrays[column][:1]
    vocabulary = alone.vocabulary(batch)
    size = min(BATCH, len(rows))

    single_seconds = seconds(lambda: alone.matrix(single, vocabulary))
    batch_seconds = seconds(lambda: alone.matrix(batch, vocabulary))
    tracemalloc.start()
    alone.matrix(batch, vocabulary)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "microseconds": rounded(single_seconds * MICROSECONDS),
        "batch_microseconds": rounded(batch_seconds / size * MICROSECONDS),
        "lookup_microseconds": 0.0,
        "bytes": round(peak / size),
        "reads": columns,
        "lookups": [],
    }


def _add_lookup_costs(
    entries: dict[str, dict[str, Any]], contract: Contract, features: Plan, rows: "pd.DataFrame"
) -> None:
    """Add the look-ups to the entries of the features that read them, which share their cost."""
    for look in contract.lookups:
        columns = set(contract.from_source(look.name))
        readers = [name for name in features.names if features.ancestors(name) & columns]
        share = _lookup_seconds(contract, look, rows) / max(1, len(readers))
        for name in set(readers).intersection(entries):
            entries[name]["lookups"].append(look.name)
            entries[name]["lookup_microseconds"] += rounded(share * MICROSECONDS)


def _lookup_seconds(contract: Contract, look: Lookup, rows: "pd.DataFrame") -> float:
    """Seconds for a row to find its row of a look-up, as training does it.

    The table is made of what these rows found, because the whole one is not at hand.
    """
    fields = list(contract.from_source(look.name))
    table = rows[[*look.keys, look.at, *fields]].rename(columns={look.at: look.time})
    table = table.drop_duplicates()
    requests = rows[list(contract.request_columns)]
    return seconds(lambda: lookups.join_one(requests, look, fields, table)) / len(rows)


def definition(features: Plan, name: str) -> str:
    """A digest of the code that computes a feature.

    When the code changes it is another feature, and earlier measurements say nothing about it.
    """
    sources = [name]
    for part in sorted(all_inputs(features, name) & set(features.functions)):
        sources.append(inspect.getsource(features.functions[part]))
    return hashlib.sha256("".join(sources).encode()).hexdigest()[:8]


def write_report(folder: Path, periods: Sequence[str], report: dict[str, Any]) -> None:
    """Write the report of the newest of the closed periods.

    Reports of earlier periods stay, and those of periods beyond this cycle are deleted.
    """
    for path in folder.glob("*.json"):
        if path.stem not in periods:
            path.unlink()

    newest = periods[-1]
    report["period"] = newest
    report["before"] = [period for period in periods[:-1] if (folder / f"{period}.json").exists()]
    report["measured"] = datetime.now(UTC).date().isoformat()
    write_json(folder / f"{newest}.json", report)


def write(project: Project, parts: "Parts", settings: Settings, known: Sequence[str]) -> str:
    """Report on the newest of the `known` (closed) periods, and draw it; returns a line about it.

    The reports lie in git, one for each period.
    """
    features = plan(project.features, project.contract)
    rows, unseen = parts
    report = ablate(project, features, rows, unseen, settings)
    for name, entry in report["features"].items():
        entry["definition"] = definition(features, name)
    write_report(project.root / FEATURES, known, report)

    metric = report["metric"]
    entries = sorted(report["features"].items(), key=_gain_rank)
    gains = {name: entry["gain"] for name, entry in entries}
    intervals(
        project.root / FEATURES.with_suffix(".svg"),
        gains,
        f"{metric} lost without the feature, right is worth more",
        zero=True,
    )
    best, gain = next(iter(gains.items()))
    loss = gain["value"] or 0.0
    needs = f"the model needs {best} most: without it {metric} is worse by {loss:.4f}"
    return f"ablate: {len(gains)} features; {needs}"


def _gain_rank(feature: tuple[str, Mapping[str, Any]]) -> float:
    """Sorts the features that gain most to the front; one that was not measured gains nothing."""
    _name, entry = feature
    return -(entry["gain"]["value"] or 0.0)
