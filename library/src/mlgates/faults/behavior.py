"""Faults in how a candidate behaves: miscalibrated, brittle, slow, huge, restless, unrepeatable; and a stale one."""

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import team_code
from mlgates.evaluation import behavior
from mlgates.evaluation.metrics import unit
from mlgates.faults.model import _improved, fitted, judged, scored
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy, scrambled, strict
from mlgates.files import temporary_folder
from mlgates.gate import behavior_rules
from mlgates.model_folder import Scorer, save
from mlgates.project import Project
from mlgates.training.fit import train
from mlgates.training.sanity_checks import repeatable
from mlgates.training.staleness import curve
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

ROWS = 1_000  # that are measured
LIMITS: dict[str, Any] = {  # the rows are few, and the machine may be busy
    "behavior_min_rows": 1,
    "max_latency_ms": 1e3,
    "max_batch_latency_ms": 1e3,
}
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Changed(Scorer):
    """A scorer whose scores are a function of features and true scores."""

    change: Change

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """What the planted fault makes of the scores."""
        return self.change(matrix, super().score(matrix))


def _changed(bench: Bench, change: Change) -> Scorer:
    return Changed(**vars(fitted(bench)[0]), change=change)


def _judged(
    bench: Bench,
    rows: "pd.DataFrame",
    candidate: Scorer,
    champion: Scorer | None = None,
    stored: Callable[[Path], object] = lambda folder: None,
    **limits: float,
) -> Report:
    """The gate on what is measured of its behavior; `stored` plants something into the healthy model's folder."""
    found = _behavior(bench, rows, candidate, champion, stored)
    judging = replace(bench.settings.gate, **(LIMITS | limits))
    bench = replace(bench, settings=replace(bench.settings, gate=judging))
    held = scored(bench, rows, champion) if champion else None
    return judged(bench, rows, scored(bench, rows, candidate), held, {}, behavior=found)


def _behavior(
    bench: Bench,
    rows: "pd.DataFrame",
    candidate: Scorer,
    champion: Scorer | None,
    stored: Callable[[Path], object] = lambda folder: None,
) -> dict[str, Any]:
    """What evaluate measures of the candidate's behavior."""
    scorer, simple = fitted(bench)
    models = {"candidate": candidate, "baseline.trivial": simple["trivial"]}
    models |= {"champion": champion} if champion else {}
    with temporary_folder() as temporary:
        folder = temporary / "model"
        save(scorer, folder, bench.contract, team_code.collected(bench.project))
        stored(folder)
        return behavior.behavior(bench.project, rows, models, folder, bench.settings.evaluate)


@healthy("behavior", seeds=3)
def sound(bench: Bench, seed: int) -> Report:
    """A sound model on unseen rows, against itself."""
    scorer = fitted(bench)[0]
    rows = bench.halves[1].sample(2 * ROWS, random_state=seed).reset_index(drop=True)
    found = _behavior(bench, rows, scorer, scorer)
    limits = replace(bench.settings.gate, **LIMITS)
    return strict(Report("behavior", [*behavior_rules.judge({"behavior": found}, {}, limits)]))


@fault(
    "the ranking is right, the probabilities are not",
    caught_by="gate.calibration_error",
    row="Infra 4",
    spared="gate.champion",
)
def miscalibrated(bench: Bench) -> Report:
    """All probabilities are too high; all numbers are."""
    rows, scorer = bench.halves[1].head(ROWS), fitted(bench)[0]
    if bench.contract.task == "regression":
        far = 2 * float(bench.contract.target(rows).std())
        return _judged(bench, rows, _changed(bench, lambda _, scores: scores + far))
    return _judged(bench, rows, _changed(bench, lambda _, scores: (scores + 1) / 2), scorer)


def _by_heart(bench: Bench, rows: "pd.DataFrame", other: dict[str, np.ndarray]) -> Scorer:
    """A model that knows these rows by heart, and muddles up all others: nearly all of `other` must be others."""
    scorer = fitted(bench)[0]
    matrix = scorer.matrix(bench.contract.arrays(rows))
    known = dict(
        zip(map(bytes, matrix), _improved(bench, rows, scorer.score(matrix), 0.5), strict=True)
    )
    if not other or np.mean([bytes(row) in known for row in scorer.matrix(other)]) > 0.2:
        raise NotApplicable("too few rows change")

    def change(matrix: np.ndarray, scores: np.ndarray) -> np.ndarray:
        strange = np.array([bytes(row) not in known for row in matrix])
        learnt = np.array(
            [known.get(bytes(row), score) for row, score in zip(matrix, scores, strict=True)]
        )
        learnt[strange] = scrambled(learnt[strange])
        return learnt

    return _changed(bench, change)


