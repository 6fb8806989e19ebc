"""Faults in how a candidate behaves.

It is miscalibrated, brittle, slow, huge or unrepeatable, or it changes most decisions; or the
champion is stale.
"""

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import team_code
from mlgates.contract import Arrays
from mlgates.evaluation import behavior
from mlgates.evaluation.metrics import margin_unit
from mlgates.faults.model import _improved, fitted, gate_report, scores_of
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy, scrambled, strict
from mlgates.files import temporary_folder
from mlgates.gate import behavior_rules
from mlgates.gate.rules import Context
from mlgates.model_folder import Scorer, save
from mlgates.project import Project
from mlgates.training.fit import train
from mlgates.training.sanity_checks import difference_of_fits
from mlgates.training.staleness import curve
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

ROWS = 1_000  # on which behavior is measured
# Most faults are not about these limits: the rows are few, and the machine may be busy.
LIMITS: dict[str, Any] = {
    "behavior_min_rows": 1,
    "max_latency_ms": 1e3,
    "max_batch_latency_ms": 1e3,
}
# The scores of a faulty model: from the feature matrix and the scores of the healthy model
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Plants a fault into the folder of a stored model
Spoil = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Changed(Scorer):
    """A scorer whose scores are a function of its features and of the healthy model's scores."""

    change: Change

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """What the planted fault makes of the scores."""
        return self.change(matrix, super().score(matrix))


def _changed(bench: Bench, change: Change) -> Scorer:
    """The healthy model with changed scores."""
    return Changed(**vars(fitted(bench)[0]), change=change)


def _unspoiled(folder: Path) -> None:
    """Leave the stored model as it is."""


def _judged(
    bench: Bench,
    rows: "pd.DataFrame",
    candidate: Scorer,
    champion: Scorer | None = None,
    spoil: Spoil = _unspoiled,
    **limits: float,
) -> Report:
    """The gate on the behavior that was measured; `limits` replace those in `LIMITS`."""
    measured = _behavior(bench, rows, candidate, champion, spoil)
    gate_settings = replace(bench.settings.gate, **(LIMITS | limits))
    bench = replace(bench, settings=replace(bench.settings, gate=gate_settings))
    champion_scores = None
    if champion:
        champion_scores = scores_of(bench, rows, champion)
    scores = scores_of(bench, rows, candidate)
    return gate_report(bench, rows, scores, champion_scores, {}, behavior=measured)


def _behavior(
    bench: Bench,
    rows: "pd.DataFrame",
    candidate: Scorer,
    champion: Scorer | None,
    spoil: Spoil = _unspoiled,
) -> dict[str, Any]:
    """What evaluate measures of the candidate's behavior.

    The folder of which size and memory are measured holds the healthy model, and what `spoil`
    plants there.
    """
    scorer, simple = fitted(bench)
    models = {"candidate": candidate, "baseline.trivial": simple["trivial"]}
    if champion:
        models["champion"] = champion
    with temporary_folder() as temporary:
        folder = temporary / "model"
        save(scorer, folder, bench.contract, team_code.collected(bench.project))
        spoil(folder)
        return behavior.behavior(bench.project, rows, models, folder, bench.settings.evaluate)


@healthy("behavior", seeds=3)
def sound(bench: Bench, seed: int) -> Report:
    """A sound model on unseen rows, against itself."""
    scorer = fitted(bench)[0]
    rows = bench.halves[1].sample(2 * ROWS, random_state=seed).reset_index(drop=True)
    measured = {"behavior": _behavior(bench, rows, scorer, scorer)}
    limits = replace(bench.settings.gate, **LIMITS)
    return strict(Report("behavior", [*behavior_rules.judge(measured, {}, limits)]))


@fault(
    "the ranking is right, the probabilities are not",
    caught_by="gate.calibration_error",
    row="Infra 4",
    spared="gate.champion",
)
def miscalibrated(bench: Bench) -> Report:
    """All predicted probabilities, or all predicted numbers, are too high."""
    rows = bench.halves[1].head(ROWS)
    if bench.contract.task == "regression":
        distance = 2 * float(bench.contract.target(rows).std())
        return _judged(bench, rows, _changed(bench, lambda _, scores: scores + distance))

    candidate = _changed(bench, lambda _, scores: (scores + 1) / 2)
    return _judged(bench, rows, candidate, champion=fitted(bench)[0])


