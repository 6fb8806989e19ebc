"""Fit the team's model and the baselines on joined rows."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from mlgates import team_code
from mlgates.data import partitions
from mlgates.features import plan
from mlgates.files import digest, whole, write_json
from mlgates.layout import (
    BASELINES,
    CANDIDATE,
    EVALUATION,
    HOLDOUT,
    REFERENCE,
    TRAINING,
    TRAINING_ROWS,
)
from mlgates.model_folder import Scorer, fitted, save
from mlgates.project import Project
from mlgates.settings import Settings
from mlgates.training.baselines import baselines
from mlgates.training.sanity_checks import check_beats_constant
from mlgates.training.split import reference

if TYPE_CHECKING:
    import pandas as pd


def train(
    project: Project, rows: "pd.DataFrame", settings: Settings
) -> tuple[Scorer, dict[str, Scorer]]:
    """Fit the team's model and the baselines on joined rows.

    Raises: ProjectError for features that may not be used, parameters that `build` refuses, one class only, or a model
    that learnt nothing (`train.beats_constant`).
    """
    features = plan(project.features, project.contract)
    team_code.collected(
        project
    )  # code that a release could not carry is refused before anything is fitted
    arrays, target = project.contract.arrays(rows), project.contract.target(rows)
    scorer, matrix = fitted(arrays, target, features, project.model, project.contract, settings)
    check_beats_constant(project.contract, scorer, rows)
    simple = {
        name: model.fit(matrix, target)
        for name, model in baselines(project, features, settings).items()
    }
    return scorer, {name: replace(scorer, estimator=model) for name, model in simple.items()}


def write(
    project: Project,
    parts: "Mapping[str, pd.DataFrame]",
    rows: "pd.DataFrame",
    candidate: Scorer,
    opponents: Mapping[str, Scorer],
) -> None:
    """Write the candidate with its reference, the baselines, the rows that were split, and reports/train.json.

    `parts` are those of `split`, `rows` what the candidate was fitted on.
    """
    settings = project.settings()
    code = team_code.collected(project)
    with whole(project.root / CANDIDATE) as folder:
        save(candidate, folder, project.contract, code)
        partitions.write(reference(parts["train"], settings.train), folder / REFERENCE)
    with whole(project.root / BASELINES) as folder:
        for name, baseline in opponents.items():
            save(baseline, folder / name, project.contract, code)
    partitions.write(parts["train"], project.root / TRAINING_ROWS)
    partitions.write(parts["evaluation"], project.root / EVALUATION)
    partitions.write(parts["holdout"], project.root / HOLDOUT)
    known = partitions.closed_periods(project)
    train_periods, evaluation_periods = partitions.window(
        known, settings.train.periods, project.contract
    )
    counts = {name: len(part) for name, part in parts.items()}
    facts = {
        "rows": counts | {"fitted": len(rows)},
        "periods": {"train": train_periods, "evaluation": evaluation_periods},
        "features": list(candidate.plan.names),
        "holdout": partitions.content(parts["holdout"]),
        "model": digest(project.root / CANDIDATE),
        "params": {"train": asdict(settings.train), "model": settings.model},
    }
    write_json(project.root / TRAINING, facts)
