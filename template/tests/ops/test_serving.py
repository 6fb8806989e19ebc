"""The service over HTTP, on any contract: what it answers, refuses, follows, looks up and never loses."""

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
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

SECRET = "sEcReT-4711"  # a value that must come back nowhere
JSON = {"Content-Type": "application/json"}


@dataclass
class Server:
    """A running service: `before` is what it said while no champion was recorded."""

    root: Path
    port: int
    process: subprocess.Popen[bytes]
    before: dict[str, Any] = field(default_factory=dict)

    def ask(
        self, body: Any, headers: dict[str, str] = JSON, method: str = "POST", path: str = "/predict"
    ) -> tuple[int, Any]:
        """Status and answer, parsed if it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            text = response.read().decode()
        return response.status, json.loads(text) if text.startswith("{") else text

    def get(self, path: str) -> tuple[int, Any]:
        """Status and answer of a GET."""
        return self.ask(None, {}, "GET", path)

    def metric(self, name: str) -> float:
        """One value of /metrics, 0 if it is absent."""
        lines = (line.rpartition(" ") for line in self.get("/metrics")[1].splitlines())
        return sum(float(value) for found, _, value in lines if found == name)

    def wait(self, done: Callable[[], bool]) -> None:
        """Wait until something is so. Raises: AssertionError with the service's log after 60 s."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if done():
                    return
            time.sleep(0.1)
        raise AssertionError((self.root / "service.log").read_text())


