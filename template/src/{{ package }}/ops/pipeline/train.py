"""train: split by time, join the look-ups as of each decision, fit the model and the baselines, keep a reference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import lookups
from ..contract import Contract
from ..features import Plan, plan
from ..project import ProjectError, Yours, command_line, cycle, digest, find_root, params, whole, write_json, yours
from ..scoring import REFERENCE, Scorer, fitted, save
from . import periods as on_disk
from .learnt import learnt

if TYPE_CHECKING:
    import pandas as pd

REFERENCE_ROWS = 20_000
HOLDOUT_PERIODS = 3
CANDIDATE = Path("models/candidate")
BASELINES = Path("models/baselines")
EVALUATION, HOLDOUT = Path("data/evaluation.parquet"), Path("data/holdout.parquet")


def joined(root: Path, contract: Contract, periods: Sequence[str], known: Sequence[str]) -> "pd.DataFrame":
    """Checked rows of some periods with look-ups; `known` are all closed periods, for the one before the first.

    No row may be lost. Raises: ProjectError `train.account`.
    """
    import pandas as pd

    start = known.index(periods[0])
    sources = [*known[max(0, start - 1) : start], *periods]
    tables = {
        look.name: pd.concat([on_disk.read(root, "checked", p, look.name) for p in sources], ignore_index=True)
        for look in contract.lookups
    }
    rows = pd.concat([on_disk.read(root, "checked", period) for period in periods], ignore_index=True)
    rows, kept = lookups.join(rows, contract, tables), sum(on_disk.kept(root, periods))
    if len(rows) != kept:
        told = f"train.account: validate kept {kept:,} rows of {', '.join(periods)}, but {len(rows):,} are there"
        raise ProjectError(f"{told}.", "Check them again: uv run dvc repro --force validate")
    return rows


def split(
    root: Path, contract: Contract, known: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, "pd.DataFrame"]:
    """`train`, `evaluation`, `left` (out of training) and `holdout` rows, joined; the same for the same data.

    `holdout` are the rows of the first periods, by key, that no training ever sees: the same in every cycle.
    """
    train_periods, evaluation_periods = on_disk.window(known, settings["periods"], contract)
    rows, first = joined(root, contract, train_periods, known), list(known[:HOLDOUT_PERIODS])
    share = on_disk.key_share(rows, contract)
    of_first = np.repeat([period in first for period in train_periods], on_disk.kept(root, train_periods))
    left = (share < settings["holdout_share"]) & (of_first | (not contract.time))
    if contract.time:
        evaluation, trains = joined(root, contract, evaluation_periods, known), ~left
    else:
        evaluates = ~left & (share < settings["holdout_share"] + settings["evaluation_share"])
        evaluation, trains = rows[evaluates], ~left & ~evaluates
    holdout = rows[left & of_first]
    if not set(first) <= set(train_periods):
        kept = joined(root, contract, first, known)
        holdout = kept[on_disk.key_share(kept, contract) < settings["holdout_share"]]
    apart(contract, rows[trains], evaluation)
    parts = {"train": rows[trains], "evaluation": evaluation, "left": rows[left], "holdout": holdout}
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
    print(f"{name}: {len(out):,} of {len(rows):,} rows are left out, for a look-up did not find {told}")
    if len(out) == len(rows):
        raise ProjectError(
            f"No row of {name} found what the contract demands: {', '.join(unanswered)}.",
            "See lookup() in data.py; or allow `| None` in schema.py",
        )
    return rows.drop(index=rows.index[out])


def reference(rows: "pd.DataFrame", settings: Mapping[str, Any]) -> "pd.DataFrame":
    """Of the training rows those that are kept beside the model; `settings` is the section `train`."""
    return on_disk.thin(on_disk.thin(rows, settings["max_rows"]), REFERENCE_ROWS)


def measurable(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows to evaluate on. Raises: ProjectError if there are none."""
    if rows.empty:
        raise ProjectError("There is no row to evaluate on.", "Close another period: uv run mlops close")
    return rows


