"""Results have versions: a number for each group of stages, which says when its results change.

A release of this library that changes what a group of stages computes increases its number. A
project names the numbers in its pyproject.toml, `[tool.mlgates.results]`, and each stage of
dvc.yaml names its own number as a parameter. So DVC runs a stage again when the library computes
something else, and does not when the library is only easier to read.
"""

from pathlib import Path

from mlgates.errors import ProjectError
from mlgates.files import digest
from mlgates.layout import SOURCES, VENDOR
from mlgates.project import Project, table

RESULTS: dict[str, int | str] = {"data": 4, "training": 3, "evaluation": 4, "gate": 5}
FOLDER = Path(__file__).parent
COMPILED = (".pyc",)
HASH_CHARACTERS = 16  # of the hash of a library that the project carries; 64 bits tell two apart


def results(project: Project) -> dict[str, int | str]:
    """The numbers of the running library, or a hash of its content if the project carries it."""
    if (project.root / VENDOR).is_dir():
        return hashed(FOLDER)
    return RESULTS


def hashed(folder: Path) -> dict[str, int | str]:
    """A hash of a library's content, in the place of each number.

    A library that the project carries may be edited there, and no release increases its numbers.
    """
    content = digest(folder, ignore_suffixes=COMPILED)[:HASH_CHARACTERS]
    return dict.fromkeys(RESULTS, content)


def check_results(project: Project) -> None:
    """Check that the installed library is the one that pyproject.toml names.

    Raises: ProjectError if it is another one.
    """
    if (project.root / VENDOR).is_dir():
        _check_carried_library(project)
        return
    named = table(project.root).get("results")
    if named != RESULTS:
        raise ProjectError(
            f"pyproject.toml names other results ({_shown(named)})"
            f" than the installed mlgates gives ({_shown(RESULTS)}).",
            "Run: uv sync. If the message stays, write the second numbers"
            " under [tool.mlgates.results] and train again.",
        )


def _check_carried_library(project: Project) -> None:
    """Check that the library which the project carries is the one that runs.

    Its files may be edited at will: they are dependencies of the stages, so DVC sees a change.
    """
    carried = project.root / VENDOR / SOURCES / "mlgates"
    if FOLDER.resolve() == carried.resolve():
        return
    if hashed(FOLDER) != hashed(carried):
        raise ProjectError(
            "The installed mlgates is not the one that the project carries"
            f" in {VENDOR.as_posix()}.",
            # A clone has what is committed, but what is installed has the uncommitted changes too.
            "Run: uv sync. If prove, simulate or reproduce says so, which work in a clone,"
            " commit your changes of vendor/ first.",
        )


def _shown(numbers: object) -> str:
    """The numbers as a reader sees them: `data 4, training 2`."""
    if not isinstance(numbers, dict):
        return "none"
    return ", ".join(f"{name} {number}" for name, number in numbers.items())
