"""What the template promises of every project, whatever its contract: `PROMISES`, which tests/test_project.py runs.

A promise is a function that looks at a rehearsal of the project: its stages have run on a few of its own rows, in a
folder of their own. It ends with an AssertionError that names what is wrong. Promises do not depend on each other.
Those about the stages and those about the service and the monitor need different tools, whose imports take half of the
time: tests/test_project.py runs the two parts side by side, each with a rehearsal of its own.
"""

import contextlib
import io
import json
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from mlgates import model_folder
from mlgates.data import partitions
from mlgates.errors import ProjectError
from mlgates.faults.constraints import breaking
from mlgates.features import plan
from mlgates.files import digest, read_json, write_text
from mlgates.gate import rules
from mlgates.layout import (
    BASELINES,
    CANDIDATE,
    CARD,
    CHAMPION,
    CYCLE,
    DVC_CONFIG,
    EVALUATION,
    FEATURES,
    GATE,
    GATE_PAGE,
    MANIFEST,
    METRICS,
    MLFLOW_ARTIFACTS,
    MLFLOW_DATABASE,
    MONITOR_LATEST,
    MONITOR_PAGE,
    PARAMS,
    PICTURES,
    PIPELINE,
    PREDICTIONS,
    SOURCES,
    STALENESS,
    STATE,
    SUITE,
    TRACKED,
    TRAINING,
    TUNING,
    VALIDATION,
)
from mlgates.project import Project
from mlgates.rehearsal import PERIODS, STAGES, Rehearsal
from mlgates.results import check_results
from mlgates.team_code import imported_files, source_path
from mlgates.tools import inside
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

Promise = Callable[[Rehearsal], None]
STAGE_PROMISES: list[Promise] = []
SERVICE_PROMISES: list[Promise] = []

# Which results a stage's work belongs to: [tool.mlgates.results] in pyproject.toml
RESULTS = {
    "ingest": "data",
    "validate": "data",
    "train": "training",
    "studies": "training",
    "evaluate": "evaluation",
    "gate": "gate",
}
PLANTED = Check("gate.planted", Verdict.FAIL, evidence="planted by a promise")


def promise_of_the_stages(function: Promise) -> Promise:
    """Add a promise about the files and the stages to those that every project is held to."""
    STAGE_PROMISES.append(function)
    return function


def promise_of_the_service(function: Promise) -> Promise:
    """Add a promise about the service or the monitor to those that every project is held to."""
    SERVICE_PROMISES.append(function)
    return function


# The team's files, and what pyproject.toml and dvc.yaml say of them


@promise_of_the_stages
def the_four_files_fit_together(rehearsal: Rehearsal) -> None:
    """The contract is read, the features resolve and read nothing barred, and build() gives an estimator."""
    project = rehearsal.original
    features = plan(project.features, project.contract)
    rows = rehearsal.periods[PERIODS[0]][partitions.ROWS]
    delivered = {*project.contract.request_columns, project.contract.outcome.name}
    absent = delivered - {str(name) for name in rows}
    assert not absent, f"data.py does not deliver {sorted(absent)}"
    settings = project.settings()
    places = [features.names.index(name) for name in features.categorical]
    estimator = project.model.build(settings.model, places, settings.train.seed)
    needed = (
        ["fit", "predict"] if project.contract.task == "regression" else ["fit", "predict_proba"]
    )
    for method in needed:
        assert callable(getattr(estimator, method, None)), (
            f"model.py: what build() gives has no {method}()"
        )


@promise_of_the_stages
def the_results_are_those_of_the_library(rehearsal: Rehearsal) -> None:
    """`[tool.mlgates.results]` names the numbers of the library that runs, and each stage depends on its own."""
    check_results(rehearsal.original)
    for name, stage in _stages(rehearsal).items():
        if name in RESULTS:
            number = f"tool.mlgates.results.{RESULTS[name]}"
            named = {number, "tool.mlgates.results"} & set(_parameters(stage))
            assert named, f"dvc.yaml: stage {name} does not name the parameter {number}"


