"""Signs of poisoned data in a period, against the periods before it: sizes of effects, to be looked at by a person.

A sign is a warning, and stops no run; the parameter `poison_blocking` says which ones block the
promotion (`gate.data`). What
they cannot see: poison that looks like the reference. What looks like poison and is none: a new shop, a new route.
"""

import warnings
from collections.abc import Mapping, Sequence
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
MOST_ROWS = 50_000  # of a period, that trees are fitted to
MOST_WORDS = 200  # of a column, that trees tell apart
CONFIDENT = 0.25  # the share of a slice's rows whose outcome is predicted most surely
TREES = {
    "max_iter": 40,
    "max_leaf_nodes": 15,
    "learning_rate": 0.15,
    "early_stopping": False,
    "random_state": 0,
}


def signs(contract: Contract, rows: "pd.DataFrame", least: int) -> dict[str, Any]:
    """What is remembered of a period.

    `alike`: the share of rows that are there twice but for what numbers them. `crowd`: the share of the largest group
    of rows that are nearly the same at whatever time. `doubt`, by slice: how often the surest outcomes are wrong.
    """
    if rows.empty:
        return {"alike": None, "crowd": None, "doubt": {}}
    import pandas as pd

    ids = {
        name
        for name in contract.key
        if contract.columns[name].kind != "datetime" and is_id(rows[name])
    }
    shared = [
        c for c in (*contract.request_columns.values(), contract.outcome) if c.name not in ids
    ]
    near = pd.DataFrame({c.name: _rounded(rows[c.name], c) for c in shared if c.kind != "datetime"})
    sizes = pd.util.hash_pandas_object(near, index=False).value_counts().to_numpy()
    return {
        "alike": round(float(rows.duplicated([c.name for c in shared], keep=False).mean()), 6),
        "crowd": round(float(sizes.max() / len(rows)), 6),
        "doubt": _doubt(contract, rows, least),
    }


def is_id(values: "pd.Series") -> bool:
    """Whether a column numbers the rows."""
    return values.nunique() > len(values) / 2


def _rounded(values: "pd.Series", column: Column) -> "pd.Series":
    if not column.is_number or column.kind == "bool":
        return values.astype(str)
    numbers = values.astype(float)
    size = np.floor(np.log10(numbers.abs().where(numbers != 0, 1))) - DIGITS + 1
    return (numbers / 10**size).round() * 10**size


def _doubt(contract: Contract, rows: "pd.DataFrame", least: int) -> dict[str, list[float]]:
    """For each slice of at least `least` rows: the share of wrong outcomes among its surest rows, and their number.

    Each half of the rows is predicted by trees that were fitted to the other half, time included, so that a good day or
    a bad one is known. Flipped outcomes put a floor under this share that no drift puts there (the idea of confident
    learning, Northcutt et al. 2021).
    """
    rows = thin(rows, MOST_ROWS)
    sliced: dict[str, Any] = {
        f"{name}={word}": places
        for name in contract.slices
        for word, places in rows.groupby(name).indices.items()
    }
    large = {name: places for name, places in sliced.items() if len(places) >= least}
    target = contract.target(rows)
    if (
        contract.task == "regression"
        or len(large) < 2
        or np.bincount(target.astype(int)).max() > len(rows) - 10
    ):
        return {}
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from threadpoolctl import threadpool_limits

    trees = HistGradientBoostingClassifier(**TREES)
    halves = PredefinedSplit(np.random.default_rng(0).permutation(len(rows)) % 2)
    with (
        threadpool_limits(1),
        warnings.catch_warnings(action="ignore"),
    ):  # few rows: threads cost; a class may be rare
        scores = cross_val_predict(
            trees, _plain(contract, rows), target, cv=halves, method="predict_proba"
        )
    sure, wrong = scores.max(axis=1), np.unique(target)[scores.argmax(axis=1)] != target
    found = {}
    for name, places in large.items():
        surest = places[np.argsort(-sure[places], kind="stable")[: int(CONFIDENT * len(places))]]
        found[name] = [round(float(wrong[surest].mean()), 6), len(surest)]
    return found


