"""A project is found from anywhere inside of it.

What is wrong with it is one sentence, with a remedy.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from mlgates import Project, ProjectError
from mlgates.cli import run
from mlgates.results import RESULTS

PYPROJECT = '[tool.mlgates]\npackage = "{package}"\n'
numbers = itertools.count()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Project]]:
    """`made({"pipeline/train.py": TEXT})` is a project with these files in its package.

    Each has a package of another name, because Python imports a name only once.
    """
    package = f"team{next(numbers)}"
    monkeypatch.syspath_prepend(tmp_path / "src")
    monkeypatch.delenv("MLOPS_ROOT", raising=False)

    def make(files: dict[str, str] | None = None) -> Project:
        (tmp_path / "pyproject.toml").write_text(PYPROJECT.format(package=package))
        (tmp_path / "dvc.yaml").write_text("stages: {}\n")
        texts = {"__init__.py": "", **(files or {})}
        for name, text in texts.items():
            path = tmp_path / "src" / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Project.at(tmp_path)

    yield make
    for name in list(sys.modules):
        if name.partition(".")[0] == package:
            del sys.modules[name]


def test_a_project_is_found_from_its_root_and_from_any_folder_below(
    made: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made()
    below = project.root / "src" / project.package
    for folder in (project.root, below):
        monkeypatch.chdir(folder)
        assert Project.find() == project


def test_a_pyproject_of_another_kind_below_the_root_is_passed_by(
    made: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made()
    inner = project.root / "tools"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[project]\nname = 'tools'\n")
    monkeypatch.chdir(inner)
    assert Project.find().root == project.root


def test_the_variable_names_the_project_wherever_the_process_was_started(
    made: Callable[..., Project],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = made()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("MLOPS_ROOT", str(project.root))
    assert Project.find() == project
    monkeypatch.setenv("MLOPS_ROOT", str(Path.cwd()))
    with pytest.raises(ProjectError, match=r"There is no pyproject\.toml in "):
        Project.find()


def test_outside_of_a_project_the_error_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLOPS_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    message = r"is not inside a project\.\n  Change into the folder that holds dvc.yaml"
    with pytest.raises(ProjectError, match=message):
        Project.find()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, r"There is no pyproject\.toml in .*\n  Change into the project's folder"),
        ("", r"does not name the project's package\.\n  Add: \[tool\.mlgates\] package ="),
        ("[project]\nname = 'x'\n", r"does not name the project's package"),
        ("[tool]\nmlgates = 3\n", r"does not name the project's package"),
        ("[tool.mlgates]\npackage = 3\n", r"does not name the project's package"),
        ("[tool.mlgates]\npackage = 'late-flights'\n", r"does not name the project's package"),
        ("[tool.mlgates\n", r"pyproject\.toml is not readable as TOML"),
    ],
)
def test_a_folder_whose_pyproject_names_no_package_is_no_project(
    tmp_path: Path, text: str | None, sentence: str
) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ProjectError, match=sentence):
        Project.at(tmp_path)


def test_a_package_that_has_another_name_is_named_with_the_remedy(
    made: Callable[..., Project],
) -> None:
    root = made({"schema.py": ""}).root
    (root / "pyproject.toml").write_text(PYPROJECT.format(package="no_such_team"))
    message = (
        r"The package 'no_such_team', which pyproject\.toml names under \[tool\.mlgates\],"
        r" cannot be imported\.\n  Run: uv sync\. Or correct the name"
    )
    with pytest.raises(ProjectError, match=message):
        Project.at(root).module("schema")


BROKEN = [
    (
        "def main(project:\n",
        r"pipeline/train\.py cannot be imported: SyntaxError: .*train\.py, line 1",
    ),
    (
        "import no_such_library\n",
        r"pipeline/train\.py cannot be imported: ModuleNotFoundError: .*no_such_library",
    ),
    (
        "from ..schema import contrct\n",
        r"pipeline/train\.py cannot be imported: ImportError: .*contrct",
    ),
    ("1 / 0\n", r"pipeline/train\.py cannot be imported: ZeroDivisionError"),
    (
        "x = 1\n",
        r"pipeline/train\.py has no function main\(project\)\."
        r"\n  Bring it back: git checkout HEAD -- src/",
    ),
    ("main = 3\n", r"pipeline/train\.py has no function main\(project\)"),
    (
        None,
        r"pipeline/train\.py is missing\."
        r"\n  Bring it back: git checkout HEAD -- src/.*/pipeline/train\.py",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), BROKEN)
def test_wiring_that_cannot_run_is_one_sentence(
    made: Callable[..., Project], text: str | None, sentence: str
) -> None:
    files = {"schema.py": "contract = 1\n", "pipeline/__init__.py": ""}
    if text is not None:
        files["pipeline/train.py"] = text
    with pytest.raises(ProjectError, match=sentence):
        made(files).stage("train")


def test_a_folder_of_wiring_that_is_gone_is_missing_too(made: Callable[..., Project]) -> None:
    with pytest.raises(ProjectError, match=r"pipeline/train\.py is missing\.\n  Bring it back"):
        made({"schema.py": ""}).stage("train")


def test_the_error_of_a_module_itself_is_passed_on(made: Callable[..., Project]) -> None:
    text = """
