"""A release carries its feature code: what it carries, and how that is imported."""

import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from mlgates import Project, ProjectError, team_code
from mlgates.files import digest

PACKAGE = "bikes"
FEATURES = '''"""Features."""

from .clocks import hour as _hour


def hour(at):
    """Local hour."""
    return _hour(at)
'''
MODEL = '''"""The model."""

from .inner import Mean


def build(params, categorical, seed):
    return Mean(1)
'''


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose features and model import others of its modules."""
    package = tmp_path / "src" / PACKAGE
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "features.py").write_text(FEATURES)
    (package / "clocks.py").write_text("def hour(at):\n    return at % 24\n")
    (package / "model.py").write_text(MODEL)
    (package / "inner/__init__.py").write_text("from .means import Mean\n")
    (package / "inner/means.py").write_text(
        "class Mean:\n    def __init__(self, by):\n        self.by = by\n\n"
        "    def value(self):\n        return self.by * 1\n"
    )
    (package / "data.py").write_text("raise RuntimeError('never imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        monkeypatch.delitem(sys.modules, name)
    return Project(tmp_path, PACKAGE)


def carried(team: Project, folder: Path) -> team_code.Carried:
    """The team's code as it is now, written to a model folder and read again."""
    team_code.write(team_code.collected(team), folder)
    return team_code.read(folder)


def edit(team: Project, name: str, old: str, new: str) -> None:
    """Change a file of the team, as if another process imported it."""
    path = team.root / "src" / PACKAGE / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_what_features_and_model_import_is_carried_and_nothing_else(team: Project) -> None:
    assert sorted(team_code.collected(team)) == [
        "bikes/__init__.py", "bikes/clocks.py", "bikes/features.py", "bikes/inner/__init__.py",
        "bikes/inner/means.py", "bikes/model.py",
    ]  # fmt: skip


def test_what_the_package_itself_imports_is_carried_too(team: Project, tmp_path: Path) -> None:
    package = team.root / "src" / PACKAGE
    (package / "__init__.py").write_text("from .version import NAME\n")
    (package / "version.py").write_text("NAME = 'bikes'\n")
    (package / "inner/__init__.py").write_text(
        "from ..shared import HALF\nfrom .means import Mean\n"
    )
    (package / "shared.py").write_text("HALF = 0.5\n")
    files = team_code.collected(team)
    assert {"bikes/version.py", "bikes/shared.py"} <= set(files)
    team_code.write(files, tmp_path / "model")
    assert team_code.read(tmp_path / "model").module("features").hour(25) == 1


def test_an_estimator_whose_class_cannot_be_had_is_named(team: Project, tmp_path: Path) -> None:
    release = carried(team, tmp_path / "model")
    stored = pickle.dumps(team.model.build({}, [], 0))
    of_no_module = stored.replace(b"bikes.inner.means", b"bikes.inner.media")
    message = r"cannot be loaded: ModuleNotFoundError: No module named 'bikes\.inner\.media'"
    with pytest.raises(ProjectError, match=message):
        release.unpickled(of_no_module)


def test_code_changed_after_the_release_changes_nothing_that_it_computes(
    team: Project, tmp_path: Path
) -> None:
    first = carried(team, tmp_path / "first")
    edit(team, "clocks.py", "% 24", "% 60")
    second = carried(team, tmp_path / "second")
    assert first.module("features").hour(70) == 22
    assert second.module("features").hour(70) == 10
    assert first.module("features").hour(70) == 22
    assert first.name != second.name
    edit(team, "clocks.py", "% 60", "% 7")
    assert second.module("features").hour(70) == 10


def test_the_same_code_is_imported_once(team: Project, tmp_path: Path) -> None:
    first = carried(team, tmp_path / "first")
    second = carried(team, tmp_path / "second")
    assert first.module("features") is second.module("features")


def test_classes_of_one_name_are_each_those_of_their_release(team: Project, tmp_path: Path) -> None:
    first = carried(team, tmp_path / "first")
    estimator = pickle.dumps(team.model.build({}, [], 0))
    edit(team, "inner/means.py", "* 1", "* 1000")
    second = carried(team, tmp_path / "second")
    of_first, of_second = first.unpickled(estimator), second.unpickled(estimator)
    assert of_first.value() == 1 and of_second.value() == 1000
    assert type(of_first) is not type(of_second)


def hour_of_another_process(folder: Path) -> str:
    """What another process prints that imports the carried code, and writes bytecode elsewhere."""
    code = (
        "from pathlib import Path\nfrom mlgates import team_code\n"
        f"carried = team_code.read(Path({str(folder)!r}))\n"
        "print(carried.module('features').hour(70))"
    )
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return ran.stdout


def test_importing_leaves_no_bytecode_and_reads_none(team: Project, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    carried(team, folder)
    before = digest(folder)
    cache = folder / "code" / PACKAGE / "__pycache__"
    assert hour_of_another_process(folder) == "22\n"
    assert not cache.exists() and digest(folder) == before

    cache.mkdir()
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    (cache / f"clocks.cpython-{version}.pyc").write_bytes(b"forged")
    assert hour_of_another_process(folder) == "22\n"  # the forged file is not read,
    assert digest(folder) != before  # and the digest refuses the folder


def test_an_edited_file_of_the_carried_code_is_another_digest(
    team: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    carried(team, folder)
    before = digest(folder)
    path = folder / "code" / PACKAGE / "clocks.py"
    path.write_text(path.read_text().replace("24", "12"))
    assert digest(folder) != before


@pytest.mark.parametrize(
    "line",
    [
        "from bikes.clocks import hour as _hour",
        "import bikes.clocks",
        "import bikes",
        "from bikes import clocks",
    ],
)
@pytest.mark.parametrize("name", ["features.py", "inner/means.py"])
def test_an_import_by_the_full_name_is_refused_with_the_remedy(
    team: Project, name: str, line: str
) -> None:
    path = team.root / "src" / PACKAGE / name
    path.write_text(f"{line}\n{path.read_text()}")
    message = rf"src/bikes/{name}, line 1, imports 'bikes.*\n.*from \.MODULE import NAME"
    with pytest.raises(ProjectError, match=message):
        team_code.collected(team)


def test_code_that_cannot_be_imported_is_named_as_the_models(tmp_path: Path) -> None:
    folder = tmp_path / "code" / PACKAGE
    folder.mkdir(parents=True)
    (folder / "features.py").write_text("import xgboost_of_another_time\n")
    message = r"features\.py that the model carries .*No module named 'xgboost_of_an"
    with pytest.raises(ProjectError, match=message):
        team_code.read(tmp_path).module("features")


def test_a_model_without_code_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="carries no feature code"):
        team_code.read(tmp_path)


def test_a_release_is_not_found_under_the_teams_name(team: Project, tmp_path: Path) -> None:
    module = carried(team, tmp_path / "model").module("features")
    assert module.__name__.startswith(team_code.ISOLATED)
    assert importlib.import_module(f"{PACKAGE}.features") is not module