@promise_of_the_stages
def each_stage_names_the_code_that_it_uses(rehearsal: Rehearsal) -> None:
    """The deps below src/ in dvc.yaml are the wiring file, what it imports, and those of the four files in use."""
    project = rehearsal.original
    stages = _stages(rehearsal)
    for name in rehearsal.stages:
        used = {f"pipeline.{name}", *rehearsal.performance(name).used}
        needed = {source_path(project, module) for module in imported_files(project, sorted(used))}
        listed = {path for path in stages[name]["deps"] if path.startswith(f"{SOURCES}/")}
        unlisted, idle = sorted(needed - listed), sorted(listed - needed)
        assert not unlisted, (
            f"dvc.yaml: stage {name} uses {', '.join(unlisted)}, which is not among its deps"
        )
        assert not idle, (
            f"dvc.yaml: stage {name} names {', '.join(idle)} among its deps and does not use it"
        )


@promise_of_the_stages
def each_stage_writes_what_dvc_yaml_says(rehearsal: Rehearsal) -> None:
    """Every output is there afterwards, and nothing else was written."""
    stages = _stages(rehearsal)
    for name in rehearsal.stages:
        outputs = _outputs(stages[name])
        written = rehearsal.performance(name).written
        for output in outputs:
            assert (rehearsal.folder / output).exists(), f"stage {name} did not write {output}"
        for path in written:
            inside = any(path == output or path.startswith(f"{output}/") for output in outputs)
            assert inside or _is_state(path), (
                f"stage {name} wrote {path}, which dvc.yaml does not name"
            )


# The stages


@promise_of_the_stages
def ingest_closes_each_period_as_data_py_gives_it(rehearsal: Rehearsal) -> None:
    """Rows and look-ups are on disk, the manifest says what they hold, and a closed period is not read again."""
    project = rehearsal.after("ingest")
    manifest = read_json(project.root / MANIFEST)
    assert list(manifest) == sorted(PERIODS), (
        "reports/manifest.json does not hold the closed periods"
    )
    for period, tables in rehearsal.periods.items():
        for name, given in tables.items():
            stored = partitions.read(project, "raw", period, name)
            content = partitions.content(stored)
            assert content == partitions.content(given), (
                f"data/raw does not hold {name} of {period} as data.py gave it"
            )
            assert manifest[period][name] == {"rows": len(given), "sha256": content}
    printed = rehearsal.performance("ingest").printed
    assert "3 periods" in printed and "3 new" in printed, (
        "ingest does not say how many periods it read"
    )
    with rehearsal.copy("ingest") as copied:
        reads = list(rehearsal.read_calls)
        _quietly(lambda: copied.stage("ingest").main(copied))
        assert rehearsal.read_calls == reads, "ingest read a closed period again"
        cycle = yaml.safe_load((copied.root / CYCLE).read_text(encoding="utf-8"))
        write_text(copied.root / CYCLE, yaml.safe_dump(cycle | {"until": PERIODS[1]}))
        _quietly(lambda: copied.stage("ingest").main(copied))
        assert list(read_json(copied.root / MANIFEST)) == sorted(PERIODS[:2]), (
            "the manifest keeps periods not in use"
        )


@promise_of_the_stages
def an_error_in_data_py_names_the_period(rehearsal: Rehearsal) -> None:
    """What data.py raises becomes a sentence with the period in it."""

    def failing(period: str) -> "pd.DataFrame":
        raise ValueError("the disk is full")

    with rehearsal.copy("ingest") as copied:
        (partitions.folder(copied, "raw", PERIODS[1]) / "rows.parquet").unlink()
        module = ModuleType("data")
        vars(module).update(vars(copied.data))
        module.read = failing  # type: ignore[attr-defined]
        message = _refusal(lambda: copied.stage("ingest").main(copied.having(data=module)))
        assert PERIODS[1] in message and "the disk is full" in message, (
            f"ingest said of a failing data.py: {message}"
        )


@promise_of_the_stages
def validate_keeps_or_quarantines_every_row(rehearsal: Rehearsal) -> None:
    """Rows read are rows kept and rows in quarantine, in every period, and the report says so."""
    project = rehearsal.after("validate")
    manifest = read_json(project.root / MANIFEST)
    report = Report.from_dict(read_json(project.root / VALIDATION))
    assert report.checks, "reports/validate.json holds no check"
    assert read_json(project.root / SUITE), "reports/suite.json is empty"
    for period in PERIODS:
        kept = partitions.read(project, "checked", period)
        out = partitions.read(project, "checked", period, "rows.quarantine")["row"].nunique()
        assert len(kept) + out == manifest[period][partitions.ROWS]["rows"], (
            f"{period} lost rows in validate"
        )
        assert report.facts["rows"][period]["kept"] == len(kept)
    performance = rehearsal.performance("validate")
    assert "verdict: " in performance.printed, "validate does not print its report"
    assert "Calculating" not in performance.noise, (
        "validate draws progress bars, which fill the log of a CI run"
    )