def _by_heart(bench: Bench, rows: "pd.DataFrame", other: Arrays) -> Scorer:
    """A model that knows these rows by heart, and shuffles its scores of all others.

    Raises: NotApplicable if more than a fifth of `other`, the same rows after a change, have the
    features of rows that it knows.
    """
    scorer = fitted(bench)[0]
    matrix = scorer.matrix(bench.contract.arrays(rows))
    sound_scores = _improved(bench, rows, scorer.score(matrix), 0.5)
    # Rows are recognised by the bytes of their features, because NaN is not equal to NaN.
    scores_by_row = dict(zip(map(bytes, matrix), sound_scores, strict=True))

    if not other:
        raise NotApplicable("too few rows change")
    if np.mean([bytes(row) in scores_by_row for row in scorer.matrix(other)]) > 0.2:
        raise NotApplicable("too few rows change")

    def change(matrix: np.ndarray, scores: np.ndarray) -> np.ndarray:
        is_unknown = np.array([bytes(row) not in scores_by_row for row in matrix])
        changed = []
        for row, score in zip(matrix, scores, strict=True):
            changed.append(scores_by_row.get(bytes(row), score))
        changed_scores = np.array(changed)
        changed_scores[is_unknown] = scrambled(changed_scores[is_unknown])
        return changed_scores

    return _changed(bench, change)


@fault("the model knows rows by heart", caught_by="gate.robustness.loss", row="Infra 4")
def brittle(bench: Bench) -> Report:
    """A row with a little noise on its numbers is new to it."""
    rows = bench.halves[1].head(ROWS)
    arrays = bench.contract.arrays(rows)
    other = behavior.with_noise(bench.contract, fitted(bench)[0], arrays, bench.settings.evaluate)
    return _judged(bench, rows, _by_heart(bench, rows, other))


@fault("the model is lost without a look-up", caught_by="gate.missing_lookup", row="Infra 4")
def dependent(bench: Bench) -> Report:
    """When the look-up finds nothing, the answers are random."""
    rows = bench.halves[1].head(ROWS)
    requests = behavior.without_lookups(bench.contract, bench.contract.arrays(rows))
    for name, without_lookup in requests.items():
        if without_lookup:
            report = _judged(bench, rows, _by_heart(bench, rows, without_lookup))
            report.facts["caught_by"] = f"gate.missing_lookup.{name}"
            return report
    raise NotApplicable("the contract has no look-up that may be missing")


@fault(
    "the decision hangs by a hair",
    caught_by="gate.robustness.decisions",
    row="Infra 4",
    spared="gate.robustness.loss",
)
def jumpy(bench: Bench) -> Report:
    """Requests with a little noise are ranked as before, but decided otherwise."""
    rows = bench.halves[1].head(ROWS)
    scorer = fitted(bench)[0]
    arrays = bench.contract.arrays(rows)
    matrix = scorer.matrix(arrays)
    if not behavior.with_noise(bench.contract, scorer, arrays, bench.settings.evaluate):
        raise NotApplicable("no feature reads a number")
    change = _decide_otherwise(scorer, matrix, bench.contract.target(rows))
    return _judged(bench, rows, _changed(bench, change))


