"""Promises about service.py: it answers, logs and counts, with the settings that it needs."""

import contextlib
import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from mlgates.layout import CHAMPION, PREDICTIONS
from mlgates.project import Project
from mlgates.rehearsal import Rehearsal
from mlgates.testing.trials import remove
from mlgates.tools import inside

SWAPS = "mlops_swaps_total"  # the metric that counts how often a model was loaded


def the_service_answers_as_the_predictor_does(rehearsal: Rehearsal) -> None:
    """Rows of the project's own, sent over HTTP in this process, are answered by the champion.

    The answers are logged and counted.
    """
    from mlgates.serving import prometheus

    project = rehearsal.serve()
    body = {"rows": project.contract.payload(rehearsal.served_rows().head(3))}
    swaps_before = _metric(prometheus.page().decode(), SWAPS)
    with serving(rehearsal) as client:
        swaps_at_start = _metric(client.get("/metrics").text, SWAPS)
        assert swaps_at_start == swaps_before + 1, (
            "the champion is not loaded when the service starts, but by the first request"
        )
        answer = client.post("/predict", json=body)
        assert answer.status_code == 200, (
            f"the service answered {answer.status_code}: {answer.text[:200]}"
        )
        predictions = answer.json()["predictions"]
        assert client.get("/readyz").status_code == 200
        metrics = client.get("/metrics").text
        assert "mlops_rows_total" in metrics, "GET /metrics does not show the service's own numbers"
        refused = client.post("/predict", json={"rows": [{}]})
        assert refused.status_code == 400 and "data.columns" in refused.text
    _check_answers(project, body, predictions)


def _check_answers(
    project: Project, body: Mapping[str, Any], predictions: list[dict[str, Any]]
) -> None:
    """Check that the answers are in the prediction log, and are those of Predictor."""
    from mlgates.serving import prediction_log

    # SQLite deletes its write-ahead log when the last connection is closed.
    left_open = sorted(path.name for path in (project.root / PREDICTIONS).glob("*-wal"))
    assert not left_open, (
        f"the service left its prediction log open when it stopped: {', '.join(left_open)}"
    )
    logged = prediction_log.read(project)
    answered = {prediction["id"] for prediction in predictions}
    assert answered <= set(logged[prediction_log.ID]), "an answer is not in the prediction log"

    for prediction, expected in zip(predictions, _predicted(project, body), strict=True):
        # Each answer has an id of its own.
        assert {**prediction, "id": ""} == {**expected, "id": ""}, (
            "the service answers differently from Predictor"
        )


def each_worker_of_the_service_writes_a_log_of_its_own(rehearsal: Rehearsal) -> None:
    """The third worker writes to 3.db: processes that write to one log wait for each other."""
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


def the_service_is_not_ready_without_a_champion(rehearsal: Rehearsal) -> None:
    """GET /readyz answers 503, and so does a request, with what to run."""
    rows = rehearsal.served_rows().head(1)
    with rehearsal.copy("train") as copied:
        remove(copied, CHAMPION)
        with serving(rehearsal, copied) as client:
            assert client.get("/readyz").status_code == 503
            answer = client.post("/predict", json={"rows": copied.contract.payload(rows)})
            assert answer.status_code == 503 and "mlops promote" in answer.text


def the_service_says_what_it_is_and_keeps_its_limits(rehearsal: Rehearsal) -> None:
    """Its OpenAPI page is the contract; its settings are those that the benchmarks measured."""
    project = rehearsal.serve()
    service = _service(project)
    assert service.name == project.package

    config = service.config
    assert config["workers"] == 1, "several workers would each count in metrics of their own"
    assert config["metrics"] == {"enabled": False}, (
        "BentoML's own metrics grow with every unknown path"
    )
    assert config["logging"]["access"]["enabled"] is False, (
        "a line for each request would fill the disk"
    )
    assert {"timeout", "max_concurrency"} <= set(config["traffic"]), (
        "the service has no limit on its load"
    )
    assert "/predict" in config["tracing"]["excluded_urls"], (
        "each request would be traced, and nothing reads the traces"
    )
    assert service.image and "wheels" in service.image.build_include_paths, (
        "an image would be built without mlgates"
    )
    variables = {env.name: env.value for env in service.envs}
    assert variables.get("OMP_NUM_THREADS") == "1", (
        "for small batches, threads cost more than they save"
    )

    page = json.dumps(service.openapi_spec.asdict())
    for name in project.contract.request_columns:
        assert f'"{name}"' in page, f"the OpenAPI page does not describe the column {name}"
    assert "predictions" in page, "the OpenAPI page does not describe the answer"
    purpose = (project.contract.request.__doc__ or "").strip()
    assert not purpose or purpose in str(service.description), (
        "the service does not say what it is for"
    )


@contextlib.contextmanager
def serving(rehearsal: Rehearsal, placed: Project | None = None) -> Iterator[Any]:
    """A client of the project's service, which runs in this process.

    It serves the champion of the rehearsal, or of the copy `placed`.
    """
    # starlette warns about the name that the package httpx will have.
    with warnings.catch_warnings(action="ignore"):
        from starlette.testclient import TestClient

    project = placed or rehearsal.serve()
    service = _service(project)
    with inside(project), TestClient(service.to_asgi(), raise_server_exceptions=False) as client:
        yield client


def _service(project: Project) -> Any:
    """The service of service.py, imported anew, because it finds its project while imported."""
    name = f"{project.package}.service"
    with inside(project):
        sys.modules.pop(name, None)
        return project.module("service").Service


def _metric(page: str, name: str) -> float:
    """The value of a metric on a page of GET /metrics."""
    for line in page.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise AssertionError(f"GET /metrics does not show {name}")


def _predicted(project: Project, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What Predictor, which knows no HTTP, answers to a request."""
    from mlgates.serving import Predictor

    predictor = Predictor(project, worker=9)  # a log apart from the service's
    try:
        request = predictor.parse(json.dumps(body).encode())
        predictions: list[dict[str, Any]] = predictor.predict(request)["predictions"]
        return predictions
    finally:
        predictor.close()