@promise_of_the_stages
def validate_stops_the_run_on_schema_skew(rehearsal: Rehearsal) -> None:
    """A period that lost a column: the stage ends with an error, and the report that says why is written."""
    lost = next(iter(rehearsal.contract.request_columns))
    with rehearsal.copy("ingest") as copied:
        path = partitions.folder(copied, "raw", PERIODS[2]) / "rows.parquet"
        partitions.write(partitions.read(copied, "raw", PERIODS[2]).drop(columns=lost), path)
        _remove(copied, VALIDATION)
        message = _refusal(lambda: copied.stage("validate").main(copied))
        assert "data.columns" in message, f"validate said of a lost column: {message}"
        assert (
            Report.from_dict(read_json(copied.root / VALIDATION))["data.columns"].verdict
            is Verdict.FAIL
        )


@promise_of_the_stages
def validate_puts_a_bad_row_into_quarantine_by_rule_and_value(rehearsal: Rehearsal) -> None:
    """What Great Expectations finds, asked by pipeline/validate.py, is named by row, column, rule and value."""
    import pandas as pd

    from mlgates.data.validation import check_table

    column, value, rule = _breaking(rehearsal)
    rows = rehearsal.periods[PERIODS[0]][partitions.ROWS].copy()
    values = rows[column].to_numpy(dtype=object).copy()
    values[[3, 5]] = value
    rows[column] = pd.Series(values).infer_objects()
    limits = rehearsal.project.settings().validate
    check = rehearsal.original.stage("validate").check
    _, kept, quarantine = check_table(rows, rehearsal.contract, limits, check)
    found = quarantine[(quarantine["column"] == column) & (quarantine["rule"] == rule)]
    assert {3, 5} <= set(found["row"]), f"{column}={value!r} is not in quarantine for {rule}"
    assert len(kept) <= len(rows) - 2


@promise_of_the_stages
def train_reports_on_the_model_that_it_wrote(rehearsal: Rehearsal) -> None:
    """The digest is the folder's, the rows and periods are those of the split, and the model and its baselines load."""
    project = rehearsal.after("train")
    trained = read_json(project.root / TRAINING)
    assert trained["model"] == digest(project.root / CANDIDATE), (
        "reports/train.json is about another model"
    )
    assert trained["periods"] == {
        "train": list(PERIODS[:2]),
        "evaluation": list(PERIODS[2:]),
    } or not _timed(rehearsal)
    contract, features = project.contract, project.features
    scorer = model_folder.load(project.root / CANDIDATE, contract)
    assert list(scorer.plan.names) == trained["features"] == list(plan(features, contract).names)
    assert trained["rows"]["evaluation"] == partitions.length(project.root / EVALUATION)
    assert trained["rows"]["fitted"] == trained["rows"]["train"] > 0
    baselines = sorted(path.name for path in (project.root / BASELINES).iterdir())
    assert baselines == ["simple", "trivial"], f"models/baselines holds {baselines}"
    printed = rehearsal.performance("train").printed
    assert f"{trained['rows']['fitted']:,}" in printed, (
        "train does not say on how many rows it was fitted"
    )


@promise_of_the_stages
def train_thins_more_rows_than_max_rows(rehearsal: Rehearsal) -> None:
    """`train.max_rows` holds: what is fitted is no more than that."""
    with rehearsal.copy("train") as copied:
        _set_param(copied, "train", "max_rows", 400)
        _quietly(lambda: copied.stage("train").main(copied))
        rows = read_json(copied.root / TRAINING)["rows"]
        assert rows["fitted"] == 400 < rows["train"], "train does not keep to train.max_rows"


@promise_of_the_stages
def studies_measure_tuning_features_and_staleness(rehearsal: Rehearsal) -> None:
    """Each of the three reports is about the model's own features and the closed periods, and each is told."""
    project = rehearsal.after("studies")
    tuning = read_json(project.root / TUNING)
    if getattr(project.model, "SEARCH", None):
        assert tuning["trials"], "studies tried no other parameters, though model.py has SEARCH"
    report = read_json(project.root / FEATURES / f"{PERIODS[-1]}.json")
    assert set(report["features"]) == set(read_json(project.root / TRAINING)["features"])
    staleness = read_json(project.root / STALENESS)
    if _timed(rehearsal):
        assert [entry["age"] for entry in staleness["ages"]] == [1, 2]
    printed = rehearsal.performance("studies").printed
    for study in ("tune: ", "ablate: ", "age: "):
        assert study in printed, f"studies does not print the line {study}..."


