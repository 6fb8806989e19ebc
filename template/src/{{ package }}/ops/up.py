"""`mlops up`: the commands of a first day, each shown and then run. Every one of them also works by hand."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .project import PACKAGE, ProjectError, params, yours
from .scoring import REFERENCE

PORT = 3000
START_SECONDS = 120
TOOLS = {"dvc": "dvc", "bentoml": "bentoml", "mlops": f"{__package__}.cli"}


def step(root: Path, why: str, *words: str) -> None:
    """Show a command as a user would type it, and run it in the project.

    Raises: ProjectError if it ends with an error; the command has said why.
    """
    shown = " ".join(f'"{word}"' if " " in word else word for word in words)
    print(f"\n# {why}\n$ {'' if words[0] == 'git' else 'uv run '}{shown}", flush=True)
    if subprocess.run(command(words), cwd=root, env=environment(root)).returncode:
        raise ProjectError(
            f"`{shown}` stopped; its last lines say why.", "Mend that, then run `uv run mlops up` again."
        )


def command(words: tuple[str, ...]) -> list[str]:
    """The command with this interpreter's tools, wherever the environment lies."""
    return [sys.executable, "-m", TOOLS[words[0]], *words[1:]] if words[0] in TOOLS else list(words)


def environment(root: Path) -> dict[str, str]:
    """The environment of this process with the project's sources (else these) and this interpreter first."""
    sources = root / "src" if (root / "src").exists() else Path(__file__).parents[2]
    found = [str(sources.resolve()), os.environ.get("PYTHONPATH", "")]
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, found)), "PATH": os.pathsep.join(path)}


def commit(root: Path, message: str) -> None:
    """Commit what is new. Raises: ProjectError if git does not know who commits."""
    from .registry.git import changes, identity

    if changes(root):
        identity(root)
        step(root, "keep it", "git", "add", "--all")
        told = "in git: code, parameters, locks and reports; never data or models"
        step(root, told, "git", "commit", "--quiet", "-m", message)


def up(root: Path, *, serve: bool = True) -> int:
    """From a fresh copy to a served model; what is already done is not done again.

    Raises: ProjectError if a step fails, or if the service's port is in use.
    """
    if not shutil.which("git"):
        raise ProjectError("git is not installed.", "Install it, then run `uv run mlops up` again.")
    if serve:
        _free(PORT)
    if not (root / ".git").exists():
        step(root, "the record lives in git", "git", "init", "--quiet", "--initial-branch", "main")
    from . import signing
    from .registry import keys, record

    unheld = record.champion(root, params(root)["promote"]["path"][0]) is None
    if unheld and not signing.keys(root):
        print(f"\n# your key signs models; others trust its public half: {keys.make(root)[0].relative_to(root)}")
    commit(root, "Start from copier-mlops")
    step(root, "ingest, validate, train, refit, evaluate, gate, track (dvc.yaml)", "dvc", "repro")
    commit(root, "First training")
    if unheld:
        step(root, "release it, and make it champion", "mlops", "promote", "--reason", "first release")
    if not serve:
        return 0
    print("\n# over HTTP; its log is var/serve.log\n$ uv run bentoml serve", flush=True)
    with served(root, PORT) as url:
        body = json.dumps({"rows": [example(root)]})
        print(f"\nThe champion answers at {url} (a page to try it; {url}/metrics has its numbers). For example:\n")
        print(f"  curl -s {url}/predict -H 'Content-Type: application/json' -d '{body}'\n")
        print(json.dumps(ask(url, [example(root)])))
        print("\nIn another terminal: uv run mlops status; uv run mlops prove; uv run mlops simulate; uv run mlflow ui")
        print("Ctrl-C stops the service.", flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
    print("\nThe service has stopped; start it again with: uv run bentoml serve")
    return 0


def example(root: Path) -> dict[str, object]:
    """A request that a caller could send, from the reference rows."""
    import pandas as pd

    contract = yours().contract
    rows = pd.read_parquet(root / "models" / "candidate" / REFERENCE, columns=list(contract.request_columns))
    return contract.payload(rows.tail(1))[0]


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
def served(root: Path, port: int) -> Iterator[str]:
    """`bentoml serve` on this machine until the block ends, on the champion in `root`; yields its address.

    Raises: ProjectError if it does not get ready; its log is var/serve.log.
    """
    log = root / "var" / "serve.log"
    log.parent.mkdir(exist_ok=True)
    words = command(("bentoml", "serve", f"{PACKAGE}.ops.serving.service:Service", "--port", str(port)))
    settings = environment(root) | {"MLOPS_ROOT": str(root)}
    with log.open("w") as file:
        process = subprocess.Popen(words, cwd=root, env=settings, stdout=file, stderr=file)
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
