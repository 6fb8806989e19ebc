"""Score the evaluation rows with stored models.

Usage: `python -m mlgates.lineage.score_again FOLDER TARGET [FOLDER TARGET]`.

`mlops reproduce` runs it with the library of a release, which may be another version than the one
that compares the scores. These words are all that both versions must agree on, so they must not
change.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from mlgates.layout import EVALUATION
from mlgates.model_folder import load
from mlgates.project import Project


def main(words: list[str]) -> None:
    """Write the scores of each model folder to the .npy file that is named after it."""
    project = Project.find()
    rows = pd.read_parquet(project.root / EVALUATION)
    arrays = project.contract.arrays(rows)
    for folder, target in zip(words[::2], words[1::2], strict=True):
        scorer = load(Path(folder), project.contract)
        np.save(target, scorer.score(scorer.matrix(arrays)))


if __name__ == "__main__":
    main(sys.argv[1:])
