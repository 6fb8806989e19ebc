"""The predictor without HTTP: what it parses, refuses, answers and logs."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, create_model

from mlgates import Project
from mlgates.contract import Contract
from mlgates.errors import ProjectError
from mlgates.files import write_text
from mlgates.layout import ONLINE_STORE
from mlgates.serving import Predictor, Refused, prediction_log
from mlgates.serving.prediction_log import ID

HEAVY = ["pandas", "mlflow", "dvc", "great_expectations", "evidently", "pyarrow"]
SECRET = "sEcReT-4711"


@pytest.fixture
def predictor(served_project: Project) -> Iterator[Predictor]:
    """A predictor with v1.0.0 as champion."""
    opened = Predictor(served_project)
    yield opened
    opened.close()


def refused(predictor: Predictor, request: Any) -> Refused:
    """How a request is refused, by `parse` or by `predict`."""
    content = request if isinstance(request, bytes) else json.dumps(request).encode()
    with pytest.raises(Refused) as caught:
        predictor.predict(predictor.parse(content))
    return caught.value


def test_what_is_answered_is_logged_with_its_release(
    predictor: Predictor, served_project: Project, body: Any
) -> None:
    assert predictor.ready()
    answer = predictor.predict(predictor.parse(json.dumps(body(3)).encode()))
    assert answer["release"] == "v1.0.0"
    ids = [prediction["id"] for prediction in answer["predictions"]]
    rows = prediction_log.read(served_project)
    assert rows[ID].tolist() == ids
    assert set(rows["release"]) == {"v1.0.0"}
    assert set(rows["fingerprint"]) == {"v100"}


def test_each_worker_writes_a_log_of_its_own(served_project: Project, body: Any) -> None:
    content = json.dumps(body(2)).encode()
    for worker in (1, 2):
        predictor = Predictor(served_project, worker)
        predictor.predict(predictor.parse(content))
        predictor.close()
    files = sorted(path.name for path in (served_project.root / "var/predictions").glob("*.db"))
    assert files == ["1.db", "2.db"]
    assert len(prediction_log.read(served_project)) == 4


def test_faults_are_named_by_row_column_and_rule_and_quote_no_value(
    predictor: Predictor, served_project: Project, body: Any
) -> None:
    good = body(1)["rows"][0]
    refusal = refused(predictor, {"rows": [good, {**good, SECRET: 1}]})
    assert refusal.code == 400
    (fault,) = refusal.detail or []
    assert (fault["row"], fault["column"], fault["rule"]) == (1, SECRET, "data.columns")
    first = next(iter(predictor.contract.request_columns.values()))
    refusal = refused(predictor, {"rows": [{**good, first.label: {"deep": SECRET}}]})
    assert SECRET not in json.dumps([refusal.message, refusal.detail])
    assert len(refused(predictor, body(50, no_such_column=1)).detail or []) == 20
    assert prediction_log.read(served_project).empty


def test_a_time_with_an_offset_is_refused(predictor: Predictor, body: Any) -> None:
    columns = predictor.contract.request_columns.values()
    datetimes = [column for column in columns if column.kind == "datetime"]
    assert datetimes
    for column in datetimes:
        refusal = refused(predictor, body(1, **{column.label: "2013-06-01T12:00:00+02:00"}))
        (fault,) = refusal.detail or []
        assert (fault["column"], fault["rule"]) == (column.name, "data.type")


@pytest.mark.parametrize("content", [b"", b"[1, 2", b'{"rows": []}', b'{"rows": 1}', b"null"])
def test_what_is_no_batch_is_refused(predictor: Predictor, content: bytes) -> None:
    assert refused(predictor, content).code == 400


def test_no_more_rows_than_allowed_are_parsed(served_project: Project, body: Any) -> None:
    (served_project.root / "params.yaml").write_text("serve: {max_rows: 2}\n")
    predictor = Predictor(served_project)
    assert len(predictor.parse(json.dumps(body(2)).encode())) == 2
    (fault,) = refused(predictor, body(3)).detail or []
    assert fault["rule"] == "serve.max_rows"


def test_without_a_champion_nothing_is_predicted(
    empty: Project, project: Project, body: Any
) -> None:
    shutil.copy(project.root / "params.yaml", empty.root)
    predictor = Predictor(empty)
    assert not predictor.ready()
    refusal = refused(predictor, body(1))
    assert refusal.code == 503
    assert "uv run mlops promote" in refusal.message


def test_what_cannot_be_logged_is_not_answered(
    predictor: Predictor, served_project: Project, body: Any
) -> None:
    content = json.dumps(body(1)).encode()
    predictor.predict(predictor.parse(content))
    path = served_project.root / "var/predictions/1.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refusal = refused(predictor, content)
        other.execute("ROLLBACK")
    assert refusal.code == 503
    assert "cannot be written" in refusal.message
    predictor.predict(predictor.parse(content))
    assert len(prediction_log.read(served_project)) == 2


def test_the_recorded_champion_is_followed_and_a_changed_one_is_not(
    predictor: Predictor, served_project: Project, body: Any, sample: Any, promote: Any
) -> None:
    rows = predictor.parse(json.dumps(body(1)).encode())
    assert predictor.predict(rows)["release"] == "v1.0.0"
    promote(served_project, replace(sample.scorer, threshold=0.6), "v1.1.0")
    assert predictor.predict(rows)["release"] == "v1.1.0"
    elsewhere = served_project.moved(served_project.root / "elsewhere")
    folder = promote(elsewhere, replace(sample.scorer, threshold=0.7), "v6.6.6")
    (folder / "strange.txt").touch()
    folder.rename(served_project.root / "var/models" / folder.name)
    pointer = (elsewhere.root / "var/champion.json").read_text()
    write_text(served_project.root / "var/champion.json", pointer)
    assert predictor.predict(rows)["release"] == "v1.1.0"


def with_required_lookups(contract: Contract) -> Any:
    """A schema.py with the sample's contract, but for look-ups that are required."""
    lookups = []
    for look in contract.lookups:
        fields = dict.fromkeys(contract.from_source(look.name), (float, ...))
        model = create_model(look.model.__name__, **fields)  # type: ignore[call-overload]
        lookups.append(replace(look, model=model))
    schema: Any = ModuleType("schema")
    schema.contract = replace(contract, lookups=lookups)
    return schema


