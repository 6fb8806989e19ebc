"""Signs of poisoned data in a period, against the periods before it.

They are sizes of effects, for a person to look at. A sign is a warning, and stops no run. The
parameter `poison_blocking` says which signs block the promotion (`gate.data`).

What they cannot see: poison that looks like the reference. What looks like poison and is none: a
new shop, a new route.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, Contract
from mlgates.data.partitions import thin
from mlgates.limits import effects
from mlgates.settings import ValidateSettings
from mlgates.verdict import Check, Effect, at_most

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("trigger", "near_duplicates", "label_flips")
DIGITS = 3  # numbers that agree in so many are near each other
MANY_VALUES = 20  # a column with fewer values may shift between them without being poisoned
TIMES_RARER = 5  # than the rise that is too much: so rare a value was before it is a trigger
MAX_ROWS = 50_000  # of a period, that trees are fitted to
MAX_WORDS = 200  # of a column, that trees tell apart
CONFIDENT = 0.25  # the share of a slice's rows whose outcome is predicted with most confidence
MIN_OTHER_OUTCOMES = 10  # trees need some rows that do not have the most frequent outcome
TREES = {
    "max_iter": 40,
    "max_leaf_nodes": 15,
    "learning_rate": 0.15,
    "early_stopping": False,
    "random_state": 0,
}


def measure_signs(contract: Contract, rows: "pd.DataFrame", min_rows: int) -> dict[str, Any]:
    """What is remembered of a period.

    - `alike`: the share of rows that are there twice, apart from the ids in their keys.
    - `crowd`: the share of the largest group of rows that are nearly the same, at whatever time.
    - `doubt`, for each slice of at least `min_rows` rows: how often the outcomes that were
      predicted with most confidence are wrong, and how many rows that are.
    """
    if rows.empty:
        return {"alike": None, "crowd": None, "doubt": {}}
    columns = {**contract.request_columns, contract.outcome.name: contract.outcome}
    for name in _ids(contract, rows):
        del columns[name]

    is_repeated = rows.duplicated(list(columns), keep=False)
    return {
        "alike": round(float(is_repeated.mean()), 6),
        "crowd": round(_largest_group(rows, columns.values()), 6),
        "doubt": _doubt(contract, rows, min_rows),
    }


def _ids(contract: Contract, rows: "pd.DataFrame") -> list[str]:
    """The columns of the key that only number the rows; a time says more than that."""
    ids = []
    for name in contract.key:
        if contract.columns[name].kind != "datetime" and is_id(rows[name]):
            ids.append(name)
    return ids


def is_id(values: "pd.Series") -> bool:
    """Whether a column numbers the rows: most of its values are there once."""
    return values.nunique() > len(values) / 2


def _largest_group(rows: "pd.DataFrame", columns: Iterable[Column]) -> float:
    """The share of the largest group of rows that agree in all columns but times."""
    import pandas as pd

    values = {}
    for column in columns:
        if column.kind != "datetime":
            values[column.name] = _rounded(rows[column.name], column)
    hashes = pd.util.hash_pandas_object(pd.DataFrame(values), index=False)
    return float(hashes.value_counts().to_numpy().max() / len(rows))


def _rounded(values: "pd.Series", column: Column) -> "pd.Series":
    """Numbers to three significant digits, everything else as text."""
    if column.kind not in ("int", "float"):
        return values.astype(str)
    numbers = values.astype(float)
    magnitude = np.floor(np.log10(numbers.abs().where(numbers != 0, 1)))
    unit = 10 ** (magnitude - DIGITS + 1)
    return (numbers / unit).round() * unit


def _doubt(contract: Contract, rows: "pd.DataFrame", min_rows: int) -> dict[str, list[float]]:
    """For each large slice: how often its most confident predictions are wrong, and their number.

    Each half of the rows is predicted by trees that were fitted to the other half, time included,
    so that a good day or a bad one is known. Flipped outcomes keep this share above a level below
    which no drift keeps it (the idea of confident learning, Northcutt et al. 2021).
    """
    rows = thin(rows, MAX_ROWS)
    slices = _large_slices(contract, rows, min_rows)
    target = contract.target(rows)
    if len(slices) < 2 or not _can_be_predicted(contract, target):
        return {}

    scores = _scores(contract, rows, target)
    confidence = scores.max(axis=1)
    predicted = np.unique(target)[scores.argmax(axis=1)]
    is_wrong = predicted != target
    doubt = {}
    for name, positions in slices.items():
        n_confident = int(CONFIDENT * len(positions))
        order = np.argsort(-confidence[positions], kind="stable")
        most_confident = positions[order[:n_confident]]
        share = round(float(is_wrong[most_confident].mean()), 6)
        doubt[name] = [share, len(most_confident)]
    return doubt


def _large_slices(contract: Contract, rows: "pd.DataFrame", min_rows: int) -> dict[str, np.ndarray]:
    """The positions of the rows of each slice that has at least `min_rows`, by "column=word"."""
    slices = {}
    for column in contract.slices:
        for word, positions in rows.groupby(column).indices.items():
            if len(positions) >= min_rows:
                slices[f"{column}={word}"] = np.asarray(positions)
    return slices


def _can_be_predicted(contract: Contract, target: np.ndarray) -> bool:
    """Whether the outcome has classes, and not nearly all rows have the same one."""
    if contract.task == "regression":
        return False
    most_frequent = np.bincount(target.astype(int)).max()
    return bool(most_frequent <= len(target) - MIN_OTHER_OUTCOMES)


def _scores(contract: Contract, rows: "pd.DataFrame", target: np.ndarray) -> np.ndarray:
    """(n, k) predicted probabilities of the k outcomes, each half of the rows by the other half."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from threadpoolctl import threadpool_limits

    trees = HistGradientBoostingClassifier(**TREES)
    halves = PredefinedSplit(np.random.default_rng(0).permutation(len(rows)) % 2)
    # With few rows, threads cost more than they save. A class may be rare, which gives warnings.
    with threadpool_limits(1), warnings.catch_warnings(action="ignore"):
        features = _features(contract, rows)
        return np.asarray(
            cross_val_predict(trees, features, target, cv=halves, method="predict_proba")
        )


