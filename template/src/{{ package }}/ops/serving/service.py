"""The service: `uv run bentoml serve` at the project's root.

POST /predict    rows in, predictions out; an answer is in the prediction log before it is sent
GET  /readyz     503 until a champion is in service
GET  /metrics    see metrics.py         GET /docs.json    the contract as OpenAPI
"""

import logging
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, create_model
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ... import features
from ...schema import contract
from ..contract import Arrays, rule_of
from ..project import PACKAGE, ProjectError, find_root, params, quiet_tools

quiet_tools()  # before bentoml is asked to do anything

import bentoml  # noqa: E402
from bentoml._internal.utils.analytics import usage_stats  # noqa: E402

from . import metrics  # noqa: E402
from .champion import Champion, Follower  # noqa: E402
from .log import FOLDER, ID, PredictionLog, Unwritable, new_ids, types  # noqa: E402
from .online import STORE, Store  # noqa: E402
from .tables import cells  # noqa: E402

usage_stats.do_not_track.cache_clear()  # the command line read it before this module could set it
logger = logging.getLogger("bentoml.mlops")
MOST_FAULTS = 20
BYTES_PER_CELL = 200
NO_CHAMPION = "No champion is in service. Release one: uv run mlops promote"

try:
    ROOT = find_root()
    MAX_ROWS = int(params(ROOT)["serve"]["max_rows"])
    types(contract, [])
except ProjectError as error:
    sys.exit(f"error: {error}")
MAX_BYTES = 4096 + MAX_ROWS * BYTES_PER_CELL * len(contract.request_columns)

_SCORES: dict[str, dict[str, Any]] = {
    "binary": {"probability": (float, ...), "decision": (bool if contract.outcome.kind == "bool" else str, ...)},
    "multiclass": {"probabilities": (dict[str, float], ...), "decision": (str, ...)},
    "regression": {"value": (float, ...)},
}
Prediction = create_model("Prediction", id=(str, ...), **_SCORES[contract.task])
_PLAIN = [  # datetimes that the contract means as local time: an offset would be dropped silently
    name for name, column in contract.request_columns.items() if column.kind == "datetime"
]

if TYPE_CHECKING:
    Row = Any
    Scored = Any
else:
    Row = contract.request_model
    Scored = Prediction


class Batch(bentoml.IODescriptor):  # type: ignore[misc]
    """Rows to score, as the contract describes them."""

    model_config = ConfigDict(extra="forbid")
    rows: Annotated[list[Row], Field(min_length=1, max_length=MAX_ROWS)]

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Any:
        """Hand the raw request over: BentoML's own parsing has no limits, and logs refused values."""
        return request


class Answer(bentoml.IODescriptor):  # type: ignore[misc]
    """One prediction for each row, in order."""

    release: str
    predictions: list[Scored]


Batch.__root_input__ = True  # the request is predict's one argument


def _refusal(code: int, message: str, detail: list[dict[str, Any]] | None = None) -> Response:
    content: dict[str, Any] = {"error": message} | ({"detail": detail} if detail is not None else {})
    return Response(to_json(content), code, media_type="application/json")


