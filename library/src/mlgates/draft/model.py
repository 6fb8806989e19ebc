"""model.py: trees or a linear model, with the values of its SEARCH, whichever are best on a sample of the table."""

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.draft.decide import Decision, judged, numbers
from mlgates.errors import ProjectError

if TYPE_CHECKING:
    import pandas as pd

FOLDS, MOST_SEARCHED = 3, 10  # classes, or tens of columns: with more a search takes too long
SCORING = {
    "binary": "average_precision",
    "multiclass": "roc_auc_ovr",
    "regression": "neg_mean_absolute_error",
}

MEANING = (
    "The estimator. What must be fitted (encoders, scalers) belongs inside it, "
    "to be fitted once and stored with it."
)

HEAD = '''"""{meaning}"""

from collections.abc import Mapping
from typing import Any

{imports}

SEARCH = {search}


def build(params: Mapping[str, Any], categorical: list[int], seed: int) -> {returns}:
    """An unfitted estimator; `params` is the section `model` of params.yaml, `categorical` the places of categories."""
{body}
'''

TREES = """\
    settings = {settings}
    return {name}(**settings, categorical_features=categorical, random_state=seed)"""

LINEAR = """\
    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", min_frequency=5)
    columns = make_column_transformer((words, categorical), remainder=numbers)
    settings = {settings}
    return {returned}"""

SHAPED = """\
from sklearn.compose import {compose}
from sklearn.impute import SimpleImputer
from sklearn.linear_model import {name}
from sklearn.pipeline import {pipeline}
from sklearn.preprocessing import OneHotEncoder, StandardScaler"""


def trees(made: Decision, tried: Mapping[str, Any]) -> str:
    """Gradient boosting; scikit-learn's own settings are made for more rows than a small table has."""
    settings: dict[str, Any] = {"loss": "absolute_error"} if made.task == "regression" else {}
    if made.rows < 10_000:
        settings |= {"min_samples_leaf": max(5, min(20, made.rows // 100))}
    if (
        made.task != "regression" and made.rarest < 100
    ):  # a part set aside would lack the rare classes
        settings["early_stopping"] = False
    name = f"HistGradientBoosting{'Regressor' if made.task == 'regression' else 'Classifier'}"
    search = '{"learning_rate": [0.05, 0.1], "max_leaf_nodes": [7, 31]}'
    body = TREES.format(settings=_settings({**settings, **tried}), name=name)
    imports = f"from sklearn.ensemble import {name}"
    return HEAD.format(meaning=MEANING, imports=imports, search=search, returns=name, body=body)


def linear(made: Decision, tried: Mapping[str, Any]) -> str:
    """A linear model on scaled numbers and one column a word."""
    if made.task == "regression":
        name, returns, compose = (
            "SGDRegressor",
            "TransformedTargetRegressor",
            "TransformedTargetRegressor, ",
        )
        fixed, search = (
            {"loss": "epsilon_insensitive", "epsilon": 0, "average": True},
            '{"alpha": [1e-05, 0.001, 0.1]}',
        )
        model = f"make_pipeline(columns, {name}(**settings, random_state=seed))"
        returned = f"TransformedTargetRegressor({model}, transformer=StandardScaler())"
    else:
        name, returns, compose, fixed = "LogisticRegression", "Pipeline", "", {}
        search = '{"C": [0.01, 0.1, 1.0, 10.0]}'
        returned = f"make_pipeline(columns, {name}(**settings, random_state=seed))"
    body = LINEAR.format(settings=_settings({**fixed, **tried}), returned=returned)
    pipeline = "make_pipeline" if made.task == "regression" else "Pipeline, make_pipeline"
    imports = SHAPED.format(
        compose=f"{compose}make_column_transformer", name=name, pipeline=pipeline
    )
    return HEAD.format(meaning=MEANING, imports=imports, search=search, returns=returns, body=body)


def _settings(given: Mapping[str, Any]) -> str:
    told = "".join(f"{name!r}: {value!r}, " for name, value in given.items()).replace("'", '"')
    return f"{{{told}**params}}"


def choose(made: Decision, sample: "pd.DataFrame", params: Mapping[str, Any]) -> str:
    """The text of model.py; trees, where the sample is too small to tell. `params` is section `model` of params.yaml.

    Raises: ProjectError if neither model takes `params`.
    """
    from sklearn.model_selection import KFold, ParameterGrid, StratifiedKFold, cross_val_score
    from threadpoolctl import threadpool_limits

    rows, target = judged(made, sample)
    features = made.having("feature")
    if len(np.unique(target)) < 2:
        return trees(made, {})
    words = [place for place, one in enumerate(features) if one.kind in ("category", "text")]
    matrix = np.column_stack([numbers(rows[one.column.label], one) for one in features])
    folds = (KFold if made.task == "regression" else StratifiedKFold)(
        FOLDS, shuffle=True, random_state=0
    )
    found, module = {}, ModuleType("drafted")
    for draw in (trees, linear):
        exec(draw(made, {}), module.__dict__)
        few = max(len(made.target.words), len(features) / 10) <= MOST_SEARCHED
        for tried in ParameterGrid(module.SEARCH) if few else [{}]:
            try:
                model = module.build({**params, **tried}, words, 0)
            except TypeError as error:
                refused = str(error)
                continue
            with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
                scores = cross_val_score(
                    model, matrix, target, cv=folds, scoring=SCORING[made.task]
                )
            found[draw(made, tried)] = float(np.nan_to_num(scores, nan=-np.inf).mean())
    if not found:
        raise ProjectError(
            f"params.yaml: section model suits no drafted model: {refused}.", "Empty it: model: {}"
        )
    return max(found, key=lambda text: found[text])
