"""What is wrong with a project's wiring is said in one sentence with a remedy, and nothing is left half-written."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .projects import DEFAULT, Project, git
from .test_goldens import numbers

GATE = Path("src/late_flights/pipeline/gate.py")
NUMBERS = "".join(f"{group} = {number}\n" for group, number in numbers().items())


@pytest.fixture(scope="module")
def made(make: Callable[[str], Project]) -> Project:
    """A fresh project; a test puts back what it breaks."""
    return make(DEFAULT)


@pytest.fixture
def project(made: Project) -> Iterator[Project]:
    """The project as it was committed; what a refusal left behind is seen by the test."""
    yield made
    git(made.folder, "checkout", "--quiet", "--", ".")
    git(made.folder, "clean", "--quiet", "--force", "-d", "-x")


def listed(project: Project) -> list[str]:
    """What differs from the commit, ignored files too."""
    lines = git(project.folder, "status", "--porcelain", "--ignored").splitlines()
    return [line for line in lines if "__pycache__" not in line]


def refused(project: Project, *words: str, code: int = 1) -> str:
    """What a command says when it refuses: one sentence and a remedy; nothing new lies in the project."""
    before = listed(project)
    said = project.run(*words, code=code)
    assert listed(project) == before
    lines = said.strip().splitlines()
    assert lines[0].startswith("error: ") and len(lines) <= 2, said
    return said


def edit(project: Project, path: Path | str, old: str, new: str) -> None:
    """Replace a text that is there."""
    file = project.folder / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_wiring_file_with_a_syntax_error_is_named_with_its_line(project: Project) -> None:
    edit(project, GATE, "def main(project: Project) -> None:", "def main(project: Project) -> None")
    said = refused(project, "mlops", "run", "gate")
    assert str(GATE) in said and "line" in said and "SyntaxError" in said


def test_a_wiring_file_without_main_is_named(project: Project) -> None:
    edit(project, GATE, "def main(", "def judge(")
    said = refused(project, "mlops", "run", "gate")
    assert f"{GATE} has no function main(project)" in said and "git checkout HEAD --" in said


def test_a_monitor_without_main_is_named(project: Project) -> None:
    edit(project, "src/late_flights/monitor.py", "def main(", "def watch(")
    assert "src/late_flights/monitor.py has no function main(project)" in refused(
        project, "mlops", "monitor"
    )


def test_a_wiring_file_that_is_missing_is_named(project: Project) -> None:
    (project.folder / GATE).unlink()
    assert f"{GATE} is missing" in refused(project, "mlops", "run", "gate")


def test_a_stage_that_does_not_exist_is_named_with_those_that_do(project: Project) -> None:
    said = refused(project, "mlops", "run", "gaet")
    assert "gaet.py is missing" in said and "Did you mean 'gate'?" in said


def test_a_package_name_that_is_not_the_one_in_pyproject_is_named(project: Project) -> None:
    edit(project, "pyproject.toml", 'package = "late_flights"', 'package = "early_flights"')
    said = refused(project, "mlops", "run", "ingest")
    assert "'early_flights'" in said and "[tool.mlgates]" in said and "uv sync" in said


def test_a_pyproject_without_a_package_name_is_named(project: Project) -> None:
    edit(project, "pyproject.toml", 'package = "late_flights"', "")
    assert "[tool.mlgates] package" in refused(project, "mlops", "run", "ingest")


def test_results_that_the_library_does_not_give_are_named_with_both_numbers(
    project: Project,
) -> None:
    edit(project, "pyproject.toml", NUMBERS, NUMBERS.replace("gate = ", "gate = 7"))
    said = refused(project, "mlops", "run", "ingest")
    assert (
        f"gate 7{numbers()['gate']}" in said
        and f"gate {numbers()['gate']}" in said
        and "uv sync" in said
    )


def test_no_results_are_named(project: Project) -> None:
    edit(project, "pyproject.toml", f"[tool.mlgates.results]\n{NUMBERS}", "")
    assert "none" in refused(project, "mlops", "run", "ingest")


def test_wiring_of_another_release_than_the_library_is_named(project: Project) -> None:
    edit(project, GATE, "registry import wheel", "registry import wagon")
    said = refused(project, "mlops", "run", "gate")
    assert (
        f"{GATE} does not fit the installed mlgates" in said
        and "wagon" in said
        and "uv sync" in said
    )
    edit(project, GATE, "registry import wagon", "registry import wheel")
    edit(
        project,
        GATE,
        "    report = gate.decide(project)",
        "    report = gate.decide_better(project)",
    )
    said = refused(project, "mlops", "run", "gate")
    assert f"{GATE} does not fit the installed mlgates" in said and "decide_better" in said


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
    said = outside.run("mlops", "run", "gate", code=1)
    assert "is not inside a project" in said and list(tmp_path.iterdir()) == []


def test_dvc_shows_the_sentence_and_keeps_no_output(project: Project) -> None:
    edit(project, "src/late_flights/pipeline/ingest.py", "def main(", "def read(")
    said = project.run("dvc", "repro", "ingest", code=255)
    assert "has no function main(project)" in said and "Traceback" not in said
    assert not (project.folder / "dvc.lock").exists() and not list(
        (project.folder / "data").rglob("*.parquet")
    )
