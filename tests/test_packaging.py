"""The library as a package.

It builds with nothing but uv, and each extra alone is enough for what it is for.
"""

import ast
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from .projects import LIBRARY, NOBODY, UV, clean, commit, git

SAMPLE = LIBRARY / "tests" / "samples" / "binary"
EXTRAS = ("serve", "deploy", "pipeline", "draft")
PROJECT = """
[project]
name = "extras"
version = "0"
requires-python = ">=3.11,<3.14"
dependencies = ["mlgates"]

[dependency-groups]
{groups}
[tool.uv]
package = false
exclude-newer = "2026-11-14T00:00:00Z"

[tool.uv.sources]
mlgates = {{ path = "{wheel}" }}
"""
NONE = """
import sys
import mlgates
heavy = {"bentoml", "dvc", "mlflow", "numpy", "pandas", "pydantic", "sklearn"} & set(sys.modules)
assert not heavy, heavy
from pydantic import BaseModel
from mlgates.contract import Contract
class Asked(BaseModel):
    number: float
class Answered(BaseModel):
    late: bool
contract = Contract(Asked, Answered, key=["number"])
assert contract.task == "binary"
"""
SERVE = """
import importlib.util
assert not any(importlib.util.find_spec(name) for name in ("dvc", "mlflow", "pandas", "pyarrow"))
import treelite
from mlgates import Project
from mlgates.serving import Predictor, http
body = http.request_type(Project.find()).model_json_schema()
assert "rows" in body["properties"], body
"""
DEPLOY = """
import importlib.util
assert not any(importlib.util.find_spec(name) \
for name in ("bentoml", "mlflow", "great_expectations"))
import mlgates.registry.deploy
"""
PIPELINE = """
from mlgates import Project, data, evaluation, gate, monitoring, training
from mlgates.faults import prove
from mlgates.registry import promote, tracking
data.write_suite(Project.find())
"""
DRAFT = """
from mlgates.draft import draft
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and sdist, built without a network and with an empty cache.

    That works because uv has the build backend in itself.
    """
    folder = tmp_path_factory.mktemp("built")
    settings = clean() | {"UV_CACHE_DIR": str(folder / "cache")}
    words = [UV, "build", "--quiet", "--offline", "--out-dir", str(folder / "dist"), str(LIBRARY)]
    subprocess.run(words, env=settings, check=True)
    return folder / "dist"


@pytest.fixture(scope="module")
def project(built: Path, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a group for each extra, locked as the shared environment is."""
    folder = tmp_path_factory.mktemp("extras")
    groups = "".join(f'{extra} = ["mlgates[{extra}]"]\n' for extra in EXTRAS)
    (wheel,) = built.glob("*.whl")
    (folder / "pyproject.toml").write_text(PROJECT.format(groups=groups, wheel=wheel))
    shutil.copy(programs.parents[1] / "uv.lock", folder)
    subprocess.run([UV, "lock", "--quiet", "--offline"], cwd=folder, env=clean(), check=True)
    return folder


def installed(project: Path, extra: str) -> Path:
    """The programs of an environment that has mlgates with one extra.

    Its packages are hard-linked from uv's cache.
    """
    place = project / f"with-{extra}"
    settings = clean() | {"UV_PROJECT_ENVIRONMENT": str(place)}
    groups = ["--group", extra] if extra != "none" else []
    words = [UV, "sync", "--quiet", "--offline", "--frozen", "--no-default-groups", *groups]
    subprocess.run(words, cwd=project, env=settings, check=True)
    return place / "bin"


def run(programs: Path, folder: Path, *words: str, code: int = 0) -> str:
    """What a program prints, run in the sample project."""
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    settings = clean() | NOBODY | {"PATH": path, "PYTHONPATH": str(folder / "src")}
    command = [str(programs / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """The library's sample project, committed."""
    folder = tmp_path / "late-flights"
    shutil.copytree(SAMPLE, folder)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (folder / ".gitignore").write_text("/var/\n__pycache__/\n/.dvc/tmp\n/data/\n/reports/\n")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder, "Start")
    return folder


def test_wheel_and_sdist_hold_the_library_and_its_licence_and_no_tests(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"mlgates/py.typed", "mlgates/settings.py", "mlgates/cli.py"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = [name.partition("/")[2] for name in archive.getnames()]
    assert {"pyproject.toml", "README.md", "LICENSE", "src/mlgates/cli.py"} <= set(packed)
    assert not any(name.startswith("tests") for name in packed)


def test_the_readme_names_the_public_api() -> None:
    readme = (LIBRARY / "README.md").read_text()
    for path in sorted((LIBRARY / "src/mlgates").rglob("__init__.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                missing = [name for name in names if not re.search(rf"`{name}`", readme)]
                assert not missing, f"{path.parent.name}: {missing}"


def test_without_an_extra_there_is_the_contract_and_the_command(
    project: Path, sample: Path
) -> None:
    programs = installed(project, "none")
    run(programs, sample, "python", "-c", NONE)
    assert "First run" in run(programs, sample, "mlops", "--help")


def test_serve_is_enough_for_a_service(project: Path, sample: Path) -> None:
    run(installed(project, "serve"), sample, "python", "-c", SERVE)


def test_deploy_is_enough_for_a_sidecar_that_follows_the_record(
    project: Path, sample: Path
) -> None:
    programs = installed(project, "deploy")
    run(programs, sample, "python", "-c", DEPLOY)
    assert "Nobody is champion yet" in run(programs, sample, "mlops", "follow", code=4)


def test_pipeline_is_enough_for_stages_and_record(project: Path, sample: Path) -> None:
    programs = installed(project, "pipeline")
    run(programs, sample, "python", "-c", PIPELINE)
    assert "expect_column" in (sample / "reports/suite.json").read_text()
    assert "nobody yet" in run(programs, sample, "mlops", "status")


def test_draft_is_enough_to_draft(project: Path, sample: Path) -> None:
    programs = installed(project, "draft")
    lines = [f"{number},{number % 7},{'yes' if number % 3 else 'no'}" for number in range(2_000)]
    (sample / "table.csv").write_text("\n".join(["id,weekday,late", *lines]) + "\n")
    run(programs, sample, "python", "-c", DRAFT)
    run(programs, sample, "mlops", "draft", "table.csv", "--target", "late", "--id", "id")
    assert "weekday" in (sample / "src/late_flights/schema.py").read_text()
