"""Which rows train, which evaluate and which are held out.

They are split by time, or by the hash of their key if the contract has no time.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlgates import lookups
from mlgates.contract import Contract
from mlgates.data import partitions
from mlgates.errors import ProjectError
from mlgates.layout import EVALUATION, TRAINING_ROWS
from mlgates.project import Project
from mlgates.settings import TrainSettings

if TYPE_CHECKING:
    import pandas as pd

REFERENCE_ROWS = 20_000
HOLDOUT_PERIODS = 3  # the first ones, from which the hold-out is taken
LEAKAGE_REMEDY = (
    "Look at read() in data.py; then: uv run mlops close --amend PERIOD; uv run dvc repro"
)


def read_with_lookups(
    project: Project, contract: Contract, periods: Sequence[str], known: Sequence[str]
) -> "pd.DataFrame":
    """Checked rows of some periods with look-ups.

    `known` are all closed periods: for the first rows of a period, a look-up's newest row may lie
    in the period before.

    Raises: ProjectError `train.row_count` if a row was lost.
    """
    import pandas as pd

    start = known.index(periods[0])
    period_before = known[max(0, start - 1) : start]
    tables = {}
    for look in contract.lookups:
        parts = []
        for period in [*period_before, *periods]:
            parts.append(partitions.read(project, "checked", period, look.name))
        tables[look.name] = pd.concat(parts, ignore_index=True)

    parts = [partitions.read(project, "checked", period) for period in periods]
    rows = lookups.join(pd.concat(parts, ignore_index=True), contract, tables)
    kept = sum(partitions.kept_row_counts(project, periods))
    if len(rows) != kept:
        raise ProjectError(
            f"train.row_count: validate kept {kept:,} rows of {', '.join(periods)},"
            f" but {len(rows):,} rows were read.",
            "Check them again: uv run dvc repro --force validate",
        )
    return rows


def split(
    project: Project, known: Sequence[str], settings: TrainSettings
) -> dict[str, "pd.DataFrame"]:
    """`train`, `evaluation`, `left` and `holdout` rows, joined; the same for the same data.

    `left` are the rows of the training periods that are left out of training. `holdout` are the
    rows of the first periods, by key, that no training ever sees: they are the same in every cycle.

    `known` are all closed periods, `settings` is the section `train` of the parameters.
    """
    contract = project.contract
    train_periods, evaluation_periods = partitions.training_and_evaluation_periods(
        known, settings.periods, contract
    )
    first_periods = list(known[:HOLDOUT_PERIODS])
    rows = read_with_lookups(project, contract, train_periods, known)
    key_share = partitions.key_share(rows, contract)
    in_first_periods = np.repeat(
        np.isin(train_periods, first_periods),
        partitions.kept_row_counts(project, train_periods),
    )

    is_left_out = key_share < settings.holdout_share
    if contract.time:
        is_left_out &= in_first_periods
        is_training = ~is_left_out
        evaluation = read_with_lookups(project, contract, evaluation_periods, known)
    else:
        evaluation_limit = settings.holdout_share + settings.evaluation_share
        is_evaluation = ~is_left_out & (key_share < evaluation_limit)
        is_training = ~is_left_out & ~is_evaluation
        evaluation = rows[is_evaluation]

    holdout = rows[is_left_out & in_first_periods]
    if not set(first_periods) <= set(train_periods):
        # The first periods are no longer all trained on, so the hold-out is read for itself.
        first_rows = read_with_lookups(project, contract, first_periods, known)
        holdout = first_rows[partitions.key_share(first_rows, contract) < settings.holdout_share]

    check_no_leakage(contract, rows[is_training], evaluation)
    parts = {
        "train": rows[is_training],
        "evaluation": evaluation,
        "left": rows[is_left_out],
        "holdout": holdout,
    }
    return {name: with_required_lookups(contract, part, name) for name, part in parts.items()}


def with_required_lookups(contract: Contract, rows: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """The rows that have a value of every look-up column that the contract requires.

    Prints how many are left out. `name` is what the rows are called in messages.
    Raises: ProjectError if none is left.
    """
    unanswered = contract.missing_lookups(contract.arrays(rows[contract.demanded]))
    if not unanswered:
        return rows
    left_out = np.unique(np.concatenate(list(unanswered.values())))
    missing = ", ".join(f"{column} in {len(places):,}" for column, places in unanswered.items())
    print(
        f"{name}: {len(left_out):,} of {len(rows):,} rows are left out,"
        f" because a look-up value is missing: {missing}"
    )
    if len(left_out) == len(rows):
        raise ProjectError(
            f"Every row of {name} lacks a look-up value that the contract requires:"
            f" {', '.join(unanswered)}.",
            "See lookup() in data.py; or allow `| None` in schema.py",
        )
    return rows.drop(index=rows.index[left_out])


def thin(rows: "pd.DataFrame", settings: TrainSettings) -> "pd.DataFrame":
    """At most `max_rows` of the training rows, the same ones every time.

    `settings` is the section `train` of the parameters.
    """
    return partitions.thin(rows, settings.max_rows)


def reference(rows: "pd.DataFrame", settings: TrainSettings) -> "pd.DataFrame":
    """The training rows that are stored beside the model, for monitoring.

    `settings` is the section `train` of the parameters.
    """
    return partitions.thin(thin(rows, settings), REFERENCE_ROWS)


def read_rows(project: Project) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The rows to train on and those to evaluate on, as train split and joined them.

    Raises: ProjectError if there is none to evaluate on.
    """
    import pandas as pd

    train = pd.read_parquet(project.root / TRAINING_ROWS)
    evaluation = pd.read_parquet(project.root / EVALUATION)
    return train, measurable(evaluation)


def measurable(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows to evaluate on. Raises: ProjectError if there are none."""
    if rows.empty:
        raise ProjectError(
            "There is no row to evaluate on.", "Close another period: uv run mlops close"
        )
    return rows


def check_no_leakage(contract: Contract, train: "pd.DataFrame", evaluation: "pd.DataFrame") -> None:
    """Check that no row to evaluate on is trained on, and that they are newer.

    Raises: ProjectError `train.leakage` if keys are in both parts, or if half of the rows to
    evaluate on or more are not newer than all rows to train on.
    """
    if contract.key:
        shared = _shared_keys(contract, train, evaluation)
        if shared:
            raise ProjectError(
                f"train.leakage: {shared:,} rows to train on are among the rows to evaluate on.",
                LEAKAGE_REMEDY,
            )
    if contract.time and len(train) and len(evaluation):
        last = train[contract.time].max()
        middle = evaluation[contract.time].median()  # a few late rows are no leakage
        if middle <= last:
            raise ProjectError(
                "train.leakage: the rows to evaluate on are not newer than those to train on."
                f" Half of them are from {middle} or before, and training rows reach until {last}.",
                LEAKAGE_REMEDY,
            )


def _shared_keys(contract: Contract, train: "pd.DataFrame", evaluation: "pd.DataFrame") -> int:
    """How many rows to train on have the key of a row to evaluate on."""
    import pandas as pd

    names = list(contract.key)
    train_keys = pd.MultiIndex.from_frame(train[names])
    evaluation_keys = pd.MultiIndex.from_frame(evaluation[names])
    return int(train_keys.isin(evaluation_keys).sum())
