"""Leaks: columns that alone tell the outcome."""

from typing import TYPE_CHECKING

import numpy as np

from mlgates.draft.decision import FORBIDDEN, Decision, Field

if TYPE_CHECKING:
    import pandas as pd

# How well a column alone predicts the outcome (1: perfectly) to be called a leak, or to be named.
LEAK = 0.995
SUSPECT = 0.98

# The score of a column alone, by task.
SCORING = {"regression": "r2", "binary": "roc_auc", "multiclass": "balanced_accuracy"}

TRIAL_ROWS = 5_000  # on which models are tried
MAX_CODES = 200  # words of a column that a model knows, as in the pipeline
MIN_KNOWN = 0.98  # share of a number's values that are not missing, for a correlation
MIN_ROWS_PER_CLASS = 5  # a rarer class would be lacking in some fold


def forbid_leaks(decision: Decision, sample: "pd.DataFrame") -> None:
    """Forbid columns that alone tell the outcome; warn of those that nearly do.

    If all columns do, none is forbidden: there would be no feature left.
    """
    features = decision.having("feature")
    rows, target = trial_rows(decision, sample)
    scores = {}
    for field in features:
        values = as_numbers(rows[field.column.label], field)
        scores[field.name] = score_alone(values, target, field, decision.task)

    all_are_leaks = all(score >= LEAK for score in scores.values())
    for field in features:
        label = field.column.label
        score = scores[field.name]
        if score >= LEAK and not all_are_leaks:
            field.set_role(FORBIDDEN, "suspected leak: it alone tells the outcome")
            decision.warnings.append(
                f"{label!r} alone tells the outcome (score {score:.3f} of 1). "
                "It may be a leak, so it is forbidden now."
            )
        elif score >= SUSPECT:
            decision.warnings.append(
                f"{label!r} alone nearly tells the outcome (score {score:.3f} of 1). "
                "Is it known when the question is asked?"
            )


def trial_rows(decision: Decision, sample: "pd.DataFrame") -> tuple["pd.DataFrame", np.ndarray]:
    """Some rows to try a model on, and their outcome.

    The outcome is numbers for a regression, 0 and 1 for two classes, words for more.
    """
    rows = sample.head(TRIAL_ROWS)
    outcome = rows[decision.target.column.label]
    if decision.task == "regression":
        return rows, outcome.to_numpy(dtype=float)

    words = outcome.astype(str)
    is_frequent = words.map(words.value_counts()) >= MIN_ROWS_PER_CLASS
    rows = rows[is_frequent]
    words = words[is_frequent]
    if decision.task == "multiclass":
        return rows, words.to_numpy()
    positive = str(outcome.max())  # of a bool: True, or 1
    if decision.target.words:
        positive = decision.target.words[-1]
    return rows, (words == positive).to_numpy(dtype=int)


def as_numbers(values: "pd.Series", field: Field) -> np.ndarray:
    """(n,) a column as floats; of words, the frequent ones as codes and the others as missing."""
    import pandas as pd

    if field.kind not in ("text", "category"):
        return values.to_numpy(dtype=float, na_value=np.nan)
    frequent = values.value_counts().index[:MAX_CODES]
    codes, _ = pd.factorize(values.where(values.isin(frequent)), sort=True)
    return np.where(codes < 0, np.nan, codes)


def score_alone(values: np.ndarray, target: np.ndarray, field: Field, task: str) -> float:
    """How well a column alone predicts the outcome, at most 1.

    By a small tree on held-out rows. For a number that predicts a number, also by the correlation
    of ranks: a tree cuts a steady relation into steps.
    """
    if len(np.unique(target)) < 2:
        return 0.0
    score = _score_of_tree(values, target, task)
    is_ordered = field.kind in ("int", "float", "datetime")
    is_known = ~np.isnan(values)
    if task != "regression" or not is_ordered or is_known.mean() < MIN_KNOWN:
        return score

    from scipy.stats import spearmanr

    correlation = abs(spearmanr(values[is_known], target[is_known]).statistic)
    return float(np.nanmax([score, correlation]))  # a correlation with a constant is NaN


def _score_of_tree(values: np.ndarray, target: np.ndarray, task: str) -> float:
    """The score of a tree with one feature, on rows that it was not fitted on."""
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    shared = {"min_samples_leaf": 2, "random_state": 0}
    if task == "regression":
        tree = DecisionTreeRegressor(**shared)
        folds = KFold(2, shuffle=True, random_state=0)
    else:
        tree = DecisionTreeClassifier(class_weight="balanced", **shared)
        folds = StratifiedKFold(2, shuffle=True, random_state=0)
    matrix = values[:, None]
    scores = cross_val_score(tree, matrix, target, cv=folds, scoring=SCORING[task])
    return float(scores.mean())
