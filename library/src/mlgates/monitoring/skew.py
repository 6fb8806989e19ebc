"""Training/serving skew: what was logged is computed again, and must be equal to the last bit.

It is computed from the logged request. A change upstream changes the request and the features
alike, so it is no skew. A change in the serving path alone is.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mlgates import lookups
from mlgates.contract import Arrays, Column, Contract, Lookup, is_missing
from mlgates.data.expectations import Table, Validate, broken_rows
from mlgates.model_folder import Scorer
from mlgates.verdict import Check, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-9  # of scores: compiled trees add up in another order
UNREACHED = "data/checked does not hold the time of these predictions"


def equal_or_both_missing(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(n,) bool: equal, or both missing."""
    return np.asarray((left == right) | (is_missing(left) & is_missing(right)))


def _no_difference(
    name: str, is_equal: np.ndarray, logged: np.ndarray, computed: np.ndarray
) -> Check:
    """A check that fails if any row differs; the first one that does is its evidence."""
    differing = np.flatnonzero(~is_equal)
    evidence = ""
    if len(differing):
        first = differing[0]
        evidence = f"first: logged {logged[first]}, computed again {computed[first]}"
    return at_most(name, len(differing), 0, len(is_equal), evidence=evidence)


def features(
    scorer: Scorer, logged: np.ndarray, recomputed: np.ndarray, scores: np.ndarray
) -> list[Check]:
    """`skew.<feature>` for each feature, then `skew.score`.

    `logged` are the (n, k) features as they were served, `recomputed` the same computed again from
    the logged requests, and `scores` what was served. The scores are compared with those that the
    model gives for the logged features.
    """
    checks = []
    for name, served, computed in zip(scorer.plan.names, logged.T, recomputed.T, strict=True):
        is_equal = equal_or_both_missing(served, computed)
        checks.append(_no_difference(f"skew.{name}", is_equal, served, computed))

    expected = scorer.score(logged)
    is_close = np.isclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE)
    is_close = is_close.reshape(len(scores), -1).all(axis=1)  # of several classes all
    checks.append(_no_difference("skew.score", is_close, scores, expected))
    return checks


def looked_up(
    contract: Contract, logged: "pd.DataFrame", arrays: Arrays, tables: "Mapping[str, pd.DataFrame]"
) -> list[Check]:
    """`skew.<look-up>.<column>`: the values that the service found, against training's join.

    `arrays` are the contract's columns of the `logged` predictions, `tables` the checked rows by
    look-up. Only predictions whose time the tables cover are compared. If there are none of a
    look-up, or if a table is missing, `skew.<look-up>.*` is inconclusive.
    """
    for look in contract.lookups:
        if not len(tables.get(look.name, ())):
            return [_unreached(other) for other in contract.lookups]

    request = logged[list(contract.request_columns)]
    joined = contract.arrays(lookups.join(request, contract, tables))
    checks = []
    for look in contract.lookups:
        is_reached = _is_reached(look, tables[look.name], arrays[look.at])
        if not is_reached.any():
            checks.append(_unreached(look))
            continue
        for name in contract.from_source(look.name):
            served = arrays[name][is_reached]
            computed = joined[name][is_reached]
            is_equal = equal_or_both_missing(served, computed)
            check = _no_difference(f"skew.{look.name}.{name}", is_equal, served, computed)
            checks.append(check)
    return checks


def _unreached(look: Lookup) -> Check:
    """What is said of a look-up that could not be compared."""
    return Check(f"skew.{look.name}.*", Verdict.INCONCLUSIVE, required=False, evidence=UNREACHED)


def _is_reached(look: Lookup, table: "pd.DataFrame", asked: np.ndarray) -> np.ndarray:
    """(n,) bool: whether the table covers all that a request at each `asked` time may find.

    A request finds values up to the maximal age of the look-up, so the table must begin that much
    earlier.
    """
    times = table[look.time].to_numpy(dtype="datetime64[us]")
    max_age = np.timedelta64(int(look.max_seconds * 1e6), "us")
    return np.asarray((asked >= times.min() + max_age) & (asked <= times.max()))


def broken_rules(
    contract: Contract, arrays: Arrays, validate: Validate
) -> dict[tuple[str, str], np.ndarray]:
    """The positions of the served rows that break a rule of the contract, by rule and column.

    The rules are those of the pipeline, and Great Expectations checks them by the same call
    (`validate`, of pipeline/validate.py); see `data.expectations.broken_rows`.
    """
    import pandas as pd

    table = Table.served(contract)
    columns = {}
    for name, column in table.columns.items():
        columns[name] = _as_in_a_table(column, arrays[name])
    return broken_rows(pd.DataFrame(columns), table, contract, validate)


def invariants(
    contract: Contract,
    scorer: Scorer,
    logged: "pd.DataFrame",
    arrays: Arrays,
    scores: np.ndarray,
    validate: Validate,
) -> Check:
    """`monitor.contract`: how many served rows break the contract.

    A row breaks it if it breaks one of its rules, if its decision is not the one that follows from
    its score, or if its score is not finite or no probability. `arrays` and `scores` are those of
    the `logged` rows.
    """
    broken: dict[str, np.ndarray] = {}
    for (rule, column), positions in broken_rules(contract, arrays, validate).items():
        broken[f"{rule} {column}"] = positions

    decision_type = float if contract.outcome.is_number else str
    decided = logged["decision"].to_numpy().astype(decision_type)
    expected = np.asarray(scorer.decide(scores)).astype(decision_type)
    broken["decision"] = np.flatnonzero(decided != expected)

    is_sound = (scores >= 0) & (scores <= 1)
    if scorer.task == "regression":
        is_sound = np.asarray(np.isfinite(scores))
    is_valid = is_sound.reshape(len(scores), -1).all(axis=1)  # of several classes all
    broken["score"] = np.flatnonzero(~is_valid)

    rows = np.unique(np.concatenate(list(broken.values())))
    counts = [
        f"{rule} ({len(positions):,})" for rule, positions in broken.items() if len(positions)
    ]
    return at_most("monitor.contract", len(rows), 0, len(logged), evidence=", ".join(counts))


def _as_in_a_table(column: Column, values: np.ndarray) -> np.ndarray:
    """A contract array as a table would hold it: bools, which it has as 0, 1 or NaN, are bools.

    An array with another number is left alone, so that the rule for types finds it.
    """
    if column.kind != "bool":
        return values
    is_absent = is_missing(values)
    if not np.isin(values[~is_absent], (0.0, 1.0)).all():
        return values
    bools = (values == 1.0).astype(object)
    bools[is_absent] = None
    return bools
