"""The sample's service over HTTP: what it answers, refuses and follows.

An answered row is never lost.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlgates import Project
from mlgates.contract import Contract
from mlgates.files import write_text
from mlgates.serving import prediction_log
from mlgates.serving.prediction_log import ID

SECRET = "sEcReT-4711"  # a value that must come back nowhere
JSON = {"Content-Type": "application/json"}
Logged = Callable[[list[str]], pd.DataFrame]


@dataclass
class Server:
    """A running service: `before` is what it said while no champion was recorded."""

    project: Project
    port: int
    process: subprocess.Popen[bytes]
    before: dict[str, Any] = field(default_factory=dict)

    def ask(
        self,
        body: Any,
        headers: dict[str, str] = JSON,
        method: str = "POST",
        path: str = "/predict",
    ) -> tuple[int, Any]:
        """Status and answer, parsed if it is JSON."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            text = response.read().decode()
        return response.status, json.loads(text) if text.startswith("{") else text

    def get(self, path: str) -> tuple[int, Any]:
        """Status and answer of a GET."""
        return self.ask(None, {}, "GET", path)

    def metric(self, name: str) -> float:
        """One value of /metrics, 0 if it is absent."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            if series == name:
                total += float(value)
        return total

    def log(self) -> str:
        """What the service wrote to its terminal."""
        return (self.project.root / "service.log").read_text()

    def wait(self, done: Callable[[], bool]) -> None:
        """Wait until something is so. Raises: AssertionError with the service's log after 60 s."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if done():
                    return
            time.sleep(0.1)
        raise AssertionError(self.log())


@pytest.fixture(scope="module")
def server(bare_project: Project, sample: Any, promote: Any, body: Any) -> Iterator[Server]:
    """`bentoml serve` on a free port. It starts without a champion, which is recorded later."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = bare_project.root
    service = f"{bare_project.package}.service:Service"
    command = [sys.executable, "-m", "bentoml", "serve", service]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    settings = {"MLOPS_ROOT": str(root), "BENTOML_HOME": str(root / "var/bentoml")}
    with (root / "service.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=root, env=os.environ | settings, stdout=log, stderr=log
        )
    running = Server(bare_project, port, process)
    try:
        running.wait(lambda: running.get("/livez")[0] == 200)
        running.before = {"ready": running.get("/readyz")[0], "predict": running.ask(body(1))}
        promote(bare_project, sample.scorer, "v1.0.0")
        running.wait(lambda: running.get("/readyz")[0] == 200)
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@pytest.fixture
def logged(server: Server) -> Logged:
    """The logged rows with these ids, in their order."""

    def rows(ids: list[str]) -> pd.DataFrame:
        return prediction_log.read(server.project).set_index(ID).loc[ids].reset_index()

    return rows


def ids_of(answer: dict[str, Any]) -> list[str]:
    """The ids of an answer's predictions."""
    return [prediction["id"] for prediction in answer["predictions"]]


def test_without_a_champion_it_says_what_to_run(server: Server) -> None:
    status, answer = server.before["predict"]
    assert (server.before["ready"], status) == (503, 503)
    assert "uv run mlops promote" in answer["error"]


def test_an_answer_names_the_release_and_is_in_the_log(
    server: Server, body: Any, contract: Contract, logged: Logged
) -> None:
    status, answer = server.ask(body(5))
    assert status == 200
    predictions = answer["predictions"]
    rows = logged(ids_of(answer))
    assert set(rows["release"]) == {answer["release"]}
    if contract.task == "regression":
        assert rows["score"].tolist() == [entry["value"] for entry in predictions]
        return
    assert rows["decision"].tolist() == [entry["decision"] for entry in predictions]
    if contract.task == "binary":
        assert rows["score"].tolist() == [entry["probability"] for entry in predictions]
        return
    assert list(predictions[0]["probabilities"]) == contract.classes
    answered = [list(entry["probabilities"].values()) for entry in predictions]
    assert [json.loads(score) for score in rows["score"]] == answered


