"""The library as a file.

It is kept with each release, packed into the bento, and carried by a project that ejects it.
"""

import re
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .projects import LIBRARY, NOW, UV, Project, clean, commit, copy, git, update

FEWER = '''

_flights = read


def read(period: str) -> pd.DataFrame:
    """Some of the flights."""
    return _flights(period).sample(6_000, random_state=0).reset_index(drop=True)
'''
SMALL = """
validate: {}
train: {}
model: {max_iter: 80}
evaluate: {resamples: 40, ablation_rows: 0, tune_trials: 1, tune_rows: 1000}
gate: {margin: 0.5, slice_margin: 1.0}
"""
GONE = "https://git.nowhere.invalid/org/copier-mlops"
ANY_REV = "1" * 40
IMPORTS = """
import sys
import late_flights.service
import mlgates
print(mlgates.__file__)
"""


def locked(template: Path, programs: Path, folder: Path) -> Project:
    """A project that takes the library from the template's address.

    It has the lock file that uv makes for it.
    """
    project = Project(copy(template, folder), programs)
    shutil.copy(programs.parents[1] / "uv.lock", project.folder)
    subprocess.run(
        [UV, "lock", "--quiet", "--offline"], cwd=project.folder, env=clean(), check=True
    )
    commit(project.folder, "Lock")
    return project


