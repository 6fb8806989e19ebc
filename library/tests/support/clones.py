"""A team's git project for tests.

A bare origin, a DVC remote beside it, and a clone for each machine.
"""

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
# Variables by which whoever runs the tests could change them
SETTINGS_OF_SOMEBODY = ("MLFLOW_", "MLOPS_", "GIT_", "DVC_", "GITHUB_", "ACTIONS_")


@dataclass(frozen=True)
class Clone:
    """One machine of the team.

    The folder around it holds origin.git, the DVC remote, and the other machines.
    """

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
        completed = subprocess.run(
            words, cwd=self.root, capture_output=True, text=True, check=False
        )
        assert completed.returncode == 0, completed.stdout + completed.stderr
        return completed.stdout

    def repro(self, *stages: str) -> None:
        """Run `dvc repro` in this process, which spares the start of DVC each time."""
        from dvc.repo import Repo

        with chdir(self.root), Repo(str(self.root)) as repo:
            repo.reproduce(list(stages), single_item=bool(stages))

    def commit(self, text: str = "change") -> None:
        """Commit and push everything."""
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", text)
        self.git("push", "--quiet", "-u", "origin", "main")

    def accept(self) -> None:
        """Run `dvc commit`: DVC takes what a test has edited for what a stage has written."""
        from dvc.repo import Repo

        with chdir(self.root), Repo(str(self.root)) as repo:
            for stage in repo.index.stages:
                repo.commit(stage.addressing, force=True)
        self.commit()

    def retrain(self, gain: float, *, close: str | None = None) -> None:
        """Train another candidate, commit and push it.

        If a period is closed, the candidate is compared with the present champion.
        """
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
        """The release that is champion, if any."""
        champion = releases.champion(self.project, "champion")
        return champion.to if champion else None


def found(name: str, around: Path) -> Clone:
    """A repository with the files of `tests/projects/<name>`, on Ada's machine.

    Nothing is committed yet.
    """
    git(around, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git(around, "init", "--quiet", "--initial-branch=main", "ada")
    root = around / "ada"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECTS / name, root, dirs_exist_ok=True, ignore=ignored)
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
    """The message of the ProjectError that a call ends with."""
    with pytest.raises(ProjectError) as caught:
        call(*arguments, **named)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


@contextmanager
def settings_of_nobody(home: Path, package: str) -> Iterator[None]:
    """Leave out the settings of whoever runs the tests, until the block ends.

    There is no address of MLflow, and the home folder is empty. The project's package can be
    imported here and by its stages.
    """
    environment_before = dict(os.environ)
    path_before = list(sys.path)
    for name in environment_before:
        if name.startswith(SETTINGS_OF_SOMEBODY) or name == "CI":
            del os.environ[name]
    source = str(PROJECTS / package / "src")
    programs = str(Path(sys.executable).parent)
    os.environ.update(
        PYTHONPATH=source,
        HOME=str(home),
        DVC_NO_ANALYTICS="1",
        MLFLOW_DISABLE_TELEMETRY="true",
        PATH=os.pathsep.join([programs, environment_before["PATH"]]),
    )
    sys.path.insert(0, source)
    try:
        yield
    finally:
        sys.path[:] = path_before
        os.environ.clear()
        os.environ.update(environment_before)
