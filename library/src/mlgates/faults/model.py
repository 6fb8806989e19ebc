"""Faults in a candidate, caught by the gate, and in the features, caught before anything is fitted."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import team_code
from mlgates.contract import Contract
from mlgates.evaluation import metrics
from mlgates.evaluation.fairness import proxies, slices, treatment
from mlgates.evaluation.measure import measure
from mlgates.evaluation.metrics import MAIN, unit
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy, scrambled, strict
from mlgates.features import plan
from mlgates.files import temporary_folder
from mlgates.gate.rules import gate, tuned
from mlgates.model_folder import Scorer, load, save
from mlgates.training.fit import train
from mlgates.training.split import apart
from mlgates.training.tuning import tune
from mlgates.verdict import Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

GROUP = "planted_group"
HEALTHY_DATA = Report("validate", [Check("data.min_rows", Verdict.OK)])


def fitted(bench: Bench, name: str = "as it is") -> tuple[Scorer, dict[str, Scorer]]:
    """The team's model and the baselines on half of the rows, fitted once; "shuffled" has its outcomes shuffled."""
    if name not in bench.trained:
        rows = bench.halves[0]
        if name == "shuffled":
            target = bench.contract.outcome.name
            rows = rows.assign(**{target: scrambled(rows[target].to_numpy())})
        bench.trained[name] = train(bench.project, rows, bench.settings)
    return bench.trained[name]


def scored(bench: Bench, rows: "pd.DataFrame", scorer: Scorer) -> np.ndarray:
    """The model's scores of joined rows."""
    return scorer.score(scorer.matrix(bench.contract.arrays(rows)))


def judged(
    bench: Bench,
    rows: "pd.DataFrame",
    candidate: np.ndarray,
    champion_scores: np.ndarray | None,
    simple: dict[str, Scorer],
    held: np.ndarray | None = None,
    groups: dict[str, Any] | None = None,
    age: int = 0,
    curve: dict[str, Any] | None = None,
    data: Report = HEALTHY_DATA,
    **more: Any,
) -> Report:
    """The real gate on real measurements of these scores; `held` are the candidate's on the hold-out, here the same."""
    scores = {"candidate": candidate}
    if champion_scores is not None:
        scores["champion"] = champion_scores
    scores |= {f"baseline.{name}": scored(bench, rows, scorer) for name, scorer in simple.items()}
    measured = measure(bench.contract, rows, scores, resamples=200, seed=0)
    periods = {"train": ["reference"], "evaluation": ["reference"]}
    facts: dict[str, Any] = {
        "model": "candidate",
        "champion": None if champion_scores is None else "champion",
        "periods": periods,
        "task": bench.contract.task,
    }
    facts |= {"holdout": measured, "groups": groups}
    if held is not None:
        facts["holdout"] = measure(
            bench.contract, rows, scores | {"candidate": held}, resamples=200, seed=0
        )
    return gate(measured | facts | more, data, bench.settings.gate, age, curve=curve)