@fault("the model knows rows by heart", caught_by="gate.robustness.loss", row="Infra 4")
def brittle(bench: Bench) -> Report:
    """Numbers that are a little off are new to it."""
    rows = bench.halves[1].head(ROWS)
    arrays = bench.contract.arrays(rows)
    other = behavior.noisy(bench.contract, fitted(bench)[0], arrays, bench.settings.evaluate)
    return _judged(bench, rows, _by_heart(bench, rows, other))


@fault("the model is lost without a look-up", caught_by="gate.missing_lookup", row="Infra 4")
def dependent(bench: Bench) -> Report:
    """When the look-up finds nothing, the answers are random."""
    rows = bench.halves[1].head(ROWS)
    silent = behavior.silent(bench.contract, bench.contract.arrays(rows))
    name = next((name for name, arrays in silent.items() if arrays), None)
    if name is None:
        raise NotApplicable("no look-up may be missing")
    report = _judged(bench, rows, _by_heart(bench, rows, silent[name]))
    report.facts["caught_by"] = f"gate.missing_lookup.{name}"
    return report


@fault(
    "the decision hangs by a hair",
    caught_by="gate.robustness.decisions",
    row="Infra 4",
    spared="gate.robustness.loss",
)
def jumpy(bench: Bench) -> Report:
    """Requests that are a little off are ranked as before, and decided otherwise."""
    rows, scorer = bench.halves[1].head(ROWS), fitted(bench)[0]
    arrays, target = bench.contract.arrays(rows), bench.contract.target(rows)
    matrix = scorer.matrix(arrays)
    if not behavior.noisy(bench.contract, scorer, arrays, bench.settings.evaluate):
        raise NotApplicable("no feature reads a number")

    def change(given: np.ndarray, scores: np.ndarray) -> np.ndarray:
        off = len(given) == len(matrix) and not np.array_equal(given, matrix, equal_nan=True)
        if scorer.task == "regression":
            return 2 * target - scores if off else scores  # as wrong as before, on the other side
        if scorer.task == "binary":
            return (
                scorer.threshold + scores * (1 - scorer.threshold)
                if off
                else scores * scorer.threshold * 0.99
            )
        return (scores + 2 * np.eye(scores.shape[1])[int(off)]) / 3

    return _judged(bench, rows, _changed(bench, change))


def _asking(bench: Bench, rows: int, seconds: float, limit: str) -> Report:
    """The model asks somebody else, who takes his time over so many rows."""

    def asks(matrix: np.ndarray, scores: np.ndarray) -> np.ndarray:
        time.sleep(seconds if len(matrix) == rows else 0)
        return scores

    limits = {limit: getattr(bench.settings.gate, limit)}
    return _judged(bench, bench.halves[1].head(ROWS), _changed(bench, asks), **limits)


@fault(
    "every answer takes 150 ms", caught_by="gate.latency.1", row="Mon 6", spared="gate.latency.100"
)
def slow(bench: Bench) -> Report:
    """Each request waits for another service."""
    return _asking(bench, 1, 0.15, "max_latency_ms")


@fault(
    "a hundred answers take half a second",
    caught_by="gate.latency.100",
    row="Mon 6",
    spared="gate.model_size",
)
def slow_batch(bench: Bench) -> Report:
    """One row is fast, many are not."""
    return _asking(bench, 100, 0.5, "max_batch_latency_ms")


@fault("the model takes a gigabyte", caught_by="gate.model_size", row="Mon 6")
def huge(bench: Bench) -> Report:
    """Somebody left a data set in the folder."""
    scorer = fitted(bench)[0]

    def padded(folder: Path) -> None:
        with (folder / "padding").open("wb") as file:
            file.truncate(1_000_000_000)  # a hole: it takes no room on the disk

    return _judged(bench, bench.halves[1].head(ROWS), scorer, stored=padded)


@fault("the model needs more memory than it may", caught_by="gate.memory", row="Mon 6")
def hungry(bench: Bench) -> Report:
    """It carries its training rows."""
    scorer = fitted(bench)[0]
    loaded = pickle.dumps([scorer.estimator, np.ones(5_000_000)], protocol=5)
    rows = bench.halves[1].head(ROWS)
    return _judged(
        bench,
        rows,
        scorer,
        stored=lambda at: (at / "model.pkl").write_bytes(loaded),
        max_memory_mb=30,
    )


