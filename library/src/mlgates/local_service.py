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

PORT = 3000
START_SECONDS = 120


def _free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            remedy = f"Stop that, or: uv run mlops up --no-serve, then uv run bentoml serve --port {port + 1}"
            raise ProjectError(f"Port {port} is in use by another program.", remedy) from None


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(project: Project, port: int) -> Iterator[str]:
    """`bentoml serve` on this machine until the block ends, on the champion of the project; yields its address.

    Raises: ProjectError if it does not get ready; its log is var/serve.log.
    """
    log = project.root / SERVE_LOG
    words = ("bentoml", "serve", f"{project.package}.service:Service", "--port", str(port))
    with tools.started(project, *words, log=log) as process:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        yield url


def _wait(process: tools.Running, url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    code = process.poll()
    ended = f"is not ready after {START_SECONDS} s" if code is None else f"ended with {code}"
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise ProjectError(
        f"The service {ended}. {''.join(said)[:300]}".strip(), f"See {SERVE_LOG.as_posix()}"
    )


def ask(url: str, rows: list[dict[str, object]]) -> dict[str, object]:
    """One request over HTTP. Raises: ProjectError with the service's sentence if it refuses."""
    body = json.dumps({"rows": rows}).encode()
    request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, object] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        raise ProjectError(
            f"The service refused ({error.code}): {error.read(500).decode(errors='replace')}"
        ) from None
