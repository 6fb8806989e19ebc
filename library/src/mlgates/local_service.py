"""`bentoml serve` on this machine, and one request to it."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlgates import tools
from mlgates.errors import ProjectError
from mlgates.layout import SERVE_LOG
from mlgates.project import Project

HOST = "127.0.0.1"
PORT = 3000  # BentoML's default
START_SECONDS = 120  # until the service must be ready; a cold start imports every library
POLL_SECONDS = 0.2
READY_TIMEOUT = 5  # seconds
REQUEST_TIMEOUT = 60  # seconds
SHOWN_CHARACTERS = 300  # of the log's last line in an error


def check_port_is_free(port: int) -> None:
    """Raises: ProjectError if another program listens on the port."""
    with socket.socket() as probe:
        # Without this a port whose last connection has just been closed would count as in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise ProjectError(
                f"Port {port} is in use by another program.",
                f"Stop that program. Or run: uv run mlops up --port {port + 1}",
            ) from None


def free_port() -> int:
    """A port that no program uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))  # port 0: the operating system picks one
        return int(probe.getsockname()[1])


@contextmanager
def served(project: Project, port: int) -> Iterator[str]:
    """Serve the project's champion by `bentoml serve` until the block ends; yields its address.

    Raises: ProjectError if the service does not become ready; its log is var/serve.log.
    """
    log = project.root / SERVE_LOG
    words = ("bentoml", "serve", f"{project.package}.service:Service", "--port", str(port))
    with tools.started(project, *words, log=log) as process:
        url = f"http://{HOST}:{port}"
        _wait_until_ready(process, url, log)
        yield url


def _wait_until_ready(process: tools.Running, url: str, log: Path) -> None:
    """Ask GET /readyz until it answers.

    Raises: ProjectError with the log's last line if the service ends, or takes too long.
    """
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=READY_TIMEOUT):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_SECONDS)

    exit_code = process.poll()
    if exit_code is None:
        what_happened = f"The service is not ready after {START_SECONDS} s."
    else:
        what_happened = f"The service ended with exit code {exit_code}."
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last_line = lines[-1][:SHOWN_CHARACTERS] if lines else ""
    raise ProjectError(f"{what_happened} {last_line}".strip(), f"See {SERVE_LOG.as_posix()}")


def ask(url: str, rows: list[dict[str, object]]) -> dict[str, object]:
    """The service's answer to one request over HTTP, as parsed JSON.

    Raises: ProjectError with the service's own message if it refuses the request.
    """
    body = json.dumps({"rows": rows}).encode()
    request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT) as response:
            answer: dict[str, object] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        message = error.read(500).decode(errors="replace")
        raise ProjectError(f"The service refused the request ({error.code}): {message}") from None
