"""The models that every candidate has to beat."""

from typing import Any

from mlgates.features import Plan
from mlgates.project import Project
from mlgates.settings import Settings

MIN_FREQUENCY = 20  # rows of a category; rarer ones share a column of the linear model


def baselines(project: Project, features: Plan, settings: Settings) -> dict[str, Any]:
    """Two unfitted models: "trivial", a constant, and "simple", linear on the same features."""
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.linear_model import LogisticRegression, SGDRegressor
    from sklearn.pipeline import make_pipeline

    seed = settings.train.seed
    trivial: Any
    linear: Any
    if project.contract.task == "regression":
        # Both minimise the absolute error, which is the main metric of a regression.
        trivial = DummyRegressor(strategy="median")
        linear = SGDRegressor(loss="epsilon_insensitive", epsilon=0, random_state=seed)
    else:
        trivial = DummyClassifier(strategy="prior")
        linear = LogisticRegression(max_iter=200, random_state=seed)
    return {"trivial": trivial, "simple": make_pipeline(_encoder(features), linear)}


def _encoder(features: Plan) -> Any:
    """An unfitted transformer: numbers without gaps and of one scale, a 0/1 column per category."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categorical = list(map(features.names.index, features.categorical))
    numeric = [place for place in range(len(features.names)) if place not in categorical]
    # A feature that is missing in all rows is kept, so that the columns stay the same.
    scaled = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", min_frequency=MIN_FREQUENCY)
    return make_column_transformer((scaled, numeric), (one_hot, categorical))
