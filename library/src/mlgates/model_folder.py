"""The model folder: what train writes, what a digest vouches for, and how rows become scores.

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

MLFLOW_TYPES = {  # of the contract's kinds
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
    code: str = ""  # the name under which the code that it carries is imported; empty for one that was just fitted

    @property
    def sees(self) -> str:
        """What decides its features."""
        return repr((self.code, self.plan.names, self.vocabulary))

    def matrix(self, arrays: Arrays) -> np.ndarray:
        """(n, k) float64 features of n rows of contract columns."""
        return self.plan.matrix(arrays, self.vocabulary)

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """(n,) probability of the second class or (n,) value; (n, c) probabilities where there are more classes."""
        if self.task == "regression":
            return np.asarray(self.estimator.predict(matrix), dtype=float)
        found = self.estimator.predict_proba(matrix)
        scores = np.zeros((len(matrix), len(self.classes)))
        scores[:, np.asarray(self.estimator.classes_, dtype=int)] = found
        return scores[:, 1] if self.task == "binary" else scores

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """(n,) decisions: a bool or the class's name, or the value itself."""
        if self.task == "regression":
            return scores
        if self.task == "binary":
            yes = scores >= self.threshold
            return (
                yes
                if list(self.classes) == ["False", "True"]
                else np.asarray(self.classes)[yes.astype(int)]
            )
        return np.asarray(self.classes)[scores.argmax(axis=1)]


def scored(models: Mapping[str, Scorer], arrays: Arrays) -> dict[str, np.ndarray]:
    """The scores of several models on the same rows; those that see the same features have them computed once."""
    seen = {
        which: one.matrix(arrays)
        for which, one in {one.sees: one for one in models.values()}.items()
    }
    return {name: one.score(seen[one.sees]) for name, one in models.items()}


def fit(
    arrays: Arrays,
    target: np.ndarray,
    features: Plan,
    model: ModuleType,
    contract: Contract,
    settings: Settings,
) -> Scorer:
    """The team's estimator fitted on n rows, as by `fitted`."""
    return fitted(arrays, target, features, model, contract, settings)[0]


def fitted(
    arrays: Arrays,
    target: np.ndarray,
    features: Plan,
    model: ModuleType,
    contract: Contract,
    settings: Settings,
) -> tuple[Scorer, np.ndarray]:
    """The team's estimator fitted on n rows, and their features; of `settings` the sections `train` and `model` count.

    Raises: ProjectError if `build` refuses the parameters or the target has one class only.
    """
    if contract.task != "regression" and len(np.unique(target)) < 2:
        raise ProjectError(
            f"The outcome {contract.outcome.name!r} has one class only in the training rows."
        )
    vocabulary = features.vocabulary(arrays)
    matrix = features.matrix(arrays, vocabulary)
    places = [features.names.index(name) for name in features.categorical]
    try:
        estimator = model.build(settings.model, places, settings.train.seed)
    except TypeError as error:
        raise ProjectError(
            f"model.py: build() refused the parameters: {error}",
            "See section model of params.yaml.",
        ) from None
    if infinite := [
        name
        for name, column in zip(features.names, matrix.T, strict=True)
        if np.isinf(column).any()
    ]:
        raise ProjectError(f"features.py: {infinite[0]} gives infinite values.")
    try:
        estimator.fit(matrix, target)
    except ValueError as error:
        empty = [
            name
            for name, column in zip(features.names, matrix.T, strict=True)
            if np.isnan(column).all()
        ]
        told = f" No training row has a value of {', '.join(empty)}." if empty else ""
        raise ProjectError(
            f"model.py: fit() refused: {error}.{told}", "See section model of params.yaml."
        ) from error
    threshold = settings.train.threshold
    return Scorer(
        estimator, features, vocabulary, contract.task, contract.classes, threshold
    ), matrix


