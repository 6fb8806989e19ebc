"""Quality of what was served: measured once labels are known, estimated until then."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mlgates.contract import Contract, to_array
from mlgates.evaluation import metrics
from mlgates.serving.prediction_log import key_columns
from mlgates.settings import MonitorSettings
from mlgates.verdict import Check, Verdict, not_below

if TYPE_CHECKING:
    import pandas as pd

# The metric that is compared with the gate's measurement, by task. See `judge` for the reason.
COMPARED_METRIC = {
    "binary": "roc_auc",
    "multiclass": "macro_roc_auc",
    "regression": "mean_absolute_error",
}
RESAMPLES = 200  # for the 95 % interval
SECONDS_A_DAY = 86_400


def key_index(contract: Contract, frame: "pd.DataFrame", *also: str) -> "pd.MultiIndex":
    """The key of each row, with the columns `also`.

    The values have the contract's types, so keys from different sources can be compared.
    """
    import pandas as pd

    columns = dict(key_columns(contract))
    for name in also:
        columns[name] = contract.columns[name]
    arrays = {}
    for name, column in columns.items():
        arrays[name] = to_array(column, frame[name])
    return pd.MultiIndex.from_frame(pd.DataFrame(arrays))


def labelled_predictions(
    contract: Contract, logged: "pd.DataFrame", outcomes: "pd.DataFrame | None"
) -> "pd.DataFrame":
    """The logged predictions whose label is known, with the label and the time when it `arrived`.

    Of several labels for one key the last one counts.
    """
    if outcomes is None or outcomes.empty:
        return logged.iloc[:0]
    keys = key_index(contract, outcomes)
    is_last = ~keys.duplicated(keep="last")
    positions = keys[is_last].get_indexer(key_index(contract, logged))  # -1 where no label is known
    is_known = positions >= 0
    labels = outcomes[is_last].iloc[positions[is_known]]
    added = {}
    for name in (contract.outcome.name, "arrived"):
        added[name] = labels[name].to_numpy()
    return logged[is_known].assign(**added)


def coverage(known: "pd.DataFrame", logged: int) -> Check:
    """`monitor.labels`: the share of the `logged` predictions whose label is known.

    Without any label it is inconclusive. It is not required, because labels arrive late.
    """
    verdict = Verdict.INCONCLUSIVE
    evidence = "no label is known yet: mlops outcomes FILE"
    if len(known):
        verdict = Verdict.OK
        days = np.median(known["arrived"] - known["at"]) / SECONDS_A_DAY
        evidence = f"of {len(known):,} predictions, half of them within {days:.1f} days"
    share = round(len(known) / logged, 6)
    return Check("monitor.labels", verdict, share, rows=logged, required=False, evidence=evidence)


def performance_check(
    contract: Contract,
    known: "pd.DataFrame",
    scores: np.ndarray,
    gate: Mapping[str, float],
    limits: MonitorSettings,
) -> Check:
    """`monitor.performance`: the change since the gate measured this model, with its 95 % interval.

    `known` are the predictions whose label is known, `scores` what was served for them, and `gate`
    has what the gate measured, by metric. A negative value is a loss. The check fails if the whole
    interval lies below the margin. It is inconclusive if the margin lies within the interval. It is
    not required, because labels arrive late.

    The compared metric must not change just because the share of positive labels changes. For
    classes it is therefore roc_auc. The gate's average precision would not do: it rises with that
    share although the model is as good as before (flights: 15 to 36 % a month). The absolute error
    of numbers does change with the labels, so its first loss is a reason to look and not a finding.
    An error has a unit, so its loss is given as a share of the gate's value. If the gate did not
    measure the metric, the first metric of the task that it did measure is used.
    """
    metric = _compared_metric(contract, gate)
    if known.empty:
        return _not_judged(0, evidence="no label is known yet")
    if metric is None:
        return _not_judged(
            len(known), evidence="the champion's record holds no measurement of the gate"
        )

    measure = metrics.metrics_of(contract.task)[metric](contract.target(known), scores)
    estimates = metrics.estimates({metric: measure}, len(known), RESAMPLES, seed=0)
    measured = estimates[metric]
    scale = metrics.margin_unit(contract.task, gate[metric]) or 1.0  # an error of 0 is no unit
    gain_per_unit = metrics.sign(metric) / scale

    change = gain_per_unit * (measured.value - gate[metric])
    ends = [gain_per_unit * (end - gate[metric]) for end in measured.interval()]
    return not_below(
        "monitor.performance",
        change,
        (min(ends), max(ends)),
        -limits.performance_margin,
        len(known),
        min_rows=limits.min_rows,
        required=False,
        evidence=f"{metric} {measured.value:.4f}, the gate measured {gate[metric]:.4f}",
    )


def _not_judged(rows: int, evidence: str) -> Check:
    """`monitor.performance` where there is nothing to compare."""
    return Check(
        "monitor.performance",
        Verdict.INCONCLUSIVE,
        rows=rows,
        required=False,
        evidence=evidence,
    )


def _compared_metric(contract: Contract, gate: Mapping[str, float]) -> str | None:
    """The metric that `judge` compares: the first of its choice that the gate measured, or None."""
    for name in [COMPARED_METRIC[contract.task], *metrics.metrics_of(contract.task)]:
        if gate.get(name) is not None:
            return name
    return None


def estimate(scores: np.ndarray, gate: Mapping[str, float], limits: MonitorSettings) -> Check:
    """`monitor.estimated_performance`: the roc_auc that the (n,) probabilities promise (CBPE).

    It is right if the probabilities are right. So it sees that other rows arrive, but not that the
    same rows mean something else now. It never fails: below the limit it is inconclusive.
    """
    expected = _expected_roc_auc(scores)
    limit = None
    if "roc_auc" in gate:
        limit = gate["roc_auc"] - limits.performance_margin
    verdict = Verdict.INCONCLUSIVE
    if expected is not None and limit is not None and expected >= limit:
        verdict = Verdict.OK
    return Check(
        "monitor.estimated_performance",
        verdict,
        expected,
        limit,
        rows=len(scores),
        required=False,
        evidence="roc_auc expected from the scores alone; this check never fails",
    )


def _expected_roc_auc(scores: np.ndarray) -> float | None:
    """The probability that a positive row has a higher score than a negative one.

    A row with the score p counts as p positive and 1 - p negative rows. None if there is no pair of
    a positive and a negative row, as where all scores are 0.
    """
    positive = np.sort(scores)
    negative = 1 - positive
    pairs = positive.sum() * negative.sum()
    if not pairs > 0:  # also if a score is NaN
        return None
    # Of the negative rows those with a lower score count in full, and those of the same row half.
    negative_below = np.cumsum(negative) - negative / 2
    return float((positive * negative_below).sum() / pairs)
