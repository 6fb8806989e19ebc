"""The model folder: what train writes, what a digest covers, and how rows become scores.

It is an MLflow model folder, so MLflow reads it, but nothing here imports MLflow or pandas.
"""

import json
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mlgates import team_code
from mlgates.contract import Arrays, Contract
from mlgates.errors import ProjectError
from mlgates.features import Plan, refuse_barred, stored_plan
from mlgates.files import digest, read_json, write_json, write_text
from mlgates.settings import Settings

# MLflow's types of the contract's kinds of column.
MLFLOW_TYPES = {
    "int": "long",
    "float": "double",
    "bool": "boolean",
    "category": "string",
    "text": "string",
    "datetime": "datetime",
}
CONTRACT = "contract.json"  # what the model was made for, as data
IGNORED = ("registered_model_meta",)  # MLflow drops this file into folders that it loads by alias


@dataclass(frozen=True)
class Scorer:
    """A loaded model with the features that feed it."""

    estimator: Any
    plan: Plan
    vocabulary: Mapping[str, Sequence[str]]
    task: str
    classes: Sequence[str]
    threshold: float
    # The name under which the code that it carries is imported; empty if it was just fitted.
    code: str = ""

    @property
    def features_key(self) -> str:
        """A key that models share if the same rows have the same feature matrix for them."""
        return repr((self.code, self.plan.names, self.vocabulary))

    def matrix(self, arrays: Arrays) -> np.ndarray:
        """(n, k) float64 features of n rows of contract columns."""
        return self.plan.matrix(arrays, self.vocabulary)

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """(n,) probabilities of the second class, or (n,) values of a regression.

        With more than two classes (n, c) probabilities.
        """
        if self.task == "regression":
            return np.asarray(self.estimator.predict(matrix), dtype=float)

        # The estimator may have seen fewer classes than the contract has.
        scores = np.zeros((len(matrix), len(self.classes)))
        seen_classes = np.asarray(self.estimator.classes_, dtype=int)
        scores[:, seen_classes] = self.estimator.predict_proba(matrix)
        if self.task == "binary":
            return scores[:, 1]
        return scores

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """(n,) decisions: a bool or the class's name, or the value itself."""
        if self.task == "regression":
            return scores
        if self.task == "multiclass":
            return np.asarray(self.classes)[scores.argmax(axis=1)]
        is_second = scores >= self.threshold
        if list(self.classes) == ["False", "True"]:
            return is_second
        return np.asarray(self.classes)[is_second.astype(int)]


def score_all(models: Mapping[str, Scorer], arrays: Arrays) -> dict[str, np.ndarray]:
    """The scores of several models on the same rows.

    Features that several models share are computed once.
    """
    matrices: dict[str, np.ndarray] = {}
    scores = {}
    for name, model in models.items():
        key = model.features_key
        if key not in matrices:
            matrices[key] = model.matrix(arrays)
        scores[name] = model.score(matrices[key])
    return scores


def fit(
    arrays: Arrays,
    target: np.ndarray,
    features: Plan,
    model: ModuleType,
    contract: Contract,
    settings: Settings,
) -> Scorer:
    """The team's estimator fitted on n rows. Raises: ProjectError as `fitted` does."""
    scorer, _ = fitted(arrays, target, features, model, contract, settings)
    return scorer