@promise_of_the_stages
def evaluate_measures_the_candidate_on_the_untouched_rows(rehearsal: Rehearsal) -> None:
    """metrics.json is about the candidate, its numbers are those of the rows to evaluate on, pictures included."""
    import pandas as pd

    from mlgates.evaluation import metrics

    project = rehearsal.after("evaluate")
    measured = read_json(project.root / METRICS)
    assert measured["model"] == read_json(project.root / TRAINING)["model"], (
        "metrics.json is about another model"
    )
    rows = pd.read_parquet(project.root / EVALUATION)
    contract = project.contract
    assert measured["rows"] == len(rows)
    scorer = model_folder.load(project.root / CANDIDATE, contract)
    scores = scorer.score(scorer.matrix(contract.arrays(rows)))
    for name, make in metrics.named(contract.task).items():
        value = metrics.value(make(contract.target(rows), scores), len(rows))
        stored = measured["values"]["candidate"][name]["value"]
        assert np.isclose(stored, value), (
            f"metrics.json has {name} {stored}, but the rows give {value}"
        )
    assert {"candidate", "baseline.simple", "baseline.trivial"} <= set(measured["values"])
    assert (project.root / PICTURES / "models.svg").exists(), (
        "evaluate drew no picture of the models"
    )
    printed = rehearsal.performance("evaluate").printed
    assert metrics.MAIN[contract.task] in printed, "evaluate does not print the main metric"


@promise_of_the_stages
def the_gate_judges_what_was_measured(rehearsal: Rehearsal) -> None:
    """The stored verdict is the one that is computed again; page, card and bill of materials are about this model."""
    project = rehearsal.after("gate")
    stored = read_json(project.root / GATE)
    again = json.loads(json.dumps(rules.decide(project).to_dict(), default=str))
    assert stored == again, "reports/gate.json is not what gate.decide gives for the reports"
    model = read_json(project.root / TRAINING)["model"]
    assert stored["facts"]["model"] == model
    assert model in (project.root / CARD).read_text(encoding="utf-8"), (
        "the model card names another model"
    )
    page = (project.root / GATE_PAGE).read_text(encoding="utf-8")
    assert "<svg" in page or "data:image/svg" in page, "the gate's page shows no picture"
    printed = rehearsal.performance("gate").printed
    assert "verdict: " in printed, "gate does not print its report"
    assert rules.sentence(Report.from_dict(stored)) in printed, (
        "gate does not say what follows from its verdict"
    )


@promise_of_the_stages
def the_checks_of_the_team_are_part_of_the_verdict(rehearsal: Rehearsal) -> None:
    """What checks.py returns is judged as every other check, by the stage and by whoever promotes."""
    checks = ModuleType("checks")
    vars(checks)["checks"] = _planted_checks
    with rehearsal.copy("evaluate") as copied:
        rehearsed = rehearsal.after("studies")
        planted = copied.having(checks=checks)
        _quietly(lambda: planted.stage("gate").main(planted))
        report = Report.from_dict(read_json(copied.root / GATE))
        assert PLANTED.name in report.stops, (
            "a failing check of checks.py does not stop the promotion"
        )
        assert rehearsed.module("checks").checks(read_json(copied.root / METRICS)) is not None


@promise_of_the_stages
def track_logs_the_model_to_mlflow_once(rehearsal: Rehearsal) -> None:
    """One run with parameters, metrics, tags, files and the model, trials as its children; once is enough."""
    project = rehearsal.after("track")
    _hold_the_run_complete(project)
    assert "mlflow ui" in rehearsal.performance("track").printed, "track does not say where to look"
    _quietly(lambda: project.stage("track").main(project))
    _hold_the_run_complete(project)