@pytest.fixture(scope="module")
def server(bare_root: Path, ops: Any, sample: Any, promote: Any, body: Any) -> Iterator[Server]:
    """`bentoml serve` on a free port; started without a champion, which is recorded while it runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = f"{ops('serving').__name__}.service:Service"
    source = str(Path(ops("project").__file__).absolute().parents[2])
    command = [sys.executable, "-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", str(port)]
    settings = {"MLOPS_ROOT": str(bare_root), "PYTHONPATH": source, "BENTOML_HOME": str(bare_root / "var/bentoml")}
    with (bare_root / "service.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=bare_root, env=os.environ | settings, stdout=log, stderr=log)
    running = Server(bare_root, port, process)
    try:
        running.wait(lambda: running.get("/livez")[0] == 200)
        running.before = {"ready": running.get("/readyz")[0], "predict": running.ask(body(1))}
        promote(bare_root, sample.scorer, "v1.0.0")
        running.wait(lambda: running.get("/readyz")[0] == 200)
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@pytest.fixture(scope="session")
def body(ops: Any, sample: Any, contract: Any) -> Callable[..., dict[str, Any]]:
    """`body(n)` is a request of n good rows; `body(n, column=value)` spoils every row, `...` leaves the column out."""
    rows = contract.payload(sample.rows.head(1_000))

    def make(n: int, **changes: Any) -> dict[str, Any]:
        changed = [{**row, **changes} for row in rows[:n]]
        return {"rows": [{name: value for name, value in row.items() if value is not ...} for row in changed]}

    return make


@pytest.fixture
def logged(server: Server, ops: Any) -> Callable[[list[str]], pd.DataFrame]:
    """The logged rows with these ids, in their order."""
    log = ops("serving.log")
    return lambda ids: log.read(server.root).set_index(log.ID).loc[ids].reset_index()


def test_without_a_champion_it_says_what_to_run(server: Server) -> None:
    status, answer = server.before["predict"]
    assert (server.before["ready"], status) == (503, 503)
    assert "uv run mlops promote" in answer["error"]


def test_an_answer_names_the_release_and_is_in_the_log(server: Server, body: Any, contract: Any, logged: Any) -> None:
    status, answer = server.ask(body(5))
    assert status == 200
    predictions = answer["predictions"]
    rows = logged([one["id"] for one in predictions])
    assert set(rows["release"]) == {answer["release"]}
    if contract.task == "regression":
        assert rows["score"].tolist() == [one["value"] for one in predictions]
    elif contract.task == "binary":
        assert rows["score"].tolist() == [one["probability"] for one in predictions]
        assert rows["decision"].tolist() == [one["decision"] for one in predictions]
    else:
        assert [json.loads(score) for score in rows["score"]] == [
            list(p["probabilities"].values()) for p in predictions
        ]
        assert list(predictions[0]["probabilities"]) == contract.classes
        assert rows["decision"].tolist() == [one["decision"] for one in predictions]


def test_served_features_equal_recomputed_ones_to_the_bit(
    server: Server, body: Any, contract: Any, sample: Any, logged: Any
) -> None:
    ids = [one["id"] for n in (1, 300) for one in server.ask(body(n))[1]["predictions"]]
    rows, known = logged(ids), sample.rows.iloc[[0, *range(300)]]
    arrays, offline = contract.arrays(rows), contract.arrays(known)
    for name in contract.feature_columns:
        np.testing.assert_array_equal(arrays[name], offline[name], err_msg=name)
    served = rows[[f"feature__{name}" for name in sample.scorer.plan.names]].to_numpy(float)
    np.testing.assert_array_equal(served, sample.scorer.matrix(arrays))
    scores = [json.loads(score) if isinstance(score, str) else score for score in rows["score"]]
    np.testing.assert_allclose(scores, sample.scorer.score(served), rtol=1e-9, atol=1e-9)


def test_a_refused_row_is_named_by_row_column_and_rule(server: Server, body: Any, contract: Any) -> None:
    columns = contract.request_columns
    any_name = next(iter(columns))
    cases: list[tuple[str, Any, str]] = [("no_such_column", 1, "data.columns"), (any_name, ..., "data.columns")]
    cases += [(any_name, {"deep": SECRET}, "data.category" if columns[any_name].categories else "data.type")]
    for name, column in columns.items():
        if column.is_number:
            cases.append((name, SECRET, "data.type"))
            cases += [(name, column.high + 1, "data.range")] if column.high is not None else []
            cases += [(name, None, "data.missing")] if not column.nullable else []
        elif column.kind == "datetime":
            cases += [(name, SECRET, "data.type"), (name, 1_700_000_000, "data.type")]
        elif column.categories:
            cases.append((name, SECRET, "data.category"))
    refused = server.metric('mlops_refused_total{rule="data.columns"}')
    for name, value, rule in cases:
        good, bad = body(2)["rows"][0], body(2, **{name: value})["rows"][1]
        status, answer = server.ask({"rows": [good, bad]})
        assert status == 400, (name, value)
        label = columns[name].label if name in columns else name
        assert [(one["row"], one["column"], one["rule"]) for one in answer["detail"]] == [(1, label, rule)]
        assert SECRET not in json.dumps(answer)
    assert server.metric('mlops_refused_total{rule="data.columns"}') == refused + 2
    assert len(server.ask(body(50, no_such_column=1))[1]["detail"]) == 20
    assert SECRET not in (server.root / "service.log").read_text()


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
    assert "Traceback" not in (server.root / "service.log").read_text()


def test_a_body_of_unknown_length_is_counted_while_it_is_read(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", "/predict", iter([b" " * 1_000_000] * 40), JSON, encode_chunked=True)
        assert connection.getresponse().status == 413


def test_unknown_paths_do_not_grow_the_metrics(server: Server) -> None:
    before = len(server.get("/metrics")[1].splitlines())
    assert {server.get(f"/no/{place}")[0] for place in range(50)} == {404}
    status, text = server.get("/metrics")
    assert (status, "mlops_rows_total" in text, "/no/" in text) == (200, True, False)
    assert len(text.splitlines()) <= before + 2


def test_the_api_page_shows_the_contract(server: Server, contract: Any) -> None:
    schemas = server.get("/docs.json")[1]["components"]["schemas"]
    assert list(schemas["Request"]["properties"]) == [column.label for column in contract.request_columns.values()]


def test_a_promotion_changes_the_release_without_a_restart(
    server: Server, body: Any, sample: Any, promote: Any
) -> None:
    swaps = server.metric("mlops_swaps_total")
    promote(server.root, replace(sample.scorer, threshold=0.6), "v1.1.0")
    assert server.ask(body(1))[1]["release"] == "v1.1.0"
    assert server.metric("mlops_swaps_total") == swaps + 1


def test_a_changed_byte_is_refused_and_the_last_good_model_stays(
    server: Server, body: Any, sample: Any, promote: Any, ops: Any
) -> None:
    release = server.ask(body(1))[1]["release"]
    errors = server.metric("mlops_follow_errors_total")
    pointer = server.root / "var/champion.json"
    good = pointer.read_text()
    folder = promote(server.root / "elsewhere", replace(sample.scorer, threshold=0.7), "v6.6.6")
    model = folder / "model.pkl"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    folder.rename(server.root / "var/models" / folder.name)
    ops("project").write_text(pointer, (server.root / "elsewhere/var/champion.json").read_text())
    status, answer = server.ask(body(1))
    assert (status, answer["release"]) == (200, release)
    assert server.metric("mlops_follow_errors_total") == errors + 1
    assert server.metric("mlops_behind") == 1
    assert server.metric('mlops_models_refused_total{check="serving.digest"}') == 1
    assert "serving.digest" in (server.root / "service.log").read_text()
    ops("project").write_text(pointer, good)
    assert server.ask(body(1))[1]["release"] == release
    assert server.metric("mlops_behind") == 0


def test_nothing_is_answered_that_cannot_be_logged(server: Server, body: Any) -> None:
    assert server.ask(body(1))[0] == 200
    path = next((server.root / "var/predictions").glob("*.db"))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, answer = server.ask(body(1))
        other.execute("ROLLBACK")
    assert (status, list(answer)) == (503, ["error"])
    assert server.metric("mlops_log_failures_total") == 1
    assert server.ask(body(1))[0] == 200


def test_kill_9_loses_no_answered_row(server: Server, body: Any, ops: Any) -> None:
    answered: list[str] = []
    stop = threading.Event()

    def caller() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                answered.extend(one["id"] for one in server.ask(body(3))[1]["predictions"])

    def worker() -> int:
        children = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=True)
        return int(children.stdout.split()[0])

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for one in callers:
        one.start()
    server.wait(lambda: len(answered) > 500)
    os.kill(worker(), signal.SIGKILL)
    time.sleep(0.3)
    stop.set()
    for one in callers:
        one.join()
    assert set(answered) <= set(ops("serving.log").read(server.root)["prediction_id"])
    server.wait(lambda: server.get("/readyz")[0] == 200)
    assert server.ask(body(1))[0] == 200


def test_outcomes_find_their_predictions(
    server: Server, body: Any, contract: Any, sample: Any, ops: Any, logged: Any
) -> None:
    log, known = ops("serving.log"), sample.rows.head(20)
    rows = logged([one["id"] for one in server.ask(body(20))[1]["predictions"]])
    known = known.assign(**{log.ID: rows[log.ID]})
    assert log.record(server.root, known) == log.record(server.root, known) == 20
    both = rows.merge(log.outcomes(server.root), on=list(log.identity(contract)), validate="one_to_one")
    np.testing.assert_array_equal(contract.target(both), contract.target(known))
    assert len(log.read(server.root, since=time.time())) == 0 < len(log.read(server.root, since=rows["at"].min()))


def test_the_request_path_needs_no_heavy_library(served_root: Path, body: Any, ops: Any) -> None:
    """In the serving environment they are absent: so forbid them, and serve a request."""
    heavy = ["pandas", "mlflow", "dvc", "great_expectations", "evidently", "pyarrow"]
    code = f"""
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Forbid())
from {ops("serving").__name__}.service import Service, _parse, contract
service = Service.inner()
arrays = contract.arrays_of(_parse(sys.stdin.buffer.read()))
answer = service._predict(service.follower.current(), arrays, service._look_up(arrays))
assert answer["release"] == "v1.0.0" and len(answer["predictions"]) == 3
assert not set({heavy!r}) & set(sys.modules)
"""
    source = str(Path(ops("project").__file__).absolute().parents[2])
    settings = {"MLOPS_ROOT": str(served_root), "PYTHONPATH": source, "BENTOML_HOME": str(served_root / "var/bentoml")}
    content = json.dumps(body(3)).encode()
    done = subprocess.run(
        [sys.executable, "-c", code], input=content, capture_output=True, env=os.environ | settings, cwd=served_root
    )
    assert done.returncode == 0, done.stderr.decode()


class Asked(BaseModel):
    """What the look-up test sends."""

    place: Literal["a", "b", "c", "d"]
    number: int
    moment: datetime


class Report(BaseModel):
    """What the look-up test finds."""

    depth: float | None
    level: int | None
    kind: Literal["x", "y"] | None
    since: datetime | None


class Answered(BaseModel):
    """Not used, but a contract has an outcome."""

    yes: bool


def test_online_and_offline_look_ups_are_equal(ops: Any, tmp_path: Path) -> None:
    """Never from later: the same time counts, exactly as old as `max_age` counts, a microsecond more does not."""
    module, random, n = ops("contract"), np.random.default_rng(0), 20_000
    look = module.Lookup(Report, on=["place", "number"], at="moment", time="known", max_age="6h")
    contract = module.Contract(Asked, Answered, lookups=[look], key=["number", "moment"], time="moment")
    start, hour = np.datetime64("2025-01-01", "us"), np.timedelta64(3_600_000_000, "us")
    times = start + random.integers(0, 24 * 60, 3_000) * hour
    table = pd.DataFrame({"place": random.choice(["a", "b", "c"], 3_000), "known": times}).assign(
        number=random.integers(0, 4, 3_000),
        depth=np.where(random.random(3_000) < 0.1, np.nan, random.normal(size=3_000)),
        level=pd.array(random.integers(0, 9, 3_000), dtype="Int64"),
        kind=random.choice(np.array(["x", "y", None], dtype=object), 3_000),
        since=times - hour,
    )
    offsets = random.choice([0, 1, -1, 7], n).astype("timedelta64[us]")  # on the hour, and a microsecond to either side
    moments = start + random.integers(-24, 25 * 60, n) * hour + offsets
    rows = pd.DataFrame({"place": random.choice(list("abcd"), n), "number": random.integers(0, 5, n)})
    rows = rows.assign(moment=moments)
    ops("serving.online").build(tmp_path / "online.db", contract, {"report": [table[:1_500], table[1_500:]]})
    store = ops("serving.online").Store(tmp_path / "online.db", contract)
    found, ages = store.find(look, contract.arrays(rows))
    expected = contract.arrays(ops("lookups").join(rows, contract, {"report": table}))
    for name in contract.from_source("report"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert np.isnan(ages).any()
    assert (ages == 6 * 3_600).any()
    assert (ages > 6 * 3_600).any()
    ops("serving.online").build(tmp_path / "online.db", contract, {"report": [table[:0]]})
    assert np.isnan(store.find(look, contract.arrays(rows))[1]).all(), "a new store is noticed"
    empty = ops("serving.online").Store(tmp_path / "absent.db", contract).find(look, contract.arrays(rows))[0]
    assert np.isnan(empty["depth"]).all()
    (tmp_path / "damaged.db").write_bytes(b"no database " * 99)
    damaged = ops("serving.online").Store(tmp_path / "damaged.db", contract)
    for _ in range(2):  # never taken for an empty one
        with pytest.raises(sqlite3.DatabaseError):
            damaged.find(look, contract.arrays(rows))