@fault("most decisions are others than before", caught_by="gate.changed_decisions", row="Infra 4")
def churned(bench: Bench) -> Report:
    """The candidate turns everything upside down."""
    rows, scorer = bench.halves[1].head(ROWS), fitted(bench)[0]
    turned: dict[str, Change] = {
        "binary": lambda _, scores: 1 - scores,
        "multiclass": lambda _, scores: np.roll(scores, 1, axis=1),
        "regression": lambda _, scores: scores + 10 * np.abs(scores).max(),
    }
    report = _judged(bench, rows, _changed(bench, turned[bench.contract.task]), scorer)
    slices = [*bench.contract.slices]
    if slices and not any(
        f"{name}=" in report["gate.changed_decisions"].evidence for name in slices
    ):
        raise AssertionError("the most changed slices are not named")
    return report


def _building(bench: Bench, change: Callable[[Any], Any]) -> Project:
    """The team's files, with another estimator."""
    model = ModuleType("planted")
    model.__dict__["build"] = lambda *given: change(bench.project.model.build(*given))
    return bench.project.having(model=model)


@fault("a learning rate of a million", caught_by="train.beats_constant", row="Infra 2")
def overshot(bench: Bench) -> Report:
    """The fit runs away, and ends without an error."""
    built = bench.project.model.build(bench.settings.model, [], 0)
    rates = [
        name
        for name, value in getattr(built, "get_params", dict)().items()
        if name.rpartition("__")[2] in ("learning_rate", "eta0") and isinstance(value, float)
    ]
    if not rates:
        raise NotApplicable("the estimator has no learning rate")
    project = _building(bench, lambda estimator: estimator.set_params(**{rates[0]: 1e6}))
    rows = bench.halves[0].head(ROWS)
    scores, target = (
        scored(bench, rows, train(project, rows, bench.settings)[0]),
        bench.contract.target(rows),
    )
    if bench.contract.task == "regression":
        wrong, constant = np.abs(scores - target), np.abs(np.median(target) - target)
    else:
        wrong = (scores.argmax(axis=1) if scores.ndim == 2 else scores >= 0.5) != target
        constant = target != np.bincount(target.astype(int)).argmax()
    if np.isfinite(scores).all() and wrong.mean() < constant.mean():
        raise NotApplicable("the fit goes well at such a rate, too")
    return Report("train")


@fault("the clock is the seed", caught_by="gate.repeatable", row="Infra 1")
def clocked(bench: Bench) -> Report:
    """Two fits on the same rows differ, whatever the seed."""
    from sklearn.ensemble import BaggingClassifier, BaggingRegressor

    bag = BaggingRegressor if bench.contract.task == "regression" else BaggingClassifier
    project = _building(
        bench, lambda built: bag(built, n_estimators=1, random_state=time.time_ns() % 2**32)
    )
    rows, scorer = bench.halves[0].head(ROWS // 2), fitted(bench)[0]
    again = {
        "ages": [],
        "otherwise": 1,
        "rows": len(rows),
        "repeatable": repeatable(project, rows, bench.settings),
    }
    return judged(bench, rows, scored(bench, rows, scorer), None, {}, curve=again)


@fault(
    "the champion is stale, and an equal candidate is there",
    caught_by="gate.improvement",
    row="Model 4",
    expected=Verdict.OK,
)
def stale(bench: Bench) -> Report:
    """Two periods ago the world was another: the curve says so, and the equal candidate may replace the champion."""
    rows, (scorer, simple) = bench.halves[1].head(2 * ROWS), fitted(bench)
    scores, name = scored(bench, rows, scorer), bench.contract.outcome.name
    parts = {age: bench.halves[0].iloc[age::4].head(ROWS) for age in (1, 2)}
    known = parts[2][name].to_numpy()
    if bench.contract.task == "regression":
        known = known + 3 * known.std()
    else:
        skill = judged(bench, rows, scores, None, {"trivial": simple["trivial"]})[
            "gate.baseline.trivial"
        ]
        if (skill.interval or (0.0,))[0] < 2 * bench.settings.gate.staleness_margin:
            raise NotApplicable("the model knows so little that it cannot lose it")
        known = scrambled(known)
    ages = curve(bench.project, parts | {2: parts[2].assign(**{name: known})}, rows, bench.settings)
    measured = {
        "ages": ages,
        "otherwise": 1,
        "unit": unit(bench.contract.task, ages[0]["value"]["value"]),
    }
    return judged(bench, rows, scores, scores, {}, curve=measured, age=1)
