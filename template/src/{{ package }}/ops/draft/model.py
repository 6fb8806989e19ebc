"""model.py: trees or a linear model, whichever is better on a sample of the table, and settings for its size."""

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from .decide import Decision, judged, numbers

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 3
SCORING = {"binary": "average_precision", "multiclass": "roc_auc_ovr", "regression": "neg_mean_absolute_error"}
MEANING = (
    "The estimator. What must be fitted (encoders, scalers) belongs inside it, to be fitted once and stored with it."
)
HEAD = '''"""{meaning}"""

from collections.abc import Mapping
from typing import Any

{imports}


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


def trees(made: Decision) -> str:
    """Gradient boosting; scikit-learn's own settings are made for more rows than a small table has."""
    settings: dict[str, Any] = {"loss": "absolute_error"} if made.task == "regression" else {}
    if made.rows < 10_000:
        settings |= {"learning_rate": 0.05, "min_samples_leaf": max(5, min(20, made.rows // 100))}
    if made.task != "regression" and made.rarest < 100:  # a part set aside would lack the rare classes
        settings["early_stopping"] = False
    name = f"HistGradientBoosting{'Regressor' if made.task == 'regression' else 'Classifier'}"
    body = TREES.format(settings=_settings(settings), name=name)
    return HEAD.format(meaning=MEANING, imports=f"from sklearn.ensemble import {name}", returns=name, body=body)


def linear(made: Decision) -> str:
    """A linear model on scaled numbers and one column a word."""
    if made.task == "regression":
        name, returns, compose = "SGDRegressor", "TransformedTargetRegressor", "TransformedTargetRegressor, "
        fixed = {"loss": "epsilon_insensitive", "epsilon": 0}
        model = f"make_pipeline(columns, {name}(**settings, random_state=seed))"
        returned = f"TransformedTargetRegressor({model}, transformer=StandardScaler())"
    else:
        name, returns, compose, fixed = "LogisticRegression", "Pipeline", "", {}
        returned = f"make_pipeline(columns, {name}(**settings, random_state=seed))"
    body = LINEAR.format(settings=_settings(fixed), returned=returned)
    pipeline = "make_pipeline" if made.task == "regression" else "Pipeline, make_pipeline"
    imports = SHAPED.format(compose=f"{compose}make_column_transformer", name=name, pipeline=pipeline)
    return HEAD.format(meaning=MEANING, imports=imports, returns=returns, body=body)


def _settings(given: Mapping[str, Any]) -> str:
    told = "".join(f"{name!r}: {value!r}, " for name, value in given.items()).replace("'", '"')
    return f"{{{told}**params}}"


def choose(made: Decision, sample: "pd.DataFrame", params: Mapping[str, Any]) -> str:
    """The text of model.py; the trees, where the sample is too small to tell."""
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score

    rows, target = judged(made, sample)
    features = made.having("feature")
    if len(np.unique(target)) < 2:
        return trees(made)
    words = [place for place, one in enumerate(features) if one.kind in ("category", "text")]
    matrix = np.column_stack([numbers(rows[one.column.label], one) for one in features])
    folds = (KFold if made.task == "regression" else StratifiedKFold)(FOLDS, shuffle=True, random_state=0)
    found = {}
    for text in (trees(made), linear(made)):
        module = ModuleType("drafted")
        exec(text, module.__dict__)
        with warnings.catch_warnings(action="ignore"):
            model = module.build(params, words, 0)
            scores = cross_val_score(model, matrix, target, cv=folds, scoring=SCORING[made.task])
        found[text] = float(np.nan_to_num(scores, nan=-np.inf).mean())
    return max(found, key=lambda text: found[text])