def _hold_the_run_complete(project: Project) -> None:
    from mlgates.registry.mlflow_client import open_store
    from mlgates.registry.tracking import begin

    identity = read_json(project.root / TRACKED)["fingerprint"]
    store = open_store(project)
    runs = store.search_runs([store.experiment], f"tags.fingerprint = '{identity}'")
    assert len(runs) == 1, f"MLflow has {len(runs)} runs of this model"
    run = runs[0]
    name = run.info.run_name
    assert run.info.status == "FINISHED"
    assert name == identity[:8], f"the run is called {name}, not by the model's fingerprint"
    again = begin(project)
    assert not again.params, f"the run lacks the parameters {', '.join(again.params)}"
    assert again.has_model, "the run has no model"
    assert not again.trials, f"the run lacks {len(again.trials)} trials"
    stored = {metric: run.data.metrics.get(metric) for metric in again.metrics}
    assert stored == again.metrics, "the run's metrics are not those of reports/metrics.json"
    for tag, value in again.tags.items():
        assert run.data.tags.get(tag) == value, f"the run's tag {tag} is not {value}"
    kept = {entry.path for entry in store.list_artifacts(run.info.run_id) if not entry.is_dir}
    for path in again.files:
        assert path.name in kept, f"the run does not hold the file {path.name}"
    logged = [(used.dataset.name, used.dataset.digest) for used in run.inputs.dataset_inputs]
    assert logged == [(again.data.name, again.data.digest)], (
        "the run does not name the data that it was trained on"
    )
    contexts = [
        tag.value
        for used in run.inputs.dataset_inputs
        for tag in used.tags
        if tag.key.endswith("context")
    ]
    assert contexts == ["training"], "the run does not say that these data were for training"
    pictures = {entry.path for entry in store.list_artifacts(run.info.run_id, "pictures")}
    assert pictures == {f"pictures/{path.name}" for path in again.pictures.iterdir()}, (
        "pictures are not in the run"
    )
    tuning = read_json(project.root / TUNING)
    children = store.search_runs(
        [store.experiment], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    )
    assert len(children) == len(tuning["trials"]), "each trial of tuning is not one child run"
    tried = [
        {key: str(value) for key, value in trial["values"].items()} for trial in tuning["trials"]
    ]
    values = [trial["value"] for trial in tuning["trials"]]
    for child in children:
        assert child.data.params in tried, "a child run has other parameters than the trial"
        assert child.data.metrics.get(tuning["metric"]) in values, (
            "a child run does not have the metric of its trial"
        )
        assert child.info.run_name.startswith(f"{next(iter(tried[0]))}="), (
            "a child run is not named by its values"
        )


# The service and the monitor


@promise_of_the_service
def the_service_answers_as_the_predictor_does(rehearsal: Rehearsal) -> None:
    """Over HTTP, in process: rows of the project's own are answered by the champion, logged, and counted."""
    from mlgates.serving import prediction_log, prometheus

    project = rehearsal.serve()
    rows = rehearsal.served_rows().head(3)
    body = {"rows": project.contract.payload(rows)}
    swaps = _counted(prometheus.page().decode(), "mlops_swaps_total")
    with serving(rehearsal) as client:
        started = _counted(client.get("/metrics").text, "mlops_swaps_total")
        assert started == swaps + 1, (
            "the champion is not loaded when the service starts, but by the first request"
        )
        answer = client.post("/predict", json=body)
        assert answer.status_code == 200, (
            f"the service answered {answer.status_code}: {answer.text[:200]}"
        )
        predictions = answer.json()["predictions"]
        assert client.get("/readyz").status_code == 200
        counted = client.get("/metrics").text
        assert "mlops_rows_total" in counted, "GET /metrics does not show the service's own numbers"
        refused = client.post("/predict", json={"rows": [{}]})
        assert refused.status_code == 400 and "data.columns" in refused.text
    left = sorted(path.name for path in (project.root / PREDICTIONS).glob("*-wal"))
    assert not left, f"the service left its prediction log open when it stopped: {', '.join(left)}"
    logged = prediction_log.read(project).set_index(prediction_log.ID)
    assert {one["id"] for one in predictions} <= set(logged.index), (
        "an answer is not in the prediction log"
    )
    for one, expected in zip(predictions, _predicted(project, body), strict=True):
        assert {**one, "id": ""} == {**expected, "id": ""}, (
            "the service answers otherwise than Predictor"
        )


