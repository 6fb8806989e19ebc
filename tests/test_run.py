"""Generated projects really run.

The pipeline, the record, the service over HTTP, the monitor, the proofs, the loop.
"""

import json
import re
import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts.demo import proven

from .projects import DEFAULT, ROOT, Project, git, lock
from .test_goldens import hold, hold_faults

Make = Callable[[str], Project]


@pytest.fixture(scope="module")
def trained(make: Make) -> Project:
    """The default project after its first day."""
    project = lock(make(DEFAULT))
    project.run("mlops", "up", "--no-serve")
    return project


def clone(project: Project, folder: Path) -> Project:
    """A fresh clone that knows where the remote is."""
    git(project.folder, "clone", "--quiet", str(project.folder), str(folder))
    copy = Project(folder, project.programs)
    copy.run(
        "dvc", "remote", "modify", "--local", "local", "url", str(project.folder / "var/remote")
    )
    return copy


def reruns(printed: str) -> list[str]:
    """The stages that a repro really ran."""
    return [line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")]


def test_the_first_day_ends_with_a_champion_and_a_clean_tree(trained: Project) -> None:
    assert "v1.0.0" in trained.run("mlops", "status")
    assert git(trained.folder, "status", "--porcelain") == ""
    assert "late-flights" in trained.run("gto", "show")
    trained.run(
        "dvc", "artifacts", "get", ".", "late-flights", "--stage", "champion", "-o", "var/got"
    )
    assert (trained.folder / "var/got/MLmodel").exists()


def test_the_numbers_of_the_first_day_are_golden(trained: Project) -> None:
    hold(DEFAULT, trained.folder)


def test_nothing_changed_is_nothing_done(trained: Project) -> None:
    assert reruns(trained.run("dvc", "repro")) == []


def test_a_new_threshold_runs_the_gate_again_and_nothing_before_it(trained: Project) -> None:
    params = trained.folder / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("gate: {}", "gate: {metric: roc_auc}"))
    assert reruns(trained.run("dvc", "repro")) == ["gate", "track"]
    params.write_text(before)
    git(trained.folder, "checkout", "HEAD", "--", ".")


def test_two_experiments_are_two_runs(trained: Project, tmp_path: Path) -> None:
    project = clone(trained, tmp_path / "late-flights")
    project.run("dvc", "pull")
    project.run("mlops", "follow")
    for iterations in ("50", "60"):
        project.run("dvc", "exp", "run", "-S", f"model.max_iter={iterations}")
    runs = "SELECT count(*) FROM tags WHERE key = 'fingerprint'"
    children = "SELECT count(*) FROM tags WHERE key = 'mlflow.parentRunId'"
    with sqlite3.connect(project.folder / "mlflow.db") as database:
        assert database.execute(runs).fetchone()[0] == 2
        assert database.execute(children).fetchone()[0] >= 16


def test_the_ideas_of_the_runbook_are_ranked_in_one_table(trained: Project) -> None:
    runbook = (trained.folder / "docs/runbook.md").read_text()
    section = runbook.partition("## Try other parameters")[2]
    commands = [shlex.split(line) for line in section.split("```")[1].strip().splitlines()]
    assert [words[:4] for words in commands] == [["uv", "run", "dvc", "exp"]] * 3
    for words in commands:
        table = trained.run(*words[2:])  # that of the last command is looked at
    experiments = [line for line in table.splitlines() if "──" in line and "]" in line]
    ranked = [float(line.split("]")[1].split()[0]) for line in experiments]
    assert len(ranked) == 2
    assert ranked == sorted(ranked, reverse=True)
    assert git(trained.folder, "status", "--porcelain") == ""
    trained.run("dvc", "exp", "remove", "-A")


def test_a_clone_with_the_remote_has_the_record_and_mirrors_it(
    trained: Project, tmp_path: Path
) -> None:
    project = clone(trained, tmp_path / "elsewhere")
    assert "1 versions added" in project.run("mlops", "mirror")
    assert "v1.0.0" in project.run("mlops", "follow")
    moved = Project(tmp_path / "moved", project.programs)
    project.folder.rename(moved.folder)
    assert "1 versions added" in moved.run("mlops", "mirror")


def test_every_planted_fault_is_caught(trained: Project) -> None:
    printed = trained.run("mlops", "prove")
    assert " 0 escaped, 0 false alarms" in printed
    hold_faults(DEFAULT, trained.folder, whole=True)
    proof = json.loads((trained.folder / "var/prove/latest.json").read_text())
    assert all(proven(proof["lines"]).values()), "the summary of make demo has an empty part"


def test_the_loop_runs_by_itself_and_leaves_the_project_alone(trained: Project) -> None:
    status = git(trained.folder, "status", "--porcelain", "--ignored")
    tags = git(trained.folder, "tag")
    printed = trained.run("mlops", "simulate", "--periods", "2")
    assert "2013-05  v1.0.0" in printed and "2013-06" in printed and "promoted v1.0.1" in printed
    assert git(trained.folder, "status", "--porcelain", "--ignored") == status
    assert git(trained.folder, "tag") == tags


def test_the_readme_request_is_answered(trained: Project) -> None:
    code = (
        "import json\n"
        "from mlgates import Project\n"
        "from mlgates.local_service import ask, free_port, served\n"
        "rows = json.loads("
        "open('README.md').read().partition(\"-d '\")[2].partition(\"'\")[0])['rows']\n"
        "with served(Project.find(), free_port()) as url: print(json.dumps(ask(url, rows)))"
    )
    answer = json.loads(trained.run("python", "-c", code).splitlines()[-1])
    assert answer["release"] == "v1.0.0" and set(answer["predictions"][0]) == {
        "id",
        "probability",
        "decision",
    }
    code = "from mlgates import Project; from mlgates.lineage.explain import explain; "
    code += f"print(explain(Project.find(), {answer['predictions'][0]['id']!r}))"
    explained = trained.run("python", "-c", code)
    assert re.search(r"weather +visibility", explained)
    assert re.search(r"distance +\S+ +[-+]0\.\d{4}\n", explained)
    for step in ("features", "score"):
        assert re.search(rf"ok +explain\.{step} ", explained)
    assert "inconclusive" in trained.run("mlops", "monitor", code=4)
    page = (trained.folder / "var/monitor/latest.html").read_text()
    assert 'src="http' not in page


def test_the_card_is_complete_and_the_bill_of_materials_is_cyclonedx(trained: Project) -> None:
    card = (trained.folder / "reports/card.md").read_text()
    bill = (trained.folder / "reports/bom.json").read_text()
    assert "**Empty.**" not in card and "To be written" not in card
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    digest = json.loads((trained.folder / "reports/train.json").read_text())["model"]
    assert digest in card
    assert json.loads(bill)["metadata"]["component"]["hashes"][0]["content"] == digest
    assert {"scikit-learn", "numpy"} <= {part["name"] for part in json.loads(bill)["components"]}


def test_the_lock_names_no_machine(trained: Project) -> None:
    lock = (trained.folder / "dvc.lock").read_text()
    assert str(trained.folder.parent) not in lock
    stages = {"ingest", "validate", "train", "studies", "evaluate", "gate", "track"}
    assert set(yaml.safe_load(lock)["stages"]) == stages


def test_the_picture_of_the_loop_is_fresh(trained: Project) -> None:
    trained.run("python", str(ROOT / "scripts/loop.py"), "var/loop.svg")
    assert (trained.folder / "var/loop.svg").read_text() == (ROOT / "docs/loop.svg").read_text()
