"""Between BentoML and the predictor: types, limits, metrics, and errors that quote no value.

A service is wired of these parts in the project's service.py: `request_type` and `answer_type` for
`@bentoml.api`, `Guard` around its ASGI app, `metrics_app` for Prometheus.
"""

import logging
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from mlgates.command import quiet_tools

quiet_tools()  # before bentoml is imported

import bentoml  # noqa: E402
from bentoml._internal.utils.analytics import usage_stats  # noqa: E402
from pydantic import ValidationError  # noqa: E402
from pydantic_core import to_json  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.requests import ClientDisconnect, Request  # noqa: E402
from starlette.responses import Response  # noqa: E402
from starlette.routing import Route  # noqa: E402
from starlette.types import ASGIApp, Message, Receive, Scope, Send  # noqa: E402

from mlgates.errors import ProjectError  # noqa: E402
from mlgates.project import Project  # noqa: E402
from mlgates.serving import prometheus  # noqa: E402
from mlgates.serving.prediction_log import log_columns  # noqa: E402
from mlgates.serving.predictor import Refused, answer_model, batch_model, parse_rows  # noqa: E402

# `bentoml serve` asked whether to track before this module could say no, and keeps the answer.
usage_stats.do_not_track.cache_clear()

BYTES_PER_CELL = 200  # of a request's JSON: more than any sensible value needs
ENVELOPE = 4096  # bytes around the rows
GUARDED = ("POST", "/predict")


def find_project() -> Project:
    """The project that this process serves.

    If it cannot be served, the process ends with one sentence instead of a traceback.
    """
    try:
        project = Project.find()
        batch_model(project)  # raises for a contract that is wrong
        log_columns(project.contract, [])  # raises for a name that the prediction log needs
    except ProjectError as error:
        sys.exit(f"error: {error}")
    return project


def description(project: Project) -> str:
    """What the service is for: the docstring of the request in schema.py."""
    return (project.contract.request.__doc__ or "Predictions of the recorded champion.").strip()


def request_type(project: Project) -> type[Any]:
    """The request as BentoML describes, parses and checks it."""
    model = batch_model(project)

    class Batch(bentoml.IODescriptor, model):  # type: ignore[misc, valid-type]
        """Rows to score, as the contract describes them."""

    return Batch


def answer_type(project: Project) -> type[Any]:
    """The answer as BentoML describes it."""
    model = answer_model(project)

    class Answer(bentoml.IODescriptor, model):  # type: ignore[misc, valid-type]
        """One prediction for each row, in order."""

    return Answer


def answer(content: Mapping[str, Any]) -> Response:
    """An answer as JSON.

    It is a `Response`, which BentoML sends as it is. To check it against its type would cost a
    quarter more CPU for 100 rows.
    """
    return Response(to_json(content), media_type="application/json")


def refusal(refused: Refused) -> Response:
    """What a caller gets for rows that are not predicted.

    Row, column and rule of each fault, and no value.
    """
    content: dict[str, Any] = {"error": refused.message}
    if refused.detail is not None:
        content["detail"] = refused.detail
    return Response(to_json(content), refused.code, media_type="application/json")


class Guard:
    """ASGI middleware around `POST /predict`: limits, errors that quote no value, and metrics.

    BentoML has no limit on a body's size. What it answers to a request that does not fit its schema
    is replaced by what the predictor says, in the names of the contract's rules.
    """

    def __init__(self, app: ASGIApp, project: Project) -> None:
        """`app` is what is guarded."""
        self.app = app
        self.contract = project.contract
        self.batch = batch_model(project)
        cells = project.settings().serve.max_rows * len(self.contract.request_columns)
        self.max_bytes = ENVELOPE + cells * BYTES_PER_CELL

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, unless the request is refused before."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) != GUARDED:
            await self.app(scope, receive, send)
            return

        started = time.perf_counter()
        answer = ReplaceableAnswer(send)
        try:
            body = await self._body(Request(scope, receive))
            await self.app(scope, _replayed(body, receive), answer)
            if answer.status == 400:  # BentoML's own refusal, or the predictor's: say it our way
                parse_rows(self.batch, self.contract, body)
        except Refused as refused:
            answer.replace(refusal(refused))
        except ClientDisconnect:
            answer.replace(refusal(Refused(400, "The body ended early.")))
        await answer.finish(scope, receive)

        prometheus.REQUESTS.labels(answer.status).inc()
        prometheus.SECONDS.observe(time.perf_counter() - started)

    async def _body(self, request: Request) -> bytes:
        """The body, if it is JSON and not too large. Raises: Refused, or ClientDisconnect."""
        self._check_headers(request)
        body = bytearray()
        async for chunk in request.stream():  # chunked bodies announce no length
            body += chunk
            if len(body) > self.max_bytes:
                raise self._too_large()
        return bytes(body)

    def _check_headers(self, request: Request) -> None:
        """Raises: Refused for what is not plain JSON in UTF-8, or is announced as too large."""
        headers = request.headers
        media_type, _, options = headers.get("content-type", "").lower().partition(";")
        if media_type.strip() != "application/json":
            raise Refused(415, "The content type must be application/json.")
        if options.strip() not in ("", "charset=utf-8"):
            raise Refused(415, "The content type must be application/json, in UTF-8.")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "The body must not be compressed.")
        if int(headers.get("content-length", 0)) > self.max_bytes:
            raise self._too_large()

    def _too_large(self) -> Refused:
        return Refused(413, f"The body must not be larger than {self.max_bytes:,} bytes.")


class ReplaceableAnswer:
    """The app's answer, kept back while it may still be replaced.

    One with status 200 is passed on at once.
    """

    def __init__(self, send: Send) -> None:
        """`send` is where the answer goes."""
        self.send = send
        self.status = 0
        self.messages: list[Message] = []
        self.replacement: Response | None = None

    async def __call__(self, message: Message) -> None:
        """Take one message of the app."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        if self.status == 200:
            await self.send(message)
        else:
            self.messages.append(message)

    def replace(self, response: Response) -> None:
        """Answer this instead."""
        self.replacement = response
        self.status = response.status_code

    async def finish(self, scope: Scope, receive: Receive) -> None:
        """Send what was kept back, or what replaces it."""
        if self.replacement is not None:
            await self.replacement(scope, receive, self.send)
            return
        for message in self.messages:
            await self.send(message)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read already, and then whatever comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        if waiting:
            return waiting.pop()
        return await receive()

    return replay


class _NoValues(logging.Filter):
    """Log where a request failed, without the traceback: it could quote a caller's values."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged; its message and traceback are replaced."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, ValidationError):
            return False  # a refused request is no error of the service; the metrics count it
        if error is not None:
            record.msg = f"A request failed with {type(error).__name__} in {_place(error)}."
            record.args = ()
            record.exc_info = None
        return True


logging.getLogger("bentoml._internal.server.http_app").addFilter(_NoValues())


def metrics_app() -> Starlette:
    """GET /metrics, for Prometheus."""

    async def metrics(request: Request) -> Response:
        return Response(prometheus.page(), media_type=prometheus.CONTENT_TYPE)

    return Starlette(routes=[Route("/metrics", metrics)])


def _place(error: BaseException) -> str:
    """File and line where an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    return f"{frames[-1].filename}:{frames[-1].lineno}"
