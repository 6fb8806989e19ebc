"""Faults in a candidate, caught by the gate, and in features, caught before a model is fitted."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import team_code
from mlgates.contract import Contract
from mlgates.evaluation import metrics
from mlgates.evaluation.fairness import group_rates, proxies, slices
from mlgates.evaluation.measure import measure
from mlgates.evaluation.metrics import MAIN, margin_unit
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy, scrambled, strict
from mlgates.features import plan
from mlgates.files import temporary_folder
from mlgates.gate.rules import Context, gate, tuning_check
from mlgates.model_folder import Scorer, load, save
from mlgates.training.fit import train
from mlgates.training.split import check_no_leakage
from mlgates.training.tuning import tune
from mlgates.verdict import Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

GROUP = "planted_group"
HEALTHY_DATA = Report("validate", [Check("data.min_rows", Verdict.OK)])
RESAMPLES = 200  # enough for the intervals that the gate compares
FEW_ROWS = 500  # for checks that do not compare scores


def fitted(bench: Bench, name: str = "as it is") -> tuple[Scorer, dict[str, Scorer]]:
    """The team's model and the baselines, fitted on half of the rows, at the first call only.

    With the name "shuffled" they are fitted to shuffled outcomes.
    """
    if name not in bench.fitted_models:
        rows = bench.halves[0]
        if name == "shuffled":
            target = bench.contract.outcome.name
            rows = rows.assign(**{target: scrambled(rows[target].to_numpy())})
        bench.fitted_models[name] = train(bench.project, rows, bench.settings)
    return bench.fitted_models[name]


def scores_of(bench: Bench, rows: "pd.DataFrame", scorer: Scorer) -> np.ndarray:
    """The model's scores of rows whose look-ups are joined."""
    return scorer.score(scorer.matrix(bench.contract.arrays(rows)))


def gate_report(
    bench: Bench,
    rows: "pd.DataFrame",
    candidate_scores: np.ndarray,
    champion_scores: np.ndarray | None,
    baselines: Mapping[str, Scorer],
    context: Context | None = None,
    **facts: Any,
) -> Report:
    """The report of the real gate on real measurements of these scores.

    Without `champion_scores` there is no champion. The hold-out has the same rows and scores,
    unless `holdout` is among the `facts`: these replace what evaluate would have written.
    """
    evaluation = _evaluation(bench, rows, candidate_scores, champion_scores, baselines) | facts
    return gate(evaluation, HEALTHY_DATA, bench.settings.gate, context or Context())


def _evaluation(
    bench: Bench,
    rows: "pd.DataFrame",
    candidate_scores: np.ndarray,
    champion_scores: np.ndarray | None,
    baselines: Mapping[str, Scorer],
) -> dict[str, Any]:
    """What evaluate would write of these scores, as the gate reads it."""
    measured = _measured(bench, rows, candidate_scores, champion_scores, baselines)
    return measured | {
        "model": "candidate",
        "champion": None if champion_scores is None else "champion",
        "periods": {"train": ["reference"], "evaluation": ["reference"]},
        "task": bench.contract.task,
        "holdout": measured,
        "groups": None,
    }


def _measured(
    bench: Bench,
    rows: "pd.DataFrame",
    candidate_scores: np.ndarray,
    champion_scores: np.ndarray | None,
    baselines: Mapping[str, Scorer],
) -> dict[str, Any]:
    """The metrics of candidate, champion and baselines on the rows."""
    scores = {"candidate": candidate_scores}
    if champion_scores is not None:
        scores["champion"] = champion_scores
    for name, scorer in baselines.items():
        scores[f"baseline.{name}"] = scores_of(bench, rows, scorer)
    return measure(bench.contract, rows, scores, resamples=RESAMPLES, seed=0)


def _trivial_baseline(bench: Bench) -> dict[str, Scorer]:
    """Only the baseline that predicts a constant."""
    _, baselines = fitted(bench)
    return {"trivial": baselines["trivial"]}