def _degraded(bench: Bench, scores: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Scores in which the rows at `places` have lost their meaning."""
    worse = scores.copy()
    worse[places] = scrambled(scores[places])
    return worse


@healthy("gate, more often", seeds=20, slow=True)
@healthy("gate")
def healthy_candidate(bench: Bench, seed: int) -> Report:
    """A sound candidate against the constant and a champion that is as good; a linear model may really be better."""
    scorer, simple = fitted(bench)
    rows = (
        bench.halves[1]
        .sample(min(bench.size, len(bench.halves[1])), random_state=seed)
        .reset_index(drop=True)
    )
    random, scores = np.random.default_rng(seed), scored(bench, rows, scorer)
    new, old = (
        _improved(bench, rows, scores, random.uniform(0.2, 0.6, len(rows))) for _ in range(2)
    )
    groups = _treated(bench, rows, new, scorer, seed)
    report = judged(bench, rows, new, old, {"trivial": simple["trivial"]}, groups=groups)
    report.all_checks.remove(report["gate.improvement"])  # it is no better
    return report


def _coin(rows: "pd.DataFrame", seed: int = 0) -> np.ndarray:
    """A protected group of half of the rows that has nothing to tell."""
    return np.where(np.random.default_rng(1_000 + seed).random(len(rows)) < 0.5, "a", "b")


def _grouped(bench: Bench) -> Contract:
    """The contract with one more column, which is a protected group."""
    grouped = copy.copy(bench.contract)
    object.__setattr__(grouped, "groups", (GROUP,))
    return grouped


def _treated(
    bench: Bench, rows: "pd.DataFrame", scores: np.ndarray, scorer: Scorer, seed: int = 0
) -> dict[str, Any]:
    """What evaluate says of the planted group."""
    rows = rows.assign(**{GROUP: _coin(rows, seed)})
    rates = treatment(_grouped(bench), rows, scores, scorer.threshold, resamples=100, seed=0)
    return {"rates": rates, "proxies": {}, "waived": {}}


def _wrong(bench: Bench, scores: np.ndarray) -> np.ndarray:
    """Scores that say the opposite, or numbers that are far too high."""
    if bench.contract.task == "regression":
        far: np.ndarray = scores + 3 * (np.std(scores) + np.mean(np.abs(scores)) + 1)
        return far
    return 1 - scores if scores.ndim == 1 else np.roll(scores, 1, axis=1)


@fault(
    "a group is treated worse than the rest",
    caught_by="gate.fairness",
    row="Model 7",
    spared="gate.champion",
)
def unequal(bench: Bench) -> Report:
    """All decisions about a protected group are wrong; a champion that is as bad excuses nothing."""
    rows, (scorer, _) = bench.halves[1].head(bench.size), fitted(bench)
    scores = _improved(bench, rows, scored(bench, rows, scorer), 0.5)
    worse = _coin(rows) == "a"
    scores[worse] = _wrong(bench, scores[worse])
    groups = _treated(bench, rows, scores, scorer)
    report = judged(bench, rows, scores, scores, {}, groups=groups)
    most = max(
        groups["rates"],
        key=lambda entry: abs(entry["gap"]["value"] or 0.0) * (entry["rows"] > len(rows) / 20),
    )
    report.facts["caught_by"] = f"gate.fairness.{GROUP}={most['value']}.{most['rate']}"
    return report


@fault("a feature is a proxy of a group", caught_by=f"gate.proxy.{GROUP}", row="Model 7")
def proxy(bench: Bench) -> Report:
    """A feature that correlates with a protected group by 0.9."""
    rows, (scorer, _) = bench.halves[1].head(bench.size), fitted(bench)
    word = _coin(rows)
    near = (word == "a") + np.random.default_rng(1).normal(0, 0.5 * (0.9**-2 - 1) ** 0.5, len(rows))
    scores, matrix = scored(bench, rows, scorer), scorer.matrix(bench.contract.arrays(rows))
    features = {scorer.plan.names[0]: {""}, "planted": {""}}
    columns = np.column_stack([matrix[:, 0], near])
    found = proxies(_grouped(bench), rows.assign(**{GROUP: word}), columns, features)
    groups = {"rates": [], "proxies": found, "waived": {}}
    return judged(bench, rows.head(500), scores[:500], None, {}, groups=groups)


@fault("the waiver of a group has run out", caught_by=f"gate.waiver.{GROUP}", row="Model 7")
def waived(bench: Bench) -> Report:
    """A feature reads a protected group, and the last day on which it may is over."""
    rows, (scorer, _) = bench.halves[1].head(500), fitted(bench)
    groups = {"rates": [], "proxies": {}, "waived": {GROUP: "2001-01-01"}}
    return judged(bench, rows, scored(bench, rows, scorer), None, {}, groups=groups)


@fault(
    "the first model is worse than a constant in one slice",
    caught_by="gate.slice_floor",
    row="Model 6",
)
def below_floor(bench: Bench) -> Report:
    """There is no champion yet, and a slice has it wrong."""
    rows, (scorer, simple) = bench.halves[1].head(bench.size), fitted(bench)
    limits, constant = bench.settings.gate, scored(bench, rows, simple["trivial"])
    scores = _improved(bench, rows, scored(bench, rows, scorer), 0.5)
    wrong = _wrong(bench, scores)
    sizes = {
        name: places
        for name, places in slices(bench.contract, rows).items()
        if limits.slice_min_rows * 2 <= len(places) < len(rows) / 2
        and _lost(bench, rows.iloc[places], constant[places], wrong[places]) > 3 * limits.margin
    }
    if not sizes:
        raise NotApplicable(
            "no slice is big enough to judge, smaller than half and worth getting right"
        )
    name, places = max(sizes.items(), key=lambda item: len(item[1]))
    scores[places] = wrong[places]
    report = judged(bench, rows, scores, None, {"trivial": simple["trivial"]})
    report.facts["caught_by"] = f"gate.slice_floor.{'='.join(name)}"
    return report


@fault(
    "what the candidate learnt from was refused",
    caught_by="gate.data",
    row="Data 1",
    spared="gate.finite",
)
def refused_data(bench: Bench) -> Report:
    """Its rows had failed in validate, and somebody trained on them all the same."""
    rows, (scorer, _) = bench.halves[1].head(500), fitted(bench)
    refused = Report("validate", [Check("data.range", Verdict.FAIL)])
    return judged(bench, rows, scored(bench, rows, scorer), None, {}, data=refused)


@fault(
    "the first model says the opposite",
    caught_by="gate.baseline.trivial",
    row="Model 5",
    spared="gate.data",
)
def opposite(bench: Bench) -> Report:
    """A constant would be right more often."""
    rows, (scorer, simple) = bench.halves[1].head(2_000), fitted(bench)
    scores = _wrong(bench, _improved(bench, rows, scored(bench, rows, scorer), 0.5))
    return judged(bench, rows, scores, None, {"trivial": simple["trivial"]})


@fault("candidate trained on shuffled outcomes", caught_by="gate.baseline.simple", row="Model 5")
def shuffled_outcomes(bench: Bench) -> Report:
    """The model learned nothing: the linear baseline, on true outcomes, beats it."""
    rows, (_, simple) = bench.halves[1].head(bench.size), fitted(bench)
    linear = judged(
        bench, rows, scored(bench, rows, simple["simple"]), None, {"trivial": simple["trivial"]}
    )
    if linear["gate.baseline.trivial"].verdict is not Verdict.OK:
        raise NotApplicable("the linear baseline is no better than the constant")
    return judged(bench, rows, scored(bench, rows, fitted(bench, "shuffled")[0]), None, simple)


@fault("candidate is worse than the champion", caught_by="gate.champion", row="Infra 4")
def degraded(bench: Bench) -> Report:
    """Half of the candidate's scores are somebody else's."""
    rows, (scorer, simple) = bench.halves[1].head(bench.size), fitted(bench)
    scores = _improved(bench, rows, scored(bench, rows, scorer), 0.5)
    return judged(bench, rows, _degraded(bench, scores, np.arange(0, len(rows), 2)), scores, simple)


@fault(
    "candidate is worse on the hold-out only",
    caught_by="gate.holdout",
    row="ML02",
    spared="gate.champion",
)
def forgotten(bench: Bench) -> Report:
    """Poisoned data made it good on the newest rows, and bad on the ones that nobody could touch."""
    rows, (scorer, simple) = bench.halves[1].head(bench.size), fitted(bench)
    scores = _improved(bench, rows, scored(bench, rows, scorer), 0.5)
    return judged(
        bench, rows, scores, scores, simple, _degraded(bench, scores, np.arange(0, len(rows), 2))
    )


@fault("candidate equals the champion", caught_by="gate.improvement", row="Infra 4")
def equal(bench: Bench) -> Report:
    """Nothing is gained, so nothing is promoted."""
    rows, (scorer, simple) = bench.halves[1].head(bench.size), fitted(bench)
    scores = scored(bench, rows, scorer)
    return judged(bench, rows, scores, scores, simple)


@fault(
    "one slice broken, the overall metric flat",
    caught_by="gate.slice",
    row="Model 6",
    spared="gate.champion",
)
def broken_slice(bench: Bench) -> Report:
    """The smallest slice that is big enough to judge has lost its meaning; all other rows are better."""
    rows, (scorer, simple) = bench.halves[1], fitted(bench)
    limits, champion = bench.settings.gate, _improved(bench, rows, scored(bench, rows, scorer), 0.5)
    champion = _degraded(
        bench, champion, np.arange(0, len(rows), 2)
    )  # so that there is room for the better rest

    sizes = {
        name: places
        for name, places in slices(bench.contract, rows).items()
        if limits.slice_min_rows * 4 <= len(places) < len(rows) / 3
        and _lost(bench, rows.iloc[places], champion[places], _inverted(champion[places]))
        > 2 * limits.slice_margin
    }
    if not sizes:
        raise NotApplicable(
            "no slice is big enough to judge, small enough to hide and good enough to be broken"
        )
    (column, word), places = min(sizes.items(), key=lambda item: len(item[1]))
    candidate = _improved(bench, rows, champion, 0.3)
    candidate[places] = _inverted(champion[places])
    report = judged(bench, rows, candidate, champion, simple)
    report.facts["caught_by"] = f"gate.slice.{column}={word}"
    return report


def _lost(bench: Bench, rows: "pd.DataFrame", good: np.ndarray, bad: np.ndarray) -> float:
    """What the main metric loses from some scores to others, in the unit of the margins; NaN where it cannot tell."""
    task, target = bench.contract.task, bench.contract.target(rows)
    make, ones = metrics.named(task)[MAIN[task]], np.ones((1, len(rows)))
    old, new = (float(make(target, scores)(ones)[0]) for scores in (good, bad))
    return metrics.sign(MAIN[task]) * (old - new) / (unit(task, old) or 1.0)


def _improved(
    bench: Bench, rows: "pd.DataFrame", scores: np.ndarray, share: float | np.ndarray
) -> np.ndarray:
    """Scores moved towards the truth: a model that is sound whatever the table can teach."""
    target = bench.contract.target(rows)
    if scores.ndim == 2:
        target = np.eye(scores.shape[1])[target.astype(int)]
    moved: np.ndarray = scores + (share * (target - scores).T).T
    return moved


def _inverted(scores: np.ndarray) -> np.ndarray:
    """The ranking upside down: the values stay, their order is reversed."""
    if scores.ndim == 2:
        return np.roll(scores, 1, axis=1)
    worse = np.empty_like(scores)
    order = np.argsort(scores)
    worse[order] = scores[order][::-1]
    return worse


def _tuned(bench: Bench, seed: int, *, blind: bool) -> Report:
    """`gate.tuning` on the team's model with one more parameter, which decides whether it learns anything."""
    from sklearn.base import clone

    trivial = fitted(bench)[1]["trivial"].estimator

    def build(params: Mapping[str, Any], categorical: list[int], seed: int) -> Any:
        settings = {name: value for name, value in params.items() if name != "blind"}
        return (
            clone(trivial)
            if params["blind"]
            else bench.project.model.build(settings, categorical, seed)
        )

    model = ModuleType("planted")
    model.__dict__.update(build=build, SEARCH={"blind": [False, True]})
    project = bench.project.having(model=model)
    settings = replace(
        bench.settings,
        model=bench.settings.model | {"blind": blind},
        evaluate=replace(bench.settings.evaluate, tune_trials=2, resamples=200),
    )
    rows = bench.rows.sample(6_000, random_state=seed).reset_index(drop=True)
    found = tune(project, rows.iloc[::2], rows.iloc[1::2], settings)
    return strict(Report("tuned", [tuned(found, bench.settings.gate)]))


@healthy("parameters near the best", seeds=1)
def near(bench: Bench, seed: int) -> Report:
    """The other value makes the model blind, so the team's must not be called worse."""
    return _tuned(bench, seed, blind=False)


@fault("a parameter is far from the best", caught_by="gate.tuning", row="Model 3")
def untuned(bench: Bench) -> Report:
    """Somebody regularises the model until it says the same of every row."""
    rows, (scorer, simple) = bench.halves[1].head(2_000), fitted(bench)
    report = judged(bench, rows, scored(bench, rows, scorer), None, {"trivial": simple["trivial"]})
    if report["gate.baseline.trivial"].verdict is not Verdict.OK:
        raise NotApplicable("the model is not surely better than a constant")
    return _tuned(bench, 0, blind=True)


@fault("a period is delivered again under the next name", caught_by="train.leakage", row="Model 1")
def leaked(bench: Bench) -> Report:
    """The rows to evaluate on were trained on: a WHERE is missing in the query."""
    if not bench.contract.key:
        raise NotApplicable("without a key no row is known again")
    apart(replace(bench.contract, time=None), *bench.halves[:1] * 2)
    return Report("train", [Check("train.leakage", Verdict.OK)])


@fault(
    "the rows to evaluate on are older than those to train on",
    caught_by="train.leakage",
    row="Model 1",
)
def backwards(bench: Bench) -> Report:
    """The periods are in another order."""
    if not bench.contract.time:
        raise NotApplicable("the contract has no time")
    rows = bench.rows.sort_values(bench.contract.time)
    apart(replace(bench.contract, key=()), rows.tail(1_000), rows.head(1_000))
    return Report("train", [Check("train.leakage", Verdict.OK)])


@fault("a forbidden column among the features", caught_by="features.forbidden", row="Data 4")
def forbidden_feature(bench: Bench) -> Report:
    """Somebody computes a feature from what only the future knows."""
    name = [*bench.contract.forbidden, bench.contract.outcome.name][0]
    return _with_feature(bench, f"def leak({name}):\n    return {name} * 1.0\n")


def barring(bench: Bench, **about: str) -> Contract:
    """The contract once it says more of a column that the features read."""
    name = plan(bench.project.features, bench.contract).columns[0]
    column = bench.contract.columns[name]
    barred = copy.copy(bench.contract)
    changed = replace(column, about=replace(column.about, **about))  # type: ignore[arg-type]
    object.__setattr__(barred, "columns", bench.contract.columns | {name: changed})
    return barred


@fault("a feature reads a deprecated column", caught_by="features.forbidden", row="Data 4")
def deprecated_feature(bench: Bench) -> Report:
    """A column is taken out of use, and a feature still reads it."""
    plan(bench.project.features, barring(bench, status="deprecated"))
    return Report("features", [Check("features.forbidden", Verdict.OK)])


@fault("a feature reads a sensitive column", caught_by="features.forbidden", row="Data 5")
def sensitive_feature(bench: Bench) -> Report:
    """A column becomes sensitive, and a feature still reads it."""
    plan(bench.project.features, barring(bench, privacy="sensitive"))
    return Report("features", [Check("features.forbidden", Verdict.OK)])


@fault("a stored model reads what was barred later", caught_by="features.forbidden", row="Data 5")
def barred_later(bench: Bench) -> Report:
    """features.py is clean by now, the model that is to be served is not."""
    with temporary_folder() as folder:
        save(fitted(bench)[0], folder / "model", bench.contract, team_code.collected(bench.project))
        load(folder / "model", barring(bench, privacy="sensitive"))
    return Report("load", [Check("features.forbidden", Verdict.OK)])


@fault("a feature reads a column that does not exist", caught_by="features.py", row="Data 4")
def unknown_column(bench: Bench) -> Report:
    """A column name is misspelt."""
    return _with_feature(bench, f"def wrong({bench.first}_):\n    return {bench.first}_\n")


def _with_feature(bench: Bench, code: str) -> Report:
    module = ModuleType("planted")
    exec(code, module.__dict__)
    plan(module, bench.contract)
    return Report(
        "features", [Check("features.forbidden", Verdict.OK), Check("features.py", Verdict.OK)]
    )


@fault("the scores are not numbers", caught_by="gate.finite", row="Mon 5")
def not_finite(bench: Bench) -> Report:
    """One score in a thousand is infinite."""
    rows, (scorer, _) = bench.halves[1], fitted(bench)
    scores = scored(bench, rows, scorer)
    scores[::1000] = np.inf
    return judged(bench, rows, scores, None, {})
