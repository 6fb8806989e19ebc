"""A release as MLflow loads it, in a notebook or a batch job, without the project.

    mlflow.pyfunc.load_model("models:/late-flights@champion").predict(frame)

`frame` has the raw columns that the model's features read, look-ups included; MLflow checks them by the signature
in the folder. The features are computed by the code that the release carries. The environment needs `mlgates` and
the libraries that requirements.txt of the folder names.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, to_array
from mlgates.files import read_json
from mlgates.model_folder import opened

if TYPE_CHECKING:
    import pandas as pd


class RawColumns:
    """A model that is asked by raw columns, as a caller of the service names them, and by looked-up ones."""

    def __init__(self, folder: Path) -> None:
        """Read a model folder. Raises: ProjectError if its code cannot be imported."""
        self.scorer = opened(folder)
        self.columns: list[Column] = []
        for name, kind in read_json(folder / "features.json")["columns"].items():
            self.columns.append(Column(name=name, kind=kind, source="request", nullable=True))

    def predict(
        self, model_input: "pd.DataFrame", params: dict[str, Any] | None = None
    ) -> "np.ndarray | pd.DataFrame":
        """(n,) probabilities of the second class, (n,) values, or with more classes a frame with a column for each.

        `params` is MLflow's; there are none.
        """
        arrays = {
            column.name: to_array(column, model_input[column.name]) for column in self.columns
        }
        scores = self.scorer.score(self.scorer.matrix(arrays))
        if scores.ndim == 1:
            return scores
        import pandas as pd

        return pd.DataFrame(scores, columns=list(self.scorer.classes), index=model_input.index)


def _load_pyfunc(path: str) -> RawColumns:
    """What MLflow calls with the path of the model folder."""
    return RawColumns(Path(path))
