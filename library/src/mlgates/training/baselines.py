"""The models that every candidate has to beat."""

from typing import TYPE_CHECKING, Any

from mlgates.features import Plan
from mlgates.project import Project
from mlgates.settings import Settings

if TYPE_CHECKING:
    pass


def baselines(project: Project, features: Plan, settings: Settings) -> dict[str, Any]:
    """Two unfitted opponents that the model has to beat: the constant, and a linear model on the same features."""
    from sklearn.compose import make_column_transformer
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, SGDRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    words = [features.names.index(name) for name in features.categorical]
    numbers = [place for place in range(len(features.names)) if place not in words]
    shaped = make_column_transformer(
        (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", min_frequency=20), words),
    )
    if project.contract.task == "regression":
        absolute = SGDRegressor(
            loss="epsilon_insensitive", epsilon=0, random_state=settings.train.seed
        )
        return {
            "trivial": DummyRegressor(strategy="median"),
            "simple": make_pipeline(shaped, absolute),
        }
    linear = LogisticRegression(max_iter=200, random_state=settings.train.seed)
    return {"trivial": DummyClassifier(strategy="prior"), "simple": make_pipeline(shaped, linear)}