@pytest.fixture(scope="module")
def released(template: Path, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with v1.0.0.

    Its uv.lock names an address of the library that does not exist any more.
    """
    project = locked(template, programs, tmp_path_factory.mktemp("released") / "late-flights")
    lock = project.folder / "uv.lock"
    text = lock.read_text().replace(f"file://{template}", GONE)
    lock.write_text(re.sub("rev=[0-9a-f]{40}#[0-9a-f]{40}", f"rev={ANY_REV}#{ANY_REV}", text))
    source = project.folder / "src/late_flights/data.py"
    source.write_text(source.read_text() + FEWER)
    (project.folder / "params.yaml").write_text(SMALL)
    commit(project.folder, "Small")
    project.run("mlops", "up", "--no-serve")
    return project


@pytest.fixture(scope="module")
def newer(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with another mlgates.

    It has another number, another default, and no training.
    """
    folder = tmp_path_factory.mktemp("newer")
    library = folder / "library"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    for path, old, new in (
        ("pyproject.toml", 'version = "0.4.0', 'version = "7.4.0'),
        (
            "src/mlgates/settings.py",
            "threshold: Amount = Field(\n        default=0.5",
            "threshold: Amount = Field(\n        default=0.6",
        ),
        (
            "src/mlgates/training/fit.py",
            "    features = plan(",
            '    raise RuntimeError("7.4.0")\n    features = plan(',
        ),
    ):
        text = (library / path).read_text()
        assert old in text
        (library / path).write_text(text.replace(old, new, 1))
    home = programs.parents[1]
    text = (home / "pyproject.toml").read_text()
    source = 'mlgates = { path = "library" }'
    text = re.sub(r"^mlgates = \{.*\}$", source, text, flags=re.M)
    (folder / "pyproject.toml").write_text(text)
    shutil.copy(home / "uv.lock", folder)
    words = [UV, "sync", "--quiet", "--offline", "--no-install-project"]
    subprocess.run(words, cwd=folder, env=clean(), check=True)
    return folder / ".venv/bin"


def environment_of_an_equal_release(project: Project) -> str:
    """Make v1.0.0 again, assert that nothing differs; returns what is said of the environment."""
    found = project.checks("reproduce", "v1.0.0")
    for name in ("environment", "data", "predictions", "model", "metrics", "verdict"):
        assert found[f"reproduce.{name}"]["verdict"] == "ok", found
    evidence: str = found["reproduce.environment"]["evidence"]
    return evidence


def test_a_release_keeps_the_library_in_the_remote_and_git_alone_names_it(
    released: Project,
) -> None:
    lock = yaml.safe_load((released.folder / "dvc.lock").read_text())["stages"]["gate"]
    (kept,) = [out for out in lock["outs"] if out["path"] == "models/library"]
    oid = kept["md5"]
    assert (released.folder / "var/remote/files/md5" / oid[:2] / oid[2:]).exists()
    (wheel,) = (released.folder / "models/library").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None and "mlgates/cli.py" in archive.namelist()
    assert git(released.folder, "status", "--porcelain") == ""
    assert "up to date" in released.run("dvc", "repro")
    assert git(released.folder, "status", "--porcelain") == ""


def test_the_file_is_the_same_whenever_it_is_written_and_pip_takes_it(
    released: Project, tmp_path: Path
) -> None:
    (kept,) = (released.folder / "models/library").iterdir()
    script = (
        "from pathlib import Path; from mlgates.registry import wheel; "
        f"print(wheel.write(Path({str(tmp_path)!r})))"
    )
    released.run("python", "-c", script)
    assert (tmp_path / kept.name).read_bytes() == kept.read_bytes()
    target = tmp_path / "target"
    words = ["pip", "install", "--quiet", "--offline", "--no-deps", "--target", str(target)]
    subprocess.run([UV, *words, str(kept)], env=clean(), check=True)
    assert (target / "mlgates/py.typed").exists()
    assert (target / "bin/mlops").exists()


def test_a_release_is_made_again_by_the_library_of_then(released: Project, newer: Path) -> None:
    later = Project(released.folder, newer)
    code = "from importlib.metadata import version; print(version('mlgates'))"
    assert "7.4.0" in later.run("python", "-c", code)
    environment = environment_of_an_equal_release(later)
    assert "this interpreter, with the release's mlgates (0.4.0" in environment


def test_with_another_lock_file_the_environment_of_then_is_made_without_the_librarys_host(
    released: Project, newer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    lock = released.folder / "uv.lock"
    text = lock.read_text()
    assert GONE in text
    other = re.sub(r'name = "zizmor"\nversion = ".*"', 'name = "zizmor"\nversion = "99"', text)
    lock.write_text(other)
    environment = environment_of_an_equal_release(Project(released.folder, newer))
    assert "made again by uv sync --frozen, with mlgates 0.4.0" in environment
    lock.write_text(text)


def test_a_bento_carries_the_library_and_names_it_as_a_file(
    released: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert "wheels/mlgates-" in released.run("mlops", "wheel")
    assert git(released.folder, "status", "--porcelain") == ""
    released.run("bentoml", "build")
    (bento,) = (path.parent for path in (tmp_path / "bentoml/bentos").glob("*/*/bento.yaml"))
    (wheel,) = (bento / "src/wheels").glob("*.whl")
    required = (bento / "env/python/requirements.txt").read_text().splitlines()
    assert f"./wheels/{wheel.name}" in required
    assert not [line for line in required if "git+" in line or line.startswith("mlgates")]
    packages = {line.partition("==")[0] for line in required}
    assert {"numpy", "treelite"} <= packages
    assert not {"pandas", "dvc", "mlflow"} & packages
    dockerfile = (bento / "env/docker/Dockerfile").read_text()
    assert "COPY --chown=bentoml:bentoml ./src/wheels ./src/wheels" in dockerfile

    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    inside = Project(bento, released.programs)
    monkeypatch.setenv("MLOPS_ROOT", str(bento / "src"))
    script = f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r})\n{IMPORTS}"
    imported = inside.run("python", "-c", script).strip()
    assert imported.endswith(str(tmp_path / "installed/mlgates/__init__.py"))


def test_without_a_lock_file_there_is_no_wheel_for_a_bento(project: Callable[..., Project]) -> None:
    fresh = project()
    assert "uv.lock is missing" in fresh.run("mlops", "wheel", code=1)
    assert not (fresh.folder / "wheels").exists()


def test_an_ejected_library_is_the_projects_own(
    template: Path, programs: Path, tmp_path: Path
) -> None:
    project = locked(template, programs, tmp_path / "late-flights")
    folder = project.folder
    assert "uv sync" in project.run("mlops", "eject")
    tables = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]
    assert tables["uv"]["sources"]["mlgates"] == {"path": "vendor/mlgates", "editable": True}
    results = tables["mlgates"]["results"]
    (content,) = set(results.values())
    assert re.fullmatch("[0-9a-f]{16}", content)
    assert set(results) >= {"data", "gate"}
    changed = git(folder, "diff", "--numstat", "--", "pyproject.toml").split()
    assert changed[:2] == ["5", "5"]

    settings = clean() | {"UV_PROJECT_ENVIRONMENT": str(tmp_path / "env")}
    words = [UV, "sync", "--quiet", "--offline"]
    subprocess.run(words, cwd=folder, env=settings, check=True)
    commit(folder, "Carry mlgates")
    carried = Project(folder, tmp_path / "env/bin")
    where = carried.run("python", "-c", "import mlgates; print(mlgates.__file__)").strip()
    assert where == str(folder / "vendor/mlgates/src/mlgates/__init__.py")
    assert "nobody yet" in carried.run("mlops", "status")

    carried.run("dvc", "repro", "ingest")
    assert "up to date" in carried.run("dvc", "status", "ingest")
    with (folder / "vendor/mlgates/src/mlgates/data/ingest.py").open("a") as file:
        file.write("# ours\n")
    assert "vendor/mlgates/src" in carried.run("dvc", "status", "ingest")
    carried.run("dvc", "repro", "ingest")

    message = carried.run("mlops", "eject", code=1)
    assert "vendor/mlgates is there already" in message
    message = project.run("mlops", "run", "ingest", code=1)  # another mlgates is installed
    assert "carries in vendor/mlgates" in message


