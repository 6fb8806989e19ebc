"""Fit the team's model and the baselines on joined rows."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from mlgates import team_code
from mlgates.data import partitions
from mlgates.features import plan
from mlgates.files import atomic, digest, write_json
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
    """Fit the team's model and the baselines on joined rows: (model, baselines by name).

    Raises: ProjectError for features that may not be used, code that a release could not carry,
    parameters that `build` refuses, one class only, or a model that is worse than a constant
    (`train.beats_constant`).
    """
    contract = project.contract
    features = plan(project.features, contract)
    # Before the fit, which takes time: code that a release could not carry is refused here.
    team_code.collected(project)

    arrays = contract.arrays(rows)
    target = contract.target(rows)
    scorer, matrix = fitted(arrays, target, features, project.model, contract, settings)
    check_beats_constant(contract, scorer, rows)

    scorers = {}
    for name, estimator in baselines(project, features, settings).items():
        scorers[name] = replace(scorer, estimator=estimator.fit(matrix, target))
    return scorer, scorers


def write(
    project: Project,
    parts: "Mapping[str, pd.DataFrame]",
    rows: "pd.DataFrame",
    candidate: Scorer,
    opponents: Mapping[str, Scorer],
) -> None:
    """Write what the stage leaves behind.

    That is the candidate with its reference, the baselines (`opponents`), the rows that were split,
    and reports/train.json. `parts` are those of `split`, `rows` those that the candidate was fitted
    on.
    """
    settings = project.settings()
    code = team_code.collected(project)
    with atomic(project.root / CANDIDATE) as folder:
        save(candidate, folder, project.contract, code)
        partitions.write(reference(parts["train"], settings.train), folder / REFERENCE)
    with atomic(project.root / BASELINES) as folder:
        for name, baseline in opponents.items():
            save(baseline, folder / name, project.contract, code)

    partitions.write(parts["train"], project.root / TRAINING_ROWS)
    partitions.write(parts["evaluation"], project.root / EVALUATION)
    partitions.write(parts["holdout"], project.root / HOLDOUT)

    train_periods, evaluation_periods = partitions.training_and_evaluation_periods(
        partitions.closed_periods(project), settings.train.periods, project.contract
    )
    counts = {name: len(part) for name, part in parts.items()}
    counts["fitted"] = len(rows)
    facts = {
        "rows": counts,
        "periods": {"train": train_periods, "evaluation": evaluation_periods},
        "features": list(candidate.plan.names),
        "holdout": partitions.content_hash(parts["holdout"]),
        "model": digest(project.root / CANDIDATE),
        "params": {"train": asdict(settings.train), "model": settings.model},
    }
    write_json(project.root / TRAINING, facts)