def test_a_row_is_not_predicted_without_a_look_up_that_the_contract_requires(
    served_project: Project, sample: Any, promote: Any, body: Any
) -> None:
    project = served_project.having(schema=with_required_lookups(served_project.contract))
    promote(project, sample.scorer, "v1.1.0")
    (project.root / ONLINE_STORE).unlink()
    predictor = Predictor(project)
    refusal = refused(predictor, body(2))
    assert refusal.code == 503
    looked_up = project.contract.from_source(project.contract.lookups[0].name)
    faults = {(fault["row"], fault["column"], fault["rule"]) for fault in refusal.detail or []}
    expected = set()
    for name in looked_up:
        expected |= {(0, name, "data.missing"), (1, name, "data.missing")}
    assert faults == expected
    assert prediction_log.read(project).empty


class Request(BaseModel):
    release: str
    asked: datetime


class Outcome(BaseModel):
    late: bool


def test_a_column_that_the_log_needs_for_itself_is_refused(empty: Project) -> None:
    schema: Any = ModuleType("schema")
    schema.contract = Contract(Request, Outcome, key=["release"], time="asked")
    (empty.root / "params.yaml").write_text("{}")
    with pytest.raises(ProjectError, match="'release' is already taken in the prediction log"):
        Predictor(empty.having(schema=schema))


def test_the_request_path_needs_no_heavy_library(served_project: Project, body: Any) -> None:
    """They are absent in the serving environment, so the service must predict without them."""
    code = f"""
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Forbid())
from {served_project.package}.service import Service, project
from mlgates.serving import Predictor
predictor = Predictor(project)
answer = predictor.predict(predictor.parse(sys.stdin.buffer.read()))
assert answer["release"] == "v1.0.0"
assert len(answer["predictions"]) == 3
assert not set({HEAVY!r}) & set(sys.modules)
"""
    root = served_project.root
    settings = {"MLOPS_ROOT": str(root), "BENTOML_HOME": str(root / "var/bentoml")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(body(3)).encode(),
        capture_output=True,
        env=os.environ | settings,
        cwd=root,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