def test_served_features_equal_recomputed_ones_to_the_bit(
    server: Server, body: Any, contract: Contract, sample: Any, logged: Logged
) -> None:
    ids = ids_of(server.ask(body(1))[1]) + ids_of(server.ask(body(300))[1])
    rows = logged(ids)
    arrays = contract.arrays(rows)
    offline = contract.arrays(sample.rows.iloc[[0, *range(300)]])
    for name in contract.feature_columns:
        np.testing.assert_array_equal(arrays[name], offline[name], err_msg=name)
    columns = [f"feature__{name}" for name in sample.scorer.plan.names]
    served = rows[columns].to_numpy(float)
    np.testing.assert_array_equal(served, sample.scorer.matrix(arrays))
    scores = [json.loads(score) if isinstance(score, str) else score for score in rows["score"]]
    np.testing.assert_allclose(scores, sample.scorer.score(served), rtol=1e-9, atol=1e-9)


def wrong_values(contract: Contract) -> list[tuple[str, Any, str]]:
    """Values that a column refuses, with the rule that each breaks; `...` leaves the column out."""
    columns = contract.request_columns
    first = next(iter(columns))
    nested = "data.category" if columns[first].categories else "data.type"
    cases = [
        ("no_such_column", 1, "data.columns"),
        (first, ..., "data.columns"),
        (first, {"deep": SECRET}, nested),
    ]
    for name, column in columns.items():
        if column.is_number:
            cases.append((name, SECRET, "data.type"))
            if column.high is not None:
                cases.append((name, column.high + 1, "data.range"))
            if not column.nullable:
                cases.append((name, None, "data.missing"))
        elif column.kind == "datetime":
            cases.append((name, SECRET, "data.type"))
            cases.append((name, 1_700_000_000, "data.type"))
        elif column.categories:
            cases.append((name, SECRET, "data.category"))
    return cases


def test_a_refused_row_is_named_by_row_column_and_rule(
    server: Server, body: Any, contract: Contract
) -> None:
    columns = contract.request_columns
    refused = server.metric('mlops_refused_total{rule="data.columns"}')
    for name, value, rule in wrong_values(contract):
        good = body(2)["rows"][0]
        bad = body(2, **{name: value})["rows"][1]
        status, answer = server.ask({"rows": [good, bad]})
        assert status == 400, (name, value)
        label = columns[name].label if name in columns else name
        faults = [(fault["row"], fault["column"], fault["rule"]) for fault in answer["detail"]]
        assert faults == [(1, label, rule)]
        assert SECRET not in json.dumps(answer)
    assert server.metric('mlops_refused_total{rule="data.columns"}') == refused + 2
    assert len(server.ask(body(50, no_such_column=1))[1]["detail"]) == 20
    assert SECRET not in server.log()


