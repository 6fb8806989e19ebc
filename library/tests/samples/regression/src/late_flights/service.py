"""The service: `uv run bentoml serve` at the project's root.

POST /predict    rows in, predictions out; an answer is logged before it is sent
GET  /readyz     503 until a champion is in service
GET  /metrics    for Prometheus
GET  /docs.json  the contract as OpenAPI
"""

from typing import Any

import bentoml

from mlgates.serving import Predictor, Refused, http

project = http.find_project()
Batch = http.request_type(project)
Answer = http.answer_type(project)


@bentoml.service(
    name="late_flights",
    description=http.description(project),
    workers=1,
    # BentoML's own metrics grow with every unknown path. GET /metrics has ours.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    traffic={"timeout": 10, "max_concurrency": 64},
    # Tracing takes a third of the CPU time of a request, and no collector of traces is set up.
    tracing={"excluded_urls": ["/predict"]},
    envs=[{"name": "OMP_NUM_THREADS", "value": "1"}],
    # The bento holds mlgates as a file: `mlops wheel`, then `bentoml build`.
    image=bentoml.images.Image().build_include("wheels"),
)
@bentoml.asgi_app(http.metrics_app(), path="/")
class Service:
    """Predictions of the recorded champion."""

    def __init__(self) -> None:
        """Load the champion, if there is one.

        The predictor checks rows, looks up the rest, scores with the champion and logs. It does
        not use HTTP.
        """
        self.predictor = Predictor(project, worker=bentoml.server_context.worker_index or 1)
        self.predictor.ready()

    @bentoml.api(input_spec=Batch, output_spec=Answer)
    async def predict(self, rows: list[Any]) -> Any:
        """Score one or more rows.

        If a row is refused, nothing is predicted: the answer names row, column and rule.
        """
        try:
            return http.answer(self.predictor.predict(rows))
        except Refused as refused:
            return http.refusal(refused)

    async def __is_ready__(self) -> bool:
        """Whether a champion is in service."""
        return self.predictor.ready()

    @bentoml.on_shutdown
    def close(self) -> None:
        """Close the prediction log."""
        self.predictor.close()


# The guard limits what is read, answers errors without quoting values, and counts requests.
# The decorator adds this method, which mypy cannot see.
Service.add_asgi_middleware(http.Guard, project=project)  # type: ignore[attr-defined]