@promise_of_the_service
def each_worker_of_the_service_writes_a_log_of_its_own(rehearsal: Rehearsal) -> None:
    """Two processes that wrote to one log would wait for each other: the third worker writes to 3.db."""
    import bentoml

    body = {"rows": rehearsal.contract.payload(rehearsal.served_rows().head(1))}
    project = rehearsal.serve()
    before = bentoml.server_context.worker_index
    bentoml.server_context.worker_index = 3
    try:
        with serving(rehearsal) as client:
            client.post("/predict", json=body)
    finally:
        bentoml.server_context.worker_index = before
    assert (project.root / PREDICTIONS / "3.db").exists(), (
        "the third worker writes to the log of another one"
    )


@promise_of_the_service
def the_service_is_not_ready_without_a_champion(rehearsal: Rehearsal) -> None:
    """GET /readyz says 503, and so does a request, with what to run."""
    rows = rehearsal.served_rows().head(1)
    with rehearsal.copy("train") as copied:
        _remove(copied, CHAMPION)
        with serving(rehearsal, copied) as client:
            assert client.get("/readyz").status_code == 503
            answer = client.post("/predict", json={"rows": copied.contract.payload(rows)})
            assert answer.status_code == 503 and "mlops promote" in answer.text


@promise_of_the_service
def the_service_says_what_it_is_and_keeps_its_limits(rehearsal: Rehearsal) -> None:
    """The contract is its OpenAPI page; the settings are those that the measured service had."""
    project = rehearsal.serve()
    service = _service(project)
    assert service.name == project.package
    assert service.config["workers"] == 1, (
        "several workers would each count in metrics of their own"
    )
    assert service.config["metrics"] == {"enabled": False}, (
        "BentoML's own metrics grow with every unknown path"
    )
    assert service.config["logging"]["access"]["enabled"] is False, (
        "a line for each request would fill the disk"
    )
    assert {"timeout", "max_concurrency"} <= set(service.config["traffic"]), (
        "the service has no limit on its load"
    )
    assert "/predict" in service.config["tracing"]["excluded_urls"], (
        "each request would be traced, and nobody reads it"
    )
    assert service.image and "wheels" in service.image.build_include_paths, (
        "an image would be built without mlgates"
    )
    threads = {env.name: env.value for env in service.envs}
    assert threads.get("OMP_NUM_THREADS") == "1", (
        "threads of small batches cost more than they save"
    )
    page = json.dumps(service.openapi_spec.asdict())
    for name in project.contract.request_columns:
        assert f'"{name}"' in page, f"the OpenAPI page does not describe the column {name}"
    assert "predictions" in page, "the OpenAPI page does not describe the answer"
    meaning = (project.contract.request.__doc__ or "").strip()
    assert not meaning or meaning in str(service.description), (
        "the service does not say what it is for"
    )


@promise_of_the_service
def the_monitor_finds_no_drift_in_the_reference(rehearsal: Rehearsal) -> None:
    """Rows like those that it was trained on: nothing drifted, and the page holds Evidently's part."""
    report, page = _watched(rehearsal)
    drifted = [check.name for check in report.drift if check.verdict is Verdict.FAIL]
    assert not drifted, f"the monitor calls rows of the reference drifted: {', '.join(drifted)}"
    assert report.drift, "the monitor compared no column"
    assert "<iframe" in page, "the monitor's page lacks Evidently's part"
    of_scores = report["monitor.prediction_drift"]
    methods = {check.evidence for check in report.drift if check is not of_scores}
    assert all(
        method in ("wasserstein distance", "jensenshannon distance") for method in methods
    ), f"distances are {sorted(methods)}"
    assert report.facts["predictions"] == report["monitor.min_rows"].value


@promise_of_the_service
def the_monitor_finds_drift_and_skew(rehearsal: Rehearsal) -> None:
    """A column that moved is named, and features that were served otherwise than they are computed."""
    moved = _moving(rehearsal)
    feature = plan(rehearsal.original.features, rehearsal.contract).names[-1]
    report, _ = _watched(rehearsal, moved=moved, skewed=feature)
    if moved:
        assert report[f"monitor.drift.{moved}"].verdict is Verdict.FAIL, (
            f"the monitor did not find drift of {moved}"
        )
    assert report[f"skew.{feature}"].verdict is Verdict.FAIL, (
        f"the monitor did not find the skew of {feature}"
    )