def _features(contract: Contract, rows: "pd.DataFrame") -> "pd.DataFrame":
    """The request as trees read it.

    A time becomes the hours since the first one and the hours of the day. Of the words only the
    most frequent ones are told apart.
    """
    import pandas as pd

    features: dict[str, Any] = {}
    for name, column in contract.request_columns.items():
        values = rows[name]
        if column.kind == "datetime":
            times = pd.to_datetime(values)
            hour = pd.Timedelta(hours=1)
            features[f"{name}, day"] = (times - times.min()) / hour
            features[name] = (times - times.dt.normalize()) / hour
        elif column.is_number:
            features[name] = values.to_numpy(dtype=float, na_value=np.nan)
        else:
            words = values.value_counts().index[:MAX_WORDS]
            features[name] = pd.Categorical(values, words)
    return pd.DataFrame(features)


def poison_checks(
    contract: Contract,
    before: Sequence[Mapping[str, Any]],
    now: Mapping[str, Any],
    samples: "tuple[pd.DataFrame, pd.DataFrame]",
    limits: ValidateSettings,
) -> list[Check]:
    """The checks `poison.*` of a period; `limits` is the section `validate` of the parameters.

    `before` and `now` are what `signs` gave for the periods before and for this one, `samples` are
    rows of both.

    Raises: ProjectError if `poison_blocking` names no sign.
    """
    effect = effects(
        limits.poison_blocking, "validate.poison_blocking", KINDS, Effect.BLOCK_PROMOTION
    )
    checks = [
        _trigger_check(contract, samples, limits, effect["trigger"]),
        _near_duplicates_check(before, now, len(samples[1]), limits, effect["near_duplicates"]),
    ]
    for name in now["doubt"]:
        checks.append(_label_flips_check(name, before, now, limits, effect["label_flips"]))
    return checks


