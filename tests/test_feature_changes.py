"""Features and columns are changed through real cycles while the real service answers over HTTP."""

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from .projects import DEFAULT, Project, commit

SMALL = """
validate: {}
train: {}
model: {max_iter: 40}
evaluate: {resamples: 40, ablation_rows: 0, tune_trials: 0, curve_rows: 0}
gate: {margin: 0.5, slice_margin: 1.0}
"""
ADDED = '''

def is_evening(hour: np.ndarray) -> np.ndarray:
    """1 from 18 h on."""
    return (hour >= 18) * 1.0
'''
HOURS, MINUTES = 'np.timedelta64(1, "h")', 'np.timedelta64(1, "m")'
DISTANCE = '    distance: Annotated[int, Field(ge=17, le=5_000), About(unit="miles")]\n'
START_SECONDS = 120
Answer = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def released(make: Callable[[str], Project]) -> Project:
    """A project with v1.0.0 as champion."""
    project = make(DEFAULT)
    (project.folder / "params.yaml").write_text(SMALL)
    commit(project.folder, "Small")
    project.run("mlops", "up", "--no-serve")
    return project


class Service:
    """`bentoml serve` of a project, asked over HTTP."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Status and content; status 0 while nothing listens."""
        sent = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", sent, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                received = answer.read()
                if received.startswith(b"{"):
                    return answer.status, json.loads(received)
                return answer.status, {"text": received.decode()}
        except urllib.error.HTTPError as error:
            received = error.read()
            if received.startswith(b"{"):
                return error.code, json.loads(received)
            return error.code, {}
        except (urllib.error.URLError, OSError):
            return 0, {}

    def predict(self, rows: list[dict[str, Any]]) -> Answer:
        """Ask for predictions."""
        return self.get("/predict", {"rows": rows})


@contextmanager
def serving(project: Project) -> Iterator[Service]:
    """The real service until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = project.start("bentoml", "serve", "late_flights.service:Service", "--port", str(port))
    try:
        service = Service(port)
        end = time.monotonic() + START_SECONDS
        while service.get("/livez")[0] != 200:
            assert time.monotonic() < end and process.poll() is None, "the service did not start"
            time.sleep(0.2)
        yield service
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate()


def request(project: Project) -> list[dict[str, Any]]:
    """The rows of the request in the README."""
    text = (project.folder / "README.md").read_text()
    rows: list[dict[str, Any]] = json.loads(text.partition("-d '")[2].partition("'")[0])["rows"]
    return rows


def edit(project: Project, name: str, *changes: tuple[str, str]) -> None:
    """Change a file of the team."""
    path: Path = project.folder / "src/late_flights" / name
    text = path.read_text()
    for old, new in changes:
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    path.write_text(text)


def cycle(project: Project, why: str) -> dict[str, Any]:
    """Train on the same periods against the present champion, and promote.

    Returns the gate's report.
    """
    commit(project.folder, why)
    project.run("mlops", "close", "2013-04")
    project.run("dvc", "repro")
    commit(project.folder, f"Train: {why}")
    report: dict[str, Any] = json.loads((project.folder / "reports/gate.json").read_text())
    override: list[str] = []
    if report["verdict"] != "ok":  # the change is no gain
        override = ["--override", "--by", "ada", "--until", str(date.today() + timedelta(30))]
    project.run("mlops", "promote", *override, "--reason", why)
    return report


def check(report: dict[str, Any], name: str) -> dict[str, Any]:
    """A check of a stored report."""
    return next(entry for entry in report["checks"] if entry["name"] == name)


def test_each_release_computes_its_own_features_while_the_service_answers(
    released: Project,
) -> None:
    rows = request(released)
    with serving(released) as service:
        assert service.predict(rows)[1]["release"] == "v1.0.0"
        before = service.predict(rows)[1]["predictions"][0]["probability"]

        features = released.folder / "src/late_flights/features.py"
        features.write_text(features.read_text() + ADDED)
        edit(released, "features.py", (HOURS, MINUTES), ("hour >= 18", "hour >= 18 * 60"))
        code, answer = service.predict(rows)
        assert (code, answer["release"]) == (200, "v1.0.0")
        # Today's code changes nothing that is served.
        assert answer["predictions"][0]["probability"] == before
        report = cycle(released, "one feature more, and the hour in minutes")
        assert check(report, "gate.champion")["verdict"] == "ok"  # compared on the same rows
        assert service.predict(rows)[1]["release"] == "v1.1.0"

        text = features.read_text()
        features.write_text(text[: text.index("\n\ndef is_evening")].rstrip() + "\n")
        report = cycle(released, "a feature removed")
        assert check(report, "gate.champion")["verdict"] == "ok"
        code, answer = service.predict(rows)
        assert (code, answer["release"]) == (200, "v1.2.0")
        released.run("mlops", "rollback", "--reason", "complaints")
        assert service.predict(rows)[1]["release"] == "v1.1.0"
    traced = released.run("mlops", "trace", answer["predictions"][0]["id"], code=0)
    assert "explain.features" in traced
    monitored = released.checks("monitor", code=4)
    assert "skew.score" in monitored
    assert [name for name, check in monitored.items() if check["verdict"] == "fail"] == []


def test_a_removed_column_is_never_a_deadlock_and_the_service_says_what_to_deploy(
    released: Project,
) -> None:
    edit(released, "schema.py", (DISTANCE, ""))
    edit(released, "features.py", ('    "distance",\n', ""))
    with_it = request(released)
    without = [dict(row) for row in with_it]
    for row in without:
        row.pop("distance", None)
    old = json.loads((released.folder / "var/champion.json").read_text())
    released.run("mlops", "close", "--amend-all")
    report = cycle(released, "a column removed")
    compared = check(report, "gate.champion")
    assert compared["verdict"] == "inconclusive"
    assert "'distance' is not in the contract" in compared["evidence"]
    commit_now = json.loads((released.folder / "var/champion.json").read_text())["commit"][:12]
    with serving(released) as service:  # deployed anew
        code, answer = service.predict(without)
        assert (code, answer["release"]) == (200, "v2.0.0")
        assert service.predict(with_it)[0] == 400
        printed = released.run("mlops", "rollback", "--reason", "complaints")
        assert "answers 503" in printed and f"from commit {old['commit'][:12]}" in printed
        code, answer = service.predict(without)
        assert code == 503
        assert f"Deploy the service anew, from commit {old['commit'][:12]}." in answer["error"]
        assert service.get("/readyz")[0] == 503
        assert "mlops_behind 1.0" in service.get("/metrics")[1]["text"]
        assert "deploy the service" in released.run("mlops", "status")
        released.run("mlops", "promote", "--to", "champion", "--reason", "back")
        code, answer = service.predict(without)
        assert (code, answer["release"]) == (200, "v2.0.0") and len(commit_now) == 12
