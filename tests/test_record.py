"""The memory of a project.

Races, kills and forgeries; old releases made again; rollbacks, overrides, signatures.
"""

import ast
import inspect
import json
import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from .projects import DEFAULT, LIBRARY, ROOT, Project, clean, commit, git

MODEL = Path("src/late_flights/model.py")
FEWER = '''

_flights = read


def read(period: str) -> pd.DataFrame:
    """Some of the flights."""
    return _flights(period).sample(6_000, random_state=0).reset_index(drop=True)
'''
DRILL = """
from mlgates import Project, tools
from mlgates.local_service import ask, free_port, served
from mlgates.quickstart import example
project = Project.find()
root = project.root

def answer():
    told = ask(url, [example(project)])
    return told["release"], told["predictions"][0]["probability"]

def mlops(*words):
    tools.run(project, "mlops", *words).checked()

with served(project, free_port()) as url:
    new = answer()
    for part in (".git", ".dvc"):
        (root / part).rename(root / "var" / part)
    mlops("rollback", "--now", "--reason", "complaints")
    old = answer()
    for part in (".git", ".dvc"):
        (root / "var" / part).rename(root / part)
    mlops("follow")
    assert answer() == old != new, (old, new)
    mlops("promote", "--to", "champion", "--reason", "the cause was elsewhere")
    assert answer() == new
    mlops("rollback", "--reason", "complaints again")
    assert answer() == old
print("drilled", new[0], old[0])
"""


