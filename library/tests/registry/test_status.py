"""`mlops status`: who is champion, and which commands wait."""

import json
import shutil
from dataclasses import replace
from types import ModuleType

import pytest
from pydantic import create_model

from clones import Clone
from mlgates import Project
from mlgates.files import write_json
from mlgates.layout import MONITOR_LATEST
from mlgates.registry import deploy, releases
from mlgates.registry.promote import promote
from mlgates.registry.status import status
from mlgates.verdict import Check, Report, Verdict


def waiting(clone: Clone) -> list[str]:
    """The commands that wait, most urgent first."""
    answer, _ = status(clone.project)
    table = answer.text.partition("because\n")[2]
    return [line.split("  ")[0] for line in table.splitlines()]


@pytest.mark.usefixtures("no_mlflow")
def test_status_says_what_waits(ada: Clone) -> None:
    answer, outputs = status(ada.project)
    assert "nobody yet" in answer.text
    commit = ada.git("rev-parse", "HEAD")
    assert outputs == {"waits": "promote close", "commit": commit, "period": "2"}
    assert waiting(ada) == ["uv run mlops promote", "uv run mlops close"]
    promote(ada.project, reason="the first")
    assert "by Ada: the first" in status(ada.project)[0].text
    assert waiting(ada) == ["uv run mlops close"]
    (ada.root / "var/champion.json").unlink()
    (ada.root / "params.yaml").write_text("model: {gain: 0.2}\ngate: {}\n")
    assert waiting(ada) == [
        "uv run dvc repro",
        "git add -A && git commit -m TEXT",
        "uv run mlops follow",
        "uv run mlops close",
    ]
    ada.repro()
    ada.git("commit", "--quiet", "-a", "-m", "other")
    assert waiting(ada)[:2] == ["git push", "uv run mlops close 2"]


@pytest.mark.usefixtures("no_mlflow")
def test_status_names_what_to_do_about_everything_that_is_not_ok(reigning: Clone) -> None:
    assert not [command for command in waiting(reigning) if "report" in command]
    reigning.retrain(-0.2)
    assert "uv run mlops report gate" in waiting(reigning)
    checks = [Check(f"monitor.{name}", Verdict.FAIL) for name in "abcd"]
    write_json(reigning.root / MONITOR_LATEST, Report("monitor  v1.0.0", checks).to_dict())
    assert "uv run mlops report monitor" in waiting(reigning)
    assert "monitor.a, monitor.b, monitor.c and 1 more" in flat(status(reigning.project)[0].text)
    everything = flat(status(reigning.project, verbose=True)[0].text)
    assert "monitor.a, monitor.b, monitor.c, monitor.d" in everything


def flat(text: str) -> str:
    """The text without the line breaks that a table needs."""
    return " ".join(text.split())


def with_one_more_column(clone: Clone) -> Project:
    """The project after its request has got one more column."""
    contract = clone.project.contract
    schema = ModuleType("schema")
    request = create_model("Request", __base__=contract.request, more=(float, ...))
    schema.contract = replace(contract, request=request)  # type: ignore[attr-defined]
    return clone.project.having(schema=schema)


def test_status_and_follow_say_that_a_service_must_be_deployed_anew(reigning: Clone) -> None:
    commit = reigning.git("rev-parse", "HEAD")[:12]
    assert "deploy the service" not in waiting(reigning)
    remedy = f"Deploy the service anew, from commit {commit}."
    other = with_one_more_column(reigning)
    text = " ".join(status(other)[0].text.split())
    for part in ("deploy the service", "column 'more' is new", remedy):
        assert part in text
    message = deploy.serve(other, releases.read(other))
    assert "answers 503" in message
    assert remedy in message
    message = deploy.serve(reigning.project, releases.read(reigning.project))
    assert "a running service takes it with its next request" in message
    assert "503" not in message


def test_a_champion_with_another_contract_than_the_one_before_is_announced(reigning: Clone) -> None:
    """promote and rollback over a change of the contract: who runs the old code must deploy."""
    pointer = reigning.root / "var/champion.json"
    content = json.loads(pointer.read_text())
    folder = reigning.root / "var/models/before"
    shutil.copytree(reigning.root / "var/models" / content["fingerprint"], folder)
    stored = json.loads((folder / "contract.json").read_text())
    del stored["columns"]["price"]
    (folder / "contract.json").write_text(json.dumps(stored))
    pointer.write_text(json.dumps(content | {"fingerprint": "before", "since": "2020-01-01"}))
    message = deploy.serve(reigning.project, releases.read(reigning.project))
    commit = reigning.git("rev-parse", "HEAD")[:12]
    assert f"answers 503 until it is deployed anew, from commit {commit}." in message
    assert "503" not in deploy.serve(reigning.project, releases.read(reigning.project))
