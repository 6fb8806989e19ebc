"""Training/serving skew: what was logged is computed again by today's code, and must be equal to the last bit.

A change upstream changes request and features alike and is no skew; a change in the serving path alone is.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mlgates import lookups
from mlgates.contract import Arrays, Column, Contract, gone
from mlgates.data.expectations import Table, Validate, broken_rows
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
    example = (
        f"first: logged {logged[rows[0]]}, computed again {again[rows[0]]}" if len(rows) else ""
    )
    return at_most(name, len(rows), 0, len(equal), evidence=example)


def features(
    scorer: Scorer, logged: np.ndarray, again: np.ndarray, scores: np.ndarray
) -> list[Check]:
    """`skew.<feature>` for the (n, k) logged features, and `skew.score` for the scores that they ought to give."""
    names = scorer.plan.names
    checks = [
        _none(f"skew.{n}", same(a, b), a, b)
        for n, a, b in zip(names, logged.T, again.T, strict=True)
    ]
    expected = scorer.score(logged)
    close = (
        np.isclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE)
        .reshape(len(scores), -1)
        .all(axis=1)
    )
    return [*checks, _none("skew.score", close, scores, expected)]


def looked_up(
    contract: Contract, logged: "pd.DataFrame", arrays: Arrays, tables: "Mapping[str, pd.DataFrame]"
) -> list[Check]:
    """`skew.<look-up>.<column>`: the values that the service found against those that training would find.

    Only for predictions that `tables` (checked rows by look-up) reach; without any `skew.<look-up>.*` is inconclusive.
    """
    unreached = {
        look.name: Check(
            f"skew.{look.name}.*", Verdict.INCONCLUSIVE, required=False, evidence=UNREACHED
        )
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


def broken_rules(
    contract: Contract, arrays: Arrays, validate: Validate
) -> dict[tuple[str, str], np.ndarray]:
    """The positions of the served rows that break a rule of the contract, by rule and column.

    The rules are those of the pipeline, and so is who asks them; see `data.expectations.broken_rows`.
    """
    import pandas as pd

    table = Table.served(contract)
    frame = pd.DataFrame(
        {name: _as_in_a_table(table.columns[name], arrays[name]) for name in table.columns}
    )
    return broken_rows(frame, table, contract, validate)


def invariants(
    contract: Contract,
    scorer: Scorer,
    logged: "pd.DataFrame",
    arrays: Arrays,
    scores: np.ndarray,
    validate: Validate,
) -> Check:
    """`monitor.contract`: served rows that break a rule of the contract, or whose decision is not the score's."""
    broken: dict[str, np.ndarray] = {}
    for (rule, column), places in broken_rules(contract, arrays, validate).items():
        broken[f"{rule} {column}"] = places
    kind = float if scorer.task == "regression" or contract.outcome.kind == "bool" else str
    decided = logged["decision"].to_numpy().astype(kind)
    broken["decision"] = np.flatnonzero(decided != np.asarray(scorer.decide(scores)).astype(kind))
    right = np.isfinite(scores) if scorer.task == "regression" else (scores >= 0) & (scores <= 1)
    broken["score"] = np.flatnonzero(~np.all(np.reshape(right, (len(scores), -1)), axis=1))
    rows = np.unique(np.concatenate(list(broken.values())))
    named = ", ".join(f"{rule} ({len(places):,})" for rule, places in broken.items() if len(places))
    return at_most("monitor.contract", len(rows), 0, len(logged), evidence=named)


def _as_in_a_table(column: Column, values: np.ndarray) -> np.ndarray:
    """A contract array as a table would hold it: bools are bools again, where they are 0, 1 or missing."""
    if column.kind != "bool" or not np.isin(values[~gone(values)], (0.0, 1.0)).all():
        return values
    return np.array([None if value != value else bool(value) for value in values], dtype=object)
