"""`bentoml serve` on this machine, and the tools' commands as this interpreter runs them."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlgates.errors import ProjectError
from mlgates.project import Project

PORT = 3000
START_SECONDS = 120
TOOLS = {"dvc": "dvc", "bentoml": "bentoml", "mlops": f"{__package__}.cli"}


def command(words: tuple[str, ...]) -> list[str]:
    """The command with this interpreter's tools, wherever the environment lies."""
    return [sys.executable, "-m", TOOLS[words[0]], *words[1:]] if words[0] in TOOLS else list(words)


def environment(project: Project) -> dict[str, str]:
    """The environment of this process with the project's sources and this interpreter first.

    The sources are the project's own, or, in a folder without any, those that this process imports.
    """
    sources = project.root / "src"
    if not sources.exists():
        sources = Path(str(project.module("schema").__file__)).parents[1]
    found = [str(sources.resolve()), os.environ.get("PYTHONPATH", "")]
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, found)), "PATH": os.pathsep.join(path)}


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
    log = project.root / "var" / "serve.log"
    log.parent.mkdir(exist_ok=True)
    words = command(("bentoml", "serve", f"{project.package}.service:Service", "--port", str(port)))
    settings = environment(project) | {"MLOPS_ROOT": str(project.root)}
    with log.open("w") as file:
        process = subprocess.Popen(words, cwd=project.root, env=settings, stdout=file, stderr=file)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, url, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
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
    raise ProjectError(f"The service {ended}. {''.join(said)[:300]}".strip(), "See var/serve.log")


def ask(url: str, rows: list[dict[str, object]]) -> dict[str, object]:
    """One request over HTTP. Raises: ProjectError with the service's sentence if it refuses."""
    body = json.dumps({"rows": rows}).encode()
    request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, object] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        raise ProjectError(f"The service refused ({error.code}): {error.read(500).decode(errors='replace')}") from None
