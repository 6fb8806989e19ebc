"""For the tests of training: the sample project, and its model fitted as train does it."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from mlgates import Project, model_folder
from mlgates.contract import Contract
from mlgates.features import plan
from mlgates.settings import Settings

Build = Callable[..., Any]


@dataclass(frozen=True)
class Bench:
    """The sample project with its parameters, and other models in the place of the team's."""

    project: Project
    settings: Settings

    @property
    def build(self) -> Build:
        """The team's own `build`."""
        return self.project.model.build

    def building(self, build: Build | None) -> Project:
        """The project with another `build` in model.py; None for the team's own."""
        model = ModuleType("planted")
        model.build = build or self.build  # type: ignore[attr-defined]
        return self.project.having(model=model)

    def fit(self, rows: Any, build: Build | None = None) -> model_folder.Scorer:
        """The team's model, or another one, fitted on some rows."""
        contract = self.project.contract
        return model_folder.fit(
            contract.arrays(rows),
            contract.target(rows),
            plan(self.project.features, contract),
            self.building(build).model,
            contract,
            self.settings,
        )


def scores(contract: Contract, scorer: Any, rows: Any) -> Any:
    """The scores of rows with their look-ups."""
    return scorer.score(scorer.matrix(contract.arrays(rows)))


def constant(contract: Contract) -> Build:
    """A `build` whose model predicts the same for every row."""
    if contract.task == "regression":
        return lambda *_: DummyRegressor(strategy="median")
    return lambda *_: DummyClassifier()


def perfect_scores(contract: Contract, target: Any) -> Any:
    """The scores of a model that knows the labels and is certain."""
    if contract.task == "binary":
        return target
    return np.eye(len(contract.classes))[target.astype(int)]


def halves(rows: Any) -> tuple[Any, Any]:
    """Every second row, and the others."""
    first = rows.iloc[::2].reset_index(drop=True)
    second = rows.iloc[1::2].reset_index(drop=True)
    return first, second
