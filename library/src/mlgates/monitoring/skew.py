"""Training/serving skew: what was logged is computed again by today's code, and must be equal to the last bit.

A change upstream changes request and features alike and is no skew; a change in the serving path alone is.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mlgates import lookups
from mlgates.contract import Arrays, Column, Contract, gone
from mlgates.model_folder import Scorer
from mlgates.verdict import Check, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-9  # compiled trees add up in another order
UNREACHED = "data/checked does not hold the time of these predictions"


def same(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(n,) bool: equal, or both missing."""
    return np.asarray((left == right) | (gone(left) & gone(right)))


def _none(name: str, equal: np.ndarray, logged: np.ndarray, again: np.ndarray) -> Check:
    rows = np.flatnonzero(~equal)
    example = f"first: logged {logged[rows[0]]}, computed again {again[rows[0]]}" if len(rows) else ""
    return at_most(name, len(rows), 0, len(equal), evidence=example)


def features(scorer: Scorer, logged: np.ndarray, again: np.ndarray, scores: np.ndarray) -> list[Check]:
    """`skew.<feature>` for the (n, k) logged features, and `skew.score` for the scores that they ought to give."""
    names = scorer.plan.names
    checks = [_none(f"skew.{n}", same(a, b), a, b) for n, a, b in zip(names, logged.T, again.T, strict=True)]
    expected = scorer.score(logged)
    close = np.isclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE).reshape(len(scores), -1).all(axis=1)
    return [*checks, _none("skew.score", close, scores, expected)]


def looked_up(
    contract: Contract, logged: "pd.DataFrame", arrays: Arrays, tables: "Mapping[str, pd.DataFrame]"
) -> list[Check]:
    """`skew.<look-up>.<column>`: the values that the service found against those that training would find.

    Only for predictions that `tables` (checked rows by look-up) reach; without any `skew.<look-up>.*` is insufficient.
    """
    unreached = {
        look.name: Check(f"skew.{look.name}.*", Verdict.INSUFFICIENT, required=False, evidence=UNREACHED)
        for look in contract.lookups
    }
    if not all(len(tables.get(name, ())) for name in unreached):
        return list(unreached.values())
    checks = []
    found = contract.arrays(lookups.join(logged[list(contract.request_columns)], contract, tables))
    for look in contract.lookups:
        known = tables[look.name][look.time].to_numpy(dtype="datetime64[us]")
        oldest = known.min() + np.timedelta64(int(look.max_seconds * 1e6), "us")
        reached = (arrays[look.at] >= oldest) & (arrays[look.at] <= known.max())
        if not reached.any():
            checks.append(unreached[look.name])
            continue
        for name in contract.from_source(look.name):
            served, again = arrays[name][reached], found[name][reached]
            checks.append(_none(f"skew.{look.name}.{name}", same(served, again), served, again))
    return checks


def broken(columns: Mapping[str, Column], arrays: Arrays) -> dict[str, np.ndarray]:
    """The (n,) rows that break a rule, by "rule column", with the names that the suite and the service use.

    What a look-up did not find is no broken rule: it is missing in training as well.
    """
    found: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        values, absent = arrays[name], gone(arrays[name])
        if not column.nullable and column.source in ("request", "outcome"):
            found[f"data.missing {name}"] = absent
        if column.is_number:
            low = -np.inf if column.low is None else column.low
            high = np.inf if column.high is None else column.high
            found[f"data.range {name}"] = (values < low) | (values > high) | np.isinf(values)
        if column.kind == "int":
            found[f"data.type {name}"] = ~absent & (np.floor(values) != values)
        if column.kind == "category":
            found[f"data.category {name}"] = ~absent & ~np.isin(values, np.array(column.categories, dtype=object))
        if column.pattern:
            wrong = {word for word in set(values[~absent]) if not re.search(column.pattern, word)}
            found[f"data.pattern {name}"] = np.array([word in wrong for word in values], dtype=bool)
    return {rule: rows for rule, rows in found.items() if rows.any()}


def invariants(contract: Contract, scorer: Scorer, arrays: Arrays, scores: np.ndarray, decisions: "pd.Series") -> Check:
    """`monitor.invariants`: served rows that break a rule of the contract, or whose decision is not the score's."""
    rules = broken(contract.feature_columns, arrays)
    kind = float if scorer.task == "regression" or contract.outcome.kind == "bool" else str
    rules["decision"] = decisions.to_numpy().astype(kind) != np.asarray(scorer.decide(scores)).astype(kind)
    right = np.isfinite(scores) if scorer.task == "regression" else (scores >= 0) & (scores <= 1)
    rules["score"] = ~np.all(np.reshape(right, (len(scores), -1)), axis=1)
    rows = np.any(list(rules.values()), axis=0)
    named = ", ".join(f"{rule} ({int(bad.sum()):,})" for rule, bad in rules.items() if bad.any())
    return at_most("monitor.invariants", int(rows.sum()), 0, len(rows), evidence=named)