def inside(programs: Path, name: str) -> str:
    """Run a file of tests/inside with the projects' environment; returns what it printed.

    It works on the tiny project of the library's tests.
    """
    folder = ROOT / "tests" / "inside"
    words = ["-m", "pytest", "-q", "-s", "-W", "ignore", "-c", os.devnull]
    words += ["-p", "tiny_team", "-p", "no:cacheprovider"]
    where = ["--rootdir", str(folder), "--confcutdir", str(folder), str(folder / name)]
    settings = clean() | {"PYTHONPATH": str(LIBRARY / "tests/support")}
    done = subprocess.run(
        [programs / "python", *words, *where],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_the_library_says_is_proven_here_is_proven_here() -> None:
    """`IN_TEMPLATE` names the tests of this folder that turn a check red.

    It stands in the library's test of `prove`.
    """
    candidates = LIBRARY.glob("tests/**/test_prove.py")
    (file,) = [path for path in candidates if "IN_TEMPLATE =" in path.read_text()]
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "IN_TEMPLATE":
            named = ast.literal_eval(node.value)
    assert named
    for name, test in named.items():
        assert name in inspect.getsource(globals()[test.rpartition("::")[2]])


def test_races_kills_and_forgeries(programs: Path) -> None:
    printed = inside(programs, "record.py")
    print(printed)
    assert "20 races" in printed


def test_ci_signs_without_a_key(programs: Path) -> None:
    assert "6 passed" in inside(programs, "keyless.py")


@pytest.fixture(scope="module")
def released(make: Callable[[str], Project]) -> Project:
    """A project with a bare origin and v1.0.0."""
    fresh = make(DEFAULT)
    source = fresh.folder / "src/late_flights/data.py"
    source.write_text(source.read_text() + FEWER)
    commit(fresh.folder, "Fewer")
    git(fresh.folder, "init", "--quiet", "--bare", "--initial-branch", "main", "../origin.git")
    git(fresh.folder, "remote", "add", "origin", "../origin.git")
    fresh.run("mlops", "up", "--no-serve")
    return fresh


def shallow(of: Project, folder: Path) -> Project:
    """A depth-1 clone of main, in which a squash merge has hidden all commits.

    It knows where the DVC remote is.
    """
    squashed = git(of.folder, "commit-tree", "-m", "Squash", "HEAD^{tree}").strip()
    git(of.folder, "push", "--quiet", "--force", "origin", f"{squashed}:refs/heads/main")
    origin = (of.folder.parent / "origin.git").as_uri()
    git(of.folder, "clone", "--quiet", "--depth", "1", origin, str(folder))
    other = Project(folder, of.programs)
    other.run("dvc", "remote", "modify", "--local", "local", "url", str(of.folder / "var/remote"))
    return other


def retrained(project: Project, message: str) -> None:
    """Another candidate against the present champion."""
    project.run("mlops", "close", "2013-04")
    project.run("dvc", "repro")
    commit(project.folder, message)


def overridden(project: Project) -> str:
    """Promote it whatever the gate says; returns what was printed."""
    until = str(date.today() + timedelta(30))
    override = ["--override", "--by", "Grace", "--until", until]
    return project.run("mlops", "promote", *override, "--reason", "season")


def test_a_release_is_made_again_after_a_squash_in_a_shallow_clone_without_mlflow(
    released: Project, tmp_path: Path
) -> None:
    (released.folder / "mlflow.db").unlink(missing_ok=True)
    other = shallow(released, tmp_path / "late-flights")
    found = other.checks("reproduce", "v1.0.0")
    assert {name for name, check in found.items() if check["verdict"] != "ok"} == set()
    wanted = ("data", "environment", "metrics", "model", "predictions", "verdict")
    assert {f"reproduce.{name}" for name in wanted} <= set(found)
    assert "largest difference 0" in found["reproduce.predictions"]["evidence"]
    assert git(other.folder, "status", "--porcelain") == ""
    assert "v1.0.0" in other.run("mlops", "trace")
    assert "trained" in other.run("mlops", "trace", "2013-01")
    assert "evaluated" in other.run("mlops", "trace", "2013-04")


def test_a_clock_as_seed_and_a_forged_number_are_caught_by_reproduce(released: Project) -> None:
    folder = released.folder
    model = (folder / MODEL).read_text()
    by_clock = "random_state=time.time_ns() % 2**31, max_features=0.5"
    clock = model.replace("random_state=seed", by_clock)
    clock = clock.replace("from collections", "import time\nfrom collections", 1)
    (folder / MODEL).write_text(clock)
    retrained(released, "Clock")
    assert "overridden until" in overridden(released)
    status = json.JSONDecoder().raw_decode(released.run("mlops", "status", "--json"))[0]
    assert "overridden until" in status["aliases"]["champion"]["override"]
    assert "monitor.override" in released.run("mlops", "monitor", code=4)
    found = released.checks("reproduce", "v1.1.0", code=3)
    assert found["reproduce.predictions"]["verdict"] == "fail", found
    assert found["reproduce.data"]["verdict"] == "ok", found
    assert found["reproduce.model"]["verdict"] == "inconclusive", found

    (folder / MODEL).write_text(model)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["model"] = {"max_iter": 60}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    retrained(released, "Fewer trees")
    measured = json.loads((folder / "reports/metrics.json").read_text())
    for metric in measured["differences"]["champion"].values():
        metric |= {"value": 0.2, "interval": [0.1, 0.3]}
    better = {"value": 0.2, "interval": [0.1, 0.3], "error": 0.05}
    for part in measured["slices"]:
        part["difference"] = dict.fromkeys(part["difference"], better)
    (folder / "reports/metrics.json").write_text(
        json.dumps(measured, indent=1, sort_keys=True) + "\n"
    )
    aged = json.loads((folder / "reports/age.json").read_text())
    aged["ages"][0]["rows"] += 1
    (folder / "reports/age.json").write_text(json.dumps(aged, indent=1, sort_keys=True) + "\n")
    released.run("mlops", "run", "gate")
    released.run("dvc", "commit", "--force", "studies", "evaluate", "gate", "track")
    commit(folder, "Forged")
    released.run("mlops", "promote")
    released.run("mlops", "trace", "v1.2.0")
    found = released.checks("reproduce", "v1.2.0", code=3)
    assert found["reproduce.metrics"]["verdict"] == "fail", found
    assert "age.json.ages.0.rows: " in found["reproduce.metrics"]["evidence"]
    assert found["reproduce.predictions"]["verdict"] == "ok", found
    assert found["reproduce.verdict"]["verdict"] == "fail", found
    assert found["reproduce.model"]["verdict"] == "ok", found
    assert "max_iter 100 -> 60" in " ".join(released.run("mlops", "trace", "v1.2.0").split())


def test_promoted_and_rolled_back_the_answers_are_those_of_before(released: Project) -> None:
    assert "drilled v1.2.0 v1.1.0" in released.run("python", "-c", DRILL)
    (log, *_) = (released.folder / "var/predictions").glob("*.db")
    with closing(sqlite3.connect(log)) as database:
        query = "SELECT prediction_id FROM predictions WHERE release = 'v1.1.0'"
        ((prediction,),) = database.execute(query).fetchmany(1)
    printed = released.run("mlops", "trace", prediction)
    assert f"{prediction}, made" in printed and "late-flights@v1.1.0" in printed
    assert "3 rows, " in printed or "4 rows, " in printed


def test_what_the_remote_lost_is_named(released: Project) -> None:
    lock = yaml.safe_load((released.folder / "dvc.lock").read_text())["stages"]["train"]
    oid = next(dep["md5"] for dep in lock["deps"] if dep["path"] == "data/checked")
    (released.folder / "var/remote/files/md5" / oid[:2] / oid[2:]).unlink()
    printed = released.run("mlops", "reproduce", "v1.0.0", code=4)
    assert "data/checked" in printed
    assert "Traceback" not in printed