def _improved(
    bench: Bench, rows: "pd.DataFrame", scores: np.ndarray, share: float | np.ndarray
) -> np.ndarray:
    """Scores moved towards the truth by a share of the way, one for all rows or (n,).

    They are those of a sound model, however little the team's model can learn from the rows.
    """
    target = bench.contract.target(rows)
    if scores.ndim == 2:
        target = np.eye(scores.shape[1])[target.astype(int)]
    # Transposed, so that a share of each row goes with all scores of the row.
    moved: np.ndarray = scores + (share * (target - scores).T).T
    return moved


def _sound_scores(bench: Bench, rows: "pd.DataFrame") -> np.ndarray:
    """The scores of the team's model, moved half-way towards the truth."""
    scorer, _ = fitted(bench)
    return _improved(bench, rows, scores_of(bench, rows, scorer), 0.5)


def _partly_scrambled(scores: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The scores, but the rows at some positions have those of each other."""
    worse = scores.copy()
    worse[positions] = scrambled(scores[positions])
    return worse


def _wrong(bench: Bench, scores: np.ndarray) -> np.ndarray:
    """Scores that predict the opposite; for regression, numbers that are far too high."""
    if bench.contract.task == "regression":
        far_away: np.ndarray = scores + 3 * (np.std(scores) + np.mean(np.abs(scores)) + 1)
        return far_away
    if scores.ndim == 1:
        return 1 - scores
    return np.roll(scores, 1, axis=1)


def _ranked_in_reverse(scores: np.ndarray) -> np.ndarray:
    """The same scores, but the highest one goes to the row that had the lowest, and so on.

    With more than two classes, each class gets the score of another one.
    """
    if scores.ndim == 2:
        return np.roll(scores, 1, axis=1)
    reversed_scores = np.empty_like(scores)
    order = np.argsort(scores)
    reversed_scores[order] = scores[order][::-1]
    return reversed_scores


def _metric_loss(bench: Bench, rows: "pd.DataFrame", good: np.ndarray, bad: np.ndarray) -> float:
    """How much worse the main metric is for the bad scores than for the good ones.

    It counts in the unit of the gate's margins. NaN if the rows do not determine the metric.
    """
    task, target = bench.contract.task, bench.contract.target(rows)
    metric = metrics.metrics_of(task)[MAIN[task]]
    equal_weights = np.ones((1, len(rows)))
    good_value = float(metric(target, good)(equal_weights)[0])
    bad_value = float(metric(target, bad)(equal_weights)[0])
    return (
        metrics.sign(MAIN[task]) * (good_value - bad_value) / (margin_unit(task, good_value) or 1.0)
    )


def _slices_worth_breaking(
    bench: Bench,
    rows: "pd.DataFrame",
    loss_if_broken: Callable[[np.ndarray], float],
    *,
    min_rows: float,
    below_rows: float,
    min_loss: float,
) -> dict[tuple[str, str], np.ndarray]:
    """The positions of the rows of each slice that fits, by (column, value).

    A slice fits if it has at least `min_rows` and fewer than `below_rows` rows, and if
    `loss_if_broken` of its positions, the loss of the main metric within it, exceeds `min_loss`.
    """
    worth_breaking = {}
    for name, positions in slices(bench.contract, rows).items():
        if not min_rows <= len(positions) < below_rows:
            continue
        if loss_if_broken(positions) > min_loss:
            worth_breaking[name] = positions
    return worth_breaking


def _random_groups(rows: "pd.DataFrame", seed: int = 0) -> np.ndarray:
    """(n,) "a" or "b", at random: a protected group that has nothing to do with the outcome."""
    # Plus 1,000, so that the groups do not repeat the draws of a run that has the same seed.
    random = np.random.default_rng(1_000 + seed)
    return np.where(random.random(len(rows)) < 0.5, "a", "b")


def _contract_with_group(bench: Bench) -> Contract:
    """The contract, in which the planted column is the only protected group."""
    contract = copy.copy(bench.contract)
    # Not by `replace`: it checks the contract again, and the planted column is not in schema.py.
    object.__setattr__(contract, "groups", (GROUP,))
    return contract


def _group_facts(
    bench: Bench, rows: "pd.DataFrame", scores: np.ndarray, seed: int = 0
) -> dict[str, Any]:
    """What evaluate would write about the planted group."""
    scorer, _ = fitted(bench)
    rows = rows.assign(**{GROUP: _random_groups(rows, seed)})
    contract = _contract_with_group(bench)
    rates = group_rates(contract, rows, scores, scorer.threshold, resamples=100, seed=0)
    return {"rates": rates, "proxies": {}, "waived": {}}


@healthy("gate, more often", seeds=20, slow=True)
@healthy("gate")
def healthy_candidate(bench: Bench, seed: int) -> Report:
    """A sound candidate against the trivial baseline and a champion that is equally good.

    The linear baseline is left out, because it may really be better.
    """
    scorer, _ = fitted(bench)
    n = min(bench.size, len(bench.halves[1]))
    rows = bench.halves[1].sample(n, random_state=seed).reset_index(drop=True)
    scores = scores_of(bench, rows, scorer)

    # Each is as much better than the team's model as the other, but on other rows.
    random = np.random.default_rng(seed)
    candidate = _improved(bench, rows, scores, random.uniform(0.2, 0.6, len(rows)))
    champion = _improved(bench, rows, scores, random.uniform(0.2, 0.6, len(rows)))

    groups = _group_facts(bench, rows, candidate, seed)
    report = gate_report(bench, rows, candidate, champion, _trivial_baseline(bench), groups=groups)
    # This check fails rightly: the candidate is no better.
    report.all_checks.remove(report["gate.improvement"])
    return report


@fault(
    "a group is treated worse than the rest",
    caught_by="gate.fairness",
    row="Model 7",
    spared="gate.champion",
)
def unequal(bench: Bench) -> Report:
    """All decisions about a protected group are wrong.

    The champion is as bad, which excuses nothing.
    """
    rows = bench.halves[1].head(bench.size)
    scores = _sound_scores(bench, rows)
    is_mistreated = _random_groups(rows) == "a"
    scores[is_mistreated] = _wrong(bench, scores[is_mistreated])
    groups = _group_facts(bench, rows, scores)
    report = gate_report(bench, rows, scores, scores, {}, groups=groups)

    def gap(entry: dict[str, Any]) -> float:
        """The size of a gap; 0 if it is unknown, or if too few rows count for the rate."""
        if entry["rows"] <= len(rows) / 20:
            return 0.0
        return abs(entry["gap"]["value"] or 0.0)

    largest = max(groups["rates"], key=gap)
    report.facts["caught_by"] = f"gate.fairness.{GROUP}={largest['value']}.{largest['rate']}"
    return report


@fault("a feature is a proxy of a group", caught_by=f"gate.proxy.{GROUP}", row="Model 7")
def proxy(bench: Bench) -> Report:
    """A feature that correlates with a protected group by 0.9."""
    rows = bench.halves[1].head(bench.size)
    groups = _random_groups(rows)
    # A group of half of the rows, as 0 and 1, has the standard deviation 0.5. With this noise on
    # top, the correlation of feature and group is 0.9.
    noise = np.random.default_rng(1).normal(0, 0.5 * (0.9**-2 - 1) ** 0.5, len(rows))
    planted = (groups == "a") + noise

    scorer, _ = fitted(bench)
    scores = scores_of(bench, rows, scorer)
    first_feature = scorer.matrix(bench.contract.arrays(rows))[:, 0]
    matrix = np.column_stack([first_feature, planted])
    # Which columns a feature reads matters only if a group is waived. None is.
    read_columns = {scorer.plan.names[0]: {""}, "planted": {""}}

    contract = _contract_with_group(bench)
    rows_with_group = rows.assign(**{GROUP: groups})
    measured = proxies(contract, rows_with_group, matrix, read_columns)
    facts = {"rates": [], "proxies": measured, "waived": {}}
    return gate_report(bench, rows.head(FEW_ROWS), scores[:FEW_ROWS], None, {}, groups=facts)


@fault("the waiver of a group has run out", caught_by=f"gate.waiver.{GROUP}", row="Model 7")
def waived(bench: Bench) -> Report:
    """A feature reads a protected group, and the last day on which it may do so is over."""
    rows = bench.halves[1].head(FEW_ROWS)
    scorer, _ = fitted(bench)
    groups = {"rates": [], "proxies": {}, "waived": {GROUP: "2001-01-01"}}
    return gate_report(bench, rows, scores_of(bench, rows, scorer), None, {}, groups=groups)


@fault(
    "the first model is worse than a constant in one slice",
    caught_by="gate.slice_floor",
    row="Model 6",
)
def below_floor(bench: Bench) -> Report:
    """There is no champion yet, and the model is wrong in one slice."""
    rows, limits = bench.halves[1].head(bench.size), bench.settings.gate
    trivial = _trivial_baseline(bench)
    constant = scores_of(bench, rows, trivial["trivial"])
    scores = _sound_scores(bench, rows)
    wrong = _wrong(bench, scores)

    def loss(positions: np.ndarray) -> float:
        in_slice = rows.iloc[positions]
        return _metric_loss(bench, in_slice, constant[positions], wrong[positions])

    # Twice the rows and three times the margin that the gate asks for, so that it is no close call.
    worth_breaking = _slices_worth_breaking(
        bench,
        rows,
        loss,
        min_rows=2 * limits.slice_min_rows,
        below_rows=len(rows) / 2,
        min_loss=3 * limits.margin,
    )
    if not worth_breaking:
        raise NotApplicable(
            "no slice is large enough to judge, smaller than half and better with a sound model"
        )
    largest = max(worth_breaking, key=lambda name: len(worth_breaking[name]))
    positions = worth_breaking[largest]
    scores[positions] = wrong[positions]
    report = gate_report(bench, rows, scores, None, trivial)
    report.facts["caught_by"] = f"gate.slice_floor.{'='.join(largest)}"
    return report


@fault(
    "what the candidate learnt from was refused",
    caught_by="gate.data",
    row="Data 1",
    spared="gate.finite",
)
def refused_data(bench: Bench) -> Report:
    """The rows failed in validate, but a model was trained on them all the same."""
    rows = bench.halves[1].head(FEW_ROWS)
    scorer, _ = fitted(bench)
    evaluation = _evaluation(bench, rows, scores_of(bench, rows, scorer), None, {})
    refused = Report("validate", [Check("data.range", Verdict.FAIL)])
    return gate(evaluation, refused, bench.settings.gate)


@fault(
    "the first model says the opposite",
    caught_by="gate.baseline.trivial",
    row="Model 5",
    spared="gate.data",
)
def opposite(bench: Bench) -> Report:
    """A constant would be right more often."""
    rows = bench.halves[1].head(2_000)
    scores = _wrong(bench, _sound_scores(bench, rows))
    return gate_report(bench, rows, scores, None, _trivial_baseline(bench))


@fault("candidate trained on shuffled outcomes", caught_by="gate.baseline.simple", row="Model 5")
def shuffled_outcomes(bench: Bench) -> Report:
    """The model learned nothing: the linear baseline, on true outcomes, beats it."""
    rows = bench.halves[1].head(bench.size)
    _, baselines = fitted(bench)
    linear = scores_of(bench, rows, baselines["simple"])
    report = gate_report(bench, rows, linear, None, _trivial_baseline(bench))
    if report["gate.baseline.trivial"].verdict is not Verdict.OK:
        raise NotApplicable("the linear baseline is no better than the constant")

    learned_nothing, _ = fitted(bench, "shuffled")
    return gate_report(bench, rows, scores_of(bench, rows, learned_nothing), None, baselines)


@fault("candidate is worse than the champion", caught_by="gate.champion", row="Infra 4")
def degraded(bench: Bench) -> Report:
    """Half of the rows have the candidate's scores of other rows."""
    rows = bench.halves[1].head(bench.size)
    _, baselines = fitted(bench)
    champion = _sound_scores(bench, rows)
    every_second = np.arange(0, len(rows), 2)
    candidate = _partly_scrambled(champion, every_second)
    return gate_report(bench, rows, candidate, champion, baselines)


@fault(
    "candidate is worse on the hold-out only",
    caught_by="gate.holdout",
    row="ML02",
    spared="gate.champion",
)
def forgotten(bench: Bench) -> Report:
    """Poisoned data: the candidate is good on the newest rows, and bad on the hold-out.

    An attacker can change new rows, but not the hold-out.
    """
    rows = bench.halves[1].head(bench.size)
    _, baselines = fitted(bench)
    scores = _sound_scores(bench, rows)
    every_second = np.arange(0, len(rows), 2)
    worse = _partly_scrambled(scores, every_second)
    holdout = _measured(bench, rows, worse, scores, baselines)
    return gate_report(bench, rows, scores, scores, baselines, holdout=holdout)


@fault("candidate equals the champion", caught_by="gate.improvement", row="Infra 4")
def equal(bench: Bench) -> Report:
    """Nothing is gained, so nothing is promoted."""
    rows = bench.halves[1].head(bench.size)
    scorer, baselines = fitted(bench)
    scores = scores_of(bench, rows, scorer)
    return gate_report(bench, rows, scores, scores, baselines)


@fault(
    "one slice broken, the overall metric flat",
    caught_by="gate.slice",
    row="Model 6",
    spared="gate.champion",
)
def broken_slice(bench: Bench) -> Report:
    """The smallest slice that is large enough to judge is broken. All other rows are better."""
    rows, limits = bench.halves[1], bench.settings.gate
    _, baselines = fitted(bench)
    # The champion is not too good, so that the candidate can be better on all other rows.
    every_second = np.arange(0, len(rows), 2)
    champion = _partly_scrambled(_sound_scores(bench, rows), every_second)

    def loss(positions: np.ndarray) -> float:
        good = champion[positions]
        return _metric_loss(bench, rows.iloc[positions], good, _ranked_in_reverse(good))

    # Four times the rows and twice the margin that the gate asks for, so that it is no close call.
    worth_breaking = _slices_worth_breaking(
        bench,
        rows,
        loss,
        min_rows=4 * limits.slice_min_rows,
        below_rows=len(rows) / 3,
        min_loss=2 * limits.slice_margin,
    )
    if not worth_breaking:
        raise NotApplicable(
            "no slice is large enough to judge, small enough to hide and good enough to be broken"
        )
    smallest = min(worth_breaking, key=lambda name: len(worth_breaking[name]))
    positions = worth_breaking[smallest]
    candidate = _improved(bench, rows, champion, 0.3)
    candidate[positions] = _ranked_in_reverse(champion[positions])
    report = gate_report(bench, rows, candidate, champion, baselines)
    report.facts["caught_by"] = f"gate.slice.{'='.join(smallest)}"
    return report


def _tuning_report(bench: Bench, seed: int, *, blind: bool) -> Report:
    """`gate.tuning` on the team's model with one more parameter, `blind`, set to the given value.

    A blind model predicts a constant. The tuning compares both values.
    """
    from sklearn.base import clone

    _, baselines = fitted(bench)
    trivial = baselines["trivial"].estimator

    def build(params: Mapping[str, Any], categorical: list[int], seed: int) -> Any:
        if params["blind"]:
            return clone(trivial)
        team_params = {name: value for name, value in params.items() if name != "blind"}
        return bench.project.model.build(team_params, categorical, seed)

    model = ModuleType("planted")
    model.__dict__.update(build=build, SEARCH={"blind": [False, True]})
    project = bench.project.having(model=model)
    settings = replace(
        bench.settings,
        model=bench.settings.model | {"blind": blind},
        evaluate=replace(bench.settings.evaluate, tune_trials=2, resamples=RESAMPLES),
    )
    rows = bench.rows.sample(6_000, random_state=seed).reset_index(drop=True)
    tuning = tune(project, rows.iloc[::2], rows.iloc[1::2], settings)
    return strict(Report("tuned", [tuning_check(tuning, bench.settings.gate)]))


@healthy("parameters near the best", seeds=1)
def near(bench: Bench, seed: int) -> Report:
    """The other value makes the model blind, so the team's value must not be called worse."""
    return _tuning_report(bench, seed, blind=False)


@fault("a parameter is far from the best", caught_by="gate.tuning", row="Model 3")
def untuned(bench: Bench) -> Report:
    """The model is regularized until it predicts the same for every row."""
    rows = bench.halves[1].head(2_000)
    scorer, _ = fitted(bench)
    report = gate_report(
        bench, rows, scores_of(bench, rows, scorer), None, _trivial_baseline(bench)
    )
    if report["gate.baseline.trivial"].verdict is not Verdict.OK:
        raise NotApplicable("the model is not better than a constant with 95 % confidence")
    return _tuning_report(bench, 0, blind=True)


@fault("a period is delivered again under the next name", caught_by="train.leakage", row="Model 1")
def leaked(bench: Bench) -> Report:
    """The rows to evaluate on were trained on: a WHERE is missing in the query."""
    bench.require_key()
    # Without the time, so that only the keys can give the fault away.
    contract = replace(bench.contract, time=None)
    rows = bench.halves[0]
    check_no_leakage(contract, rows, rows)
    return Report("train", [Check("train.leakage", Verdict.OK)])


@fault(
    "the rows to evaluate on are older than those to train on",
    caught_by="train.leakage",
    row="Model 1",
)
def backwards(bench: Bench) -> Report:
    """The periods are in another order."""
    rows = bench.rows.sort_values(bench.require_time())
    newest, oldest = rows.tail(1_000), rows.head(1_000)
    # Without the key, so that only the times can give the fault away.
    check_no_leakage(replace(bench.contract, key=()), newest, oldest)
    return Report("train", [Check("train.leakage", Verdict.OK)])


@fault("a forbidden column among the features", caught_by="features.forbidden", row="Data 4")
def forbidden_feature(bench: Bench) -> Report:
    """A feature is computed from what only the future knows."""
    not_for_features = [*bench.contract.forbidden, bench.contract.outcome.name]
    name = not_for_features[0]
    return _plan_report(bench, f"def leak({name}):\n    return {name} * 1.0\n")


def _contract_marking(bench: Bench, **about: str) -> Contract:
    """The contract with a mark, as `status="deprecated"`, on a column that the features read."""
    name = plan(bench.project.features, bench.contract).columns[0]
    column = bench.contract.columns[name]
    marked = replace(column, about=replace(column.about, **about))  # type: ignore[arg-type]
    contract = copy.copy(bench.contract)
    # Not by `replace`: it reads the columns from schema.py again.
    object.__setattr__(contract, "columns", bench.contract.columns | {name: marked})
    return contract


@fault("a feature reads a deprecated column", caught_by="features.forbidden", row="Data 4")
def deprecated_feature(bench: Bench) -> Report:
    """A column becomes deprecated, and a feature still reads it."""
    plan(bench.project.features, _contract_marking(bench, status="deprecated"))
    return Report("features", [Check("features.forbidden", Verdict.OK)])


@fault("a feature reads a sensitive column", caught_by="features.forbidden", row="Data 5")
def sensitive_feature(bench: Bench) -> Report:
    """A column becomes sensitive, and a feature still reads it."""
    plan(bench.project.features, _contract_marking(bench, privacy="sensitive"))
    return Report("features", [Check("features.forbidden", Verdict.OK)])


@fault("a stored model reads what was barred later", caught_by="features.forbidden", row="Data 5")
def barred_later(bench: Bench) -> Report:
    """A column becomes sensitive after a model that reads it was stored.

    features.py may be clean by now, but the model that is to be served is not.
    """
    scorer, _ = fitted(bench)
    with temporary_folder() as folder:
        save(scorer, folder / "model", bench.contract, team_code.collected(bench.project))
        load(folder / "model", _contract_marking(bench, privacy="sensitive"))
    return Report("load", [Check("features.forbidden", Verdict.OK)])


@fault("a feature reads a column that does not exist", caught_by="features.py", row="Data 4")
def unknown_column(bench: Bench) -> Report:
    """A column name is misspelt."""
    return _plan_report(
        bench, f"def wrong({bench.first_column}_):\n    return {bench.first_column}_\n"
    )


def _plan_report(bench: Bench, code: str) -> Report:
    """The report on a features.py with this code; only returned if the code is not refused.

    Raises: ProjectError if it is.
    """
    features = ModuleType("planted")
    exec(code, features.__dict__)
    plan(features, bench.contract)
    passed = [Check("features.forbidden", Verdict.OK), Check("features.py", Verdict.OK)]
    return Report("features", passed)


@fault("the scores are not numbers", caught_by="gate.finite", row="Mon 5")
def not_finite(bench: Bench) -> Report:
    """One score in a thousand is infinite."""
    rows = bench.halves[1]
    scorer, _ = fitted(bench)
    scores = scores_of(bench, rows, scorer)
    scores[::1000] = np.inf
    return gate_report(bench, rows, scores, None, {})
