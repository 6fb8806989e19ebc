"""DVC's own API on this project.

Does dvc.lock agree with the tree? Send outputs to the remote, and bring old ones back.
"""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from mlgates.errors import ProjectError
from mlgates.layout import PIPELINE, STATE
from mlgates.project import Project

REMEDY = "Check: uv run dvc remote list, uv run dvc push"


@contextmanager
def exclusively(project: Project, name: str) -> Iterator[None]:
    """One process at a time does what `name` stands for; the others wait.

    DVC's lock is the operating system's, so a process that is killed leaves nothing locked.
    """
    from dvc.lock import make_lock

    path = project.root / STATE / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with make_lock(str(path), wait=True):
        yield


@contextmanager
def _opened(project: Project, failing: str = "DVC does not work here") -> Iterator[Any]:
    """The project as DVC's `Repo`; what DVC prints and logs meanwhile is not shown.

    Raises: ProjectError for whatever DVC raises: the sentence `failing`, and DVC's reason.
    """
    from dvc.lock import LockError
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    logging.getLogger("dvc_objects").setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), Repo(str(project.root)) as repo:
            yield repo
    except ProjectError:
        raise
    except LockError:
        raise ProjectError(
            "Another DVC command is running here.", "Wait until it has ended, then try again."
        ) from None
    except Exception as error:
        raise ProjectError(f"{failing}: {_sentence(error)}", REMEDY) from error


def _default_remote(repo: Any) -> str:
    """The name of the default remote. Raises: ProjectError if there is none."""
    name = repo.config["core"].get("remote")
    if not name:
        raise ProjectError(
            "There is no DVC remote to keep data and models.",
            "Run: uv run dvc remote add -d NAME URL",
        )
    return str(name)


def _sentence(error: BaseException) -> str:
    """The first line of an error, and the second if the first only announces it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    count = 2 if lines[0].endswith(":") else 1
    return " ".join(lines[:count]).rstrip(".") + "."


def outdated(project: Project) -> list[str]:
    """The stages that would run again; empty if dvc.lock and the tree agree.

    Data that is not on this machine does not make a stage run again.
    """
    from dvc.exceptions import ReproductionError

    with _opened(project) as repo:
        try:
            stages = repo.reproduce([str(project.root / PIPELINE)], dry=True, allow_missing=True)
        except ReproductionError as error:
            # DVC stops at such a stage, in a dry run too, with: failed to reproduce 'train'
            last_word = str(error).rpartition(" ")[2].strip("'")
            return [last_word.rpartition(":")[2]]
        return [stage.name for stage in stages]


def push(project: Project, *paths: str) -> None:
    """Send what dvc.lock names to the DVC remote, and see that the outputs `paths` are there whole.

    Raises: ProjectError if there is no remote, if it cannot be reached, or if one of these outputs
    is not in the cache of this machine either.
    """
    with _opened(project, "The DVC remote cannot be reached") as repo:
        _default_remote(repo)
        repo.push()
        objects = repo.cloud.get_remote_odb()
        for path in paths:
            (output,) = repo.find_outs_by_path(str(project.root / path))
            # DVC sends the list of a folder after its files: if the list is there, so are they.
            if not objects.exists(output.hash_info.value):
                raise ProjectError(
                    f"{path} is neither in the DVC cache nor in its remote.",
                    f"Run: uv run dvc commit {output.stage.name}",
                )


def get(project: Project, commit: str, path: str, target: Path) -> None:
    """The DVC output `path` as it was at a commit, from the cache or from today's default remote.

    Raises: ProjectError if it is in neither of them.
    """
    from dvc.api import DVCFileSystem

    with _opened(project, f"{path} of {commit[:8]} is neither here nor in the DVC remote") as repo:
        name = repo.config["core"].get("remote")
        tree = DVCFileSystem(str(project.root), rev=commit, remote=name)
        tree.get(path, str(target), recursive=True)


def share_remote(project: Project, clone: Project, cache: Path) -> None:
    """Give a clone the project's default remote, where it lies today, and a cache of its own.

    DVC verifies the hash of what the clone gets from there. Raises: ProjectError if there is no
    remote.
    """
    with _opened(project) as repo:
        name = _default_remote(repo)
        settings = {**repo.config["remote"][name], "verify": True}
    with _opened(clone) as repo, repo.config.edit("local") as local:
        local["core"]["remote"] = name
        local["cache"]["dir"] = str(cache)
        local["remote"][name] = settings


def pull(project: Project, path: str) -> None:
    """Bring an output from the default remote.

    Raises: ProjectError if it is not there whole any more.
    """
    with _opened(project, f"The DVC remote does not have {path} whole any more") as repo:
        repo.pull(targets=[str(project.root / path)])


@contextmanager
def stores(project: Project) -> Iterator[list[Any]]:
    """DVC's own object stores: the cache, and the default remote if there is one.

    While the block lasts, no other DVC command runs. Raises: ProjectError if the remote cannot be
    reached.
    """
    with _opened(project, "The DVC remote cannot be reached") as repo, repo.lock:
        object_stores = [repo.cache.local]
        name = repo.config["core"].get("remote")
        if name:
            remote = repo.cloud.get_remote_odb(name)
            if not remote.fs.exists(remote.path):
                raise ProjectError(f"The DVC remote {name} is not there.", REMEDY)
            object_stores.append(remote)
        yield object_stores


def has_lasting_remote(project: Project) -> bool:
    """Whether the default remote outlives this machine.

    A folder on a runner that GitHub hosts does not.
    """
    is_self_hosted = os.environ.get("RUNNER_ENVIRONMENT") == "self-hosted"
    if is_self_hosted or not os.environ.get("GITHUB_ACTIONS"):
        return True
    _, remote_folder = places(project)
    return remote_folder is None


def places(project: Project) -> tuple[Path | None, Path | None]:
    """The folders of the cache and of the default remote; None if the remote is no local folder."""
    with _opened(project) as repo:
        cache = Path(repo.cache.local.path).parents[1]  # DVC's path ends in files/md5
        name = repo.config["core"].get("remote")
        url = ""
        if name:
            url = str(repo.config["remote"][name]["url"])
        if not url or "://" in url:
            return cache, None
        return cache, Path(url)
