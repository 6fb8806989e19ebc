"""CPU for one request: the generated project's service against FastAPI.

Both do the same checks and look-ups, and write the same log. Run it in the environment of a
generated project:

    PYTHONPATH=src python .../benchmarks/serving.py PROJECT [--json FILE]

pandas  a plain service: DataFrame, ColumnTransformer and the same estimator in a scikit-learn
        Pipeline, one thread
fast    FastAPI on the project's own fast path (no pandas, compiled trees)
bento   `bentoml serve`, the project's service

The figure is user and system time of the server's processes divided by requests, the median of
interleaved rounds.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

SIZES = {1: 400, 100: 100}  # rows in a request: requests in a round
ROUNDS, CONNECTIONS = 3, 4
SERVERS = ("pandas", "fast", "bento")
# What a service in a folder of its own needs of the project.
NEEDED = ("cycle.yaml", "dvc.yaml", "params.yaml", "pyproject.toml")


def prepare(project: Path, root: Path) -> None:
    """Fill a root folder with what the servers need.

    A champion fitted on 4,000 rows, an online store, a pandas pipeline, and requests to send.
    """
    import pickle

    from sklearn.base import clone
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    from mlgates import Project, features, files, lookups, model_folder, team_code, verdict
    from mlgates.layout import CHAMPION, MODELS, ONLINE_STORE
    from mlgates.serving import online_store

    team = Project.at(project)
    for file in NEEDED:
        shutil.copy(project / file, root / file)
    contract, period = team.contract, team.data.periods()[0]
    rows = team.data.read(period).sample(4_000, random_state=0)
    tables = {look.name: team.data.lookup(look.name, period) for look in contract.lookups}
    joined = lookups.join(rows, contract, tables)
    arrays, target = contract.arrays(joined), contract.target(joined)
    plan = features.plan(team.features, contract)
    scorer = model_folder.fit(arrays, target, plan, team.model, contract, team.settings())
    fingerprint = hashlib.sha256(b"benchmark").hexdigest()
    model_folder.save(scorer, root / MODELS / fingerprint, contract, team_code.collected(team))
    digest = files.digest(root / MODELS / fingerprint)
    checks = [verdict.Check("gate.finite", verdict.Verdict.OK)]
    pointer = {
        "alias": "champion",
        "release": "v1.0.0",
        "fingerprint": fingerprint,
        "since": "",
        "report": verdict.Report("gate", checks, {"model": digest}).to_dict(),
        "digest": digest,
    }
    files.write_json(root / CHAMPION, pointer)
    online_store.build(root / ONLINE_STORE, contract, {k: [v] for k, v in tables.items()})
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"))
    columns = ColumnTransformer(
        [("words", encoder, list(plan.categorical))], remainder="passthrough"
    )
    estimator = clone(scorer.estimator)
    if "categorical_features" in estimator.get_params():
        estimator.set_params(categorical_features=list(range(len(plan.categorical))))
    pipeline = Pipeline([("columns", columns), ("model", estimator)])
    pipeline.fit(frame(plan, arrays), target)
    (root / "pipeline.pkl").write_bytes(pickle.dumps(pipeline))
    sent = contract.payload(rows)
    for size in SIZES:
        (root / f"{size}.json").write_text(json.dumps({"rows": sent[:size]}), encoding="utf-8")


def frame(plan: Any, arrays: Any) -> Any:
    """Features of n rows as a DataFrame."""
    import pandas as pd

    return pd.DataFrame(plan.compute(arrays))[list(plan.names)]


def application(project: Path, kind: str) -> Any:
    """FastAPI, on a pandas pipeline or on the project's fast path."""
    import pickle

    from fastapi import FastAPI
    from pydantic import create_model

    from mlgates import Project
    from mlgates.layout import ONLINE_STORE, PREDICTIONS
    from mlgates.serving import model_loader, prediction_log
    from mlgates.serving.online_store import Store
    from mlgates.serving.sqlite import sqlite_values

    team = Project.find()
    root, contract = team.root, team.contract
    batch = create_model("Batch", rows=(list[contract.request_model], ...))
    store = Store(root / ONLINE_STORE, contract)
    written = prediction_log.PredictionLog(root / PREDICTIONS / f"{kind}.db")
    served = model_loader.Follower(team).current()
    pipeline = pickle.loads((root / "pipeline.pkl").read_bytes())
    app = FastAPI()

    def pipeline_scores(table: Any) -> Any:
        """(n,) scores, or (n, classes) of a multiclass model."""
        if contract.task == "regression":
            return pipeline.predict(table)
        probabilities = pipeline.predict_proba(table)
        return probabilities[:, 1] if contract.task == "binary" else probabilities

    @app.get("/readyz")
    async def ready() -> str:
        return "ok"

    @app.post("/predict")
    async def predict(body: batch) -> dict[str, Any]:  # type: ignore[valid-type]
        arrays, ages = contract.arrays_of(body.rows), {}  # type: ignore[attr-defined]
        for look in contract.lookups:
            found, age = store.find(look, arrays)
            arrays |= found
            ages[f"{look.name}__age"] = age.tolist()
        if kind == "fast":
            matrix = served.scorer.matrix(arrays)
            features = matrix.T.tolist()
            scores = served.score(matrix)
        else:
            table = frame(served.scorer.plan, arrays)
            features = [table[column].tolist() for column in table]
            scores = pipeline_scores(table)
        ids = prediction_log.new_ids(len(scores))
        decisions = served.scorer.decide(scores).tolist()

        logged = {
            prediction_log.ID: ids,
            "at": [time.time()] * len(ids),
            "release": [served.release] * len(ids),
            "fingerprint": [served.fingerprint] * len(ids),
            "digest": [served.digest] * len(ids),
        }
        for column in contract.feature_columns:
            logged[column] = sqlite_values(contract.columns[column], arrays[column])
        logged |= ages
        for name, values in zip(served.scorer.plan.names, features, strict=True):
            logged[f"feature__{name}"] = values
        if scores.ndim > 1:
            logged["score"] = [json.dumps(row) for row in scores.tolist()]
        else:
            logged["score"] = scores.tolist()
        logged["decision"] = decisions
        written.append(logged, served.columns)

        answers = zip(ids, scores.tolist(), decisions, strict=True)
        return {
            "release": served.release,
            "predictions": [{"id": i, "score": s, "decision": d} for i, s, d in answers],
        }

    return app


