"""A release as MLflow loads it, in a notebook or a batch job, without the project.

    mlflow.pyfunc.load_model("models:/late-flights@champion").predict(frame)

`frame` has the raw columns that the model's features read, those of look-ups included. MLflow
checks them against the signature in the model folder. The features are computed by the code that
the release carries. The environment needs `mlgates`, and the libraries that requirements.txt in
the folder names.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, to_array
from mlgates.files import read_json
from mlgates.model_folder import load_as_stored

if TYPE_CHECKING:
    import pandas as pd


class RawColumns:
    """A model that predicts from raw columns: those of a request, and those of the look-ups."""

    def __init__(self, folder: Path) -> None:
        """Read a model folder. Raises: ProjectError if its code cannot be imported."""
        self.scorer = load_as_stored(folder)
        self.columns: list[Column] = []
        for name, kind in read_json(folder / "features.json")["columns"].items():
            # Every column may have missing values here: a frame is not a checked request.
            self.columns.append(Column(name=name, kind=kind, source="request", nullable=True))

    def predict(
        self, model_input: "pd.DataFrame", params: dict[str, Any] | None = None
    ) -> "np.ndarray | pd.DataFrame":
        """What the model predicts for n rows, by task.

        Binary: (n,) probabilities of the second class. Regression: (n,) values. More than two
        classes: a frame with a column of probabilities for each class.

        MLflow passes `params`; this model has none and ignores it.
        """
        arrays = {}
        for column in self.columns:
            arrays[column.name] = to_array(column, model_input[column.name])
        scores = self.scorer.score(self.scorer.matrix(arrays))
        if scores.ndim == 1:
            return scores
        import pandas as pd

        return pd.DataFrame(scores, columns=list(self.scorer.classes), index=model_input.index)


def _load_pyfunc(path: str) -> RawColumns:
    """MLflow calls this function, by its name, with the path of the model folder."""
    return RawColumns(Path(path))
