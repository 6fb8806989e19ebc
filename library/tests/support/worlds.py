"""A contract with a fitted model, and what its service logs.

The log is healthy, or as a fault would make it.
"""

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
from mlgates.evaluation.metrics import metrics_of
from mlgates.faults.rows import synthetic
from mlgates.features import plan
from mlgates.layout import PREDICTIONS
from mlgates.monitoring.watch import Log, Subject, Watched, watch
from mlgates.serving import prediction_log
from mlgates.serving.prediction_log import ID
from mlgates.serving.sqlite import sqlite_values
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
    """A project, healthy rows, a model that is fitted on them, and what the gate measured of it."""

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
        has_too_few = len(self.reference) < size
        drawn = self.reference.sample(size, replace=has_too_few, random_state=seed)
        if key:
            drawn = drawn.drop_duplicates(key)
        ids = [f"id{place}" for place in range(len(drawn))]
        return drawn.assign(**{ID: ids}).reset_index(drop=True)

    def served(self, rows: pd.DataFrame, inside: pd.DataFrame | None = None) -> pd.DataFrame:
        """What the service logs for `rows`.

        If the way to the features is at fault, `inside` are the rows that they are computed from.
        """
        contract = self.contract
        scorer = self.scorer
        feature_rows = rows if inside is None else inside
        matrix = scorer.matrix(contract.arrays(feature_rows))
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
        if scores.ndim > 1:  # a probability for each class, which the log keeps as JSON
            logged["score"] = [json.dumps(row) for row in scores.tolist()]
        else:
            logged["score"] = scores
        logged["decision"] = scorer.decide(scores)
        return logged

    def known(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The labels of rows, which arrive a day later."""
        columns = [*prediction_log.key_columns(self.contract), self.contract.outcome.name]
        return rows[columns].assign(arrived=time.time() + DAY)

    def watched(
        self,
        logged: pd.DataFrame,
        known: pd.DataFrame | None = None,
        age: int = 1,
        tables: Mapping[str, pd.DataFrame] | None = None,
        oldest: int | None = None,
    ) -> Watched:
        """The monitor's report on what was logged.

        Distributions are compared as the sample's monitor.py asks Evidently to.
        """
        subject = Subject(
            self.contract, self.scorer, self.reference, self.measured, age, max_age=oldest
        )
        distributions = self.project.module("monitor").distributions
        validate = self.project.stage("validate").check
        return watch(
            subject, Log(logged, known, tables or {}), self.limits, distributions, validate
        )

    def write_log(self, project: Project, logged: pd.DataFrame) -> None:
        """Write what was logged to a project's prediction log, as the service does."""
        arrays = self.contract.arrays(logged)
        rows = {}
        for name in map(str, logged):
            if name in arrays:
                rows[name] = sqlite_values(self.contract.columns[name], arrays[name])
            else:
                rows[name] = logged[name].tolist()
        log = prediction_log.PredictionLog(project.root / PREDICTIONS / "1.db")
        log.append(rows, prediction_log.log_columns(self.contract, self.scorer.plan.names))
        log.close()


def world_of(project: Project, reference: pd.DataFrame) -> World:
    """A model of the project's own kind, fitted on the reference."""
    contract = project.contract
    arrays = contract.arrays(reference)
    target = contract.target(reference)
    features = plan(project.features, contract)
    scorer = model_folder.fit(arrays, target, features, project.model, contract, project.settings())
    scores = scorer.score(scorer.matrix(arrays))
    weights = np.ones((1, len(reference)))  # one resample, in which each row counts once
    measured = {}
    for name, metric in metrics_of(contract.task).items():
        measured[name] = float(metric(target, scores)(weights)[0])
    return World(project, reference, scorer, measured)


def shop_world(project: Project) -> World:
    """A project that has all kinds of columns which another may lack, in the sample's folder."""

    def build(params: Mapping[str, object], categorical: list[int], seed: int) -> object:
        return HistGradientBoostingClassifier(
            categorical_features=categorical, max_iter=20, random_state=seed
        )

    schema = ModuleType("schema")
    schema.contract = Contract(Ask, Sold, [TARIFF])  # type: ignore[attr-defined]
    features = ModuleType("features")
    features.AS_IS = ["shop", "size", "weight", "price"]  # type: ignore[attr-defined]
    model = ModuleType("model")
    model.build = build  # type: ignore[attr-defined]
    shop = project.having(schema=schema, features=features, model=model)
    return world_of(shop, synthetic(shop.contract, ROWS))


def pick(wanted: Callable[[Column], bool], *worlds: World) -> tuple[World, Column]:
    """The first world whose model reads a wanted column, and that column.

    If there are several, it is the one with the widest bounds.
    """
    for world in worlds:
        columns = []
        for name in world.scorer.plan.columns:
            column = world.contract.columns.get(name)
            if column and wanted(column):
                columns.append(column)
        if columns:
            return world, max(columns, key=width)
    raise AssertionError("no world has such a column")


def width(column: Column) -> float:
    """How far apart a column's bounds are; a missing bound counts as 0."""
    return (column.high or 0) - (column.low or 0)


def is_number(column: Column) -> bool:
    """A number of the request."""
    return column.kind in ("int", "float") and column.source == "request"


def failed(report: Watched) -> set[str]:
    """The names of the checks that fail, warnings included."""
    checks = [*report.checks, *report.drift]
    return {check.name for check in checks if check.verdict is Verdict.FAIL}