async def _body(request: Request) -> bytes | Response:
    kind, _, options = request.headers.get("content-type", "").lower().partition(";")
    if kind.strip() != "application/json" or options.strip() not in ("", "charset=utf-8"):
        return _refusal(415, "The content type must be application/json.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        return _refusal(415, "The body must not be compressed.")
    too_large = _refusal(413, f"The body must not be larger than {MAX_BYTES} bytes.")
    if int(request.headers.get("content-length", 0)) > MAX_BYTES:
        return too_large
    body = bytearray()
    async for chunk in request.stream():  # chunked bodies announce no length
        body += chunk
        if len(body) > MAX_BYTES:
            return too_large
    return bytes(body)


def _fault(error: Any) -> dict[str, Any]:
    place, kind = error["loc"], error["type"]
    row = place[1] if len(place) > 1 else None
    column = str(place[2])[:60] if len(place) > 2 else None
    column = contract.columns[column].label if column in contract.columns else column
    rule = "data.rows" if kind in ("too_short", "too_long") and column is None else rule_of(kind, error["input"])
    return {"row": row, "column": column, "rule": rule, "message": error["msg"]}


def _no_value(column: str, row: int) -> dict[str, Any]:
    return {"row": row, "column": column, "rule": "data.missing", "message": "Nothing known, or too old"}


def _parse(body: bytes) -> list[Any] | Response:
    """The checked rows, or what is wrong with them; values are never repeated."""
    try:
        rows: list[Any] = Batch.model_validate_json(body, strict=True).rows
    except ValidationError as error:
        faults = [_fault(one) for one in error.errors(include_url=False, include_context=False)]
    else:
        faults = [
            {"row": place, "column": name, "rule": "data.type", "message": "Input should have no UTC offset"}
            for name in _PLAIN
            for place, row in enumerate(rows)
            if getattr(getattr(row, name), "tzinfo", None) is not None
        ] or [
            {"row": place, "column": name, "rule": "data.rule", "message": "The values do not go together"}
            for name, places in (contract.impossible(contract.arrays_of(rows)) if contract.rules else {}).items()
            for place in places.tolist()
        ]
        if not faults:
            return rows
    for rule, count in Counter(fault["rule"] for fault in faults).items():
        metrics.REFUSED.labels(rule).inc(count)
    return _refusal(400, f"Nothing was predicted. Faults found: {len(faults)}", faults[:MOST_FAULTS])


async def _metrics(request: Request) -> Response:
    return Response(metrics.page(), media_type=metrics.CONTENT_TYPE)


@bentoml.service(
    name=PACKAGE,
    description=contract.request.__doc__ or PACKAGE,
    workers=1,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    traffic={"timeout": 10, "max_concurrency": 64},
    tracing={"excluded_urls": ["/predict"]},  # a third of a request's CPU, and nobody collects the spans
    envs=[{"name": "OMP_NUM_THREADS", "value": "1"}],
)
@bentoml.asgi_app(Starlette(routes=[Route("/metrics", _metrics)]), path="/")
class Service:
    """Checks rows, looks the rest up, scores with the recorded champion, and logs."""

    def __init__(self) -> None:
        """Load the recorded champion if there is one."""
        self.follower = Follower(ROOT, contract, features)
        self.store = Store(ROOT / STORE, contract)
        self.log = PredictionLog(ROOT / FOLDER / f"{bentoml.server_context.worker_index or 1}.db")
        self.follower.current()

    async def __is_ready__(self) -> bool:
        """Whether a champion is in service."""
        return self.follower.current() is not None

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Leave no open log behind."""
        self.log.close()

    @bentoml.api(input_spec=Batch, output_spec=Answer)  # type: ignore[untyped-decorator]
    async def predict(self, request: Any) -> Any:
        """Score 1 or more rows. Refused rows are named by row, column and rule; then nothing is predicted."""
        started = time.perf_counter()
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            answer = _refusal(400, "The body ended early.")
        except Exception as error:  # a traceback could quote a caller's values
            trace = error.__traceback__
            while trace and trace.tb_next:
                trace = trace.tb_next
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
            logger.error("A request failed with %s in %s.", type(error).__name__, place)
            answer = _refusal(500, "The request could not be answered; see the service's log.")
        metrics.REQUESTS.labels(answer.status_code).inc()
        metrics.SECONDS.observe(time.perf_counter() - started)
        return answer

    async def _answer(self, request: Request) -> Response:
        body = await _body(request)
        rows = body if isinstance(body, Response) else _parse(body)
        if isinstance(rows, Response):
            return rows
        champion = self.follower.current()
        if champion is None:
            return _refusal(503, NO_CHAMPION)
        arrays = contract.arrays_of(rows)
        ages = self._look_up(arrays)
        if unanswered := contract.unanswered(arrays):
            told = [_no_value(name, place) for name, places in unanswered.items() for place in places.tolist()]
            metrics.REFUSED.labels("data.missing").inc(len(told))
            return _refusal(503, "A look-up that the contract demands found nothing.", told[:MOST_FAULTS])
        try:
            answer = self._predict(champion, arrays, ages)
            return Response(to_json(answer), media_type="application/json")
        except Unwritable as error:
            metrics.LOG_FAILURES.inc()
            logger.error("The prediction log cannot be written: %s", error)
            return _refusal(503, "The prediction log cannot be written, so nothing is answered.")

    def _predict(self, champion: Champion, arrays: Arrays, ages: dict[str, list[float]]) -> dict[str, Any]:
        matrix = champion.scorer.matrix(arrays)
        scores, rows = champion.score(matrix), len(matrix)
        ids, now, decisions = new_ids(rows), time.time(), champion.scorer.decide(scores).tolist()
        if contract.task == "multiclass":
            named = [dict(zip(contract.classes, row, strict=True)) for row in scores.tolist()]
            predictions = [{"probabilities": p, "decision": d} for p, d in zip(named, decisions, strict=True)]
        elif contract.task == "binary":
            predictions = [{"probability": p, "decision": d} for p, d in zip(scores.tolist(), decisions, strict=True)]
        else:
            predictions = [{"value": value} for value in decisions]
        same = {"at": now, "release": champion.release, "fingerprint": champion.fingerprint, "digest": champion.digest}
        self.log.append(
            {ID: ids}
            | {name: [value] * rows for name, value in same.items()}
            | {name: cells(contract.columns[name], arrays[name]) for name in contract.feature_columns}
            | ages
            | dict(zip((f"feature__{name}" for name in champion.scorer.plan.names), matrix.T.tolist(), strict=True))
            | {"score": [to_json(row).decode() for row in scores.tolist()] if scores.ndim > 1 else scores.tolist()}
            | {"decision": decisions},
            champion.columns,
        )
        metrics.ROWS.inc(rows)
        answers = [{"id": one, **prediction} for one, prediction in zip(ids, predictions, strict=True)]
        return {"release": champion.release, "predictions": answers}

    def _look_up(self, arrays: Arrays) -> dict[str, list[float]]:
        ages = {}
        for look in contract.lookups:
            found, age = self.store.find(look, arrays)
            arrays.update(found)
            ages[f"{look.name}__age"] = age.tolist()
            missing, old = int(np.isnan(age).sum()), int((age > look.max_seconds).sum())
            for result, count in (("missing", missing), ("too_old", old), ("found", len(age) - missing - old)):
                if count:
                    metrics.LOOKUPS.labels(look.name, result).inc(count)
            if missing < len(age):
                metrics.AGE.labels(look.name).set(np.nanmax(age))
        return ages