@contextlib.contextmanager
def running(project: Path, root: Path, kind: str) -> Iterator[tuple[int, psutil.Process]]:
    """A server of one kind on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())
    service = f"{pyproject['tool']['mlgates']['package']}.service:Service"
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        service,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    if kind != "bento":
        command = [sys.executable, __file__, str(project), "--server", kind, "--port", str(port)]
    settings = {
        "MLOPS_ROOT": str(root),
        "OMP_NUM_THREADS": "1",
        "BENTOML_HOME": str(root / "bentoml"),
    }
    settings |= {"BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": str(project / "src")}
    with (root / f"{kind}.log").open("w") as output:
        server = subprocess.Popen(
            command, env=os.environ | settings, cwd=root, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 60
        while not _ready(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((root / f"{kind}.log").read_text())
            time.sleep(0.2)
        yield port, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(20)


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def used(process: psutil.Process) -> float:
    """CPU seconds of a process and those below it."""
    processes = [process, *process.children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in processes)


def send(port: int, body: bytes, requests: int) -> None:
    """Send requests over some connections at a time.

    Raises: RuntimeError for an answer that is not 200.
    """
    wrong: list[int] = []

    def send_in_turn(count: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for _ in range(count):
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                wrong.append(response.status)
        connection.close()

    share = requests // CONNECTIONS
    threads = [threading.Thread(target=send_in_turn, args=[share]) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise RuntimeError(f"{len(wrong)} answers were not 200, but {wrong[0]}")


def measure(project: Path) -> dict[str, Any]:
    """Microseconds of CPU for a request, by server and rows, and their ratios.

    The ratios are those that design.md names.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        root = Path(folder)
        prepare(project, root)
        servers = {kind: stack.enter_context(running(project, root, kind)) for kind in SERVERS}
        bodies = {size: (root / f"{size}.json").read_bytes() for size in SIZES}
        times: dict[tuple[str, int], list[float]] = {}
        for round_ in range(ROUNDS + 1):  # the first one warms up
            for size, requests in SIZES.items():
                for kind, (port, process) in servers.items():
                    before = used(process)
                    send(port, bodies[size], requests)
                    if round_ > 0:
                        seconds = used(process) - before
                        times.setdefault((kind, size), []).append(seconds / requests * 1e6)

    micros = {}
    for (kind, size), measured in times.items():
        micros[f"{kind}_{size}"] = round(statistics.median(measured))
    ratios = {}
    for size in SIZES:
        ratio = micros[f"pandas_{size}"] / micros[f"bento_{size}"]
        ratios[f"pandas_to_bento_{size}"] = round(ratio, 2)
    for size in SIZES:
        ratio = micros[f"bento_{size}"] / micros[f"fast_{size}"]
        ratios[f"bento_to_fast_{size}"] = round(ratio, 2)
    return {"cpu_us_per_request": micros, "ratios": ratios}


def main() -> None:
    """Print the figures, or be one of the servers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--server", choices=SERVERS[:2], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    project = arguments.project.resolve()
    sys.path.insert(0, str(project / "src"))
    if arguments.server:
        import uvicorn

        uvicorn.run(
            application(project, arguments.server),
            port=arguments.port,
            access_log=False,
            log_level="warning",
        )
        return
    figures = measure(project)
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
