"""A team's git project for tests: a bare origin, a DVC remote beside it, and a clone for each machine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlgates import Project
from mlgates.errors import ProjectError
from mlgates.registry import releases, training_cycle
from mlgates.registry.git import git

PROJECTS = Path(__file__).parents[1] / "projects"
DVC_CONFIG = """[core]
    remote = here
    analytics = false
['remote "here"']
    url = ../../remote
"""
SETTINGS_OF_SOMEBODY = ("MLFLOW_", "MLOPS_", "GIT_", "DVC_", "GITHUB_", "ACTIONS_")


@dataclass(frozen=True)
class Clone:
    """One machine of the team. The folder around it holds origin.git, the DVC remote, and the other machines."""

    project: Project

    @property
    def root(self) -> Path:
        """The folder of the project."""
        return self.project.root

    @property
    def around(self) -> Path:
        """The folder that holds origin.git, remote and all machines."""
        return self.project.root.parent

    def git(self, *words: str) -> str:
        """Run git here."""
        return git(self.root, *words)

    def run(self, *words: str) -> str:
        """Run a command of the environment, as a user would type it."""
        done = subprocess.run(words, cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def repro(self, *stages: str) -> None:
        """`dvc repro`, without paying for a start of DVC each time."""
        from dvc.repo import Repo

        with chdir(self.root), Repo(str(self.root)) as repo:
            repo.reproduce(list(stages), single_item=bool(stages))

    def commit(self, text: str = "change") -> None:
        """Commit and push everything."""
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", text)
        self.git("push", "--quiet", "-u", "origin", "main")

    def accept(self) -> None:
        """`dvc commit`: whoever edited something by hand lets DVC believe that a stage made it."""
        from dvc.repo import Repo

        with chdir(self.root), Repo(str(self.root)) as repo:
            for stage in repo.index.stages:
                repo.commit(stage.addressing, force=True)
        self.commit()

    def retrain(self, gain: float, *, close: str | None = None) -> None:
        """Another candidate, compared with the present champion if a period is closed; committed and pushed."""
        if close:
            training_cycle.close(self.project, close)
        (self.root / "params.yaml").write_text(f"model: {{gain: {gain}}}\ngate: {{}}\n")
        self.repro()
        self.commit()

    def clone(self, name: str, *words: str) -> "Clone":
        """Another machine."""
        git(self.around, "clone", "--quiet", *words, (self.around / "origin.git").as_uri(), name)
        other = Clone(self.project.moved(self.around / name))
        other.introduce(name)
        return other

    def introduce(self, name: str) -> None:
        """Tell git who works here."""
        self.git("config", "user.name", name.title())
        self.git("config", "user.email", f"{name}@example.org")

    def moved(self, around: Path) -> "Clone":
        """A copy of everything (origin, remote, machines) in another folder."""
        shutil.copytree(self.around, around)
        return Clone(self.project.moved(around / self.root.name))

    def champion(self) -> str | None:
        """The version that holds the alias."""
        held = releases.champion(self.project, "champion")
        return held.to if held else None


def found(name: str, around: Path) -> Clone:
    """A repository with the files of `tests/projects/<name>`, on Ada's machine; nothing is committed yet."""
    git(around, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git(around, "init", "--quiet", "--initial-branch=main", "ada")
    root = around / "ada"
    shutil.copytree(
        PROJECTS / name, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text(DVC_CONFIG)
    (root / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / ".gitignore").write_text(
        "/models\n/data/\n/reports/gate.html\n/var\n/mlflow.db\n__pycache__\n"
    )
    ada = Clone(Project(root, name))
    ada.git("remote", "add", "origin", "../origin.git")
    ada.introduce("ada")
    return ada


def refusal(call: Callable[..., object], *arguments: object, **named: object) -> str:
    """The sentence with which something is refused."""
    with pytest.raises(ProjectError) as caught:
        call(*arguments, **named)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


@contextmanager
def settings_of_nobody(home: Path, package: str) -> Iterator[None]:
    """While it lasts: no MLflow address, an own home, and a project's package importable here and by its stages."""
    before, path = dict(os.environ), list(sys.path)
    for name in before:
        if name.startswith(SETTINGS_OF_SOMEBODY) or name == "CI":
            del os.environ[name]
    source = str(PROJECTS / package / "src")
    programs = str(Path(sys.executable).parent)
    os.environ.update(
        PYTHONPATH=source,
        HOME=str(home),
        DVC_NO_ANALYTICS="1",
        MLFLOW_DISABLE_TELEMETRY="true",
        PATH=os.pathsep.join([programs, before["PATH"]]),
    )
    sys.path.insert(0, source)
    try:
        yield
    finally:
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(before)