def fitted(
    arrays: Arrays,
    target: np.ndarray,
    features: Plan,
    model: ModuleType,
    contract: Contract,
    settings: Settings,
) -> tuple[Scorer, np.ndarray]:
    """The team's estimator fitted on n rows, and the (n, k) features of these rows.

    `model` is the module with `build`. Of `settings` the sections `train` and `model` count.

    Raises: ProjectError if the target has one class only, `build` refuses the parameters, a feature
    is infinite, or the estimator refuses the rows.
    """
    if contract.task != "regression" and len(np.unique(target)) < 2:
        raise ProjectError(
            f"The training rows have only one class of the label {contract.outcome.name!r}."
        )
    vocabulary = features.vocabulary(arrays)
    matrix = features.matrix(arrays, vocabulary)
    estimator = _built(model, features, settings)
    _check_finite(features, matrix)
    try:
        estimator.fit(matrix, target)
    except ValueError as error:
        message = f"model.py: fit() refused: {error}."
        empty = _without_value(features, matrix)
        if empty:  # a likely reason, which the estimator's own message hardly names
            message += f" No training row has a value of {', '.join(empty)}."
        raise ProjectError(message, "See section model of params.yaml.") from error

    threshold = settings.train.threshold
    scorer = Scorer(estimator, features, vocabulary, contract.task, contract.classes, threshold)
    return scorer, matrix


def _built(model: ModuleType, features: Plan, settings: Settings) -> Any:
    """The team's unfitted estimator. Raises: ProjectError if `build` refuses the parameters."""
    categorical = [features.names.index(name) for name in features.categorical]
    try:
        return model.build(settings.model, categorical, settings.train.seed)
    except TypeError as error:
        raise ProjectError(
            f"model.py: build() refused the parameters: {error}",
            "See section model of params.yaml.",
        ) from None


def _check_finite(features: Plan, matrix: np.ndarray) -> None:
    """Raises: ProjectError if a feature is infinite somewhere."""
    for name, column in zip(features.names, matrix.T, strict=True):
        if np.isinf(column).any():
            raise ProjectError(f"features.py: {name} returns infinite values.")


def _without_value(features: Plan, matrix: np.ndarray) -> list[str]:
    """The features that are missing in all rows."""
    empty = []
    for name, column in zip(features.names, matrix.T, strict=True):
        if np.isnan(column).all():
            empty.append(name)
    return empty


def save(
    scorer: Scorer, folder: Path, contract: Contract, code: Mapping[str, str] | None = None
) -> None:
    """Write the model folder: no time, no random id, so equal models are equal bytes.

    `code` is what the model carries (see `team_code.collected`): this code alone will compute its
    features.
    """
    folder.mkdir(parents=True)
    team_code.write(code or {}, folder)
    write_json(folder / CONTRACT, contract.as_data())
    (folder / "model.pkl").write_bytes(pickle.dumps(scorer.estimator, protocol=5))
    content = {
        "features": list(scorer.plan.names),
        "vocabulary": scorer.vocabulary,
        "columns": {name: contract.columns[name].kind for name in scorer.plan.columns},
        "outcome": contract.outcome.name,
        "task": scorer.task,
        "classes": scorer.classes,
        "threshold": scorer.threshold,
    }
    write_json(folder / "features.json", content)

    # The rest is for MLflow, in the form that it writes itself.
    sklearn, numpy = version("scikit-learn"), version("numpy")
    write_text(folder / "requirements.txt", f"scikit-learn=={sklearn}\nnumpy=={numpy}\n")
    python = ".".join(map(str, sys.version_info[:3]))
    environment = (
        f"python: {python}\nbuild_dependencies: []\ndependencies:\n- -r requirements.txt\n"
    )
    write_text(folder / "python_env.yaml", environment)
    write_text(folder / "MLmodel", _mlmodel(scorer, contract, python, sklearn))


def _mlmodel(scorer: Scorer, contract: Contract, python: str, sklearn: str) -> str:
    """The file that MLflow reads first.

    It names two flavors: a pyfunc that takes contract columns (see `mlgates.pyfunc`), and the
    estimator alone.
    """
    columns = []
    for name in scorer.plan.columns:
        column = contract.columns[name]
        kind = MLFLOW_TYPES[column.kind]
        if column.nullable and kind in ("long", "boolean"):
            kind = "double"  # MLflow's long and boolean have no missing value
        columns.append({"type": kind, "name": name, "required": True})
    inputs = json.dumps(columns)
    scores = [{"type": "double", "required": True}]
    if scorer.task == "multiclass":
        scores = [{"type": "double", "name": name, "required": True} for name in scorer.classes]
    outputs = json.dumps(scores)
    return f"""flavors:
  python_function:
    env: {{virtualenv: python_env.yaml}}
    loader_module: mlgates.pyfunc
    python_version: {python}
  sklearn:
    pickled_model: model.pkl
    serialization_format: pickle
    sklearn_version: {sklearn}
signature:
  inputs: '{inputs}'
  outputs: '{outputs}'
"""


