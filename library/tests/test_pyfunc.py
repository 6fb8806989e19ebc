"""The model folder is an MLflow model that takes raw columns.

It computes its features by the code that it carries.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlgates import Project, model_folder, team_code


@pytest.fixture(scope="module")
def folder(project: Project, sample: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's model, stored."""
    stored = tmp_path_factory.mktemp("stored") / "model"
    model_folder.save(sample.scorer, stored, project.contract, team_code.collected(project))
    return stored


def served_scores(project: Project, sample: Any, rows: Any) -> Any:
    """The scores that the service computes for joined rows."""
    matrix = sample.scorer.matrix(project.contract.arrays(rows))
    return sample.scorer.score(matrix)


def test_a_notebook_asks_a_release_by_raw_columns(
    folder: Path, project: Project, sample: Any
) -> None:
    from mlflow import pyfunc

    rows = sample.rows.head(500)
    raw = rows[sorted(sample.scorer.plan.columns, reverse=True)].assign(another=1)
    predicted = pyfunc.load_model(str(folder)).predict(raw)
    assert np.array_equal(np.asarray(predicted), served_scores(project, sample, rows))
    if project.contract.task == "multiclass":
        assert list(predicted) == project.contract.classes


def test_a_missing_column_is_named(folder: Path, sample: Any) -> None:
    from mlflow import pyfunc
    from mlflow.exceptions import MlflowException

    columns = sample.scorer.plan.columns
    with pytest.raises(MlflowException, match=columns[0]):
        pyfunc.load_model(str(folder)).predict(sample.rows[columns[1:]])


def test_missing_values_are_as_in_the_service(folder: Path, project: Project, sample: Any) -> None:
    from mlflow import pyfunc

    columns = sample.scorer.plan.columns
    nullable = [name for name in columns if project.contract.columns[name].nullable]
    assert nullable, "the sample has no column that may be missing"

    rows = sample.rows.head(20).copy()
    rows[nullable[0]] = rows[nullable[0]].mask(rows.index % 2 == 0)
    predicted = pyfunc.load_model(str(folder)).predict(rows[columns])
    assert np.array_equal(np.asarray(predicted), served_scores(project, sample, rows))
