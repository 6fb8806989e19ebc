"""Generated projects really run: the pipeline, the record, the service over HTTP, the monitor, the proofs, the loop."""

import json
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .projects import ROWS, Project, copy, git

FLIGHTS = [row for row in ROWS if "flights" in row]
DEFAULT = "binary-flights-github"
STUBS = [row for row in ROWS if "none-" in row]
Make = Callable[[str], Project]


@pytest.fixture(scope="module")
def make(template: Path, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """`make(row)` makes a committed project to run commands in."""
    return lambda row: Project(copy(template, tmp_path_factory.mktemp(row) / "late-flights", ROWS[row]), programs)


@pytest.fixture(scope="module")
def trained(make: Make) -> Project:
    """The default project after its first day."""
    project = make(DEFAULT)
    project.run("mlops", "up", "--no-serve")
    return project


def clone(project: Project, folder: Path) -> Project:
    """A fresh clone that knows where the remote is."""
    git(project.folder, "clone", "--quiet", str(project.folder), str(folder))
    copy = Project(folder, project.programs)
    copy.run("dvc", "remote", "modify", "--local", "local", "url", str(project.folder / "var/remote"))
    return copy


def reruns(printed: str) -> list[str]:
    """The stages that a repro really ran."""
    return [line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")]


def test_the_first_day_ends_with_a_champion_and_a_clean_tree(trained: Project) -> None:
    assert "v1.0.0" in trained.run("mlops", "status")
    assert git(trained.folder, "status", "--porcelain") == ""
    assert "late-flights" in trained.run("gto", "show")
    trained.run("dvc", "artifacts", "get", ".", "late-flights", "--stage", "champion", "-o", "var/got")
    assert (trained.folder / "var/got/MLmodel").exists()


def test_nothing_changed_is_nothing_done(trained: Project) -> None:
    assert reruns(trained.run("dvc", "repro")) == []


def test_a_new_threshold_runs_the_gate_again_and_nothing_before_it(trained: Project) -> None:
    params = trained.folder / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("gate: {}", "gate: {slice_margin: 0.04}"))
    assert reruns(trained.run("dvc", "repro")) == ["gate", "track"]
    params.write_text(before)
    git(trained.folder, "checkout", "HEAD", "--", ".")


def test_two_experiments_are_two_runs(trained: Project, tmp_path: Path) -> None:
    project = clone(trained, tmp_path / "late-flights")
    project.run("dvc", "pull")
    project.run("mlops", "follow")
    for iterations in ("50", "60"):
        project.run("dvc", "exp", "run", "-S", f"model.max_iter={iterations}")
    with sqlite3.connect(project.folder / "mlflow.db") as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone()[0] == 2


def test_a_clone_with_the_remote_has_the_record_and_mirrors_it(trained: Project, tmp_path: Path) -> None:
    project = clone(trained, tmp_path / "elsewhere")
    assert "1 versions added" in project.run("mlops", "mirror")
    assert "v1.0.0" in project.run("mlops", "follow")
    moved = Project(tmp_path / "moved", project.programs)
    project.folder.rename(moved.folder)
    assert "1 versions added" in moved.run("mlops", "mirror")


def test_every_planted_fault_is_caught(trained: Project) -> None:
    printed = trained.run("mlops", "prove")
    assert " 0 escaped, 0 false alarms" in printed and "ESCAPED" not in printed


def test_the_loop_runs_by_itself_and_leaves_the_project_alone(trained: Project) -> None:
    before = git(trained.folder, "status", "--porcelain", "--ignored"), git(trained.folder, "tag")
    printed = trained.run("mlops", "simulate", "--periods", "2")
    assert "2013-05  v1.0.0" in printed and "2013-06" in printed and "promoted v1.0.1" in printed
    assert (git(trained.folder, "status", "--porcelain", "--ignored"), git(trained.folder, "tag")) == before


def test_the_readme_request_is_answered(trained: Project) -> None:
    code = (
        "import json\n"
        "from late_flights.ops.project import find_root\n"
        "from late_flights.ops.up import ask, free_port, served\n"
        "rows = json.loads(open('README.md').read().partition(\"-d '\")[2].partition(\"'\")[0])['rows']\n"
        "with served(find_root(), free_port()) as url: print(json.dumps(ask(url, rows)))"
    )
    answer = json.loads(trained.run("python", "-c", code).splitlines()[-1])
    assert answer["release"] == "v1.0.0" and set(answer["predictions"][0]) == {"id", "probability", "decision"}
    assert "insufficient" in trained.run("mlops", "monitor", code=4)
    page = (trained.folder / "var/monitor/latest.html").read_text()
    assert 'src="http' not in page


@pytest.mark.parametrize("row", [row for row in FLIGHTS if row != DEFAULT])
def test_other_tasks_run_the_whole_loop(make: Make, row: str) -> None:
    project = make(row)
    project.run("mlops", "up", "--no-serve")
    assert " 0 escaped, 0 false alarms" in project.run("mlops", "prove", "--fast")
    assert "2013-05  v1.0.0  3,000  0" in project.run("mlops", "simulate", "--periods", "1")


@pytest.mark.parametrize("row", [DEFAULT, *(row for row in ROWS if row != DEFAULT)])
def test_a_fresh_copy_passes_its_own_tests(make: Make, row: str) -> None:
    assert " passed" in make(row).run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")


@pytest.mark.parametrize("row", STUBS)
def test_without_a_sample_the_pipeline_says_what_to_write(make: Make, row: str) -> None:
    project = make(row)
    printed = project.run("mlops", "up", "--no-serve", code=1)
    assert "Write, in this order: schema.py, data.py, features.py, model.py" in printed and "Traceback" not in printed


@pytest.fixture
def fresh(make: Make) -> Project:
    """A default project on which nothing has run yet."""
    return make(DEFAULT)


def misspelt(project: Project) -> None:
    """A parameter that does not exist."""
    (project.folder / "params.yaml").write_text("gate: {marign: 1}\n")


WRONG: dict[str, tuple[Callable[[Project], object], list[str], int, str]] = {
    "no git repository": (lambda p: shutil.rmtree(p.folder / ".git"), ["mlops", "status"], 1, "not a git repository"),
    "no training yet": (lambda p: None, ["mlops", "promote"], 1, "uv run dvc repro"),
    "a dirty tree": (lambda p: (p.folder / "README.md").write_text("x"), ["mlops", "promote"], 1, "git add -A"),
    "no champion yet": (lambda p: None, ["mlops", "follow"], 4, "uv run mlops promote"),
    "nothing in service": (lambda p: None, ["mlops", "monitor"], 4, "uv run mlops promote"),
    "nothing to go back to": (lambda p: None, ["mlops", "rollback", "--reason", "x"], 1, "nothing to go back to"),
    "an unknown verb": (lambda p: None, ["mlops", "prmote"], 2, "Did you mean 'promote'"),
    "an unknown option": (lambda p: None, ["mlops", "status", "--fast"], 2, "mlops status --help"),
    "a misspelt parameter": (misspelt, ["mlops", "status"], 1, "Did you mean 'margin'"),
    "a file of outcomes that is not there": (lambda p: None, ["mlops", "outcomes", "none.csv"], 1, "none.csv"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_sentence_and_a_remedy(fresh: Project, name: str) -> None:
    prepare, words, code, sentence = WRONG[name]
    prepare(fresh)
    printed = fresh.run(*words, code=code)
    assert sentence in printed and "Traceback" not in printed


def test_a_port_in_use_is_said_before_anything_runs(fresh: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 3000))
        taken.listen()
        assert "Port 3000 is in use" in fresh.run("mlops", "up", code=1)


def test_the_lock_names_no_machine(trained: Project) -> None:
    lock = (trained.folder / "dvc.lock").read_text()
    assert str(trained.folder.parent) not in lock
    assert set(yaml.safe_load(lock)["stages"]) == {"ingest", "validate", "train", "evaluate", "gate", "track"}