def save(
    scorer: Scorer, folder: Path, contract: Contract, code: Mapping[str, str] | None = None
) -> None:
    """Write the model folder: no time, no random id, so equal models are equal bytes.

    `code` is what the model carries (see `team_code.collected`): its features are computed by just that.
    """
    folder.mkdir(parents=True)
    team_code.write(code or {}, folder)
    write_json(folder / CONTRACT, contract.as_data())
    (folder / "model.pkl").write_bytes(pickle.dumps(scorer.estimator, protocol=5))
    names = list(scorer.plan.names)
    content = {
        "features": names,
        "vocabulary": scorer.vocabulary,
        "columns": {name: contract.columns[name].kind for name in scorer.plan.columns},
        "outcome": contract.outcome.name,
        "task": scorer.task,
        "classes": scorer.classes,
        "threshold": scorer.threshold,
    }
    write_json(folder / "features.json", content)
    pinned = {name: version(name) for name in ("scikit-learn", "numpy")}
    write_text(
        folder / "requirements.txt",
        "".join(f"{name}=={number}\n" for name, number in pinned.items()),
    )
    python = ".".join(map(str, sys.version_info[:3]))
    environment = (
        f"python: {python}\nbuild_dependencies: []\ndependencies:\n- -r requirements.txt\n"
    )
    write_text(folder / "python_env.yaml", environment)
    write_text(folder / "MLmodel", _mlmodel(scorer, contract, python, pinned["scikit-learn"]))


def _mlmodel(scorer: Scorer, contract: Contract, python: str, sklearn: str) -> str:
    """What MLflow reads: a pyfunc that takes raw columns (see `mlgates.pyfunc`), and the estimator alone."""
    columns = []
    for name in scorer.plan.columns:
        column = contract.columns[name]
        kind = MLFLOW_TYPES[column.kind]
        if column.nullable and kind in ("long", "boolean"):
            kind = "double"  # the others have no value for a missing one
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


def described(folder: Path, contract: Contract) -> dict[str, Any]:
    """What a model folder says of its features, whatever features.py says today.

    Raises: ProjectError if there is no model, or if it reads a column that the contract bars by now.
    """
    if not (folder / "features.json").exists():
        raise ProjectError(f"There is no model in {folder.name}.", "Fetch it: uv run mlops follow")
    found: dict[str, Any] = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    refuse_barred("the stored model", found["columns"], contract)
    return found


def is_whole(folder: Path, expected: str) -> bool:
    """Whether a model folder is there, with the recorded digest."""
    return folder.exists() and digest(folder, IGNORED) == expected


def verified(folder: Path, expected: str) -> Path:
    """The folder, if its digest is the recorded one. Raises: ProjectError `serving.digest`."""
    if (found := digest(folder, IGNORED)) != expected:
        told = (
            f"the model in {folder.name} is not the recorded one ({found[:8]}, not {expected[:8]})"
        )
        raise ProjectError(f"serving.digest: {told}.")
    return folder


def columns_gone(folder: Path, contract: Contract) -> list[str]:
    """What a stored model reads and the contract has not, or has as another type: a sentence for each column."""
    found = []
    for name, kind in described(folder, contract)["columns"].items():
        if name not in contract.feature_columns:
            found.append(f"{name!r} is not in the contract")
        elif contract.columns[name].kind != kind:
            found.append(f"{name!r} was {kind} and is {contract.columns[name].kind}")
    return found


def load(
    folder: Path,
    contract: Contract,
    features: ModuleType | None = None,
    expected: str | None = None,
) -> Scorer:
    """Load a model folder, after its digest was compared with the recorded one (`expected`).

    The features are computed by the code that the folder carries, or by `features` where that is given.
    Raises: ProjectError if the folder is absent, was changed or reads what is barred, if its code cannot be imported,
    or `serving.contract` if the contract has not the columns that it reads.
    """
    if expected is not None and folder.exists():
        verified(folder, expected)
    stored = described(folder, contract)
    if gone := columns_gone(folder, contract):
        raise ProjectError(
            f"serving.contract: the model in {folder.name} reads other columns: {'; '.join(gone)}."
        )
    if stored["task"] != contract.task:
        raise ProjectError(
            f"The model is made for {stored['task']}, the contract asks for {contract.task}."
        )
    return opened(folder, features)


def opened(folder: Path, features: ModuleType | None = None) -> Scorer:
    """A stored model as it is, whatever the contract says today; see `load` for one that is to be used by a project.

    Raises: ProjectError if its code cannot be imported.
    """
    stored = read_json(folder / "features.json")
    content = (folder / "model.pkl").read_bytes()
    if features is None:
        carried = team_code.read(folder)
        name, module, estimator = (
            carried.name,
            carried.module("features"),
            carried.unpickled(content),
        )
    else:
        name, module, estimator = "", features, pickle.loads(content)
    plan = stored_plan(module, stored["features"], tuple(stored["vocabulary"]))
    return Scorer(
        estimator,
        plan,
        stored["vocabulary"],
        stored["task"],
        stored["classes"],
        stored["threshold"],
        name,
    )
