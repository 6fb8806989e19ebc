"""tune: what the team's own values of `SEARCH` in model.py lose to the best of some others, on training rows alone."""

import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Contract
from mlgates.data import partitions
from mlgates.errors import ProjectError
from mlgates.evaluation import metrics
from mlgates.evaluation.metrics import MAIN, unit
from mlgates.files import write_json
from mlgates.layout import TUNING
from mlgates.project import Project
from mlgates.reports import number
from mlgates.settings import Settings
from mlgates.training.sanity_checks import refit

if TYPE_CHECKING:
    import pandas as pd

LAST = (
    0.25  # of the training rows, the newest where they have a time, measures what the others taught
)


def drawn(project: Project, settings: Settings) -> list[dict[str, Any]]:
    """At most `evaluate.tune_trials` different values of what model.py calls SEARCH; none where it calls nothing so.

    Raises: ProjectError if SEARCH is not names with lists of values.
    """
    from sklearn.model_selection import ParameterSampler

    space, most = getattr(project.model, "SEARCH", {}), settings.evaluate.tune_trials
    try:
        with warnings.catch_warnings(action="ignore"):  # a small space has fewer
            return (
                list(ParameterSampler(space, most, random_state=settings.train.seed))
                if space and most
                else []
            )
    except (TypeError, ValueError) as error:
        remedy = 'Write it like: SEARCH = {"learning_rate": [0.05, 0.1]}'
        raise ProjectError(
            f"model.py: SEARCH is no search space: {' '.join(str(error).split())}", remedy
        ) from None


def tune(
    project: Project, rows: "pd.DataFrame", unseen: "pd.DataFrame", settings: Settings
) -> dict[str, Any]:
    """The main metric of each trial, fitted on `rows` and measured on `unseen`, as plain data; the first is the team's.

    `difference` is the team's minus the best one's, positive is better. The best is picked on one half of `unseen` and
    compared on the other, else the luckiest of equals would seem better than it is.
    Raises: ProjectError if the model refuses a value.
    """
    contract, searched = project.contract, drawn(project, settings)
    arrays, target = contract.arrays(rows), contract.target(rows)
    shown, truth = contract.arrays(unseen), contract.target(unseen)
    metric, picks = MAIN[contract.task], np.arange(len(truth)) % 2 == 0
    make, sign = metrics.named(contract.task)[metric], metrics.sign(metric)
    found: dict[str, Any] = {
        "metric": metric,
        "rows": int((~picks).sum()),
        "fitted": len(target),
        "trials": [],
    }
    if not searched or (contract.task != "regression" and len(np.unique(target)) < 2):
        return found
    scores, chosen = [], None
    for tried in [{}, *searched]:
        if tried == chosen:
            continue
        start, given = time.process_time(), replace(settings, model=settings.model | tried)
        scorer, score = refit(project, arrays, target, shown, given)
        scores.append(np.nan_to_num(score, posinf=0, neginf=0))
        if chosen is None:
            set_up: dict[str, Any] = getattr(
                scorer.estimator, "get_params", dict
            )()  # of a pipeline: step__name
            own = {
                name.rpartition("__")[2]: value for name, value in set_up.items()
            } | settings.model
            tried = chosen = {name: own.get(name, "as it is") for name in searched[0]}
        value = metrics.plain_number(metrics.value(make(truth, scores[-1]), len(truth)))
        found["trials"].append(
            {"values": tried, "value": value, "seconds": round(time.process_time() - start, 2)}
        )
    picked = [
        sign * metrics.value(make(truth[picks], score[picks]), int(picks.sum())) for score in scores
    ]
    best = int(np.argmax(np.nan_to_num(picked, nan=-np.inf)))
    measures = {
        name: make(truth[~picks], scores[place][~picks])
        for name, place in (("own", 0), ("best", best))
    }
    rest = metrics.estimates(
        measures, found["rows"], settings.evaluate.resamples, settings.evaluate.seed
    )
    difference, size = (
        rest["own"].minus(rest["best"], metric).plain(),
        unit(contract.task, rest["best"].value),
    )
    return {
        **found,
        "best": best,
        "difference": difference,
        "unit": size,
        "value": found["trials"][0]["value"],
    }


def parts(
    contract: Contract, rows: "pd.DataFrame", most: int
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Training rows to fit on and later ones to measure on, at most `most` each; by key where there is no time."""
    order = rows[contract.time] if contract.time else partitions.key_share(rows, contract)
    last = (
        order.rank(method="first", pct=True) > 1 - LAST
    ).to_numpy()  # many may have one time, and few a low share
    return partitions.thin(rows[~last], most), partitions.thin(rows[last], most)


def write(project: Project, rows: "pd.DataFrame", settings: Settings) -> str:
    """Report on training rows to `TUNING`, for the gate: nothing that train would read; returns a line about it."""
    found: dict[str, Any] = {"trials": []}
    if drawn(project, settings):
        found = tune(project, *parts(project.contract, rows, settings.evaluate.tune_rows), settings)
    write_json(project.root / TUNING, found)
    values = (
        [number(found["trials"][place]["value"]) for place in (0, found["best"])]
        if found["trials"]
        else []
    )
    told = f"{found['metric']} {values[0]}, of the best {values[1]}" if values else "nothing to try"
    return f"tune: {len(found['trials'])} trials; {told}"
