"""Candidate, champion and baselines are loaded as what they are, and measured on the same rows."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mlgates import Project, ProjectError, evaluation, features, model_folder, team_code
from mlgates.contract import Contract
from mlgates.files import digest, write_json
from mlgates.gate.rules import gate
from mlgates.layout import BASELINES, CANDIDATE, EVALUATION, HOLDOUT, KEYS, MODELS, TRAINING
from mlgates.training import train
from mlgates.verdict import Check, Report, Verdict


@pytest.fixture(scope="module")
def trained(project: Project, sample: Any, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A folder as the stage train leaves it, for the first cycle."""
    placed = project.moved(tmp_path_factory.mktemp("trained"))
    shutil.copy(project.root / "params.yaml", placed.root)
    write_cycle(placed, None)
    training_rows, evaluation_rows, holdout_rows = (
        sample.rows.iloc[start::3].reset_index(drop=True) for start in range(3)
    )
    candidate, baselines = train(project, training_rows, project.settings())
    code = team_code.collected(project)
    model_folder.save(candidate, placed.root / CANDIDATE, project.contract, code)
    for name, baseline in baselines.items():
        model_folder.save(baseline, placed.root / BASELINES / name, project.contract, code)
    (placed.root / "data").mkdir()
    evaluation_rows.to_parquet(placed.root / EVALUATION)
    holdout_rows.head(300).to_parquet(placed.root / HOLDOUT)
    write_json(placed.root / TRAINING, {"periods": {"train": ["1"], "evaluation": ["2"]}})
    return placed


@pytest.fixture
def begun(trained: Project, tmp_path: Path) -> Project:
    """A copy of that folder which a test may change."""
    root = tmp_path / "begun"
    shutil.copytree(trained.root, root)
    return trained.moved(root)


def write_cycle(project: Project, champion: str | None) -> None:
    """Write cycle.yaml: the champion that is to be beaten, by its id."""
    release = "v1.0.0" if champion else None
    content = {"until": "2", "champion": champion, "release": release, "age": 0}
    (project.root / "cycle.yaml").write_text(yaml.safe_dump(content))


def crown(project: Project, model: Path) -> Path:
    """Let a model be the champion that is to be beaten. Returns its folder in var/models."""
    folder = project.root / MODELS / "f00d"
    shutil.copytree(model, folder)
    write_cycle(project, "f00d")
    return folder


def test_in_the_first_cycle_there_are_a_candidate_and_its_baselines(trained: Project) -> None:
    assert [*evaluation.load_models(trained)] == [
        "candidate",
        "baseline.simple",
        "baseline.trivial",
    ]


def test_the_champion_is_the_one_that_the_cycle_names(begun: Project) -> None:
    crown(begun, begun.root / BASELINES / "trivial")
    models = evaluation.load_models(begun)
    assert [*models] == ["candidate", "champion", "baseline.simple", "baseline.trivial"]
    scores = evaluation.score(begun, models, evaluation.read_rows(begun).head(50))
    assert np.array_equal(scores["champion"], scores["baseline.trivial"])
    assert not np.array_equal(scores["champion"], scores["candidate"])


def test_a_champion_that_is_not_here_is_one_sentence(begun: Project) -> None:
    write_cycle(begun, "f00dface")
    with pytest.raises(ProjectError, match="The champion f00dface is not on this machine"):
        evaluation.load_models(begun)


def test_an_unsigned_champion_is_not_unpickled_where_the_team_trusts_a_key(
    begun: Project,
) -> None:
    folder = crown(begun, begun.root / CANDIDATE)
    (folder / "model.pkl").write_bytes(b"this would fail if it were unpickled")
    (begun.root / KEYS).mkdir()
    (begun.root / KEYS / "someone.pub").write_text("a key")
    with pytest.raises(ProjectError, match=r"serving\.signature: the model f00d is not signed"):
        evaluation.load_models(begun)


def test_a_champion_that_predicts_something_else_is_not_loaded(begun: Project) -> None:
    folder = crown(begun, begun.root / CANDIDATE)
    described = json.loads((folder / "features.json").read_text())
    write_json(folder / "features.json", described | {"outcome": "something_else"})
    assert "champion" not in evaluation.load_models(begun)


def test_without_a_candidate_there_is_nothing_to_measure(begun: Project) -> None:
    shutil.rmtree(begun.root / CANDIDATE)
    with pytest.raises(ProjectError, match="There is no model in candidate"):
        evaluation.load_models(begun)


def test_no_row_to_evaluate_on_is_one_sentence(begun: Project) -> None:
    rows = pd.read_parquet(begun.root / EVALUATION)
    rows.head(0).to_parquet(begun.root / EVALUATION)
    with pytest.raises(ProjectError, match="There is no row to evaluate on"):
        evaluation.read_rows(begun)


def measured(project: Project) -> dict[str, Any]:
    """What evaluate measures in the project."""
    rows = evaluation.read_rows(project)
    models = evaluation.load_models(project)
    scores = evaluation.score(project, models, rows)
    return evaluation.evaluate(project, rows, models, scores)