from mlgates import ProjectError
raise ProjectError('This needs a licence.', 'Buy one')
"""
    with pytest.raises(ProjectError, match=r"^This needs a licence\.\n  Buy one$"):
        made({"data.py": text}).module("data")


def name_the_results(project: Project) -> None:
    """Write the numbers of this library into the project's pyproject.toml."""
    lines = [f"{name} = {number}\n" for name, number in RESULTS.items()]
    with (project.root / "pyproject.toml").open("a") as file:
        file.write("".join(["[tool.mlgates.results]\n", *lines]))


def test_a_stage_of_a_broken_project_ends_with_a_sentence_and_writes_nothing(
    made: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made({"pipeline/__init__.py": "", "pipeline/train.py": "def main(project:\n"})
    name_the_results(project)
    before = sorted(project.root.rglob("*"))
    monkeypatch.chdir(project.root / "src")
    with pytest.raises(ProjectError, match="SyntaxError"):
        run(["run", "train"])
    after = [path for path in project.root.rglob("*") if "__pycache__" not in path.parts]
    assert sorted(after) == before


def test_a_stage_can_be_run_from_a_subfolder(
    made: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    wiring = "def main(project):\n    (project.root / 'written.txt').write_text(project.package)\n"
    project = made({"pipeline/__init__.py": "", "pipeline/train.py": wiring})
    name_the_results(project)
    monkeypatch.chdir(project.root / "src" / project.package)
    assert run(["run", "train"]) == 0
    assert (project.root / "written.txt").read_text() == project.package


def test_a_schema_without_a_contract_is_an_error(made: Callable[..., Project]) -> None:
    with pytest.raises(ProjectError, match=r"schema\.py does not define `contract`"):
        _ = made({"schema.py": "x = 1\n"}).contract


def test_other_modules_may_take_the_place_of_the_teams_and_no_files_are_needed(
    tmp_path: Path,
) -> None:
    schema, model = ModuleType("schema"), ModuleType("model")
    schema.contract = object()  # type: ignore[attr-defined]
    project = Project(tmp_path, "team", {"schema": schema})
    assert project.contract is schema.contract
    other = project.having(model=model)
    assert other.model is model
    assert other.contract is schema.contract
    assert "model" not in project.modules

    moved = other.moved(tmp_path / "clone")
    assert moved.root == tmp_path / "clone"
    assert moved.model is model
    assert other.root == tmp_path


def test_a_module_is_imported_when_it_is_first_needed(made: Callable[..., Project]) -> None:
    project = made({"model.py": "raise RuntimeError('imported')\n"})
    with pytest.raises(ProjectError, match=r"model\.py cannot be imported: RuntimeError: imported"):
        _ = project.model