@promise_of_the_service
def the_monitor_compares_each_column_as_what_it_is(rehearsal: Rehearsal) -> None:
    """A number of few values is a number, and words of many kinds are categories: Evidently does not have to guess.

    Distances are told in standard deviations of the reference, as they are for periods.
    """
    import pandas as pd

    from mlgates.drift import Method, Pair
    from mlgates.monitoring.drift import Comparison, by_evidently, drift

    few = np.random.default_rng(0).integers(0, 3, 400)
    many = [f"word {place}" for place in range(400)]
    frame = pd.DataFrame({"few": few, "many": many})
    moved = frame.assign(few=2 * few + 1)
    compared = Comparison(frame, moved, ["few"], ["many"], {"few": 9.0, "many": 0.1})
    checks, _ = drift(compared, rehearsal.original.module("monitor").distributions)
    methods = [check.evidence for check in checks]
    assert methods == ["wasserstein distance", "jensenshannon distance"], (
        f"monitor.py compares by {methods}"
    )
    assert checks[0].verdict is Verdict.OK, (
        "monitor.py judges by other limits than those that it is given"
    )
    expected = by_evidently(Pair("few", few, 2 * few + 1, Method.WASSERSTEIN, words=0))
    measured = float(checks[0].value or 0)
    told = f"monitor.py measures {measured}, which is {expected:.6f}"
    assert np.isclose(measured, expected, atol=1e-5), f"{told}: is the reference in its place?"


@promise_of_the_service
def the_monitor_looks_at_the_time_that_it_is_asked_about(rehearsal: Rehearsal) -> None:
    """Predictions before `since` are left out."""
    report, _ = _watched(rehearsal, since=4_000_000_000.0)
    assert report.facts["predictions"] == 0, "the monitor looked at predictions from before `since`"


PROMISES = [*STAGE_PROMISES, *SERVICE_PROMISES]


# What promises share


def _stages(rehearsal: Rehearsal) -> dict[str, Any]:
    """The stages of the project's dvc.yaml."""
    content = yaml.safe_load((rehearsal.original.root / PIPELINE).read_text(encoding="utf-8"))
    stages: dict[str, Any] = content["stages"]
    absent = [name for name in STAGES if name not in stages]
    assert not absent, f"dvc.yaml has no stage {', '.join(absent)}"
    return stages


def _parameters(stage: Mapping[str, Any]) -> list[str]:
    """The parameters that a stage depends on, from whatever file."""
    names = []
    for entry in stage.get("params", []):
        if isinstance(entry, str):
            names.append(entry)
            continue
        for listed in entry.values():
            names += listed or []
    return names


def _outputs(stage: Mapping[str, Any]) -> list[str]:
    """The paths that a stage says it writes."""
    outputs = []
    for entry in stage["outs"]:
        outputs += [entry] if isinstance(entry, str) else list(entry)
    return outputs


def _is_state(path: str) -> bool:
    """Whether a file belongs to a tool and not to a stage: MLflow's store, locks, what DVC keeps."""
    of_mlflow = (
        MLFLOW_DATABASE.name,
        f"{MLFLOW_ARTIFACTS.as_posix()}/",
        f"{STATE.as_posix()}/mlflow.",
    )
    return path.startswith((*of_mlflow, f"{DVC_CONFIG.parent.as_posix()}/"))


def _timed(rehearsal: Rehearsal) -> bool:
    """Whether rows have a time; otherwise all periods are in use at once."""
    return bool(rehearsal.contract.time)


def _refusal(run: Callable[[], object]) -> str:
    """The sentence of the ProjectError that something must end in."""
    try:
        _quietly(run)
    except ProjectError as error:
        return str(error)
    raise AssertionError("it went on, though it should have stopped with an error")


def _quietly(run: Callable[[], object]) -> None:
    """Run something without its output."""
    with contextlib.redirect_stdout(io.StringIO()):
        run()


def _remove(project: Project, path: Path) -> None:
    (project.root / path).unlink(missing_ok=True)


def _set_param(project: Project, section: str, name: str, value: object) -> None:
    """Write one parameter into the params.yaml of a copy."""
    path = project.root / PARAMS
    params = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    params.setdefault(section, {})[name] = value
    path.write_text(yaml.safe_dump(params), encoding="utf-8")


def _planted_checks(measured: Mapping[str, Any]) -> list[Check]:
    """A team's checks.py whose check fails."""
    return [PLANTED]


def _breaking(rehearsal: Rehearsal) -> tuple[str, object, str]:
    """A request column, a value that the contract does not allow, and the rule that it breaks."""
    planted = breaking(rehearsal.contract)
    assert planted, (
        "schema.py forbids no value of any request column: nothing could ever be found bad"
    )
    column, value, rule = planted
    return column.name, value, rule


