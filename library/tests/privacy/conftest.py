"""A bakery with a champion in service.

Once before a customer was erased, and once after, when the model was trained without her.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clones import Clone, found, settings_of_nobody
from mlgates.layout import ONLINE_STORE, PREDICTIONS
from mlgates.privacy.erase import erase
from mlgates.registry import mlflow_registry, training_cycle
from mlgates.registry.promote import promote
from mlgates.serving import online_store, prediction_log
from mlgates.serving.sqlite import sqlite_values


@pytest.fixture(scope="module", autouse=True)
def without_mlflow(home: Path) -> Iterator[None]:
    """The settings of nobody; MLflow is left out."""
    with settings_of_nobody(home, "bakery"), pytest.MonkeyPatch.context() as patched:
        patched.setattr(mlflow_registry, "fill", lambda *_: "")
        yield


@pytest.fixture(scope="session")
def released(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """v1.0.0 is champion, and answers are in the log.

    Nothing may be written into it: see `before`.
    """
    with settings_of_nobody(home, "bakery"), pytest.MonkeyPatch.context() as patched:
        patched.setattr(mlflow_registry, "fill", lambda *_: "")
        bakery = found("bakery", tmp_path_factory.mktemp("released"))
        bakery.repro()
        bakery.commit("first")
        promote(bakery.project, reason="the first")
        answer(bakery)
    return bakery


@pytest.fixture(scope="session")
def retrained(released: Clone, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Ada was erased, and v1.0.1, trained without her, is champion. See `clean`."""
    bakery = released.moved(tmp_path_factory.mktemp("retrained") / "all")
    with settings_of_nobody(home, "bakery"), pytest.MonkeyPatch.context() as patched:
        patched.setattr(mlflow_registry, "fill", lambda *_: "")
        erase(bakery.project, [bakery.project.data.ADA], column="customer", reason="her wish")
        bakery.commit("Erase")
        training_cycle.close(bakery.project, "3")
        bakery.commit("Close")
        bakery.repro()
        bakery.commit("Retrain")
        promote(bakery.project, reason="without her")
    return bakery


@pytest.fixture
def before(released: Clone, tmp_path: Path) -> Clone:
    """A copy to change, before anybody was erased."""
    return released.moved(tmp_path / "all")


@pytest.fixture
def clean(retrained: Clone, tmp_path: Path) -> Clone:
    """A copy to change, in which only old versions still hold Ada."""
    return retrained.moved(tmp_path / "clean")


def answer(bakery: Clone) -> None:
    """Answers, outcomes and an online store as the service and its verbs write them."""
    contract, data = bakery.project.contract, bakery.project.data
    rows = data.read("1")
    arrays = contract.arrays(rows)
    logged: dict[str, list[Any]] = {
        prediction_log.ID: prediction_log.new_ids(len(rows)),
        "at": [1.0] * len(rows),
    }
    for name, column in contract.request_columns.items():
        logged[name] = sqlite_values(column, arrays[name])
    log = prediction_log.PredictionLog(bakery.root / PREDICTIONS / "1.db")
    log.append(logged, prediction_log.log_columns(contract, []))
    log.close()
    prediction_log.record(bakery.project, rows)
    online_store.build(
        bakery.root / ONLINE_STORE, contract, {"visits": [data.lookup("visits", "1")]}
    )
