"""How often the gate promotes or blocks a candidate that is as good as the champion.

Run in a flights project; `python rates.py` prints JSON.

Equally good models are fits of the team's model on other draws of the same rows. Every two of them
are a pair, on rows of the same months that none was fitted on.

In later months drift turns the luck of a fit into a difference that is real. There a block is
false if no part that it names loses more than its margin on other rows of those months. A
promotion is false if the gain on those other rows is not half of the margin.

A true gain is planted by moving the scores towards the outcome until the metric is better by half
more than the margin. A true loss is the same pair turned round.
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
from mlgates.evaluation.metrics import MAIN, margin_unit
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
MAKE = metrics.metrics_of(TASK)[METRIC]
SOUND = Report("validate", [Check("data.min_rows", Verdict.OK)])
Copies = dict[tuple[str, str], metrics.Estimate]


def rows_of(periods: list[str]) -> pd.DataFrame:
    """Rows of some periods with their look-ups."""
    by_period = [CONTRACT.with_contract_names(PROJECT.data.read(period)) for period in periods]
    rows = pd.concat(by_period, ignore_index=True)
    tables = {}
    for lookup in CONTRACT.lookups:
        parts = [PROJECT.data.lookup(lookup.name, period) for period in periods]
        tables[lookup.name] = pd.concat([CONTRACT.with_contract_names(part) for part in parts])
    return lookups.join(rows, CONTRACT, tables)


def copies(
    target: np.ndarray, scores: np.ndarray, parts: dict[tuple[str, str], np.ndarray]
) -> Copies:
    """The metric over all rows, under ("", ""), and by slice, with what resampling makes of it."""
    measures = {("", ""): MAKE(target, scores)}
    for name, places in parts.items():
        measures[name] = metrics.on_rows(places, MAKE(target[places], scores[places]))
    return metrics.estimates(measures, len(target), RESAMPLES, seed=0)


def judged(new: Copies, old: Copies, sizes: dict[tuple[str, str], int]) -> tuple[bool, list[str]]:
    """Whether the real gate promotes, and which checks block; to be no better does not count."""
    by_slice = []
    for name, size in sizes.items():
        if not name[0]:  # all rows
            continue
        by_slice.append(
            {
                "column": name[0],
                "value": name[1],
                "rows": size,
                "candidate": {METRIC: new[name].plain()},
                "champion": {METRIC: old[name].plain()},
                "difference": {METRIC: new[name].minus(old[name], METRIC).plain()},
            }
        )
    measured: dict[str, Any] = {
        "rows": sizes["", ""],
        "finite": True,
        "task": TASK,
        "model": "new",
        "champion": "old",
        "holdout": {"rows": 0},
        "periods": {"train": [], "evaluation": []},
        "values": {
            "candidate": {METRIC: new["", ""].plain()},
            "champion": {METRIC: old["", ""].plain()},
        },
        "differences": {"champion": {METRIC: new["", ""].minus(old["", ""], METRIC).plain()}},
        "slices": by_slice,
    }
    report = gate(measured, SOUND, LIMITS)
    failed = [check.name for check in report.checks if check.verdict is Verdict.FAIL]
    blocking = [name for name in failed if name != "gate.improvement"]
    return report.verdict is Verdict.OK, blocking


def unfounded(
    promoted: bool, blocking: list[str], new: Copies, old: Copies
) -> tuple[bool, list[str]]:
    """The same without what these other rows bear out."""
    gains = {}
    for name in old:
        gains[name] = (new[name].value - old[name].value) / margin_unit(TASK, old[name].value)

    founded = set()  # the checks that block rightly: these rows show the loss, too
    for name, gain in gains.items():
        if gain < -LIMITS.slice_margin:
            founded.add(f"gate.slice.{'='.join(name)}")
    if gains["", ""] < -LIMITS.margin:
        founded.add("gate.champion")

    falsely_promoted = promoted and gains["", ""] < LIMITS.margin / 2
    falsely_blocking = [] if founded & {*blocking} else blocking
    return falsely_promoted, falsely_blocking


def shares(judgements: list[tuple[bool, list[str]]]) -> dict[str, list[float]]:
    """The shares promoted and vetoed: how many of how many, and the 95 % interval of the share."""
    counts = {
        "promoted": sum(promoted for promoted, _ in judgements),
        "vetoed": sum(bool(blocking) for _, blocking in judgements),
    }
    pairs = len(judgements)
    found = {}
    for name, count in counts.items():
        interval = binomtest(count, pairs).proportion_ci(method="exact")
        found[name] = [count, pairs, *interval]
    return found


def gained(target: np.ndarray, scores: np.ndarray, wanted: float) -> np.ndarray:
    """Scores moved towards the outcome until the metric is better by `wanted`."""
    low, high = 0.0, 0.5
    weights = np.ones((1, len(target)), np.float32)
    start = MAKE(target, scores)(weights)[0]
    for _ in range(20):
        middle = (low + high) / 2
        moved = scores + middle * (target - scores)
        gain = metrics.sign(METRIC) * (MAKE(target, moved)(weights)[0] - start)
        if gain > wanted:
            high = middle
        else:
            low = middle
    return scores + high * (target - scores)


def fits(train: pd.DataFrame, arrays: Arrays) -> list[np.ndarray]:
    """The scores of equally good models."""
    features = plan(PROJECT.features, CONTRACT)
    scores = []
    for seed in range(MODELS):
        rows = train.sample(FITTED, replace=True, random_state=seed)
        columns, target = CONTRACT.arrays(rows), CONTRACT.target(rows)
        scorer = fit(columns, target, features, PROJECT.model, CONTRACT, SETTINGS)
        scores.append(scorer.score(scorer.matrix(arrays)))
    return scores


def drawn() -> np.ndarray:
    """(PAIRS, 2) places of models."""
    random = np.random.default_rng(0)
    all_pairs = list(combinations(range(MODELS), 2))
    chosen = random.permutation(all_pairs)[:PAIRS]
    return random.permuted(chosen, axis=1)  # either of the two may be the champion


def measured(
    pool: pd.DataFrame, here: np.ndarray, scores: Mapping[int, np.ndarray]
) -> tuple[dict[int, Copies], dict[tuple[str, str], int]]:
    """Each model on some rows of the pool, and the sizes of the parts."""
    rows = pool.iloc[here]
    parts = slices(CONTRACT, rows)
    target = CONTRACT.target(rows)
    sizes = {("", ""): len(rows)}
    for name, places in parts.items():
        sizes[name] = len(places)
    by_model = {}
    for model, model_scores in scores.items():
        by_model[model] = copies(target, model_scores[here], parts)
    return by_model, sizes


def rates() -> Iterator[tuple[str, dict[str, list[float]]]]:
    """What is measured, by name."""
    rows = rows_of(partitions.period_names(PROJECT.data)[:8])
    rows = rows.sample(frac=1, random_state=0).reset_index(drop=True)
    pool, train = rows.head(BIG), rows.iloc[BIG:]
    scores = dict(enumerate(fits(train, CONTRACT.arrays(pool))))
    pairs = drawn()

    small = []
    for chunk, some_pairs in enumerate(np.array_split(pairs, BIG // SMALL)):
        here = np.arange(chunk * SMALL, (chunk + 1) * SMALL)
        some_scores = {model: scores[model] for model in {*some_pairs.ravel()}}
        models, sizes = measured(pool, here, some_scores)
        small += [judged(models[new], models[old], sizes) for new, old in some_pairs]
    yield f"equally good, {SMALL:,} rows", shares(small)

    models, sizes = measured(pool, np.arange(BIG), scores)
    big = [judged(models[new], models[old], sizes) for new, old in pairs]
    yield f"equally good, {BIG:,} rows", shares(big)

    target = CONTRACT.target(pool)
    gain = 1.5 * LIMITS.margin * margin_unit(TASK, models[0]["", ""].value)
    better_scores = {}
    for model, model_scores in scores.items():
        better_scores[model] = gained(target, model_scores, gain)
    better, _ = measured(pool, np.arange(BIG), better_scores)
    gains = [judged(better[model], models[model], sizes) for model in models]
    yield "true gain, by half more than the margin", shares(gains)
    losses = [judged(models[model], better[model], sizes) for model in models]
    yield "true loss, by half more than the margin", shares(losses)
    yield from drifted(pairs)


def drifted(pairs: np.ndarray) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """The same in the months after those of training.

    The first figure counts only what other rows do not bear out.
    """
    periods = partitions.period_names(PROJECT.data)
    half = BIG // 2
    pool = rows_of(periods[3:7]).sample(BIG, random_state=0)
    scores = dict(enumerate(fits(rows_of(periods[:3]), CONTRACT.arrays(pool))))
    models, sizes = measured(pool, np.arange(half), scores)
    on_other_rows, _ = measured(pool, np.arange(half, BIG), scores)

    judgements = []
    false_judgements = []
    for new, old in pairs:
        promoted, blocking = judged(models[new], models[old], sizes)
        judgements.append((promoted, blocking))
        false_judgements.append(
            unfounded(promoted, blocking, on_other_rows[new], on_other_rows[old])
        )
    yield f"equally good, {half:,} rows of later months", shares(false_judgements)
    yield "  and what other rows bear out", shares(judgements)


if __name__ == "__main__":
    quiet_tools()
    with threadpool_limits(1):
        print(json.dumps({"stated": STATED, "found": dict(rates())}))
