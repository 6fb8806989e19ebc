"""The service: `uv run bentoml serve` at the project's root.

POST /predict    rows in, predictions out; an answer is in the prediction log before it is sent
GET  /readyz     503 until a champion is in service
GET  /metrics    for Prometheus              GET /docs.json    the contract as OpenAPI
"""

from typing import Any

import bentoml

from mlgates.serving import Predictor, Refused, http

project = http.find_project()
Batch, Answer = http.request_type(project), http.answer_type(project)


@bentoml.service(
    name="late_flights",
    description=http.description(project),
    workers=1,
    metrics={"enabled": False},  # BentoML's own series grow with every unknown path; see /metrics
    logging={"access": {"enabled": False}},
    traffic={"timeout": 10, "max_concurrency": 64},
    tracing={"excluded_urls": ["/predict"]},  # a third of a request's CPU, and nobody collects the spans
    envs=[{"name": "OMP_NUM_THREADS", "value": "1"}],
    image=bentoml.images.Image().build_include("wheels"),  # mlgates as a file: `mlops wheel`, then `bentoml build`
)
@bentoml.asgi_app(http.metrics_app(), path="/")
class Service:
    """Predictions of the recorded champion."""

    def __init__(self) -> None:
        """A predictor checks rows, looks the rest up, scores with the champion, and logs. It knows no HTTP."""
        self.predictor = Predictor(project, worker=bentoml.server_context.worker_index or 1)
        self.predictor.ready()

    @bentoml.api(input_spec=Batch, output_spec=Answer)
    async def predict(self, rows: list[Any]) -> Any:
        """Score 1 or more rows. Refused rows are named by row, column and rule; then nothing is predicted."""
        try:
            return http.answer(self.predictor.predict(rows))
        except Refused as refused:
            return http.refusal(refused)

    async def __is_ready__(self) -> bool:
        """Whether a champion is in service."""
        return self.predictor.ready()

    @bentoml.on_shutdown
    def close(self) -> None:
        """Leave no open log behind."""
        self.predictor.close()


# Limits on what is read, errors without values, metrics. The method is the decorator's, which mypy does not see.
Service.add_asgi_middleware(http.Guard, project=project)  # type: ignore[attr-defined]