def _trigger_check(
    contract: Contract,
    samples: "tuple[pd.DataFrame, pd.DataFrame]",
    limits: ValidateSettings,
    effect: Effect,
) -> Check:
    """Whether a value that was rare has become frequent: a backdoor needs such a trigger."""
    old, new = samples
    rise, value = _largest_rise(contract, old, new, limits.max_trigger_share / TIMES_RARER)
    return at_most(
        "poison.trigger",
        rise,
        limits.max_trigger_share,
        len(new),
        min_rows=limits.drift_min_rows,
        required=False,
        evidence=value,
        effect=effect,
    )


def _largest_rise(
    contract: Contract, old: "pd.DataFrame", new: "pd.DataFrame", rare: float
) -> tuple[float | None, str]:
    """The largest rise of the share of one value, and which value it is.

    Only values that were rarer than `rare` count, in columns of the request with many values.
    """
    largest: float | None = None
    value = "no column has many values"
    for name, column in contract.request_columns.items():
        if column.kind == "bool" or not len(new) or old[name].nunique() <= MANY_VALUES:
            continue
        old_shares = old[name].value_counts(normalize=True)
        is_rare = old_shares < rare
        new_shares = new[name].value_counts(normalize=True)
        rises = new_shares.sub(old_shares[is_rare], fill_value=0)
        rises = rises.drop(old_shares.index[~is_rare], errors="ignore")
        if len(rises) and (largest is None or rises.max() > largest):
            largest = float(rises.max())
            value = f"{column.label} = {rises.idxmax()}"
    return largest, value


def _near_duplicates_check(
    before: Sequence[Mapping[str, Any]],
    now: Mapping[str, Any],
    rows: int,
    limits: ValidateSettings,
    effect: Effect,
) -> Check:
    """Whether the largest group of nearly equal rows has grown."""
    rise = None
    if now["crowd"] is not None:
        crowds = [period["crowd"] for period in before if period["crowd"]]
        rise = now["crowd"] - float(np.mean(crowds))
    return at_most(
        "poison.near_duplicates",
        rise,
        limits.max_near_duplicate_share,
        rows,
        min_rows=limits.drift_min_rows,
        required=False,
        effect=effect,
    )


def _label_flips_check(
    name: str,
    before: Sequence[Mapping[str, Any]],
    now: Mapping[str, Any],
    limits: ValidateSettings,
    effect: Effect,
) -> Check:
    """Whether more outcomes of a slice look wrong than before, against the other slices."""
    share, rows = now["doubt"][name]
    earlier = []
    for period in before:
        if name in period["doubt"]:
            earlier.append(_beyond_other_slices(period["doubt"], name))
    rise = None
    if len(earlier) > 1:  # of a single period it is not known how far chance alone moves the share
        rise = _beyond_other_slices(now["doubt"], name) - float(np.mean(earlier))

    standard_error = float(np.sqrt(share * (1 - share) / rows))
    limit = max(limits.max_label_flip_share, 4 * standard_error)
    return at_most(
        f"poison.label_flips.{name}",
        rise,
        round(limit, 6),
        rows,
        required=False,
        evidence="rise of confidently predicted labels that are wrong, against the other slices",
        effect=effect,
    )


def _beyond_other_slices(doubt: Mapping[str, Sequence[float]], name: str) -> float:
    """The doubt of a slice minus the mean doubt of the other slices of its column."""
    column, _, _ = name.partition("=")
    others = []
    for other, (share, _) in doubt.items():
        if other != name and other.startswith(f"{column}="):
            others.append(share)
    share = doubt[name][0]
    if not others:
        return share
    return share - float(np.mean(others))
