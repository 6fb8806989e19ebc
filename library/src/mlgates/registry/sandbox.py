"""A place to play in: a clone of a bare copy, with its own DVC remote, cache and MLflow. The team's are only read."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlgates.project import Project
from mlgates.registry import dvc_storage
from mlgates.registry.git import git, head
from mlgates.trust import keys, verify

REDIRECTED = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


@contextmanager
def scratch(project: Project) -> Iterator[Project]:
    """The committed state of the project as a clone in a temporary folder, gone when the block ends.

    While it lasts, the environment (MLOPS_ROOT, PYTHONPATH, PATH, MLflow's addresses) is the clone's, also for
    subprocesses. Raises: ProjectError if there is no commit to clone.
    """
    head(project.root)
    cache, remote = dvc_storage.places(project)
    top, prefix = git(project.root, "rev-parse", "--show-toplevel"), git(project.root, "rev-parse", "--show-prefix")
    with tempfile.TemporaryDirectory(prefix="mlops-", ignore_cleanup_errors=True) as folder:
        base = Path(folder).resolve()
        git(project.root, "clone", "--quiet", "--bare", top, str(base / "origin.git"))
        git(base, "clone", "--quiet", "origin.git", project.root.name)
        clone = base / project.root.name / prefix
        if not git(clone, "branch", "--show-current"):
            git(clone, "switch", "--quiet", "--create", "scratch")
        for key, value in (("user.name", "mlops scratch"), ("user.email", "scratch@localhost")):
            if not git(clone, "config", key, check=False):
                git(clone, "config", key, value)
        for key in ("commit.gpgSign", "tag.gpgSign"):
            git(clone, "config", key, "false")
        given = project.root / "data" / "source"  # what a drafted data.py reads, which git does not keep
        for source, target in ((cache, base / "cache"), (remote, base / "remote"), (given, clone / "data/source")):
            if source and source.is_dir():
                shutil.copytree(source, target, copy_function=_link, ignore=shutil.ignore_patterns("*.tmp", "tmp"))
            target.mkdir(parents=True, exist_ok=True)
        local = f'[core]\n    remote = scratch\n[cache]\n    dir = "{base / "cache"}"\n    type = "reflink,copy"\n'
        (clone / ".dvc" / "config.local").write_text(
            f'{local}[\'remote "scratch"\']\n    url = "{base / "remote"}"\n', encoding="utf-8"
        )
        placed = project.moved(clone)
        with environment(clone):
            if verify.keys(placed):  # played with a key of its own, trusted here alone and never committed
                os.environ[keys.SETTING] = str(base / "signing.pem")
                with (clone / ".git" / "info" / "exclude").open("a", encoding="utf-8") as file:
                    file.write(f"/{prefix}{keys.make(placed)[0].relative_to(clone).as_posix()}\n")
            yield placed


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextmanager
def environment(clone: Path) -> Iterator[None]:
    """While it lasts, the settings of this process and its children are those of a clone."""
    before = dict(os.environ)
    paths = {"PYTHONPATH": clone / "src", "PATH": Path(sys.executable).parent}
    joined = {name: os.pathsep.join([str(first), *filter(None, [before.get(name)])]) for name, first in paths.items()}
    for name in REDIRECTED:
        os.environ.pop(name, None)
    os.environ.update(joined, MLOPS_ROOT=str(clone))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
