"""The estimator.

What must be fitted, such as an encoder or a scaler, belongs inside it. Then it is fitted once and
stored with the estimator.
"""

from collections.abc import Mapping
from typing import Any

from sklearn.ensemble import HistGradientBoostingRegressor

# Values that the study `tuning` tries
SEARCH = {
    "learning_rate": [0.05, 0.1, 0.2],
    "max_leaf_nodes": [15, 31, 63],
    "l2_regularization": [0.0, 10.0],
}


def build(
    params: Mapping[str, Any], categorical: list[int], seed: int
) -> HistGradientBoostingRegressor:
    """An unfitted estimator.

    `params` is the section `model` of params.yaml. `categorical` lists the positions of the
    features that are categories.
    """
    settings = {"loss": "absolute_error", "learning_rate": 0.05, **params}
    return HistGradientBoostingRegressor(
        **settings, categorical_features=categorical, random_state=seed
    )