def test_a_request_that_is_no_request_is_refused(server: Server, body: Any) -> None:
    good = json.dumps(body(1)).encode()
    wrong: list[tuple[Any, dict[str, str], int]] = [
        ({"rows": []}, JSON, 400),
        ({"rows": body(1)["rows"] * 1_001}, JSON, 400),
        (b"[1, 2", JSON, 400),
        (b"", JSON, 400),
        (b'{"rows": [{"x": NaN}]}', JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (good, {"Content-Type": "text/plain"}, 415),
        (good, {"Content-Type": "application/json; charset=utf-16"}, 415),
        (good, {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        (good, JSON | {"Content-Encoding": "gzip"}, 415),
        (good, JSON | {"Content-Length": "1000000000"}, 413),
    ]
    for content, headers, expected in wrong:
        status, answer = server.ask(content, headers)
        assert (status, next(iter(answer))) == (expected, "error"), (content[:40], headers)
    assert "Traceback" not in server.log()


def test_a_body_of_unknown_length_is_counted_while_it_is_read(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    with contextlib.closing(connection):
        chunks = iter([b" " * 1_000_000] * 40)
        connection.request("POST", "/predict", chunks, JSON, encode_chunked=True)
        assert connection.getresponse().status == 413


def test_unknown_paths_do_not_grow_the_metrics(server: Server) -> None:
    before = len(server.get("/metrics")[1].splitlines())
    assert {server.get(f"/no/{place}")[0] for place in range(50)} == {404}
    status, text = server.get("/metrics")
    assert status == 200
    assert "mlops_rows_total" in text
    assert "/no/" not in text
    assert len(text.splitlines()) <= before + 2


def test_the_api_page_shows_the_contract(server: Server, contract: Contract) -> None:
    schemas = server.get("/docs.json")[1]["components"]["schemas"]
    labels = [column.label for column in contract.request_columns.values()]
    assert list(schemas["Request"]["properties"]) == labels


def test_a_promotion_changes_the_release_without_a_restart(
    server: Server, body: Any, sample: Any, promote: Any
) -> None:
    swaps = server.metric("mlops_swaps_total")
    promote(server.project, replace(sample.scorer, threshold=0.6), "v1.1.0")
    assert server.ask(body(1))[1]["release"] == "v1.1.0"
    assert server.metric("mlops_swaps_total") == swaps + 1


def test_a_changed_byte_is_refused_and_the_last_good_model_stays(
    server: Server, body: Any, sample: Any, promote: Any
) -> None:
    release = server.ask(body(1))[1]["release"]
    errors = server.metric("mlops_follow_errors_total")
    root = server.project.root
    pointer = root / "var/champion.json"
    elsewhere = root / "elsewhere"
    good = pointer.read_text()
    changed = replace(sample.scorer, threshold=0.7)
    folder = promote(server.project.moved(elsewhere), changed, "v6.6.6")
    model = folder / "model.pkl"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    folder.rename(root / "var/models" / folder.name)
    write_text(pointer, (elsewhere / "var/champion.json").read_text())
    status, answer = server.ask(body(1))
    assert (status, answer["release"]) == (200, release)
    assert server.metric("mlops_follow_errors_total") == errors + 1
    assert server.metric("mlops_behind") == 1
    assert server.metric('mlops_models_refused_total{check="serving.digest"}') == 1
    assert "serving.digest" in server.log()
    write_text(pointer, good)
    assert server.ask(body(1))[1]["release"] == release
    assert server.metric("mlops_behind") == 0


def test_nothing_is_answered_that_cannot_be_logged(server: Server, body: Any) -> None:
    assert server.ask(body(1))[0] == 200
    path = next((server.project.root / "var/predictions").glob("*.db"))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, answer = server.ask(body(1))
        other.execute("ROLLBACK")
    assert (status, list(answer)) == (503, ["error"])
    assert server.metric("mlops_log_failures_total") == 1
    assert server.ask(body(1))[0] == 200


def test_kill_9_loses_no_answered_row(server: Server, body: Any) -> None:
    answered: list[str] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                answered.extend(ids_of(server.ask(body(3))[1]))

    def worker() -> int:
        command = ["pgrep", "-P", str(server.process.pid)]
        children = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(children.stdout.split()[0])

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    server.wait(lambda: len(answered) > 500)
    os.kill(worker(), signal.SIGKILL)
    time.sleep(0.3)
    stop.set()
    for caller in callers:
        caller.join()
    assert set(answered) <= set(prediction_log.read(server.project)[ID])
    server.wait(lambda: server.get("/readyz")[0] == 200)
    assert server.ask(body(1))[0] == 200


def test_outcomes_find_their_predictions(
    server: Server, body: Any, contract: Contract, sample: Any, logged: Logged
) -> None:
    rows = logged(ids_of(server.ask(body(20))[1]))
    known = sample.rows.head(20).assign(**{ID: rows[ID]})
    for _ in range(2):
        assert prediction_log.record(server.project, known) == 20
    by = list(prediction_log.key_columns(contract))
    both = rows.merge(prediction_log.outcomes(server.project), on=by, validate="one_to_one")
    np.testing.assert_array_equal(contract.target(both), contract.target(known))
    assert len(prediction_log.read(server.project, since=time.time())) == 0
    assert len(prediction_log.read(server.project, since=rows["at"].min())) > 0
