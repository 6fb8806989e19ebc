"""model.py: trees or a linear model, whichever is better on a sample of the table.

Each is tried with the values of its own SEARCH, and the best of them are written as its settings.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.draft.decision import Decision, Field
from mlgates.draft.leaks import as_numbers, trial_rows
from mlgates.draft.templates import LINEAR, MODEL, MODEL_MEANING, SHAPED, TREES
from mlgates.errors import ProjectError

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 3
MAX_SEARCHED = 10  # classes, or tens of columns: with more a search takes too long
SCORING = {
    "binary": "average_precision",
    "multiclass": "roc_auc_ovr",
    "regression": "neg_mean_absolute_error",
}


def trees(decision: Decision, tried: Mapping[str, Any]) -> str:
    """The text of model.py with gradient boosting and the settings that were tried.

    Scikit-learn's defaults are made for more rows than a small table has.
    """
    settings: dict[str, Any] = {}
    if decision.task == "regression":
        name = "HistGradientBoostingRegressor"
        settings["loss"] = "absolute_error"
    else:
        name = "HistGradientBoostingClassifier"
    if decision.rows < 10_000:
        settings["min_samples_leaf"] = max(5, min(20, decision.rows // 100))
    if decision.task != "regression" and decision.rarest < 100:
        settings["early_stopping"] = False  # a part set aside would lack the rare classes
    return MODEL.format(
        meaning=MODEL_MEANING,
        imports=f"from sklearn.ensemble import {name}",
        search='{"learning_rate": [0.05, 0.1], "max_leaf_nodes": [7, 31]}',
        returns=name,
        body=TREES.format(settings=_settings({**settings, **tried}), name=name),
    )


def linear(decision: Decision, tried: Mapping[str, Any]) -> str:
    """The text of model.py with a linear model on scaled numbers and one column a word."""
    if decision.task == "regression":
        return _linear_regression(tried)
    return _logistic_regression(tried)


def _logistic_regression(tried: Mapping[str, Any]) -> str:
    name = "LogisticRegression"
    return MODEL.format(
        meaning=MODEL_MEANING,
        imports=SHAPED.format(
            compose="make_column_transformer", name=name, pipeline="Pipeline, make_pipeline"
        ),
        search='{"C": [0.01, 0.1, 1.0, 10.0]}',
        returns="Pipeline",
        body=LINEAR.format(
            settings=_settings(tried),
            returned=f"make_pipeline(columns, {name}(**settings, random_state=seed))",
        ),
    )


def _linear_regression(tried: Mapping[str, Any]) -> str:
    """By stochastic gradient descent: it minimises the absolute error, by which it is judged."""
    name = "SGDRegressor"
    fixed = {"loss": "epsilon_insensitive", "epsilon": 0, "average": True}
    model = f"make_pipeline(columns, {name}(**settings, random_state=seed))"
    return MODEL.format(
        meaning=MODEL_MEANING,
        imports=SHAPED.format(
            compose="TransformedTargetRegressor, make_column_transformer",
            name=name,
            pipeline="make_pipeline",
        ),
        search='{"alpha": [1e-05, 0.001, 0.1]}',
        returns="TransformedTargetRegressor",
        body=LINEAR.format(
            settings=_settings({**fixed, **tried}),
            returned=f"TransformedTargetRegressor({model}, transformer=StandardScaler())",
        ),
    )


def _settings(values: Mapping[str, Any]) -> str:
    """A dictionary as Python source; `params` of the project come last and so overrule it."""
    entries = "".join(f"{name!r}: {value!r}, " for name, value in values.items())
    return "{" + entries.replace("'", '"') + "**params}"


@dataclass(frozen=True)
class Trial:
    """What the models are tried on: floats with words as codes, and where the words are."""

    features: np.ndarray  # (n, m)
    categorical: list[int]
    target: np.ndarray  # (n,)
    task: str

    def score(self, model: Any) -> float:
        """The mean score in a cross-validation; -inf if the model cannot be fitted."""
        from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
        from threadpoolctl import threadpool_limits

        kind = KFold if self.task == "regression" else StratifiedKFold
        folds = kind(FOLDS, shuffle=True, random_state=0)
        # On so few rows, threads cost more than they save.
        with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
            scores = cross_val_score(
                model, self.features, self.target, cv=folds, scoring=SCORING[self.task]
            )
        return float(np.nan_to_num(scores, nan=-np.inf).mean())


def best_model_text(decision: Decision, sample: "pd.DataFrame", params: Mapping[str, Any]) -> str:
    """The text of the best model.py; trees, where the sample is too small to compare.

    `params` is section `model` of params.yaml.
    Raises: ProjectError if neither model takes `params`.
    """
    rows, target = trial_rows(decision, sample)
    if len(np.unique(target)) < 2:
        return trees(decision, {})

    features = decision.having("feature")
    trial = _trial(features, rows, target, decision.task)
    scores: dict[str, float] = {}
    refusal = ""
    for write in (trees, linear):
        module = ModuleType("drafted")
        exec(write(decision, {}), module.__dict__)
        for tried in _candidates(decision, len(features), module.SEARCH):
            try:
                model = module.build({**params, **tried}, trial.categorical, 0)
            except TypeError as error:
                refusal = str(error)
                continue
            scores[write(decision, tried)] = trial.score(model)
    if not scores:
        raise ProjectError(
            f"Section model of params.yaml suits no drafted model: {refusal}.",
            "Empty it: model: {}",
        )
    return max(scores, key=lambda text: scores[text])


def _trial(features: list[Field], rows: "pd.DataFrame", target: np.ndarray, task: str) -> Trial:
    columns = []
    categorical = []
    for place, field in enumerate(features):
        columns.append(as_numbers(rows[field.column.label], field))
        if field.kind in ("category", "text"):
            categorical.append(place)
    return Trial(np.column_stack(columns), categorical, target, task)


def _candidates(
    decision: Decision, n_features: int, search: Mapping[str, list[Any]]
) -> Iterable[Mapping[str, Any]]:
    """The settings to try: all of SEARCH, or only the defaults where that would take too long."""
    from sklearn.model_selection import ParameterGrid

    if max(len(decision.target.words), n_features / 10) > MAX_SEARCHED:
        return [{}]
    candidates: Iterable[Mapping[str, Any]] = ParameterGrid(search)
    return candidates
