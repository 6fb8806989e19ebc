"""A project names the results that it relies on; a library with others does not run its stages."""

import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

import mlgates
from mlgates import Project, ProjectError
from mlgates.cli import run
from mlgates.results import RESULTS, check_results, results

HEAD = '[tool.mlgates]\npackage = "late_flights"\n'


def write(root: Path, numbers: dict[str, int | str] | None) -> Project:
    """A project that names these results."""
    text = HEAD
    if numbers is not None:
        lines = [f"{name} = {json.dumps(number)}\n" for name, number in numbers.items()]
        text += "[tool.mlgates.results]\n" + "".join(lines)
    (root / "pyproject.toml").write_text(text)
    (root / "dvc.yaml").write_text("stages: {}\n")
    return Project.at(root)


def test_the_sample_names_the_results_of_this_library(project: Project) -> None:
    check_results(project)
    assert results(project) == RESULTS


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        (None, r"\(none\)"),
        ({**RESULTS, "training": 99}, r"\(data \d+, training 99, evaluation \d+, gate \d+\)"),
        ({"data": 1}, r"\(data 1\)"),
        ({**RESULTS, "serving": 1}, "serving 1"),
        ({**RESULTS, "gate": str(RESULTS["gate"])}, "gate "),
    ],
)
def test_numbers_that_do_not_fit_are_one_sentence_with_the_remedy(
    tmp_path: Path, numbers: dict[str, int | str] | None, shown: str
) -> None:
    project = write(tmp_path, numbers)
    installed = ", ".join(f"{name} {number}" for name, number in RESULTS.items())
    message = (
        rf"names other results .*{shown}.*"
        rf" than the installed mlgates gives \({installed}\)\.\n  Run: uv sync"
    )
    with pytest.raises(ProjectError, match=message):
        check_results(project)


def test_no_stage_runs_with_a_library_that_gives_other_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {**RESULTS, "data": 99})
    monkeypatch.delenv("MLOPS_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProjectError, match="names other results"):
        run(["run", "ingest"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dvc.yaml", "pyproject.toml"]


# A program that prints the results as the library is, with a compiled file more, after an edit, and
# for another project.
PRINT_RESULTS = """
import json
from pathlib import Path
from mlgates import Project, results

project = Project(Path.cwd(), "late_flights")
package = Path(results.__file__).parent
printed = [results.results(project)]

(package / "more.pyc").write_bytes(b"what Python compiles")
printed.append(results.results(project))

with (package / "verdict.py").open("a") as file:
    file.write("# edited here\\n")
printed.append(results.results(project))

printed.append(results.results(project.moved(Path.cwd() / "elsewhere")))
print(json.dumps(printed))
"""


def test_a_library_that_the_project_carries_gets_a_hash_of_its_content(tmp_path: Path) -> None:
    installed = Path(mlgates.__file__).parent
    carried = tmp_path / "vendor/mlgates/src"
    copytree(installed, carried / "mlgates", ignore=ignore_patterns("__pycache__"))
    completed = subprocess.run(
        [sys.executable, "-c", PRINT_RESULTS],
        cwd=tmp_path,
        env={"PYTHONPATH": str(carried), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    first, compiled, edited, elsewhere = json.loads(completed.stdout)
    assert set(first) == set(RESULTS)
    assert len(set(first.values())) == 1
    assert first == compiled
    assert first != edited
    assert elsewhere == RESULTS, "only the project that carries the library counts its content"

    # This process runs the installed library, which has not been edited.
    message = "not the one that the project carries in vendor/mlgates"
    with pytest.raises(ProjectError, match=message):
        check_results(write(tmp_path, first))