def stored_description(folder: Path, contract: Contract) -> dict[str, Any]:
    """The content of a model folder's features.json, whatever features.py says today.

    Raises: ProjectError if there is no model, or if it reads a column that the contract now closes
    to features.
    """
    path = folder / "features.json"
    if not path.exists():
        raise ProjectError(f"There is no model in {folder.name}.", "Fetch it: uv run mlops follow")
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    refuse_barred("the stored model", stored["columns"], contract)
    return stored


def is_whole(folder: Path, expected: str) -> bool:
    """Whether a model folder exists and has the recorded digest."""
    return folder.exists() and digest(folder, IGNORED) == expected


def verified(folder: Path, expected: str) -> Path:
    """The folder, if its digest is the recorded one. Raises: ProjectError `serving.digest`."""
    found = digest(folder, IGNORED)
    if found != expected:
        raise ProjectError(
            f"serving.digest: the model in {folder.name} is not the recorded one:"
            f" its digest is {found[:8]}, not {expected[:8]}."
        )
    return folder


def columns_gone(folder: Path, contract: Contract) -> list[str]:
    """What a stored model reads and the contract lacks, or has as another type.

    One sentence for each such column.
    """
    sentences = []
    for name, kind in stored_description(folder, contract)["columns"].items():
        if name not in contract.feature_columns:
            sentences.append(f"{name!r} is not in the contract")
        elif contract.columns[name].kind != kind:
            sentences.append(f"{name!r} was {kind} and is {contract.columns[name].kind}")
    return sentences


def load(
    folder: Path,
    contract: Contract,
    features: ModuleType | None = None,
    expected: str | None = None,
) -> Scorer:
    """Load a model folder, after its digest was compared with the recorded one (`expected`).

    The features are computed by the code that the folder carries, or by `features` if given.

    Raises: ProjectError if the folder is absent, was changed or reads a column that is closed to
    features, if its code cannot be imported, or `serving.contract` if the contract lacks a column
    that it reads.
    """
    if expected is not None and folder.exists():
        verified(folder, expected)
    stored = stored_description(folder, contract)
    gone = columns_gone(folder, contract)
    if gone:
        raise ProjectError(
            f"serving.contract: the model in {folder.name} reads other columns: {'; '.join(gone)}."
        )
    if stored["task"] != contract.task:
        raise ProjectError(
            f"The model in {folder.name} was made for the task {stored['task']},"
            f" but the contract's task is {contract.task}."
        )
    return load_as_stored(folder, features)


def load_as_stored(folder: Path, features: ModuleType | None = None) -> Scorer:
    """A stored model as it is, whatever the contract says today.

    A project that uses a model calls `load`, which compares it with the contract.
    Raises: ProjectError if its code cannot be imported.
    """
    stored = read_json(folder / "features.json")
    pickled = (folder / "model.pkl").read_bytes()
    if features is None:
        carried = team_code.read(folder)
        code = carried.name
        features = carried.module("features")
        estimator = carried.unpickled(pickled)
    else:
        code = ""
        estimator = pickle.loads(pickled)
    return Scorer(
        estimator=estimator,
        plan=stored_plan(features, stored["features"], tuple(stored["vocabulary"])),
        vocabulary=stored["vocabulary"],
        task=stored["task"],
        classes=stored["classes"],
        threshold=stored["threshold"],
        code=code,
    )
