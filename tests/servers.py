"""PostgreSQL, an S3 API and an MLflow server on top of both.

They run for as long as standard input stays open, so they end when the process that started this
one ends, however it ends. Run by the projects' environment.

Prints one line of JSON: where the servers are. A line on standard input replaces the MLflow
server's database by an empty one, and is answered by a line.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

BUCKETS = ("dvc", "mlflow")
PATIENCE = 300  # seconds, on a machine that does much else


@contextmanager
def tracking(database: str, port: int, environment: dict[str, str]) -> Any:
    """An MLflow server until the block ends."""
    words = [
        "server",
        "--backend-store-uri",
        database,
        "--artifacts-destination",
        "s3://mlflow",
        "--workers",
        "1",
    ]
    command = [sys.executable, "-m", "mlflow", *words, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=sys.stderr, start_new_session=True)
    try:
        end = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                time.sleep(0.3)
        else:
            raise RuntimeError("the MLflow server did not start")
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """A port that nobody uses now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Start the servers, print where they are, wait, stop them."""
    import boto3
    import pgserver
    from moto.server import ThreadedMotoServer

    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="mlops-servers-"))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        storage = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        storage.start()
        stack.callback(storage.stop)
        url = "http://{}:{}".format(*storage.get_host_and_port())
        keys = {
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        addresses = {"AWS_ENDPOINT_URL": url, **keys}
        os.environ |= addresses
        for bucket in BUCKETS:
            boto3.client("s3").create_bucket(Bucket=bucket)
        postgres = pgserver.get_server(place / "postgres", cleanup_mode="delete")
        stack.callback(postgres.cleanup)
        settings = os.environ | {
            "MLFLOW_S3_ENDPOINT_URL": url,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        port = free_port()
        number = 0  # of the database
        addresses["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{port}"
        while True:
            postgres.psql(f"CREATE DATABASE mlflow{number};")
            database = postgres.get_uri(f"mlflow{number}").replace("://", "+psycopg2://", 1)
            with tracking(database, port, dict(settings)):
                print(json.dumps(addresses), flush=True)
                if not sys.stdin.readline():
                    return
            number += 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
