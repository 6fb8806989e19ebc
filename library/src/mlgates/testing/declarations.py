"""Promises about the team's four files, and about what pyproject.toml and dvc.yaml declare."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from mlgates.data import partitions
from mlgates.features import plan
from mlgates.layout import (
    DVC_CONFIG,
    MLFLOW_ARTIFACTS,
    MLFLOW_DATABASE,
    PIPELINE,
    SOURCES,
    STATE,
)
from mlgates.rehearsal import PERIODS, STAGES, Rehearsal
from mlgates.results import check_results
from mlgates.team_code import imported_files, source_path

# The number in [tool.mlgates.results] of pyproject.toml that a stage belongs to
RESULTS = {
    "ingest": "data",
    "validate": "data",
    "train": "training",
    "studies": "training",
    "evaluate": "evaluation",
    "gate": "gate",
}

# Files that belong to a tool and not to a stage: MLflow's store, and DVC's settings and locks
STATE_OF_TOOLS = (
    MLFLOW_DATABASE.name,
    f"{MLFLOW_ARTIFACTS.as_posix()}/",
    f"{STATE.as_posix()}/mlflow.",
    f"{DVC_CONFIG.parent.as_posix()}/",
)


def the_four_files_fit_together(rehearsal: Rehearsal) -> None:
    """The contract and the features are read, and build() returns an estimator.

    The features read columns that exist, and none that is barred.
    """
    project = rehearsal.original
    contract = project.contract
    features = plan(project.features, contract)

    rows = rehearsal.periods[PERIODS[0]][partitions.ROWS]
    required = {*contract.request_columns, contract.outcome.name}
    missing = required.difference(map(str, rows))
    assert not missing, f"data.py does not deliver the columns {sorted(missing)}"

    settings = project.settings()
    categorical = list(map(features.names.index, features.categorical))
    estimator = project.model.build(settings.model, categorical, settings.train.seed)
    methods = ["fit", "predict_proba"]
    if contract.task == "regression":
        methods = ["fit", "predict"]
    for method in methods:
        has_method = callable(getattr(estimator, method, None))
        assert has_method, f"model.py: the estimator that build() returns has no {method}()"


def the_results_are_those_of_the_library(rehearsal: Rehearsal) -> None:
    """`[tool.mlgates.results]` names the numbers of the running library.

    Each stage depends on its own number.
    """
    check_results(rehearsal.original)
    for name, stage in _stages(rehearsal).items():
        if name not in RESULTS:
            continue
        number = f"tool.mlgates.results.{RESULTS[name]}"
        depends = {number, "tool.mlgates.results"} & set(_parameters(stage))
        assert depends, f"dvc.yaml: stage {name} does not name the parameter {number}"


def each_stage_names_the_code_that_it_uses(rehearsal: Rehearsal) -> None:
    """The deps below src/ in dvc.yaml are the files of the team's package that a stage uses.

    These are its wiring file, the other modules that it asked for, and what they import.
    """
    project = rehearsal.original
    stages = _stages(rehearsal)
    for name in rehearsal.stages:
        modules = {f"pipeline.{name}", *rehearsal.performance(name).used}
        used = {source_path(project, module) for module in imported_files(project, sorted(modules))}
        listed = {path for path in stages[name]["deps"] if path.startswith(f"{SOURCES}/")}
        unlisted = ", ".join(sorted(used - listed))
        unused = ", ".join(sorted(listed - used))
        assert not unlisted, f"dvc.yaml: stage {name} uses {unlisted}, which is not among its deps"
        assert not unused, (
            f"dvc.yaml: stage {name} names {unused} among its deps and does not use it"
        )


def each_stage_writes_what_dvc_yaml_says(rehearsal: Rehearsal) -> None:
    """Every output of a stage is there after it, and the stage wrote nothing else."""
    stages = _stages(rehearsal)
    for name in rehearsal.stages:
        outputs = _outputs(stages[name])
        written = rehearsal.performance(name).written
        for output in outputs:
            assert (rehearsal.folder / output).exists(), f"stage {name} did not write {output}"
        for path in written:
            is_output = any(PurePosixPath(path).is_relative_to(output) for output in outputs)
            assert is_output or path.startswith(STATE_OF_TOOLS), (
                f"stage {name} wrote {path}, which dvc.yaml does not name"
            )


def _stages(rehearsal: Rehearsal) -> dict[str, Any]:
    """The stages of the project's dvc.yaml by name."""
    content = yaml.safe_load((rehearsal.original.root / PIPELINE).read_text(encoding="utf-8"))
    stages: dict[str, Any] = content["stages"]
    missing = [name for name in STAGES if name not in stages]
    assert not missing, f"dvc.yaml has no stage {', '.join(missing)}"
    return stages


def _parameters(stage: Mapping[str, Any]) -> list[str]:
    """The parameters that a stage depends on, from whatever file.

    In dvc.yaml an entry is a parameter of params.yaml, or a file with a list of its parameters.
    """
    names = []
    for entry in stage.get("params", []):
        if isinstance(entry, str):
            names.append(entry)
            continue
        for parameters in entry.values():
            names += parameters or []
    return names


def _outputs(stage: Mapping[str, Any]) -> list[str]:
    """The paths that a stage declares as its outputs.

    In dvc.yaml an entry is a path, or a path with its settings.
    """
    paths = []
    for entry in stage["outs"]:
        if isinstance(entry, str):
            paths.append(entry)
        else:
            paths += list(entry)
    return paths
