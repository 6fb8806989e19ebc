"""Throw-away clones of a project, to try something out or to make something again.

Whatever is done in one, the team's tree, git tags, DVC stores and MLflow are only read.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlgates import tools
from mlgates.files import temporary_folder, write_text
from mlgates.layout import DVC_CONFIG, GIVEN
from mlgates.project import Project
from mlgates.registry import dvc_storage
from mlgates.registry.git import git, head
from mlgates.trust import keys, verify

REDIRECTED = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
CONFIG = """[core]
    remote = scratch
[cache]
    dir = "{cache}"
    type = "reflink,copy"
['remote "scratch"']
    url = "{remote}"
"""


@contextmanager
def cloned(project: Project, commit: str = "") -> Iterator[tuple[Project, Path]]:
    """A clone of the project at a commit, by default the newest; and the folder around it.

    Both are gone when the block ends, also after an error. A push goes to a bare copy beside the
    clone. While the block lasts, the environment (MLOPS_ROOT, PYTHONPATH, PATH, MLflow's addresses)
    is the clone's, also for processes that are started then.

    Raises: ProjectError if there is no commit to clone.
    """
    head(project.root)  # raises if there is none
    top = git(project.root, "rev-parse", "--show-toplevel")
    prefix = git(project.root, "rev-parse", "--show-prefix")
    with temporary_folder() as base:
        git(base, "clone", "--quiet", "--bare", top, "origin.git")
        git(base, "clone", "--quiet", "origin.git", project.root.name)
        clone = base / project.root.name
        if commit:
            git(clone, "checkout", "--quiet", "--detach", commit)
        elif not git(clone, "branch", "--show-current"):
            # Where the project has no branch checked out, as in CI, its clone has none either.
            git(clone, "switch", "--quiet", "--create", "scratch")
        _introduce(clone)
        placed = project.moved(clone / prefix)
        with tools.inside(placed, without=REDIRECTED):
            yield placed, base


@contextmanager
def scratch(project: Project) -> Iterator[Project]:
    """A clone of the newest commit in which one can train and promote.

    It has copies of the team's DVC cache and remote, of the table that `mlops draft` reads, and a
    signing key of its own if the team signs.

    Raises: ProjectError if there is no commit to clone.
    """
    with cloned(project) as (placed, base):
        cache, remote = dvc_storage.places(project)
        _copy(cache, base / "cache")
        _copy(remote, base / "remote")
        _copy(project.root / GIVEN, placed.root / GIVEN)
        config = CONFIG.format(cache=base / "cache", remote=base / "remote")
        write_text(placed.root / DVC_CONFIG, config)
        if verify.trusted_keys(placed):
            _trust_own_key(placed, base)
        yield placed


def _introduce(clone: Path) -> None:
    """Let git commit in the clone: with a name if git knows none, and without asking for a key."""
    for key, value in (("user.name", "mlops scratch"), ("user.email", "scratch@localhost")):
        if not git(clone, "config", key, check=False):
            git(clone, "config", key, value)
    for key in ("commit.gpgSign", "tag.gpgSign"):
        git(clone, "config", key, "false")


def _trust_own_key(placed: Project, base: Path) -> None:
    """Let the clone sign with a key of its own, trusted in the clone alone and never committed."""
    os.environ[keys.SETTING] = str(base / "signing.pem")
    public, _ = keys.make(placed)
    # git ignores it, else `promote` would refuse: the clone would hold a file not committed
    prefix = git(placed.root, "rev-parse", "--show-prefix")
    ignored_path = prefix + public.relative_to(placed.root).as_posix()
    exclude = placed.root / git(placed.root, "rev-parse", "--git-path", "info/exclude")
    with exclude.open("a", encoding="utf-8") as file:
        file.write(f"/{ignored_path}\n")


def _copy(source: Path | None, target: Path) -> None:
    """Copy a folder of this machine, without DVC's temporary files.

    If there is no such folder, `target` is an empty one.
    """
    if source and source.is_dir():
        shutil.copytree(
            source, target, copy_function=_link, ignore=shutil.ignore_patterns("*.tmp", "tmp")
        )
    target.mkdir(parents=True, exist_ok=True)


def _link(source: str, target: str) -> None:
    """Copy a file as a hard link, which takes no space; where that is impossible, its bytes."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