def apart(contract: Contract, train: "pd.DataFrame", evaluation: "pd.DataFrame") -> None:
    """Nothing that is evaluated on was trained on, and it is newer.

    Raises: ProjectError `train.leak` if keys stand in both parts, or if evaluation does not lie after training.
    """
    import pandas as pd

    remedy = "Look at read() in data.py; then: uv run mlops close --amend PERIOD; uv run dvc repro"
    if contract.key:
        keys = (pd.MultiIndex.from_frame(part[list(contract.key)]) for part in (train, evaluation))
        if both := int(next(keys).isin(next(keys)).sum()):
            raise ProjectError(f"train.leak: {both:,} rows to train on are among the rows to evaluate on.", remedy)
    if contract.time and len(train) and len(evaluation):
        last, middle = train[contract.time].max(), evaluation[contract.time].median()
        if middle <= last:
            told = f"train.leak: the rows to evaluate on (half of them before {middle}) do not follow those to train on"
            raise ProjectError(f"{told} (until {last}).", remedy)


def baselines(team: Yours, features: Plan, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Two unfitted opponents that the model has to beat: the constant, and a linear model on the same features."""
    from sklearn.compose import make_column_transformer
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, SGDRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    words = [features.names.index(name) for name in features.categorical]
    numbers = [place for place in range(len(features.names)) if place not in words]
    shaped = make_column_transformer(
        (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", min_frequency=20), words),
    )
    if team.contract.task == "regression":
        absolute = SGDRegressor(loss="epsilon_insensitive", epsilon=0, random_state=settings["train"]["seed"])
        return {"trivial": DummyRegressor(strategy="median"), "simple": make_pipeline(shaped, absolute)}
    linear = LogisticRegression(max_iter=200, random_state=settings["train"]["seed"])
    return {"trivial": DummyClassifier(strategy="prior"), "simple": make_pipeline(shaped, linear)}


def train(team: Yours, rows: "pd.DataFrame", settings: Mapping[str, Any]) -> tuple[Scorer, dict[str, Scorer]]:
    """Fit the team's model and the baselines on joined rows.

    Raises: ProjectError for features that may not be used, parameters that `build` refuses, one class only, or a model
    that learnt nothing (`train.learnt`).
    """
    features = plan(team.features, team.contract)
    arrays, target = team.contract.arrays(rows), team.contract.target(rows)
    scorer, matrix = fitted(arrays, target, features, team.model, team.contract, settings)
    learnt(team.contract, scorer, rows)
    simple = {name: model.fit(matrix, target) for name, model in baselines(team, features, settings).items()}
    return scorer, {name: replace(scorer, estimator=model) for name, model in simple.items()}


def main() -> int:
    """Run the stage."""
    root, team = find_root(), yours()
    settings = params(root)
    known = on_disk.closed(team.data, cycle(root)["until"])
    parts = split(root, team.contract, known, settings["train"])
    rows = on_disk.thin(parts["train"], settings["train"]["max_rows"])
    scorer, simple = train(team, rows, settings)
    with whole(root / CANDIDATE) as folder:
        save(scorer, folder, team.contract)
        on_disk.write(reference(rows, settings["train"]), folder / REFERENCE)
    with whole(root / BASELINES) as folder:
        for name, baseline in simple.items():
            save(baseline, folder / name, team.contract)
    on_disk.write(parts["evaluation"], root / EVALUATION)
    on_disk.write(parts["holdout"], root / HOLDOUT)
    train_periods, evaluation_periods = on_disk.window(known, settings["train"]["periods"], team.contract)
    facts = {
        "rows": {name: len(part) for name, part in parts.items()} | {"fitted": len(rows)},
        "periods": {"train": train_periods, "evaluation": evaluation_periods},
        "features": list(scorer.plan.names),
        "holdout": on_disk.content(parts["holdout"]),
        "model": digest(root / CANDIDATE),
    }
    write_json(root / "reports" / "train.json", facts)
    print(f"train: {len(rows):,} rows of {', '.join(train_periods)}; {len(scorer.plan.names)} features")
    return 0


if __name__ == "__main__":
    raise SystemExit(command_line(main))
