"""Quality of what was served, once outcomes are known, and an estimate until then."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Contract, to_array
from mlgates.evaluation import metrics
from mlgates.serving.prediction_log import identity
from mlgates.settings import MonitorSettings
from mlgates.verdict import Check, Verdict, not_below

if TYPE_CHECKING:
    import pandas as pd

FAIR = {"binary": "roc_auc", "multiclass": "macro_roc_auc", "regression": "mean_absolute_error"}
RESAMPLES = 200


def index(contract: Contract, frame: "pd.DataFrame", *also: str) -> "pd.MultiIndex":
    """What tells rows apart, in the contract's types, so that the same from another source is equal."""
    import pandas as pd

    columns = identity(contract) | {name: contract.columns[name] for name in also}
    arrays = {name: to_array(column, frame[name]) for name, column in columns.items()}
    return pd.MultiIndex.from_frame(pd.DataFrame(arrays))


def joined(
    contract: Contract, logged: "pd.DataFrame", outcomes: "pd.DataFrame | None"
) -> "pd.DataFrame":
    """The logged predictions whose outcome is known, with outcome and `arrived`."""
    if outcomes is None or outcomes.empty:
        return logged.iloc[:0]
    known = index(contract, outcomes)
    last = ~known.duplicated(keep="last")
    places = known[last].get_indexer(index(contract, logged))
    found = outcomes[last].iloc[places[places >= 0]]
    return logged[places >= 0].assign(
        **{name: found[name].to_numpy() for name in (contract.outcome.name, "arrived")}
    )


def coverage(known: "pd.DataFrame", logged: int) -> Check:
    """`monitor.labels`: the share of predictions whose outcome is known; none is inconclusive, and not required."""
    verdict, told = Verdict.INCONCLUSIVE, "no outcome is known yet: mlops outcomes FILE"
    if len(known):
        days = np.median(known["arrived"] - known["at"]) / 86_400
        verdict, told = (
            Verdict.OK,
            f"of {len(known):,} predictions, half of them within {days:.1f} days",
        )
    return Check(
        "monitor.labels",
        verdict,
        round(len(known) / logged, 6),
        rows=logged,
        required=False,
        evidence=told,
    )


def judge(
    contract: Contract,
    known: "pd.DataFrame",
    scores: np.ndarray,
    gate: Mapping[str, float],
    limits: MonitorSettings,
) -> Check:
    """`monitor.performance`: the loss against what the gate measured for this model, by its whole interval.

    The metric must not move when only the share of outcomes moves: so roc_auc for classes, not the gate's average
    precision, which for an equally good model grows with that share (flights: 15 to 36 % a month). The absolute error
    of numbers does move with the outcomes, so its first fall is a question, not an answer. An error has a unit, so its
    loss is a share of the gate's value. Where the champion's record lacks the fair metric, the gate's own is used. It
    fails when the whole interval lies below the margin; not required, for outcomes come late, and an interval astride
    the margin is no finding.
    """
    makers = metrics.named(contract.task)
    name = next(
        (name for name in [FAIR[contract.task], *makers] if gate.get(name) is not None), None
    )
    if name is None or known.empty:
        told = (
            "no outcome is known yet"
            if known.empty
            else "the champion's record holds no measurement of the gate"
        )
        return Check(
            "monitor.performance",
            Verdict.INCONCLUSIVE,
            rows=len(known),
            required=False,
            evidence=told,
        )
    measure = makers[name](contract.target(known), scores)
    found = metrics.estimates({name: measure}, len(known), RESAMPLES, seed=0)[name]
    unit = metrics.sign(name) / (abs(gate[name]) or 1.0 if contract.task == "regression" else 1.0)
    value, low, high = (unit * (number - gate[name]) for number in (found.value, *found.interval()))
    told = f"{name} {found.value:.4f}, the gate measured {gate[name]:.4f}"
    more: dict[str, Any] = {"min_rows": limits.min_rows, "required": False, "evidence": told}
    edges = (min(low, high), max(low, high))
    return not_below(
        "monitor.performance", value, edges, -limits.performance_margin, len(known), **more
    )


def estimate(scores: np.ndarray, gate: Mapping[str, float], limits: MonitorSettings) -> Check:
    """`monitor.estimated_performance`: the roc_auc to be expected if the probabilities are right (CBPE).

    Advice only: it never fails. It sees a change of the rows, not a change of what the rows mean.
    """
    positive = np.sort(scores)
    negative = 1 - positive
    pairs = positive.sum() * negative.sum()
    value = (
        float((positive * (np.cumsum(negative) - negative / 2)).sum() / pairs)
        if pairs > 0
        else None
    )
    limit = gate["roc_auc"] - limits.performance_margin if "roc_auc" in gate else None
    good = value is not None and limit is not None and value >= limit
    verdict = Verdict.OK if good else Verdict.INCONCLUSIVE
    told = "roc_auc expected from the scores alone; advice only"
    return Check(
        "monitor.estimated_performance",
        verdict,
        value,
        limit,
        rows=len(scores),
        required=False,
        evidence=told,
    )
