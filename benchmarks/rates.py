"""Run in a flights project: how often the gate promotes or vetoes a candidate that is as good as the champion.

`python rates.py` prints JSON. Equally good models are fits of the team's model on other draws of the same rows: every
two of them are a pair, on rows of the same months that none was fitted on. In later months drift turns the luck of a
fit into a difference that is real: there a veto is false if no part that it names loses more than its margin on other
rows of those months, a promotion if the gain there is not half of the margin. A true gain is planted by moving the
scores towards the outcome until the metric is better by half more than the margin; a true loss is the same pair turned
round.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from threadpoolctl import threadpool_limits

from mlgates import Project, lookups
from mlgates.command import quiet_tools
from mlgates.contract import Arrays
from mlgates.data import partitions
from mlgates.evaluation import metrics
from mlgates.evaluation.fairness import slices
from mlgates.evaluation.metrics import MAIN, unit
from mlgates.features import plan
from mlgates.gate.rules import gate
from mlgates.model_folder import fit
from mlgates.verdict import Check, Report, Verdict

MODELS, FITTED, PAIRS, RESAMPLES = 21, 15_000, 200, 200
SMALL, BIG = 5_000, 100_000
STATED = 0.05  # of equally good candidates, promoted or vetoed; docs/handbook.md says so
PROJECT = Project.find()
SETTINGS = PROJECT.settings()
CONTRACT, LIMITS, TASK = PROJECT.contract, SETTINGS.gate, PROJECT.contract.task
METRIC = MAIN[TASK]
MAKE = metrics.named(TASK)[METRIC]
SOUND = Report("validate", [Check("data.min_rows", Verdict.OK)])
Copies = dict[tuple[str, str], metrics.Estimate]


def rows_of(periods: list[str]) -> pd.DataFrame:
    """Rows of some periods with their look-ups."""
    rows = pd.concat(
        [CONTRACT.named(PROJECT.data.read(period)) for period in periods], ignore_index=True
    )
    tables = {
        look.name: pd.concat(
            [CONTRACT.named(PROJECT.data.lookup(look.name, period)) for period in periods]
        )
        for look in CONTRACT.lookups
    }
    return lookups.join(rows, CONTRACT, tables)


def copies(
    target: np.ndarray, scores: np.ndarray, parts: dict[tuple[str, str], np.ndarray]
) -> Copies:
    """The metric over all rows, under ("", ""), and by slice, with what resampling makes of it."""
    made = {
        name: metrics.on(places, MAKE(target[places], scores[places]))
        for name, places in parts.items()
    }
    return metrics.estimates(
        {("", ""): MAKE(target, scores), **made}, len(target), RESAMPLES, seed=0
    )


def judged(new: Copies, old: Copies, sizes: dict[tuple[str, str], int]) -> tuple[bool, list[str]]:
    """Whether the real gate promotes, and which checks veto; to be no better is no veto."""
    measured: dict[str, Any] = {
        "rows": sizes["", ""], "finite": True, "task": TASK, "model": "new", "champion": "old", "holdout": {"rows": 0},
        "periods": {"train": [], "evaluation": []},
        "values": {name: {METRIC: one["", ""].plain()} for name, one in (("candidate", new), ("champion", old))},
        "differences": {"champion": {METRIC: new["", ""].minus(old["", ""], METRIC).plain()}},
        "slices": [
            {"column": name[0], "value": name[1], "rows": size, "candidate": {METRIC: new[name].plain()},
             "champion": {METRIC: old[name].plain()},
             "difference": {METRIC: new[name].minus(old[name], METRIC).plain()}}
            for name, size in sizes.items() if name[0]
        ],
    }  # fmt: skip
    report = gate(measured, SOUND, LIMITS)
    vetoes = [
        check.name
        for check in report.checks
        if check.verdict is Verdict.FAIL and check.name != "gate.improvement"
    ]
    return report.verdict is Verdict.OK, vetoes


def unfounded(
    promoted: bool, vetoes: list[str], new: Copies, old: Copies
) -> tuple[bool, list[str]]:
    """The same without what these other rows bear out."""
    gains = {
        name: (new[name].value - old[name].value) / unit(TASK, old[name].value) for name in old
    }
    lost = {
        f"gate.slice.{'='.join(name)}"
        for name, gain in gains.items()
        if gain < -LIMITS.slice_margin
    }
    lost |= {"gate.champion"} if gains["", ""] < -LIMITS.margin else set()
    return promoted and gains["", ""] < LIMITS.margin / 2, [] if lost & {*vetoes} else vetoes


def told(found: list[tuple[bool, list[str]]]) -> dict[str, list[float]]:
    """The shares promoted and vetoed: how many of how many, and the 95 % interval of the share."""
    counts = {
        "promoted": sum(one for one, _ in found),
        "vetoed": sum(bool(one) for _, one in found),
    }
    return {
        name: [count, len(found), *binomtest(count, len(found)).proportion_ci(method="exact")]
        for name, count in counts.items()
    }


def gained(target: np.ndarray, scores: np.ndarray, wanted: float) -> np.ndarray:
    """Scores moved towards the outcome until the metric is better by `wanted`."""
    low, high, ones = 0.0, 0.5, np.ones((1, len(target)), np.float32)
    start = MAKE(target, scores)(ones)[0]
    for _ in range(20):
        middle = (low + high) / 2
        gain = metrics.sign(METRIC) * (
            MAKE(target, scores + middle * (target - scores))(ones)[0] - start
        )
        low, high = (low, middle) if gain > wanted else (middle, high)
    return scores + high * (target - scores)


def fits(train: pd.DataFrame, arrays: Arrays) -> list[np.ndarray]:
    """The scores of equally good models."""
    features, found = plan(PROJECT.features, CONTRACT), []
    for seed in range(MODELS):
        rows = train.sample(FITTED, replace=True, random_state=seed)
        scorer = fit(
            CONTRACT.arrays(rows),
            CONTRACT.target(rows),
            features,
            PROJECT.model,
            CONTRACT,
            SETTINGS,
        )
        found.append(scorer.score(scorer.matrix(arrays)))
    return found


def drawn() -> np.ndarray:
    """(PAIRS, 2) places of models."""
    random = np.random.default_rng(0)
    return random.permuted(random.permutation(list(combinations(range(MODELS), 2)))[:PAIRS], axis=1)


def measured(
    pool: pd.DataFrame, here: np.ndarray, scores: Mapping[int, np.ndarray]
) -> tuple[dict[int, Copies], dict[tuple[str, str], int]]:
    """Each model on some rows of the pool, and the sizes of the parts."""
    rows = pool.iloc[here]
    parts, target = slices(CONTRACT, rows), CONTRACT.target(rows)
    sizes = {("", ""): len(rows)} | {name: len(places) for name, places in parts.items()}
    return {k: copies(target, each[here], parts) for k, each in scores.items()}, sizes


def rates() -> Iterator[tuple[str, dict[str, list[float]]]]:
    """What is measured, by name."""
    rows = (
        rows_of(partitions.names(PROJECT.data)[:8])
        .sample(frac=1, random_state=0)
        .reset_index(drop=True)
    )
    pool, train = rows.head(BIG), rows.iloc[BIG:]
    scores, pairs = dict(enumerate(fits(train, CONTRACT.arrays(pool)))), drawn()
    small = []
    for chunk, some in enumerate(np.array_split(pairs, BIG // SMALL)):
        here = np.arange(chunk * SMALL, (chunk + 1) * SMALL)
        made, sizes = measured(pool, here, {k: scores[k] for k in {*some.ravel()}})
        small += [judged(made[one], made[other], sizes) for one, other in some]
    yield f"equally good, {SMALL:,} rows", told(small)
    made, sizes = measured(pool, np.arange(BIG), scores)
    yield (
        f"equally good, {BIG:,} rows",
        told([judged(made[one], made[other], sizes) for one, other in pairs]),
    )
    ahead, target = 1.5 * LIMITS.margin * unit(TASK, made[0]["", ""].value), CONTRACT.target(pool)
    better, _ = measured(
        pool, np.arange(BIG), {k: gained(target, each, ahead) for k, each in scores.items()}
    )
    yield (
        "true gain, by half more than the margin",
        told([judged(better[k], made[k], sizes) for k in made]),
    )
    yield (
        "true loss, by half more than the margin",
        told([judged(made[k], better[k], sizes) for k in made]),
    )
    yield from drifted(pairs)


def drifted(pairs: np.ndarray) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """The same in the months after those of training; counted is first what other rows do not bear out."""
    known, half = partitions.names(PROJECT.data), BIG // 2
    pool = rows_of(known[3:7]).sample(BIG, random_state=0)
    scores = dict(enumerate(fits(rows_of(known[:3]), CONTRACT.arrays(pool))))
    made, sizes = measured(pool, np.arange(half), scores)
    other, _ = measured(pool, np.arange(half, BIG), scores)
    found = [judged(made[one], made[two], sizes) for one, two in pairs]
    checked = [
        unfounded(*each, other[one], other[two])
        for each, (one, two) in zip(found, pairs, strict=True)
    ]
    yield f"equally good, {half:,} rows of later months", told(checked)
    yield "  and what other rows bear out", told(found)


if __name__ == "__main__":
    quiet_tools()
    with threadpool_limits(1):
        print(json.dumps({"stated": STATED, "found": dict(rates())}))