def test_an_update_leaves_an_ejected_library_alone(
    template: Path, programs: Path, tmp_path: Path
) -> None:
    place = tmp_path / "copier-mlops"
    git(template, "clone", "--quiet", str(template), str(place))
    git(place, "tag", "v998.0.0")
    project = Project(copy(place, tmp_path / "late-flights", tag="v998.0.0"), programs)
    project.run("mlops", "eject")
    commit(project.folder, "Carry mlgates")
    git(place, "tag", "--delete", NOW)
    commit(place, "Newer")
    git(place, "tag", NOW)
    update(project.folder)
    assert git(project.folder, "diff", "--name-only").split() == [".copier-answers.yml"]
    assert NOW in git(project.folder, "diff", "--unified=0")


def test_eject_refuses_before_it_writes(project: Callable[..., Project]) -> None:
    fresh = project()
    pyproject = fresh.folder / "pyproject.toml"
    text = pyproject.read_text()
    pyproject.write_text(text + "\n# mine\n")
    assert "Not committed: pyproject.toml" in fresh.run("mlops", "eject", code=1)
    pyproject.write_text(re.sub(r"^mlgates = .*\n", "", text, flags=re.M))
    commit(fresh.folder, "From an index")
    assert "names no source of mlgates" in fresh.run("mlops", "eject", code=1)
    assert (
        not (fresh.folder / "vendor").exists() and git(fresh.folder, "status", "--porcelain") == ""
    )


def test_a_wheel_can_eject_too(project: Callable[..., Project], tmp_path: Path) -> None:
    """The installed files are enough: no source folder, no address."""
    fresh = project()
    script = (
        "from pathlib import Path; from mlgates.registry import wheel; "
        f"print(wheel.write(Path({str(tmp_path)!r})))"
    )
    written = fresh.run("python", "-c", script).strip()
    with zipfile.ZipFile(written) as archive:
        archive.extractall(tmp_path / "installed")
    script = f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r})\n{EJECT}"
    fresh.run("python", "-c", script)
    settings = clean() | {"UV_CACHE_DIR": str(tmp_path / "cache")}
    out = tmp_path / "built"
    words = ["build", "--quiet", "--offline", "--wheel", "--out-dir", str(out), "vendor/mlgates"]
    subprocess.run([UV, *words], cwd=fresh.folder, env=settings, check=True)
    (built,) = out.glob("*.whl")
    names = zipfile.ZipFile(built).namelist()
    files = {name for name in names if not name.endswith("/")}
    assert files == set(zipfile.ZipFile(written).namelist())


EJECT = """
from mlgates import Project
from mlgates.eject import eject
print(eject(Project.find()))
"""
