"""Can the service load the candidate? Tried with the libraries that the service has, and no others.

The pipeline has the libraries of all dependency groups; the service has those of the groups
`serve` and `team-serve`. A model whose library is in another group can be trained and measured
here, and cannot be loaded there. So it is loaded in an environment like the service's, made from
uv.lock, and must give the same scores as here.
"""

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mlgates import tools
from mlgates.contract import Arrays
from mlgates.errors import ProjectError
from mlgates.files import temporary_folder
from mlgates.layout import SERVING_ENVIRONMENT, UV_LOCK
from mlgates.model_folder import Scorer, load_as_stored
from mlgates.project import Project

ROWS = 100  # enough for each category to be looked up, and one request of usual size
RUN = "from mlgates.evaluation import serving_environment; serving_environment.main()"


def measure(project: Project, folder: Path, scorer: Scorer, arrays: Arrays) -> dict[str, Any]:
    """Score some rows with a stored model in the service's environment, and compare.

    `scorer` is the model in `folder` as it was loaded here, `arrays` holds (n,) columns. Returns
    plain data:

    - `not_tried`: why it could not be tried; empty if it was
    - `error`: why the model could not be loaded or asked there; empty if it could
    - `rows`: how many rows were scored in both environments
    - `differing`: how many of them have another score there, to the bit
    """
    result: dict[str, Any] = {"not_tried": "", "error": "", "rows": 0, "differing": 0}
    try:
        python = synced_environment(project)
    except ProjectError as error:
        return result | {"not_tried": str(error).splitlines()[0]}

    first_rows = {name: values[:ROWS] for name, values in arrays.items()}
    with temporary_folder() as temporary:
        rows, answer = temporary / "rows.pkl", temporary / "scores.pkl"
        rows.write_bytes(pickle.dumps(first_rows))
        words = (str(python), "-c", RUN, str(folder), str(rows), str(answer))
        ended = tools.run(project, *words)
        if ended.code:
            return result | {"error": ended.reason}
        scores_there = pickle.loads(answer.read_bytes())

    scores_here = scorer.score(scorer.matrix(first_rows))
    same = (scores_here == scores_there) | (np.isnan(scores_here) & np.isnan(scores_there))
    if same.ndim == 2:  # a row has a score for each class
        same = same.all(axis=1)
    return result | {"rows": len(same), "differing": int((~same).sum())}


def synced_environment(project: Project) -> Path:
    """Bring var/serving-environment to what uv.lock says; returns its Python.

    It takes half a second, because uv links the files of its cache. It never uses the network:
    what is measured must not depend on it.
    Raises: ProjectError if uv.lock is missing, or uv cannot make the environment from its cache.
    """
    if not (project.root / UV_LOCK).exists():
        raise ProjectError("uv.lock is missing.", "Run: uv lock")
    folder = project.root / SERVING_ENVIRONMENT
    environs = tools.environment(project) | {"UV_PROJECT_ENVIRONMENT": str(folder)}
    words = ["uv", "sync", "--quiet", "--offline", "--frozen", "--no-install-project"]
    words += [*tools.SERVING_GROUPS, "--python", sys.executable]
    ended = tools.run(project, *words, environs=environs)
    if ended.code:
        raise ProjectError(f"uv could not install what uv.lock says: {ended.reason}.")
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def main() -> None:
    """Score stored rows with a stored model; the service's environment runs this.

    The arguments are the model's folder, the file of the rows, and the file for the scores.
    """
    folder, rows, answer = map(Path, sys.argv[1:])
    try:
        scorer = load_as_stored(folder)
    except ProjectError as error:  # said without a traceback; any other error ends with its own
        sys.exit(str(error))
    arrays = pickle.loads(rows.read_bytes())
    answer.write_bytes(pickle.dumps(scorer.score(scorer.matrix(arrays))))
