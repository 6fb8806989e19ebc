"""Between BentoML and the predictor: types of request and answer, limits, errors that quote no value, and metrics."""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

from mlgates.command import quiet_tools

quiet_tools()  # before bentoml is asked to do anything

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
from mlgates.serving.prediction_log import types  # noqa: E402
from mlgates.serving.predictor import Refused, answer_model, batch_model, parse_rows  # noqa: E402

usage_stats.do_not_track.cache_clear()  # the command line read it before this module could set it
BYTES_PER_CELL = 200  # of a request's JSON: more than any sensible value needs
ENVELOPE = 4096  # bytes around the rows


def find_project() -> Project:
    """The project that this process serves; ends the process with one sentence if it cannot be served."""
    try:
        project = Project.find()
        batch_model(project)
        types(project.contract, [])
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
    """An answer as JSON. BentoML sends it as it is: checking it against its type costs 100 rows a quarter more CPU."""
    return Response(to_json(content), media_type="application/json")


def refusal(refused: Refused) -> Response:
    """What a caller is told of rows that are not predicted: row, column and rule of each fault, and no value."""
    content: dict[str, Any] = {"error": refused.message}
    if refused.detail is not None:
        content["detail"] = refused.detail
    return Response(to_json(content), refused.code, media_type="application/json")


class Guard:
    """ASGI middleware around `POST /predict`: limits on what is read, errors that quote no value, and metrics.

    BentoML has no limit on a body's size. What it says of a request that does not fit its schema is said by the
    predictor instead, with the names of the contract's rules.
    """

    def __init__(self, app: ASGIApp, project: Project) -> None:
        """`app` is what is guarded."""
        self.app = app
        self.contract = project.contract
        self.batch = batch_model(project)
        cells = project.settings().serve.max_rows * len(self.contract.request_columns)
        self.most_bytes = ENVELOPE + cells * BYTES_PER_CELL

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, unless the request is refused before."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", "/predict"):
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        held = Held(send)
        try:
            body = await self._body(Request(scope, receive))
            await self.app(scope, _replayed(body, receive), held)
            if held.status == 400:  # BentoML's own refusal, or the predictor's
                parse_rows(self.batch, self.contract, body)
        except Refused as refused:
            held.replace(refusal(refused))
        except ClientDisconnect:
            held.replace(refusal(Refused(400, "The body ended early.")))
        await held.finish(scope, receive)
        prometheus.REQUESTS.labels(held.status).inc()
        prometheus.SECONDS.observe(time.perf_counter() - started)

    async def _body(self, request: Request) -> bytes:
        """The body, if it is JSON and not too large. Raises: Refused, or ClientDisconnect."""
        kind, _, options = request.headers.get("content-type", "").lower().partition(";")
        if kind.strip() != "application/json" or options.strip() not in ("", "charset=utf-8"):
            raise Refused(415, "The content type must be application/json.")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "The body must not be compressed.")
        too_large = Refused(413, f"The body must not be larger than {self.most_bytes} bytes.")
        if int(request.headers.get("content-length", 0)) > self.most_bytes:
            raise too_large
        body = bytearray()
        async for chunk in request.stream():  # chunked bodies announce no length
            body += chunk
            if len(body) > self.most_bytes:
                raise too_large
        return bytes(body)


class Held:
    """An answer that is held back while it may still be replaced; one with status 200 is passed on at once."""

    def __init__(self, send: Send) -> None:
        """`send` is where the answer goes."""
        self.send = send
        self.status = 0
        self.messages: list[Message] = []
        self.other: Response | None = None

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
        self.other = response
        self.status = response.status_code

    async def finish(self, scope: Scope, receive: Receive) -> None:
        """Send what was held back, or what replaces it."""
        if self.other:
            await self.other(scope, receive, self.send)
            return
        for message in self.messages:
            await self.send(message)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read already, and then whatever comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


class _NoValues(logging.Filter):
    """Log where a request failed, without the traceback: it could quote a caller's values."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, ValidationError):
            return False  # a refused request is counted in the metrics, and no error of the service
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
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