def test_what_is_measured_names_its_model_its_champion_and_its_periods(trained: Project) -> None:
    found = measured(trained)
    assert found["model"] == digest(trained.root / CANDIDATE)
    assert found["champion"] is None
    assert found["periods"] == {"train": ["1"], "evaluation": ["2"]}
    assert found["task"] == trained.contract.task
    assert found["rows"] == len(pd.read_parquet(trained.root / EVALUATION))
    assert found["finite"]
    assert {*found["values"]} == {"candidate", "baseline.simple", "baseline.trivial"}
    assert {*found["differences"]} == {"baseline.simple", "baseline.trivial"}
    assert found["behavior"]["changed_decisions"] is None
    assert found["holdout"]["rows"] == 300
    json.dumps(found, allow_nan=False)  # plain data: the content of a report


def test_a_candidate_against_itself_differs_by_nothing(begun: Project) -> None:
    crown(begun, begun.root / CANDIDATE)
    found = measured(begun)
    assert found["champion"] == "f00d"
    assert found["behavior"]["changed_decisions"]["share"] == 0
    for name, difference in found["differences"]["champion"].items():
        assert (difference["value"], difference["interval"]) == (0, [0, 0]), name
    assert found["slices"]
    for part in found["slices"]:
        for difference in part["difference"].values():
            assert difference["value"] in (0, None)
    for difference in found["holdout"]["differences"]["champion"].values():
        assert difference["value"] == 0


def test_a_slice_has_what_the_gate_compares(begun: Project) -> None:
    crown(begun, begun.root / CANDIDATE)
    for part in measured(begun)["slices"]:
        expected = {"column", "value", "rows", "candidate", "champion", "difference", "floor"}
        assert {*part} == expected


def test_measurements_are_the_same_every_time_but_for_the_cost(trained: Project) -> None:
    first = measured(trained)
    second = measured(trained)
    for found in (first, second):
        del found["behavior"]["cost"]
    assert first == second


def test_a_line_sums_up_the_main_metric_of_each_model(trained: Project) -> None:
    line = evaluation.summary(measured(trained))
    assert line.startswith("evaluate: ")
    assert "of 2; " in line
    for model in ("candidate", "baseline.simple", "baseline.trivial"):
        assert f"{model} " in line


def number_of_the_request(contract: Contract) -> str:
    """The first column of the request that is a number and that features may read."""
    for name, column in contract.request_columns.items():
        if column.is_number and not contract.why_forbidden(name):
            return name
    raise AssertionError("the request has no such column")


def with_one_more_feature(
    project: Project, rows: pd.DataFrame, folder: Path
) -> model_folder.Scorer:
    """A model of a release whose features.py had a feature that today's does not define."""
    contract = project.contract
    column = number_of_the_request(contract)
    files = team_code.collected(project)
    name = f"{project.package}/features.py"
    files[name] += f"\n\ndef of_another_time({column}):\n    return {column} * 0 + 1\n"
    team_code.write(files, folder / "sources")
    carried = team_code.read(folder / "sources")
    plan = features.plan(carried.module("features"), contract)
    arrays = contract.arrays(rows)
    target = contract.target(rows)
    settings = project.settings()
    scorer = model_folder.fit(arrays, target, plan, project.model, contract, settings)
    model_folder.save(scorer, folder / "model", contract, files)
    return scorer


def test_a_champion_whose_feature_was_removed_is_compared_on_the_same_rows(
    begun: Project, tmp_path: Path
) -> None:
    rows = pd.read_parquet(begun.root / EVALUATION)
    scorer = with_one_more_feature(begun, rows, tmp_path)
    assert not hasattr(begun.features, "of_another_time")
    crown(begun, tmp_path / "model")
    models = evaluation.load_models(begun)
    scores = evaluation.score(begun, models, rows)
    assert models["champion"].plan.names[-1] == "of_another_time"
    assert models["candidate"].plan.names[-1] != "of_another_time"
    expected = scorer.score(scorer.matrix(begun.contract.arrays(rows)))
    assert np.array_equal(scores["champion"], expected)
    measured = evaluation.evaluate(begun, rows, models, scores)
    assert "champion" in measured["differences"]
    assert "not_compared" not in measured


def test_a_champion_whose_column_was_removed_is_not_compared_and_the_gate_goes_on(
    begun: Project,
) -> None:
    folder = crown(begun, begun.root / CANDIDATE)
    described = json.loads((folder / "features.json").read_text())
    described["columns"]["of_another_time"] = "float"
    write_json(folder / "features.json", described)
    rows = pd.read_parquet(begun.root / EVALUATION)
    models = evaluation.load_models(begun)
    assert "champion" not in models
    measured = evaluation.evaluate(begun, rows, models, evaluation.score(begun, models, rows))
    reason = (
        "it reads columns that are no longer delivered: 'of_another_time' is not in the contract"
    )
    assert measured["champion"] == "f00d"
    assert measured["not_compared"] == reason
    data = Report("data", [Check("x", Verdict.OK)])
    report = gate(measured, data, begun.settings().gate)
    check = report["gate.champion"]
    assert check.verdict is Verdict.INCONCLUSIVE
    assert reason in check.evidence
    assert "gate.champion" not in report.stops
