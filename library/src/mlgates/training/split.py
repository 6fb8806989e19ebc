"""Which rows train, which evaluate and which are held out: by time, or by key where there is no time."""

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
HOLDOUT_PERIODS = 3


def joined(
    project: Project, contract: Contract, periods: Sequence[str], known: Sequence[str]
) -> "pd.DataFrame":
    """Checked rows of some periods with look-ups; `known` are all closed periods, for the one before the first.

    No row may be lost. Raises: ProjectError `train.row_count`.
    """
    import pandas as pd

    start = known.index(periods[0])
    sources = [*known[max(0, start - 1) : start], *periods]
    tables = {
        look.name: pd.concat(
            [partitions.read(project, "checked", p, look.name) for p in sources], ignore_index=True
        )
        for look in contract.lookups
    }
    rows = pd.concat(
        [partitions.read(project, "checked", period) for period in periods], ignore_index=True
    )
    rows, kept = lookups.join(rows, contract, tables), sum(partitions.kept(project, periods))
    if len(rows) != kept:
        told = f"train.row_count: validate kept {kept:,} rows of {', '.join(periods)}, but {len(rows):,} are there"
        raise ProjectError(f"{told}.", "Check them again: uv run dvc repro --force validate")
    return rows


def split(
    project: Project, known: Sequence[str], settings: TrainSettings
) -> dict[str, "pd.DataFrame"]:
    """`train`, `evaluation`, `left` (out of training) and `holdout` rows, joined; the same for the same data.

    `known` are all closed periods, `settings` is the section `train` of the parameters.

    `holdout` are the rows of the first periods, by key, that no training ever sees: the same in every cycle.
    """
    contract = project.contract
    train_periods, evaluation_periods = partitions.window(known, settings.periods, contract)
    rows, first = joined(project, contract, train_periods, known), list(known[:HOLDOUT_PERIODS])
    share = partitions.key_share(rows, contract)
    of_first = np.repeat(
        [period in first for period in train_periods], partitions.kept(project, train_periods)
    )
    left = (share < settings.holdout_share) & (of_first | (not contract.time))
    if contract.time:
        evaluation, trains = joined(project, contract, evaluation_periods, known), ~left
    else:
        evaluates = ~left & (share < settings.holdout_share + settings.evaluation_share)
        evaluation, trains = rows[evaluates], ~left & ~evaluates
    holdout = rows[left & of_first]
    if not set(first) <= set(train_periods):
        kept = joined(project, contract, first, known)
        holdout = kept[partitions.key_share(kept, contract) < settings.holdout_share]
    apart(contract, rows[trains], evaluation)
    parts = {
        "train": rows[trains],
        "evaluation": evaluation,
        "left": rows[left],
        "holdout": holdout,
    }
    return {name: answered(contract, part, name) for name, part in parts.items()}


def answered(contract: Contract, rows: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """The rows for which every look-up that the contract demands found a value; says how many are left out.

    Raises: ProjectError if that leaves none.
    """
    unanswered = contract.unanswered(contract.arrays(rows[contract.demanded]))
    if not unanswered:
        return rows
    out = np.unique(np.concatenate(list(unanswered.values())))
    told = ", ".join(f"{column} of {len(places):,}" for column, places in unanswered.items())
    print(
        f"{name}: {len(out):,} of {len(rows):,} rows are left out, for a look-up did not find {told}"
    )
    if len(out) == len(rows):
        raise ProjectError(
            f"No row of {name} found what the contract demands: {', '.join(unanswered)}.",
            "See lookup() in data.py; or allow `| None` in schema.py",
        )
    return rows.drop(index=rows.index[out])


def thin(rows: "pd.DataFrame", settings: TrainSettings) -> "pd.DataFrame":
    """At most `max_rows` of the training rows, the same ones every time; `settings` is the section `train`."""
    return partitions.thin(rows, settings.max_rows)


def reference(rows: "pd.DataFrame", settings: TrainSettings) -> "pd.DataFrame":
    """Of the training rows those that are kept beside the model; `settings` is the section `train`."""
    return partitions.thin(thin(rows, settings), REFERENCE_ROWS)


def read_rows(project: Project) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The rows to train on and those to evaluate on, as train split and joined them.

    Raises: ProjectError if there is none to evaluate on.
    """
    import pandas as pd

    return pd.read_parquet(project.root / TRAINING_ROWS), measurable(
        pd.read_parquet(project.root / EVALUATION)
    )


def measurable(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows to evaluate on. Raises: ProjectError if there are none."""
    if rows.empty:
        raise ProjectError(
            "There is no row to evaluate on.", "Close another period: uv run mlops close"
        )
    return rows


def apart(contract: Contract, train: "pd.DataFrame", evaluation: "pd.DataFrame") -> None:
    """Nothing that is evaluated on was trained on, and it is newer.

    Raises: ProjectError `train.leakage` if keys stand in both parts, or if evaluation does not lie after training.
    """
    import pandas as pd

    remedy = "Look at read() in data.py; then: uv run mlops close --amend PERIOD; uv run dvc repro"
    if contract.key:
        keys = (pd.MultiIndex.from_frame(part[list(contract.key)]) for part in (train, evaluation))
        if both := int(next(keys).isin(next(keys)).sum()):
            raise ProjectError(
                f"train.leakage: {both:,} rows to train on are among the rows to evaluate on.",
                remedy,
            )
    if contract.time and len(train) and len(evaluation):
        last, middle = train[contract.time].max(), evaluation[contract.time].median()
        if middle <= last:
            told = f"train.leakage: the rows to evaluate on (half before {middle}) do not follow those to train on"
            raise ProjectError(f"{told} (until {last}).", remedy)