def _plain(contract: Contract, rows: "pd.DataFrame") -> "pd.DataFrame":
    """The request as trees read it: times as hours since the first and hours of the day, the most frequent words."""
    import pandas as pd

    found: dict[str, Any] = {}
    for name, column in contract.request_columns.items():
        values = rows[name]
        if column.kind == "datetime":
            times = pd.to_datetime(values)
            found[f"{name}, day"] = (times - times.min()) / pd.Timedelta(hours=1)
            found[name] = (times - times.dt.normalize()) / pd.Timedelta(hours=1)
        elif column.is_number:
            found[name] = values.to_numpy(dtype=float, na_value=np.nan)
        else:
            found[name] = pd.Categorical(values, values.value_counts().index[:MOST_WORDS])
    return pd.DataFrame(found)


def poison(
    contract: Contract,
    before: Sequence[Mapping[str, Any]],
    now: Mapping[str, Any],
    samples: "tuple[pd.DataFrame, pd.DataFrame]",
    limits: ValidateSettings,
) -> list[Check]:
    """The checks `poison.*` of a period; `limits` is the section `validate` of the parameters.

    `before` and `now` are what `signs` found in the periods before and in this one, `samples` rows of both.
    Raises: ProjectError if `poison_blocking` names no sign.
    """
    old, new = samples
    effect = effects(
        limits.poison_blocking, "validate.poison_blocking", KINDS, Effect.BLOCK_PROMOTION
    )
    least = limits.drift_min_rows
    jump, value = _trigger(contract, old, new, limits.max_trigger_share / 5)
    rose = (
        None
        if now["crowd"] is None
        else now["crowd"] - float(np.mean([b["crowd"] for b in before if b["crowd"]]))
    )
    more: dict[str, Any] = {"min_rows": least, "required": False, "effect": effect["trigger"]}
    most = limits.max_trigger_share
    found = [at_most("poison.trigger", jump, most, len(new), evidence=value, **more)]
    more = {"min_rows": least, "required": False, "effect": effect["near_duplicates"]}
    found.append(
        at_most("poison.near_duplicates", rose, limits.max_near_duplicate_share, len(new), **more)
    )
    for name, (doubt, rows) in now["doubt"].items():
        known = [_apart(one["doubt"], name) for one in before if name in one["doubt"]]
        limit = max(limits.max_label_flip_share, 4 * float(np.sqrt(doubt * (1 - doubt) / rows)))
        rise = (
            _apart(now["doubt"], name) - float(np.mean(known)) if len(known) > 1 else None
        )  # one says nothing yet
        told = "rise of outcomes that surely look wrong, against the other slices"
        more = {"required": False, "evidence": told, "effect": effect["label_flips"]}
        found.append(at_most(f"poison.label_flips.{name}", rise, round(limit, 6), rows, **more))
    return found


def _apart(doubt: Mapping[str, Sequence[float]], name: str) -> float:
    """A slice's doubt beyond that of the other slices of its column."""
    column = name.partition("=")[0] + "="
    others = [
        value for other, (value, _) in doubt.items() if other != name and other.startswith(column)
    ]
    return doubt[name][0] - float(np.mean(others)) if others else doubt[name][0]


def _trigger(
    contract: Contract, old: "pd.DataFrame", new: "pd.DataFrame", rare: float
) -> tuple[float | None, str]:
    """The largest rise of the share of one value that was rarer than `rare`, in a column of many values."""
    worst: tuple[float, str] | None = None
    for name, column in contract.request_columns.items():
        if column.kind == "bool" or not len(new) or old[name].nunique() <= MANY_VALUES:
            continue
        known = old[name].value_counts(normalize=True)
        rise = new[name].value_counts(normalize=True).sub(known[known < rare], fill_value=0)
        rise = rise.drop(known.index[known >= rare], errors="ignore")
        if len(rise) and (worst is None or rise.max() > worst[0]):
            worst = (float(rise.max()), f"{column.label} = {rise.idxmax()}")
    return worst or (None, "no column has many values")