@contextlib.contextmanager
def serving(rehearsal: Rehearsal, placed: Project | None = None) -> Iterator[Any]:
    """A client of the project's service, run in this process with the champion of the rehearsal or of a copy."""
    with warnings.catch_warnings(
        action="ignore"
    ):  # about the name of the package that httpx will have
        from starlette.testclient import TestClient

    project = placed or rehearsal.serve()
    service = _service(project)
    with inside(project), TestClient(service.to_asgi(), raise_server_exceptions=False) as client:
        yield client


def _service(project: Project) -> Any:
    """The service of service.py, imported afresh: it finds its project when it is imported."""
    name = f"{project.package}.service"
    with inside(project):
        sys.modules.pop(name, None)
        return project.module("service").Service


def _counted(page: str, name: str) -> float:
    """A counter's value on a page of metrics."""
    for line in page.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise AssertionError(f"GET /metrics does not show {name}")


def _predicted(project: Project, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What Predictor, which knows no HTTP, answers to a request."""
    from mlgates.serving import Predictor

    predictor = Predictor(project, worker=9)
    try:
        predictions: list[dict[str, Any]] = predictor.predict(
            predictor.parse(json.dumps(body).encode())
        )["predictions"]
        return predictions
    finally:
        predictor.close()


def _moving(rehearsal: Rehearsal) -> str:
    """A column that a feature reads and that can be moved, a number with several values; empty if there is none."""
    rows = rehearsal.served_rows()
    for name in plan(rehearsal.original.features, rehearsal.contract).columns:
        column = rehearsal.contract.columns[name]
        if column.kind in ("int", "float") and rows[name].nunique() > 2:
            return name
    return ""


def _watched(
    rehearsal: Rehearsal, moved: str = "", skewed: str = "", since: float | None = None
) -> tuple[Report, str]:
    """The report of monitor.py, and its page, on logged rows of the reference.

    In the log the numbers of the column `moved` all lie in their upper half, and the feature `skewed` is served
    otherwise than it is computed.
    """
    project = rehearsal.serve()
    rows = rehearsal.served_rows(1_000).sample(800, random_state=0).reset_index(drop=True)
    if moved:
        known = rows[moved].dropna()
        upper = known[known >= known.quantile(0.9)].to_numpy()
        rows[moved] = np.random.default_rng(0).choice(upper, len(rows))
    with rehearsal.copy("train") as copied:
        shutil.rmtree(copied.root / PREDICTIONS, ignore_errors=True)
        _log(copied, rows, skewed)
        returned = copied.module("monitor").main(copied, since)
        report = Report.from_dict(read_json(copied.root / MONITOR_LATEST))
        assert returned and returned.title == report.title, (
            "main() of monitor.py does not return its report"
        )
        page = (copied.root / MONITOR_PAGE).read_text(encoding="utf-8")
    assert project.root.exists()
    return report, page


def _log(project: Project, rows: "pd.DataFrame", skewed: str) -> None:
    """Write what a service that holds the candidate would have logged of these joined rows."""
    from mlgates.serving.prediction_log import ID, PredictionLog, new_ids, types
    from mlgates.serving.sqlite import cells

    recorded = champion.in_service(project)
    contract = project.contract
    scorer = model_folder.load(project.root / CANDIDATE, contract)
    arrays = contract.arrays(rows)
    matrix = scorer.matrix(arrays)
    scores = scorer.score(matrix)
    count = len(rows)
    logged: dict[str, Any] = {
        ID: new_ids(count),
        "at": [time.time()] * count,
        "release": [recorded["release"]] * count,
        "fingerprint": [recorded["fingerprint"]] * count,
        "digest": [recorded["digest"]] * count,
        "score": [json.dumps(row) for row in scores.tolist()]
        if scores.ndim > 1
        else scores.tolist(),
        "decision": scorer.decide(scores).tolist(),
    }
    for name, column in contract.feature_columns.items():
        logged[name] = cells(column, arrays[name])
    for place, name in enumerate(scorer.plan.names):
        served = matrix[:, place] + 1.0 if name == skewed else matrix[:, place]
        logged[f"feature__{name}"] = served.tolist()
    log = PredictionLog(project.root / PREDICTIONS / "1.db")
    log.append(logged, types(contract, scorer.plan.names))
    log.close()