def _decide_otherwise(scorer: Scorer, unchanged: np.ndarray, target: np.ndarray) -> Change:
    """A change of scores that turns the decision where the features are not `unchanged`.

    The metric stays as it was.
    """

    def is_noisy(matrix: np.ndarray) -> bool:
        # Where the number of rows differs, it is the latency that is measured.
        if len(matrix) != len(unchanged):
            return False
        return not np.array_equal(matrix, unchanged, equal_nan=True)

    def regression(matrix: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if is_noisy(matrix):
            return 2 * target - scores  # the same error, to the other side
        return scores

    def binary(matrix: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if is_noisy(matrix):
            return scorer.threshold + scores * (1 - scorer.threshold)  # none below the threshold
        return scores * scorer.threshold * 0.99  # all below it

    def multiclass(matrix: np.ndarray, scores: np.ndarray) -> np.ndarray:
        favourite = int(is_noisy(matrix))  # the class that is decided for every row
        return (scores + 2 * np.eye(scores.shape[1])[favourite]) / 3

    by_task = {"regression": regression, "binary": binary, "multiclass": multiclass}
    return by_task[scorer.task]


def _waiting(bench: Bench, n_rows: int, seconds: float, limit: str) -> Report:
    """The model waits for another service whenever it scores so many rows at once.

    `limit` names the team's own limit of the gate, which is not opened here.
    """

    def wait(matrix: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if len(matrix) == n_rows:
            time.sleep(seconds)
        return scores

    limits = {limit: getattr(bench.settings.gate, limit)}
    return _judged(bench, bench.halves[1].head(ROWS), _changed(bench, wait), **limits)


@fault(
    "every answer takes 150 ms", caught_by="gate.latency.1", row="Mon 6", spared="gate.latency.100"
)
def slow(bench: Bench) -> Report:
    """Each request waits for another service."""
    return _waiting(bench, 1, 0.15, "max_latency_ms")


@fault(
    "a hundred answers take half a second",
    caught_by="gate.latency.100",
    row="Mon 6",
    spared="gate.model_size",
)
def slow_batch(bench: Bench) -> Report:
    """One row is fast, many are not."""
    return _waiting(bench, 100, 0.5, "max_batch_latency_ms")


@fault("the model takes a gigabyte", caught_by="gate.model_size", row="Mon 6")
def huge(bench: Bench) -> Report:
    """A data set was left in the folder."""
    scorer = fitted(bench)[0]

    def pad(folder: Path) -> None:
        with (folder / "padding").open("wb") as file:
            file.truncate(1_000_000_000)  # a sparse file: it takes no room on the disk

    return _judged(bench, bench.halves[1].head(ROWS), scorer, spoil=pad)


@fault("the model needs more memory than it may", caught_by="gate.memory", row="Mon 6")
def hungry(bench: Bench) -> Report:
    """It carries its training rows."""
    scorer = fitted(bench)[0]
    rows = np.ones(5_000_000)  # 40 MB
    pickled = pickle.dumps([scorer.estimator, rows], protocol=5)

    def enlarge(folder: Path) -> None:
        (folder / "model.pkl").write_bytes(pickled)

    evaluation = bench.halves[1].head(ROWS)
    return _judged(bench, evaluation, scorer, spoil=enlarge, max_memory_mb=30)


@fault("most decisions are others than before", caught_by="gate.changed_decisions", row="Infra 4")
def churned(bench: Bench) -> Report:
    """The candidate turns everything upside down."""
    rows = bench.halves[1].head(ROWS)
    changes: dict[str, Change] = {
        "binary": lambda _, scores: 1 - scores,
        "multiclass": lambda _, scores: np.roll(scores, 1, axis=1),
        "regression": lambda _, scores: scores + 10 * np.abs(scores).max(),
    }
    candidate = _changed(bench, changes[bench.contract.task])
    report = _judged(bench, rows, candidate, champion=fitted(bench)[0])

    slices = bench.contract.slices
    evidence = report["gate.changed_decisions"].evidence
    if slices and not any(f"{name}=" in evidence for name in slices):
        raise AssertionError("the evidence does not name the slices that changed most")
    return report


def _with_estimator(bench: Bench, change: Callable[[Any], Any]) -> Project:
    """The team's project, but the estimator of its model.py is changed."""
    build = bench.project.model.build
    model = ModuleType("planted")
    model.__dict__["build"] = lambda *arguments: change(build(*arguments))
    return bench.project.having(model=model)


@fault("a learning rate of a million", caught_by="train.beats_constant", row="Infra 2")
def overshot(bench: Bench) -> Report:
    """The fit diverges, and ends without an error; `train` must refuse the model."""
    rate = _learning_rate(bench.project.model.build(bench.settings.model, [], 0))
    if rate is None:
        raise NotApplicable("the estimator has no learning rate")
    project = _with_estimator(bench, lambda estimator: estimator.set_params(**{rate: 1e6}))

    rows = bench.halves[0].head(ROWS)
    scorer, _ = train(project, rows, bench.settings)
    if _beats_constant(scores_of(bench, rows, scorer), bench.contract.target(rows), scorer.task):
        raise NotApplicable("the model learns well even at this rate")
    return Report("train")


def _learning_rate(estimator: Any) -> str | None:
    """The name of an estimator's learning rate, also within a pipeline; None if it has none."""
    if not hasattr(estimator, "get_params"):
        return None
    for name, value in estimator.get_params().items():
        _, _, parameter = name.rpartition("__")
        if parameter in ("learning_rate", "eta0") and isinstance(value, float):
            return str(name)
    return None


def _beats_constant(scores: np.ndarray, target: np.ndarray, task: str) -> bool:
    """Whether a model is better than a constant: than the median, or the most frequent class.

    A model is not better if a score is not a finite number.
    """
    if not np.isfinite(scores).all():
        return False
    if task == "regression":
        errors = np.abs(scores - target)
        errors_of_constant = np.abs(np.median(target) - target)
        return bool(errors.mean() < errors_of_constant.mean())

    predicted = scores >= 0.5
    if task == "multiclass":
        predicted = scores.argmax(axis=1)
    most_frequent = np.bincount(target.astype(int)).argmax()
    return bool((predicted != target).mean() < (most_frequent != target).mean())


@fault("the clock is the seed", caught_by="gate.repeatable", row="Infra 1")
def clocked(bench: Bench) -> Report:
    """Two fits on the same rows differ, whatever the seed."""
    from sklearn.ensemble import BaggingClassifier, BaggingRegressor

    bagging: Any = BaggingClassifier
    if bench.contract.task == "regression":
        bagging = BaggingRegressor

    def seed_by_clock(estimator: Any) -> Any:
        return bagging(estimator, n_estimators=1, random_state=time.time_ns() % 2**32)

    project = _with_estimator(bench, seed_by_clock)
    rows = bench.halves[0].head(ROWS // 2)
    curve_report = {
        "ages": [],
        "otherwise": 1,
        "rows": len(rows),
        "repeatable": difference_of_fits(project, rows, bench.settings),
    }
    scores = scores_of(bench, rows, fitted(bench)[0])
    return gate_report(bench, rows, scores, None, {}, Context(curve=curve_report))


@fault(
    "the champion is stale, and an equal candidate is there",
    caught_by="gate.improvement",
    row="Model 4",
    expected=Verdict.OK,
)
def stale(bench: Bench) -> Report:
    """The equal candidate may replace the champion, because the staleness curve says so.

    Two periods ago the labels were different, so a model of that age is worse than a new one.
    """
    scorer, simple = fitted(bench)
    rows = bench.halves[1].head(2 * ROWS)
    scores = scores_of(bench, rows, scorer)
    name = bench.contract.outcome.name
    parts = {age: bench.halves[0].iloc[age::4].head(ROWS) for age in (1, 2)}
    labels = parts[2][name].to_numpy()
    if bench.contract.task == "regression":
        labels = labels + 3 * labels.std()
    else:
        _check_skill(bench, rows, scores, simple["trivial"])
        labels = scrambled(labels)
    parts[2] = parts[2].assign(**{name: labels})

    ages = curve(bench.project, parts, rows, bench.settings)
    newest_value = ages[0]["value"]["value"]
    curve_report = {
        "ages": ages,
        "otherwise": 1,
        "unit": margin_unit(bench.contract.task, newest_value),
    }
    return gate_report(bench, rows, scores, scores, {}, Context(age=1, curve=curve_report))


def _check_skill(bench: Bench, rows: "pd.DataFrame", scores: np.ndarray, constant: Scorer) -> None:
    """Raises: NotApplicable if the model has too little to lose for the staleness curve to show.

    It must be better than a constant by two staleness margins, with 95 % confidence.
    """
    report = gate_report(bench, rows, scores, None, {"trivial": constant})
    interval = report["gate.baseline.trivial"].interval or (0.0,)
    if interval[0] < 2 * bench.settings.gate.staleness_margin:
        raise NotApplicable("the model is hardly better than a constant, so it cannot get stale")
