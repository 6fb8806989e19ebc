"""ablate: what each feature earns, the loss when the model is fitted again without it, and what it costs."""

import hashlib
import inspect
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import lookups
from mlgates.contract import Arrays, Contract
from mlgates.data import partitions
from mlgates.evaluation import metrics
from mlgates.evaluation.metrics import MAIN, unit
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


BATCH = 1_000  # rows in one call, beside the call for a single row


def ablate(
    project: Project,
    features: Plan,
    rows: "pd.DataFrame",
    unseen: "pd.DataFrame",
    settings: Settings,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Gain and cost of each feature (or of `names`), as plain data.

    `gain` is the main metric of a model with all features minus that of one without the feature, positive is better,
    both fitted on `rows` and measured on `unseen` with the same weights. Costs are measured on this machine:
    microseconds for one row alone and in a batch, the share in the look-ups that it reads, bytes for each row.
    """
    contract, most, names = (
        project.contract,
        settings.evaluate.ablation_rows,
        names or features.names,
    )
    metric, rows, unseen = (
        MAIN[contract.task],
        partitions.thin(rows, most),
        partitions.thin(unseen, most or BATCH),
    )
    values = _refitted(project, features, rows, unseen, settings, names) if most else {}
    whole = values.get("")
    found = {
        name: {
            "gain": whole.minus(values[name], metric).plain()
            if whole
            else {"value": None, "interval": [None, None]},
            **_cost(contract, features, name, unseen),
        }
        for name in names
    }
    for look in contract.lookups:
        readers = [
            name
            for name in features.names
            if features.ancestors(name) & {*contract.from_source(look.name)}
        ]
        share = rounded(_joined(contract, look, unseen) / max(1, len(readers)) * 1e6)
        for name in {*readers} & {*names}:
            found[name]["lookups"].append(look.name)
            found[name]["lookup_microseconds"] += share
    value = whole.plain()["value"] if whole else None
    sizes = {"rows": len(unseen), "fitted": len(rows)}
    return {
        "metric": metric,
        "value": value,
        "unit": unit(contract.task, value),
        **sizes,
        "features": found,
    }


def _refitted(
    project: Project,
    features: Plan,
    rows: "pd.DataFrame",
    unseen: "pd.DataFrame",
    settings: Settings,
    names: Sequence[str],
) -> dict[str, metrics.Estimate]:
    """The main metric without each feature, and under "" with them all; nothing where there is one class only."""
    from threadpoolctl import threadpool_limits

    contract = project.contract
    arrays, target, truth = contract.arrays(rows), contract.target(rows), contract.target(unseen)
    if contract.task != "regression" and len(np.unique(target)) < 2:
        return {}
    vocabulary = features.vocabulary(arrays)
    known, shown = (features.matrix(part, vocabulary) for part in (arrays, contract.arrays(unseen)))
    make, seed = metrics.named(contract.task)[MAIN[contract.task]], settings.train.seed
    words, measures = [features.names.index(name) for name in features.categorical], {}
    with threadpool_limits(1):  # on so few rows, threads cost four times what they save
        for left_out in ("", *names):
            kept = [name != left_out for name in features.names]  # a column of zeros tells nothing
            estimator = project.model.build(settings.model, words, seed).fit(
                np.where(kept, known, 0), target
            )
            scorer = Scorer(estimator, features, {}, contract.task, contract.classes, 0.5)
            measures[left_out] = make(truth, scorer.score(np.where(kept, shown, 0)))
    return metrics.estimates(measures, len(unseen), metrics.RESAMPLES, settings.evaluate.seed)


def needed(features: Plan, name: str) -> set[str]:
    """A feature, and the features that it is computed from."""
    return {name}.union(
        *(needed(features, argument) for argument in features.arguments.get(name, ()))
    )


def _cost(contract: Contract, features: Plan, name: str, rows: "pd.DataFrame") -> dict[str, Any]:
    functions = {
        part: function
        for part, function in features.functions.items()
        if part in needed(features, name)
    }
    words = tuple({name} & {*features.categorical})
    alone, reads = (
        replace(features, names=(name,), functions=functions, categorical=words),
        features.ancestors(name),
    )
    many = {
        column: values
        for column, values in contract.arrays(rows.head(BATCH)).items()
        if column in reads
    }
    vocabulary = alone.vocabulary(many)
    one: Arrays = {column: values[:1] for column, values in many.items()}
    took = (
        seconds(lambda: alone.matrix(one, vocabulary)),
        seconds(lambda: alone.matrix(many, vocabulary)),
    )
    tracemalloc.start()
    alone.matrix(many, vocabulary)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = min(BATCH, len(rows))
    return {
        "microseconds": rounded(took[0] * 1e6),
        "batch_microseconds": rounded(took[1] / size * 1e6),
        "lookup_microseconds": 0.0,
        "bytes": round(peak / size),
        "reads": sorted(reads),
        "lookups": [],
    }


def _joined(contract: Contract, look: Any, rows: "pd.DataFrame") -> float:
    """Seconds for each row to find a look-up's row as training does, in a table made of what these rows found."""
    fields = list(contract.from_source(look.name))
    table = (
        rows[[*look.keys, look.at, *fields]].rename(columns={look.at: look.time}).drop_duplicates()
    )
    asked = rows[list(contract.request_columns)]
    return seconds(lambda: lookups.join_one(asked, look, fields, table)) / len(rows)


def definition(features: Plan, name: str) -> str:
    """A digest of how a feature is computed: another one has no history."""
    code = (
        inspect.getsource(features.functions[part])
        for part in sorted(needed(features, name) & {*features.functions})
    )
    return hashlib.sha256("".join([name, *code]).encode()).hexdigest()[:8]


def keep(folder: Path, known: Sequence[str], found: dict[str, Any]) -> None:
    """Write the report of the newest of the closed periods; earlier ones stay, those beyond the cycle go."""
    for path in folder.glob("*.json"):
        if path.stem not in known:
            path.unlink()
    before = [period for period in known[:-1] if (folder / f"{period}.json").exists()]
    found |= {
        "period": known[-1],
        "before": before,
        "measured": datetime.now(UTC).date().isoformat(),
    }
    write_json(folder / f"{known[-1]}.json", found)


def write(project: Project, parts: "Parts", settings: Settings, known: Sequence[str]) -> str:
    """Report on the newest of the `known` periods, in git, and draw it; returns a line about it."""
    features = plan(project.features, project.contract)
    found = ablate(project, features, *parts, settings)
    for name, entry in found["features"].items():
        entry["definition"] = definition(features, name)
    keep(project.root / FEATURES, known, found)
    gains = {name: entry["gain"] for name, entry in found["features"].items()}
    best, *_ = names = sorted(gains, key=lambda name: -(gains[name]["value"] or 0.0))
    told = f"{found['metric']} lost without the feature, right is worth more"
    intervals(
        project.root / FEATURES.with_suffix(".svg"),
        {name: gains[name] for name in names},
        told,
        zero=True,
    )
    lost = f"{found['metric']} loses {gains[best]['value'] or 0.0:.4f}"
    return f"ablate: {len(gains)} features; without {best}, {lost}, the most"
