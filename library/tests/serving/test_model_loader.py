"""Releases that differ from the deployed code: in features, in contract, or in what they need."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydantic import create_model
from sklearn.dummy import DummyClassifier, DummyRegressor

from mlgates import Project, ProjectError, model_folder, team_code
from mlgates.contract import Contract
from mlgates.features import Plan
from mlgates.files import digest, read_json, write_json
from mlgates.layout import CHAMPION
from mlgates.serving import Predictor, Refused, prediction_log, prometheus
from mlgates.trust import champion

FEATURES = '''"""Features of a release."""

import numpy as np


def how_many({column}):
    """A number that tells which release computed it."""
    return np.full(len({column}), {number}.0)
'''


@pytest.fixture
def predictor(served_project: Project) -> Iterator[Predictor]:
    """A predictor with v1.0.0 as champion."""
    opened = Predictor(served_project)
    yield opened
    opened.close()


def with_features(
    contract: Contract, scorer: model_folder.Scorer, number: int
) -> tuple[Any, dict[str, str]]:
    """A model on one feature that is `number`, and the code that it carries.

    Each number gives another features.py.
    """
    column = next(name for name in contract.request_columns if not contract.why_forbidden(name))
    files = {
        "late/__init__.py": "",
        "late/features.py": FEATURES.format(column=column, number=number),
    }
    plan = Plan(("how_many",), {"how_many": np.ones_like}, {"how_many": (column,)}, ())
    target = np.arange(max(2, len(contract.classes)))
    kind = DummyRegressor if contract.task == "regression" else DummyClassifier
    estimator = kind().fit(target.reshape(-1, 1), target)
    return replace(scorer, estimator=estimator, plan=plan, vocabulary={}), files


def released(
    project: Project, scorer: model_folder.Scorer, files: dict[str, str], release: str
) -> None:
    """Record a champion that carries its own code."""
    folder = project.root / "var/models" / release.replace(".", "")
    model_folder.save(scorer, folder, project.contract, files)
    pointer = read_json(project.root / CHAMPION)
    put_in_service(project, pointer, release, folder)


def put_in_service(project: Project, pointer: dict[str, Any], release: str, folder: Path) -> None:
    """Let a pointer name this release and its model, with a verdict on just these bytes."""
    model = digest(folder)
    report = pointer["report"] | {"facts": {"model": model}}
    named = {"release": release, "fingerprint": folder.name, "digest": model, "report": report}
    champion.put_in_service(project, pointer | named)


def test_releases_with_other_features_answer_one_after_the_other_and_lose_no_request(
    predictor: Predictor, served_project: Project, sample: Any, body: Any
) -> None:
    """Each answer comes from the features that its release carries, while requests keep coming."""
    contract = served_project.contract
    content = json.dumps(body(5)).encode()
    answers = [predictor.predict(predictor.parse(content))]

    def swap() -> None:
        """Another release as soon as the one before has answered."""
        for number in range(1, 9):
            scorer, files = with_features(contract, sample.scorer, number)
            released(served_project, scorer, files, f"v2.{number}.0")
            while answers[-1]["release"] != f"v2.{number}.0":
                time.sleep(0.001)

    with ThreadPoolExecutor(1) as pool:
        swapping = pool.submit(swap)
        while not swapping.done():
            answers.append(predictor.predict(predictor.parse(content)))
        swapping.result()
    answered = {answer["release"] for answer in answers}
    assert {f"v2.{number}.0" for number in range(1, 9)} <= answered
    logged = prediction_log.read(served_project)
    assert len(logged) == 5 * len(answers)
    for release, rows in logged.groupby("release"):
        if release != "v1.0.0":
            number = int(str(release).split(".")[1])
            assert set(rows["feature__how_many"]) == {number}, "features of another release"


def other_contract(project: Project) -> Project:
    """The project after its request has got one more column."""
    contract = project.contract
    request = create_model("Request", __base__=contract.request, __doc__="More.", more=(float, ...))
    schema: Any = ModuleType("schema")
    schema.contract = replace(contract, request=request)
    return project.having(schema=schema)


def behind() -> float:
    """What /metrics says."""
    return float(prometheus.BEHIND._value.get())


def test_a_champion_made_for_another_contract_is_answered_503_with_what_to_do(
    served_project: Project, sample: Any, body: Any
) -> None:
    deployed = other_contract(served_project)
    pointer = read_json(served_project.root / CHAMPION)
    champion.put_in_service(served_project, pointer | {"commit": "f00dface0123456789"})
    predictor = Predictor(deployed)
    assert not predictor.ready()
    assert behind() == 1
    with pytest.raises(Refused) as refused:
        predictor.predict(predictor.parse(json.dumps(body(1, more=1.0)).encode()))
    assert refused.value.code == 503
    assert refused.value.message == (
        "v1.0.0 was made for another contract than the deployed one (column 'more' is new)."
        " Deploy the service anew, from commit f00dface0123."
    )
    folder = deployed.root / "var/models/v110"
    model_folder.save(sample.scorer, folder, deployed.contract, team_code.collected(deployed))
    put_in_service(deployed, pointer, "v1.1.0", folder)
    assert predictor.ready()
    assert behind() == 0
    # Rolled back: the model in service would answer what was checked by the wrong contract.
    champion.put_in_service(deployed, pointer)
    assert not predictor.ready()
    with pytest.raises(Refused, match="was made for another contract"):
        predictor.predict(predictor.parse(json.dumps(body(1, more=1.0)).encode()))
    predictor.close()


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda contract: {"key": ()}, ""),
        (lambda contract: {"slices": (), "groups": ()}, ""),
        (lambda contract: {"rules": (of_one_column(contract),)}, "rule 'possible' is new"),
        (lambda contract: {"rules": (), "lookups": ()}, "look-up"),
    ],
)
def test_only_what_a_service_needs_tells_contracts_apart(
    contract: Contract, change: Callable[[Contract], dict[str, Any]], difference: str
) -> None:
    other = replace(contract, **change(contract))
    differences = other.differences(contract.as_data())
    assert bool(differences) == bool(difference)
    assert difference in "; ".join(differences)


def of_one_column(contract: Contract) -> Callable[..., np.ndarray]:
    """A rule, as a team writes it."""
    column = next(iter(contract.request_columns))
    names: dict[str, Any] = {}
    exec(f"def possible({column}):\n    return {column} == {column}\n", names)
    rule: Callable[..., np.ndarray] = names["possible"]
    return rule


def test_a_bound_of_zero_is_part_of_the_contract(project: Project) -> None:
    bounded = {}
    for name, column in project.contract.columns.items():
        if column.low is not None:
            bounded[name] = column.low
    stored = project.contract.as_data()["columns"]
    assert {name: stored[name]["low"] for name in bounded} == bounded


def test_a_model_whose_library_is_missing_names_the_library(
    served_project: Project, body: Any
) -> None:
    pointer = read_json(served_project.root / CHAMPION)
    folder = champion.find(served_project, pointer["fingerprint"])
    features = next((folder / "code").glob("*/features.py"))
    features.write_text("import xgboost_of_another_time\n" + features.read_text())
    pointer["digest"] = digest(folder)
    pointer["report"]["facts"]["model"] = pointer["digest"]
    champion.put_in_service(served_project, pointer)
    predictor = Predictor(served_project)
    with pytest.raises(Refused) as refused:
        predictor.predict(predictor.parse(json.dumps(body(1)).encode()))
    assert refused.value.code == 503
    assert not predictor.ready()
    assert "could not be loaded" in refused.value.message
    assert "No module named 'xgboost_of_another_time'" in refused.value.message
    predictor.close()


@pytest.mark.parametrize(
    "error", [MemoryError(), FileNotFoundError(2, "No such file", "/srv/secret/model.pkl")]
)
def test_an_error_of_the_machine_is_named_without_its_message(
    served_project: Project, body: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr(champion, "load_served", broken)
    predictor = Predictor(served_project)
    with pytest.raises(Refused, match=f"could not be loaded: {type(error).__name__}$"):
        predictor.predict(predictor.parse(json.dumps(body(1)).encode()))
    predictor.close()


def test_without_a_champion_nothing_else_is_said(served_project: Project, body: Any) -> None:
    (served_project.root / CHAMPION).unlink()
    predictor = Predictor(served_project)
    with pytest.raises(Refused, match="No champion is in service"):
        predictor.predict(predictor.parse(json.dumps(body(1)).encode()))
    predictor.close()


def test_a_folder_whose_code_was_edited_is_refused(served_project: Project) -> None:
    pointer = read_json(served_project.root / CHAMPION)
    folder: Path = champion.find(served_project, pointer["fingerprint"])
    features = next((folder / "code").glob("*/features.py"))
    features.write_text(features.read_text() + "\n")
    with pytest.raises(ProjectError, match=r"serving\.digest"):
        champion.load_served(served_project, pointer)


def test_a_model_folder_without_its_contract_is_damaged(served_project: Project) -> None:
    pointer = read_json(served_project.root / CHAMPION)
    folder = champion.find(served_project, pointer["fingerprint"])
    (folder / "contract.json").unlink()
    write_json(served_project.root / CHAMPION, pointer)
    with pytest.raises(ProjectError, match=r"contract\.json is missing"):
        champion.other_contract(served_project, pointer)
