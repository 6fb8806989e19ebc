"""Features: found by name, ordered by need, refused when they read what they may not."""

from types import ModuleType

import numpy as np
import pytest

from mlgates import Project, ProjectError, model_folder
from mlgates.contract import Contract
from mlgates.evaluation import measure
from mlgates.features import encode, plan
from mlgates.files import write_json


def module(code: str) -> ModuleType:
    """A features.py with this text."""
    features = ModuleType("features")
    exec(code, features.__dict__)
    return features


def readable(contract: Contract) -> str:
    """A column that a feature may read."""
    return next(name for name in contract.request_columns if not contract.why_forbidden(name))


def test_the_features_of_this_project_resolve(project: Project) -> None:
    resolved = plan(project.features, project.contract)
    assert resolved.names and set(resolved.columns) <= set(project.contract.feature_columns)


def test_a_feature_may_read_another_feature(contract: Contract) -> None:
    column = readable(contract)
    code = f"def b(a):\n    return a + 1\n\ndef a({column}):\n    return {column} * 2\n"
    resolved = plan(module(code), contract)
    assert resolved.ancestors("b") == {column}
    assert resolved.compute({column: np.array([1.0])})["b"].tolist() == [3.0]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "def a(nothing_like_it):\n    return 1\n",
            "neither a column of the contract nor a feature",
        ),
        (
            "def a(b):\n    return b\n\ndef b(a):\n    return a\n",
            "read each other in a circle: a -> b -> a",
        ),
        ("AS_IS = []\n", "defines no feature"),
    ],
)
def test_what_cannot_be_resolved_is_said(contract: Contract, code: str, sentence: str) -> None:
    with pytest.raises(ProjectError, match=sentence):
        plan(module(code), contract)


def test_the_outcome_cannot_be_a_feature(contract: Contract) -> None:
    outcome = contract.outcome.name
    code = f"def a({outcome}):\n    return {outcome}\n"
    with pytest.raises(ProjectError, match=r"features\.forbidden"):
        plan(module(code), contract)


def test_a_stored_model_that_reads_a_barred_column_is_neither_loaded_nor_logged_nor_compared_with(
    empty: Project,
) -> None:
    contract = empty.contract
    reads_outcome = {"columns": {contract.outcome.name: contract.outcome.kind}}
    for folder in (empty.root / "models/candidate", empty.root / "var/models/old"):
        write_json(folder / "features.json", reads_outcome)
        with pytest.raises(ProjectError, match=r"features\.forbidden: the stored model reads"):
            model_folder.load(folder, contract)
    with pytest.raises(ProjectError, match=r"features\.forbidden: the stored model reads"):
        empty.stage("track").main(empty)
    assert not (empty.root / "mlflow.db").exists()
    assert measure.champion(empty, "old", lambda folder: model_folder.load(folder, contract)) == {}


def test_a_feature_of_another_length_is_refused(contract: Contract) -> None:
    column = readable(contract)
    resolved = plan(module(f"def a({column}):\n    return {column}.mean()\n"), contract)
    with pytest.raises(ProjectError, match=r"a returned an array of shape \(\) for 2 rows"):
        resolved.compute({column: np.array([1.0, 2.0])})


def test_a_word_that_training_did_not_see_is_missing() -> None:
    features = {"word": np.array(["x", "y", None], dtype=object)}
    matrix = encode(features, ["word"], {"word": ["x"]})
    assert matrix[0, 0] == 0 and np.isnan(matrix[1:, 0]).all()


def test_a_feature_that_returns_words_is_refused_with_the_remedy() -> None:
    features = {"word": np.array(["x", "y"], dtype=object)}
    with pytest.raises(ProjectError, match=r"word returns words(.|\n)*list it in AS_IS"):
        encode(features, ["word"], {})
