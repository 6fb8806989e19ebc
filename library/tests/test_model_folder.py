"""A model survives its storage."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlgates import Project, model_folder, team_code
from mlgates.contract import Contract

PLANTED = "a planted fault"


class Lossy:
    """A model that changes its scores a little when it is stored."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self.lost = 0.0
        self.classes_ = getattr(estimator, "classes_", None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "lost": 1e-12}

    def predict(self, matrix: Any) -> Any:
        return self.estimator.predict(matrix) + self.lost

    def predict_proba(self, matrix: Any) -> Any:
        return self.estimator.predict_proba(matrix) - self.lost


@pytest.mark.parametrize("planted", ["", PLANTED])
def test_save_and_load_agree_to_the_bit(
    project: Project, contract: Contract, sample: Any, tmp_path: Path, planted: str
) -> None:
    scorer = sample.scorer
    if planted:
        scorer = replace(scorer, estimator=Lossy(scorer.estimator))
    model_folder.save(scorer, tmp_path / "model", contract, team_code.collected(project))
    loaded = model_folder.load(tmp_path / "model", contract)

    arrays = contract.arrays(sample.rows)
    before = scorer.score(scorer.matrix(arrays))
    after = loaded.score(loaded.matrix(arrays))
    assert np.array_equal(before, after) != bool(planted)
