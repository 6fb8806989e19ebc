"""A contract with a fitted model, and what its service logs: healthy, or as a fault would have it."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field
from sklearn.ensemble import HistGradientBoostingClassifier

from mlgates import Project, model_folder
from mlgates.contract import Column, Contract, Lookup
from mlgates.evaluation.metrics import named
from mlgates.faults.rows import synthetic
from mlgates.features import plan
from mlgates.layout import PREDICTIONS
from mlgates.monitoring.watch import Watched, watch
from mlgates.serving import prediction_log
from mlgates.serving.prediction_log import ID
from mlgates.serving.sqlite import cells
from mlgates.settings import MonitorSettings
from mlgates.verdict import Verdict

ROWS = 5_000
DAY = 86_400  # seconds
MILE = 1_609  # metres


class Ask(BaseModel):
    shop: Literal["a", "b", "c"]
    size: Annotated[int, Field(ge=0, le=9)]
    weight: float | None
    asked: datetime


class Tariff(BaseModel):
    price: float | None


class Sold(BaseModel):
    sold: bool


TARIFF = Lookup(Tariff, on="shop", at="asked", time="known", max_age="3d")


@dataclass
class World:
    """A project, healthy rows, a model that was fitted on them, and what the gate measured of it."""

    project: Project
    reference: pd.DataFrame
    scorer: model_folder.Scorer
    measured: Mapping[str, float]

    @property
    def contract(self) -> Contract:
        """What a row is."""
        return self.project.contract

    @property
    def limits(self) -> MonitorSettings:
        """The section `monitor` of the parameters."""
        return self.project.settings().monitor

    def resample(self, seed: int, size: int = ROWS) -> pd.DataFrame:
        """Healthy rows: drawn from the reference, each key once."""
        key = list(self.contract.key)
        few = len(self.reference) < size
        drawn = self.reference.sample(size, replace=few, random_state=seed)
        if key:
            drawn = drawn.drop_duplicates(key)
        ids = [f"id{place}" for place in range(len(drawn))]
        return drawn.assign(**{ID: ids}).reset_index(drop=True)

    def served(self, rows: pd.DataFrame, inside: pd.DataFrame | None = None) -> pd.DataFrame:
        """What the service logs for `rows`; `inside` is what its features are made of, if the path is at fault."""
        contract, scorer = self.contract, self.scorer
        matrix = scorer.matrix(contract.arrays(rows if inside is None else inside))
        scores = scorer.score(matrix)
        logged = rows[list(contract.feature_columns)].reset_index(drop=True)
        logged[ID] = [f"id{place}" for place in range(len(rows))]
        logged["at"] = time.time() + np.arange(len(rows)) / 1000
        for name in ("release", "fingerprint", "digest"):
            logged[name] = "f" * 64
        for place, name in enumerate(scorer.plan.names):
            logged[f"feature__{name}"] = matrix[:, place]
        for look in contract.lookups:
            logged[f"{look.name}__age"] = 0.0
        logged["score"] = (
            [json.dumps(row) for row in scores.tolist()] if scores.ndim > 1 else scores
        )
        logged["decision"] = scorer.decide(scores)
        return logged

    def known(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The outcomes of rows, a day later."""
        columns = [*prediction_log.identity(self.contract), self.contract.outcome.name]
        return rows[columns].assign(arrived=time.time() + DAY)

    def watched(
        self,
        logged: pd.DataFrame,
        known: pd.DataFrame | None = None,
        age: int = 1,
        tables: Mapping[str, pd.DataFrame] | None = None,
        oldest: int | None = None,
    ) -> Watched:
        """The monitor's report, with the distributions that the sample's own monitor.py asks Evidently for."""
        return watch(
            self.contract,
            self.scorer,
            self.reference,
            logged,
            known,
            self.limits,
            self.measured,
            age,
            self.project.module("monitor").distributions,
            self.project.stage("validate").check,
            tables,
            oldest,
        )

    def write_log(self, project: Project, logged: pd.DataFrame) -> None:
        """Write what was logged to a project's prediction log, as the service does."""
        arrays, rows = self.contract.arrays(logged), {}
        for name in logged:
            rows[str(name)] = logged[name].tolist()
            if name in arrays:
                rows[str(name)] = cells(self.contract.columns[str(name)], arrays[str(name)])
        log = prediction_log.PredictionLog(project.root / PREDICTIONS / "1.db")
        log.append(rows, prediction_log.types(self.contract, self.scorer.plan.names))
        log.close()


def world_of(project: Project, reference: pd.DataFrame) -> World:
    """A model of the project's own kind, fitted on the reference."""
    contract = project.contract
    arrays, target = contract.arrays(reference), contract.target(reference)
    features = plan(project.features, contract)
    scorer = model_folder.fit(arrays, target, features, project.model, contract, project.settings())
    once, scores = np.ones((1, len(reference))), scorer.score(scorer.matrix(arrays))
    measured = {}
    for name, make in named(contract.task).items():
        measured[name] = float(make(target, scores)(once)[0])
    return World(project, reference, scorer, measured)


def shop_world(project: Project) -> World:
    """A contract that has everything which a project may lack, at work in the sample's folder."""
    schema, features, model = (ModuleType(name) for name in ("schema", "features", "model"))
    schema.contract = Contract(Ask, Sold, [TARIFF])  # type: ignore[attr-defined]
    features.AS_IS = ["shop", "size", "weight", "price"]  # type: ignore[attr-defined]
    model.build = lambda params, categorical, seed: HistGradientBoostingClassifier(  # type: ignore[attr-defined]
        categorical_features=categorical, max_iter=20, random_state=seed
    )
    shop = project.having(schema=schema, features=features, model=model)
    return world_of(shop, synthetic(shop.contract, ROWS))


def pick(wanted: Callable[[Column], bool], *worlds: World) -> tuple[World, Column]:
    """The first world whose model reads such a column, and of these columns that with the widest bounds."""
    for world in worlds:
        columns = []
        for name in world.scorer.plan.columns:
            column = world.contract.columns.get(name)
            if column and wanted(column):
                columns.append(column)
        if columns:
            return world, max(columns, key=lambda one: (one.high or 0) - (one.low or 0))
    raise AssertionError("no world has such a column")


def is_number(column: Column) -> bool:
    """A number of the request."""
    return column.kind in ("int", "float") and column.source == "request"


def failed(report: Watched) -> set[str]:
    """The names of the checks that fail, also of those that stop nothing."""
    checks = [*report.checks, *report.drift]
    return {check.name for check in checks if check.verdict is Verdict.FAIL}
