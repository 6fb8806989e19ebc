"""What is wrong with a project's wiring is said in one sentence with a remedy.

Nothing is left half-written.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .projects import DEFAULT, Project, git
from .test_goldens import numbers

GATE = Path("src/late_flights/pipeline/gate.py")
NUMBERS = "".join(f"{group} = {number}\n" for group, number in numbers().items())


@pytest.fixture(scope="module")
def fresh(make: Callable[[str], Project]) -> Project:
    """A fresh project; a test puts back what it breaks."""
    return make(DEFAULT)


@pytest.fixture
def project(fresh: Project) -> Iterator[Project]:
    """The project as it was committed; what a refusal left behind is seen by the test."""
    yield fresh
    git(fresh.folder, "checkout", "--quiet", "--", ".")
    git(fresh.folder, "clean", "--quiet", "--force", "-d", "-x")


def listed(project: Project) -> list[str]:
    """What differs from the commit, ignored files too."""
    lines = git(project.folder, "status", "--porcelain", "--ignored").splitlines()
    return [line for line in lines if "__pycache__" not in line]


def refused(project: Project, *words: str, code: int = 1) -> str:
    """What a command says when it refuses: one sentence and a remedy.

    Where a stage had begun, a line more says how to go back. Nothing new lies in the project
    afterwards.
    """
    before = listed(project)
    message = project.run(*words, code=code)
    assert listed(project) == before
    lines = message.strip().splitlines()
    assert lines[0].startswith("error: ") and len(lines) <= (
        3 if "git checkout ." in message else 2
    ), message
    return message


def edit(project: Project, path: Path | str, old: str, new: str) -> None:
    """Replace a text that is there."""
    file = project.folder / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_wiring_file_with_a_syntax_error_is_named_with_its_line(project: Project) -> None:
    edit(project, GATE, "def main(project: Project) -> None:", "def main(project: Project) -> None")
    message = refused(project, "mlops", "run", "gate")
    assert str(GATE) in message and "line" in message and "SyntaxError" in message


def test_a_wiring_file_without_main_is_named(project: Project) -> None:
    edit(project, GATE, "def main(", "def judge(")
    message = refused(project, "mlops", "run", "gate")
    assert f"{GATE} has no function main(project)" in message and "git checkout HEAD --" in message


def test_a_monitor_without_main_is_named(project: Project) -> None:
    edit(project, "src/late_flights/monitor.py", "def main(", "def watch(")
    message = refused(project, "mlops", "monitor")
    assert "src/late_flights/monitor.py has no function main(project)" in message


def test_a_wiring_file_that_is_missing_is_named(project: Project) -> None:
    (project.folder / GATE).unlink()
    assert f"{GATE} is missing" in refused(project, "mlops", "run", "gate")


def test_a_stage_that_does_not_exist_is_named_with_those_that_do(project: Project) -> None:
    message = refused(project, "mlops", "run", "gaet")
    assert "gaet.py is missing" in message and "Did you mean 'gate'?" in message


def test_a_package_name_that_is_not_the_one_in_pyproject_is_named(project: Project) -> None:
    edit(project, "pyproject.toml", 'package = "late_flights"', 'package = "early_flights"')
    message = refused(project, "mlops", "run", "ingest")
    assert "'early_flights'" in message and "[tool.mlgates]" in message and "uv sync" in message


def test_a_pyproject_without_a_package_name_is_named(project: Project) -> None:
    edit(project, "pyproject.toml", 'package = "late_flights"', "")
    assert "[tool.mlgates] package" in refused(project, "mlops", "run", "ingest")


def test_results_that_the_library_does_not_give_are_named_with_both_numbers(
    project: Project,
) -> None:
    edit(project, "pyproject.toml", NUMBERS, NUMBERS.replace("gate = ", "gate = 7"))
    message = refused(project, "mlops", "run", "ingest")
    assert (
        f"gate 7{numbers()['gate']}" in message
        and f"gate {numbers()['gate']}" in message
        and "uv sync" in message
    )


def test_no_results_are_named(project: Project) -> None:
    edit(project, "pyproject.toml", f"[tool.mlgates.results]\n{NUMBERS}", "")
    assert "none" in refused(project, "mlops", "run", "ingest")


def test_wiring_of_another_release_than_the_library_is_named(project: Project) -> None:
    edit(project, GATE, "registry import wheel", "registry import wagon")
    message = refused(project, "mlops", "run", "gate")
    assert (
        f"{GATE} does not fit the installed mlgates" in message
        and "wagon" in message
        and "uv sync" in message
    )
    edit(project, GATE, "registry import wagon", "registry import wheel")
    edit(
        project,
        GATE,
        "    report = gate.decide(project)",
        "    report = gate.decide_better(project)",
    )
    message = refused(project, "mlops", "run", "gate")
    assert f"{GATE} does not fit the installed mlgates" in message and "decide_better" in message


def test_a_stage_also_runs_from_a_subfolder(project: Project) -> None:
    project.run("env", "--chdir=src", "mlops", "run", "ingest")
    assert (project.folder / "reports/manifest.json").exists() and any(
        (project.folder / "data/raw").iterdir()
    )
    assert {path.name for path in (project.folder / "src").iterdir()} == {"late_flights"}


def test_outside_of_a_project_the_command_says_where_to_go(
    project: Project, tmp_path: Path
) -> None:
    outside = Project(tmp_path, project.programs)
    message = outside.run("mlops", "run", "gate", code=1)
    assert "is not inside a project" in message and list(tmp_path.iterdir()) == []


def test_dvc_shows_the_sentence_and_keeps_no_output(project: Project) -> None:
    edit(project, "src/late_flights/pipeline/ingest.py", "def main(", "def read(")
    message = project.run("dvc", "repro", "ingest", code=255)
    assert "has no function main(project)" in message and "Traceback" not in message
    assert not (project.folder / "dvc.lock").exists() and not list(
        (project.folder / "data").rglob("*.parquet")
    )
