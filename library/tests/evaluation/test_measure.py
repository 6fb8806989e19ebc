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
    parts = [sample.rows.iloc[start::3].reset_index(drop=True) for start in range(3)]
    candidate, baselines = train(project, parts[0], project.settings())
    model_folder.save(
        candidate, placed.root / CANDIDATE, project.contract, team_code.collected(project)
    )
    for name, baseline in baselines.items():
        model_folder.save(
            baseline, placed.root / BASELINES / name, project.contract, team_code.collected(project)
        )
    (placed.root / "data").mkdir()
    parts[1].to_parquet(placed.root / EVALUATION)
    parts[2].head(300).to_parquet(placed.root / HOLDOUT)
    write_json(placed.root / TRAINING, {"periods": {"train": ["1"], "evaluation": ["2"]}})
    return placed


@pytest.fixture
def begun(trained: Project, tmp_path: Path) -> Project:
    """A copy of that folder which a test may change."""
    root = tmp_path / "begun"
    shutil.copytree(trained.root, root)
    return trained.moved(root)


def write_cycle(project: Project, champion: str | None) -> None:
    content = {"until": "2", "champion": champion, "release": champion and "v1.0.0", "age": 0}
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


def test_a_champion_that_nobody_signed_is_not_unpickled_where_the_team_trusts_a_key(
    begun: Project,
) -> None:
    folder = crown(begun, begun.root / CANDIDATE)
    (folder / "model.pkl").write_bytes(b"this would fail if it were unpickled")
    (begun.root / KEYS).mkdir()
    (begun.root / KEYS / "someone.pub").write_text("a key")
    with pytest.raises(ProjectError, match=r"serving\.signature: nobody signed the model f00d"):
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
    rows, models = evaluation.read_rows(project), evaluation.load_models(project)
    return evaluation.evaluate(project, rows, models, evaluation.score(project, models, rows))


def test_what_is_measured_names_its_model_its_opponent_and_its_periods(trained: Project) -> None:
    found = measured(trained)
    assert found["model"] == digest(trained.root / CANDIDATE) and found["champion"] is None
    assert found["periods"] == {"train": ["1"], "evaluation": ["2"]}
    assert found["task"] == trained.contract.task
    assert found["rows"] == len(pd.read_parquet(trained.root / EVALUATION)) and found["finite"]
    assert {*found["values"]} == {"candidate", "baseline.simple", "baseline.trivial"}
    assert {*found["differences"]} == {"baseline.simple", "baseline.trivial"}
    assert found["behavior"]["changed_decisions"] is None and found["holdout"]["rows"] == 300
    json.dumps(found, allow_nan=False)  # plain data: the content of a report


def test_a_candidate_against_itself_differs_by_nothing(begun: Project) -> None:
    crown(begun, begun.root / CANDIDATE)
    found = measured(begun)
    assert found["champion"] == "f00d" and found["behavior"]["changed_decisions"]["share"] == 0
    for name, difference in found["differences"]["champion"].items():
        assert (difference["value"], difference["interval"]) == (0, [0, 0]), name
    for part in found["slices"]:
        assert all(difference["value"] in (0, None) for difference in part["difference"].values())
    assert all(
        entry["value"] == 0 for entry in found["holdout"]["differences"]["champion"].values()
    )


def test_measurements_are_the_same_every_time_but_for_the_cost(trained: Project) -> None:
    found, again = measured(trained), measured(trained)
    for report in (found, again):
        del report["behavior"]["cost"]
    assert found == again


def test_a_line_sums_up_the_main_metric_of_each_model(trained: Project) -> None:
    told = evaluation.summary(measured(trained))
    assert told.startswith("evaluate: ") and "of 2; " in told
    assert all(f"{name} " in told for name in ("candidate", "baseline.simple", "baseline.trivial"))


def with_one_more_feature(
    project: Project, rows: pd.DataFrame, folder: Path
) -> model_folder.Scorer:
    """A model of a release whose features.py had one more feature, which today's does not define."""
    contract = project.contract
    column = next(
        name
        for name, one in contract.request_columns.items()
        if one.is_number and not contract.barred(name)
    )
    files = team_code.collected(project)
    name = f"{project.package}/features.py"
    files[name] += f"\n\ndef of_another_time({column}):\n    return {column} * 0 + 1\n"
    team_code.write(files, folder / "sources")
    carried = team_code.read(folder / "sources")
    plan = features.plan(carried.module("features"), contract)
    given = (
        contract.arrays(rows),
        contract.target(rows),
        plan,
        project.model,
        contract,
        project.settings(),
    )
    scorer = model_folder.fit(*given)
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
    assert (
        models["champion"].plan.names[-1] == "of_another_time" != models["candidate"].plan.names[-1]
    )
    expected = scorer.score(scorer.matrix(begun.contract.arrays(rows)))
    assert np.array_equal(scores["champion"], expected)
    measured = evaluation.evaluate(begun, rows, models, scores)
    assert "champion" in measured["differences"] and "not_compared" not in measured


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
    assert measured["champion"] == "f00d" and measured["not_compared"] == reason
    report = gate(measured, Report("data", [Check("x", Verdict.OK)]), begun.settings().gate)
    check = report["gate.champion"]
    assert (
        check.verdict is Verdict.INCONCLUSIVE
        and reason in check.evidence
        and "gate.champion" not in report.stops
    )
