"""The model folder is an MLflow model: it takes raw columns, and computes its features by the code that it carries."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlgates import Project, model_folder, team_code


@pytest.fixture(scope="module")
def folder(project: Project, sample: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's model, stored."""
    made = tmp_path_factory.mktemp("stored") / "model"
    model_folder.save(sample.scorer, made, project.contract, team_code.collected(project))
    return made


def test_a_notebook_asks_a_release_by_raw_columns(
    folder: Path, project: Project, sample: Any
) -> None:
    from mlflow import pyfunc

    rows = sample.rows.head(500)
    raw = rows[sorted(sample.scorer.plan.columns, reverse=True)].assign(another=1)
    given = pyfunc.load_model(str(folder)).predict(raw)
    expected = sample.scorer.score(sample.scorer.matrix(project.contract.arrays(rows)))
    assert np.array_equal(np.asarray(given), expected)
    if project.contract.task == "multiclass":
        assert list(given) == project.contract.classes


def test_a_missing_column_is_named(folder: Path, sample: Any) -> None:
    from mlflow import pyfunc
    from mlflow.exceptions import MlflowException

    columns = sample.scorer.plan.columns
    with pytest.raises(MlflowException, match=columns[0]):
        pyfunc.load_model(str(folder)).predict(sample.rows[columns[1:]])


def test_missing_values_are_as_in_the_service(folder: Path, project: Project, sample: Any) -> None:
    from mlflow import pyfunc

    rows = sample.rows.head(20).copy()
    nullable = [
        name for name in sample.scorer.plan.columns if project.contract.columns[name].nullable
    ]
    assert nullable, "the sample has no column that may be missing"
    rows[nullable[0]] = rows[nullable[0]].mask(rows.index % 2 == 0)
    given = pyfunc.load_model(str(folder)).predict(rows[sample.scorer.plan.columns])
    expected = sample.scorer.score(sample.scorer.matrix(project.contract.arrays(rows)))
    assert np.array_equal(np.asarray(given), expected)
