"""Results have versions: a release of this library that changes what a group of stages gives moves its number.

A project names the numbers in its pyproject.toml, `[tool.mlgates.results]`, and each stage of dvc.yaml names its own as
a parameter. So a stage runs again when the library gives other results, and does not when it only reads better.
"""

from pathlib import Path

from mlgates.errors import ProjectError
from mlgates.files import digest
from mlgates.layout import SOURCES, VENDOR
from mlgates.project import Project, table

RESULTS: dict[str, int | str] = {"data": 4, "training": 2, "evaluation": 3, "gate": 4}
FOLDER = Path(__file__).parent
COMPILED = (".pyc",)


def results(project: Project) -> dict[str, int | str]:
    """The numbers of the library that runs; where the project carries the library itself, a hash of its content."""
    if not (project.root / VENDOR).is_dir():
        return RESULTS
    return hashed(FOLDER)


def hashed(folder: Path) -> dict[str, int | str]:
    """What stands for the numbers of a library that the project carries: nobody moves them by hand."""
    return dict.fromkeys(RESULTS, digest(folder, ignore_suffixes=COMPILED)[:16])


def check_results(project: Project) -> None:
    """Raises: ProjectError unless the installed library is the one that pyproject.toml names."""
    if (project.root / VENDOR).is_dir():
        _check_carried(project)
        return
    named = table(project.root).get("results")
    if named != RESULTS:
        other = f"pyproject.toml names other results ({_shown(named)})"
        raise ProjectError(
            f"{other} than the installed mlgates gives ({_shown(RESULTS)}).",
            "Run: uv sync; if it stays so, write the second ones under [tool.mlgates.results] and train again.",
        )


def _check_carried(project: Project) -> None:
    """A carried library may be edited at will: its files are dependencies of the stages. But it must be what runs."""
    carried = project.root / VENDOR / SOURCES / "mlgates"
    if FOLDER.resolve() == carried.resolve():
        return
    if hashed(FOLDER) != hashed(carried):
        raise ProjectError(
            f"The installed mlgates is not the one that the project carries in {VENDOR.as_posix()}.",
            "Run: uv sync; if another copy of the project says so, commit your changes of vendor/ first.",
        )


def _shown(numbers: object) -> str:
    if not isinstance(numbers, dict):
        return "none"
    return ", ".join(f"{name} {number}" for name, number in numbers.items())
