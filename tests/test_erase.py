"""A passenger asks to be forgotten.

In a real project, with its cache, remote, MLflow, logs and online store.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from .projects import DEFAULT, Project, commit, git

PERSON = "Xq9Z-unmistakable"
PASSENGERS = '''

_flights = read


def read(period: str) -> pd.DataFrame:
    """Flights with passengers; one is in each month twice, \
once with a value that sends the row to quarantine."""
    rows = _flights(period).sample(9_000, random_state=0).reset_index(drop=True)
    rows["passenger"] = "p" + period[-2:] + rows.index.astype(str)
    rows.loc[[3, 4], "passenger"] = "-".join(["Xq9Z", "unmistakable"])
    rows.loc[4, "dest"] = "quarantined"
    return rows
'''
ANSWERS = """
import pandas as pd
from mlgates import Project
from mlgates.layout import PREDICTIONS
from mlgates.serving import prediction_log, sqlite
project = Project.find()
contract = project.contract
rows = pd.read_parquet(project.root / "data/raw/period=2013-03/rows.parquet").head(50)
arrays = contract.arrays(rows)
given = {prediction_log.ID: prediction_log.new_ids(50), "at": [1.0] * 50}
given |= {name: sqlite.sqlite_values(contract.columns[name], arrays[name]) \
for name in contract.request_columns}
log = prediction_log.PredictionLog(project.root / PREDICTIONS / "1.db")
log.append(given, prediction_log.log_columns(contract, []))
prediction_log.record(project, rows)
"""
STORES = [
    "data/raw",
    "data/checked",
    "evaluation",
    "models/candidate",
    "var/models",
    "mlartifacts",
    "outcomes.db",
    "predictions",
    ".dvc/cache",
    "var/remote",
]


@pytest.fixture(scope="module")
def project(make: Callable[[str], Project]) -> Project:
    """A project with passengers, v1.0.0 and answers; an equal model may replace another."""
    project = make(DEFAULT)
    schema = project.folder / "src/late_flights/schema.py"
    text = schema.read_text()
    text = text.replace("carrier: Carrier\n", "carrier: Carrier\n    passenger: str\n", 1)
    schema.write_text(text.replace('key=["carrier"', 'key=["passenger", "carrier"'))
    data = project.folder / "src/late_flights/data.py"
    data.write_text(data.read_text() + PASSENGERS)
    params = project.folder / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("gate: {}", "gate: {margin: 0.05, slice_margin: 0.5}"))
    commit(project.folder, "Passengers")
    project.run("mlops", "up", "--no-serve")
    project.run("python", "-c", ANSWERS)
    return project


def holding(folder: Path) -> list[str]:
    """The files outside of git that hold the passenger's id."""
    names = []
    for path in list(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] != ".git" and PERSON.encode() in path.read_bytes():
            names.append(name.as_posix())
    return names


def objects(folder: Path) -> set[str]:
    """The content addresses in cache and remote."""
    return {path.parent.name + path.name for path in folder.glob("**/files/md5/*/*")}


def test_a_forgotten_passenger_leaves_no_byte_and_everybody_else_stays(
    project: Project, tmp_path: Path
) -> None:
    folder = project.folder
    files = " ".join(holding(folder))
    assert [store for store in STORES if store in files] == STORES
    message = project.run("mlops", "erase", "nobody", "--column", "passenger", code=1)
    assert "Nothing was found" in message
    assert git(folder, "status", "--porcelain") == ""
    contents = [path.read_bytes() for path in folder.glob("data/checked/*/rows.quarantine.parquet")]
    quarantined = {hashlib.md5(content).hexdigest() for content in contents}

    request = ["--column", "passenger", "--reason", "request 17"]
    printed = project.run("mlops", "erase", PERSON, *request)
    assert "v1.0.0 was trained on erased rows (its training data hold them)" in printed
    commit(folder, "Erase")
    assert "uv run mlops close 2013-04" in project.run("mlops", "status")
    project.run("mlops", "close", "2013-04")
    commit(folder, "Close")
    project.run("dvc", "repro")
    commit(folder, "Retrain")
    assert "v1.0.0 is champion" in project.run("mlops", "erase", "--purge", code=1)
    project.run("mlops", "promote", "--reason", "without the passenger")
    assert quarantined <= objects(folder)
    assert "erased in the record: late-flights@v1.0.0" in project.run("mlops", "erase", "--purge")

    assert holding(folder) == []
    assert not quarantined & objects(folder)
    assert "v1.0.1" in project.run("mlops", "status")
    message = project.run("mlops", "rollback", "--reason", "it is worse", code=1)
    assert "v1.0.0 was erased on" in message
    project.run("mlops", "mirror")
    assert project.run("dvc", "status").strip() == "Data and pipelines are up to date."
    project.run("mlops", "follow")
    git(folder, "clone", "--quiet", str(folder), str(tmp_path / "elsewhere"))
    elsewhere = Project(tmp_path / "elsewhere", project.programs)
    elsewhere.run("dvc", "remote", "modify", "--local", "local", "url", str(folder / "var/remote"))
    elsewhere.run("dvc", "pull")
    assert "v1.0.1" in elsewhere.run("mlops", "follow")
