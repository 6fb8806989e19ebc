"""Five changes that a team will want.

Each is made in the obvious file, without opening mlgates, and run for real.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from .projects import DEFAULT, Project, git


@pytest.fixture(scope="module")
def trained(make: Callable[[str], Project]) -> Project:
    """The default project after its first day."""
    project = make(DEFAULT)
    project.run("mlops", "up", "--no-serve")
    return project


@pytest.fixture
def changed(trained: Project) -> Iterator[Project]:
    """The trained project, put back afterwards."""
    yield trained
    git(trained.folder, "checkout", "--quiet", "HEAD", "--", ".")
    git(trained.folder, "clean", "--quiet", "-d", "--force")


def edit(project: Project, file: str, *changes: tuple[str, str]) -> None:
    """Replace text in a file of the team's package; each text must stand there once."""
    path = project.folder / "src/late_flights" / file
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
        text = text.replace(old, new)
    path.write_text(text)


def report(project: Project, name: str) -> dict[str, object]:
    """A report of the project."""
    content: dict[str, object] = json.loads((project.folder / "reports" / name).read_text())
    return content


def test_another_preset_of_evidently_is_on_the_page_of_the_monitor(changed: Project) -> None:
    edit(
        changed,
        "monitor.py",
        ("import DataDriftPreset", "import DataDriftPreset, DataSummaryPreset"),
        ("Report([drift], ", "Report([drift, DataSummaryPreset()], "),
    )
    rows = (
        "import json, pandas as pd; from mlgates import Project; "
        "from mlgates.serving import Predictor\n"
    )
    rows += "project = Project.find(); predictor = Predictor(project)\n"
    rows += "frame = pd.read_parquet('models/candidate/reference.parquet').tail(600)\n"
    rows += "body = json.dumps({'rows': project.contract.payload(frame)}).encode()\n"
    rows += "predictor.predict(predictor.parse(body)); predictor.close()"
    changed.run("python", "-c", rows)
    changed.run("mlops", "monitor", "--exit-zero")
    page = (changed.folder / "var/monitor/latest.html").read_text()
    assert "almost constant features" in page
    latest = json.loads((changed.folder / "var/monitor/latest.json").read_text())
    assert any(check["name"].startswith("monitor.drift.") for check in latest["drift"])


def test_another_artifact_is_in_mlflow(changed: Project) -> None:
    edit(
        changed,
        "pipeline/track.py",
        (
            '        mlflow.log_artifacts(str(run.pictures), "pictures")\n',
            '        mlflow.log_artifacts(str(run.pictures), "pictures")\n'
            '        mlflow.log_artifact(str(project.root / "params.yaml"), "settings")\n',
        ),
    )
    assert "Running stage 'track'" in changed.run("dvc", "repro")
    assert list((changed.folder / "var/mlartifacts").glob("*/artifacts/settings/params.yaml"))
    query = "SELECT count(*) FROM tags WHERE key = 'fingerprint'"
    with sqlite3.connect(changed.folder / "mlflow.db") as database:
        (count,) = database.execute(query).fetchone()
    assert count == 1


def test_one_more_metric_is_in_the_reports_with_its_interval_and_changes_no_other_number(
    changed: Project,
) -> None:
    before = report(changed, "metrics.json")
    edit(
        changed,
        "pipeline/evaluate.py",
        (
            "from mlgates import Project, evaluation\n",
            "from sklearn.metrics import brier_score_loss\n\n"
            "from mlgates import Project, evaluation\n",
        ),
        ("models, scores)\n    write", 'models, scores, {"brier": brier_score_loss})\n    write'),
    )
    changed.run("dvc", "repro")
    after = report(changed, "metrics.json")
    values = after["values"]
    assert isinstance(values, dict)
    brier = {model: measured.pop("brier") for model, measured in values.items()}
    low, high = brier["candidate"]["interval"]
    assert low < brier["candidate"]["value"] < high < brier["baseline.trivial"]["value"]
    assert after["values"] == before["values"] and after["differences"] == before["differences"]
    assert after["slices"] == before["slices"] and after.pop("further") == ["brier"]
    shown = f"{brier['candidate']['value']:.4g}"
    page = (changed.folder / "reports/gate.html").read_text()
    card = (changed.folder / "reports/card.md").read_text()
    assert "<dt>brier</dt>" in page and shown in page
    assert f"| candidate | brier | {shown} | {low:.4g} to {high:.4g} |" in card
    assert report(changed, "gate.json")["verdict"] == "ok"


def test_an_endpoint_of_the_teams_own_is_served(changed: Project) -> None:
    endpoint = '''    @bentoml.api(route="/version")
    def version(self) -> dict[str, str]:
        """The release in service."""
        champion = self.predictor.follower.current()
        return {"release": champion.release if champion else ""}

    async def __is_ready__'''
    edit(changed, "service.py", ("    async def __is_ready__", endpoint))

    ask = (
        "import urllib.request; from mlgates import Project; "
        "from mlgates.local_service import free_port, served\n"
        "with served(Project.find(), free_port()) as url:\n"
        "    request = urllib.request.Request("
        "f'{url}/version', b'{}', {'Content-Type': 'application/json'})\n"
        "    print(urllib.request.urlopen(request, timeout=60).read().decode())"
    )
    assert json.loads(changed.run("python", "-c", ask).splitlines()[0]) == {"release": "v1.0.0"}


def test_a_stage_of_the_teams_own_runs_after_evaluate(changed: Project) -> None:
    package = changed.folder / "src/late_flights"
    folder = changed.folder / "pipelines/worst"
    (package / "worst.py").write_text(
        '"""The slice that the candidate is worst in."""\n\n'
        "import json\nfrom pathlib import Path\n\n"
        "measured = json.loads(Path('reports/metrics.json').read_text())\n"
        "worst = min(measured['slices'], "
        "key=lambda part: part['candidate']['average_precision']['value'])\n"
        "Path('reports/worst.json').write_text(json.dumps(worst))\n"
    )
    folder.mkdir(parents=True)
    stage = {
        "cmd": "python -m late_flights.worst",
        "wdir": "../..",
        "deps": ["reports/metrics.json", "src/late_flights/worst.py"],
        "outs": [{"reports/worst.json": {"cache": False}}],
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"worst": stage}}))
    assert "Running stage 'pipelines/worst/dvc.yaml:worst'" in changed.run("dvc", "repro", "-P")
    worst = json.loads(Path(changed.folder / "reports/worst.json").read_text())
    assert worst["column"] in ("origin", "carrier")
    assert "Running stage" not in changed.run("dvc", "repro", "-P")
