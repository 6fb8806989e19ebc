"""What every row of answers gives: its tests pass, its task runs the loop, errors are sentences."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable

import pytest

from .projects import DEFAULT, FLIGHTS, ROWS, STUBS, Project, lock
from .test_goldens import hold, hold_faults

Make = Callable[[str], Project]


@pytest.mark.parametrize("row", [row for row in FLIGHTS if row != DEFAULT])
def test_other_tasks_run_the_whole_loop(make: Make, row: str) -> None:
    project = lock(make(row))
    project.run("mlops", "up", "--no-serve")
    hold(row, project.folder)
    printed = project.run("mlops", "prove", "--fast")
    assert " 0 escaped, 0 false alarms" in printed
    hold_faults(row, project.folder, whole=False)
    assert "2013-05  v1.0.0  3,000  0" in project.run("mlops", "simulate", "--periods", "1")


@pytest.mark.parametrize("row", [DEFAULT, *(row for row in ROWS if row != DEFAULT)])
def test_a_fresh_copy_passes_its_own_tests(make: Make, row: str) -> None:
    alone = [] if row == DEFAULT else ["-n0"]  # one rehearsal instead of two: a third less work
    assert " passed" in make(row).run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *alone
    )


@pytest.mark.parametrize("row", STUBS)
def test_without_a_sample_the_pipeline_says_what_to_write(make: Make, row: str) -> None:
    project = make(row)
    printed = project.run("mlops", "up", "--no-serve", code=1)
    assert (
        "Write, in this order: schema.py, data.py, features.py, model.py" in printed
        and "Traceback" not in printed
    )


@pytest.fixture
def fresh(make: Make) -> Project:
    """A default project on which nothing has run yet."""
    return make(DEFAULT)


BRANCHED = """

def far(distance: np.ndarray) -> np.ndarray:
    if len(distance) > 9:
        return distance
    return distance * 0.0
"""
HALF_TESTED = """

def test_far_is_zero_for_a_few() -> None:
    assert features.far(np.array([1.0])).tolist() == [0.0]
"""


def test_a_branch_of_a_feature_without_a_test_is_red(fresh: Project) -> None:
    words = (
        "python",
        "-m",
        "pytest",
        "--cov",
        "--ignore",
        "tests/test_project.py",
        "-p",
        "no:cacheprovider",
    )
    assert "Required test coverage of 100.0% reached" in fresh.run(*words)
    for path, code in (
        ("src/late_flights/features.py", BRANCHED),
        ("tests/test_features.py", HALF_TESTED),
    ):
        (fresh.folder / path).write_text((fresh.folder / path).read_text() + code)
    assert "Required test coverage of 100.0% not reached" in fresh.run(*words, code=1)


def test_no_mutant_of_the_sample_survives_and_a_weak_test_is_shown(fresh: Project) -> None:
    fresh.run("mutmut", "run")
    assert "survived" not in fresh.run("mutmut", "results")
    tests = fresh.folder / "tests" / "test_features.py"
    tests.write_text(
        tests.read_text().replace("np.array([10.0, 1.0, 3.0,", "np.array([10.0, 1.0, 5.0,")
    )
    shutil.rmtree(fresh.folder / "mutants")  # it remembers
    fresh.run("mutmut", "run")
    assert "x_is_bad_weather" in fresh.run("mutmut", "results")


def misspelt(project: Project) -> None:
    """A parameter that does not exist."""
    (project.folder / "params.yaml").write_text("gate: {marign: 1}\n")


WRONG: dict[str, tuple[Callable[[Project], object], list[str], int, str]] = {
    "no git repository": (
        lambda p: shutil.rmtree(p.folder / ".git"),
        ["mlops", "status"],
        1,
        "not a git repository",
    ),
    "no training yet": (lambda p: None, ["mlops", "promote"], 1, "uv run dvc repro"),
    "a dirty tree": (
        lambda p: (p.folder / "README.md").write_text("x"),
        ["mlops", "promote"],
        1,
        "git add -A",
    ),
    "no champion yet": (lambda p: None, ["mlops", "follow"], 4, "uv run mlops promote"),
    "nothing in service": (lambda p: None, ["mlops", "monitor"], 4, "uv run mlops promote"),
    "nothing to go back to": (
        lambda p: None,
        ["mlops", "rollback", "--reason", "x"],
        1,
        "nothing to go back to",
    ),
    "an unknown verb": (lambda p: None, ["mlops", "prmote"], 2, "Did you mean 'promote'"),
    "an unknown option": (lambda p: None, ["mlops", "status", "--fast"], 2, "mlops status --help"),
    "a misspelt parameter": (misspelt, ["mlops", "status"], 1, "Did you mean 'margin'"),
    "a file of outcomes that is not there": (
        lambda p: None,
        ["mlops", "outcomes", "none.csv"],
        1,
        "none.csv",
    ),
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


def test_a_killed_run_is_ended_by_the_next(fresh: Project) -> None:
    run = fresh.start("dvc", "repro")
    while run.poll() is None and not (fresh.folder / "data/raw").exists():
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    fresh.run("mlops", "up", "--no-serve")
    assert "v1.0.0" in fresh.run("mlops", "status")
