"""DVC's own API on this project: does the lock agree with the tree, send outputs to the remote, bring old ones back."""

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
def alone(project: Project, name: str) -> Iterator[None]:
    """One process at a time: waits for the others, and a killed one leaves nothing locked."""
    from dvc.lock import make_lock

    path = project.root / STATE / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with make_lock(str(path), wait=True):
        yield


@contextmanager
def _opened(project: Project, failing: str = "DVC does not work here") -> Iterator[Any]:
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


def _default(repo: Any) -> str:
    if not (name := repo.config["core"].get("remote")):
        raise ProjectError(
            "There is no DVC remote to keep data and models.",
            "Run: uv run dvc remote add -d NAME URL",
        )
    return str(name)


def _sentence(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]).rstrip(".") + "."


def outdated(project: Project) -> list[str]:
    """The stages that would run again: empty if dvc.lock and the tree agree, also where data is not on this machine."""
    from dvc.exceptions import ReproductionError

    with _opened(project) as repo:
        try:
            stages = repo.reproduce([str(project.root / PIPELINE)], dry=True, allow_missing=True)
        except ReproductionError as error:
            return [str(error).rpartition(" ")[2].strip("'").rpartition(":")[2]]
        return [stage.name for stage in stages]


def push(project: Project, *paths: str) -> None:
    """Send what dvc.lock names to the DVC remote, and make sure that the outputs `paths` are there whole.

    Raises: ProjectError if there is no remote, it cannot be reached, or one of them is not in the cache here either.
    """
    with _opened(project, "The DVC remote cannot be reached") as repo:
        _default(repo)
        repo.push()
        kept = repo.cloud.get_remote_odb()
        for path in paths:
            (output,) = repo.find_outs_by_path(str(project.root / path))
            if not kept.exists(
                output.hash_info.value
            ):  # the list of a folder is sent after its files
                stage = output.stage.name
                raise ProjectError(
                    f"{path} is neither in the DVC cache nor in its remote.",
                    f"Run: uv run dvc commit {stage}",
                )


def get(project: Project, commit: str, path: str, target: Path) -> None:
    """The DVC output `path` as it was at a commit, from the cache or from today's default remote.

    Raises: ProjectError if it is in neither of them.
    """
    from dvc.api import DVCFileSystem

    with _opened(project, f"{path} of {commit[:8]} is neither here nor in the DVC remote") as repo:
        name = repo.config["core"].get("remote")
        DVCFileSystem(str(project.root), rev=commit, remote=name).get(
            path, str(target), recursive=True
        )


def lend(project: Project, clone: Project, cache: Path) -> None:
    """Give a clone the project's default remote, where it lies today, and a cache of its own; what arrives is verified.

    Raises: ProjectError if there is no remote.
    """
    with _opened(project) as repo:
        name = _default(repo)
        settings = {**repo.config["remote"][name], "verify": True}
    with _opened(clone) as repo, repo.config.edit("local") as local:
        local["core"]["remote"], local["cache"]["dir"], local["remote"][name] = (
            name,
            str(cache),
            settings,
        )


def pull(project: Project, path: str) -> None:
    """Bring an output from the default remote. Raises: ProjectError if it is not there whole any more."""
    with _opened(project, f"The DVC remote does not have {path} whole any more") as repo:
        repo.pull(targets=[str(project.root / path)])


@contextmanager
def stores(project: Project) -> Iterator[list[Any]]:
    """DVC's own object stores, the cache and the default remote if there is one; no other DVC command runs meanwhile.

    Raises: ProjectError if the remote cannot be reached.
    """
    with _opened(project, "The DVC remote cannot be reached") as repo, repo.lock:
        name = repo.config["core"].get("remote")
        remote = [repo.cloud.get_remote_odb(name)] if name else []
        if any(not odb.fs.exists(odb.path) for odb in remote):
            raise ProjectError(f"The DVC remote {name} is not there.", REMEDY)
        yield [repo.cache.local, *remote]


def lasting(project: Project) -> bool:
    """Whether the default remote outlives this machine: a folder on a runner that GitHub hosts does not."""
    hosted = (
        os.environ.get("GITHUB_ACTIONS") and os.environ.get("RUNNER_ENVIRONMENT") != "self-hosted"
    )
    return not hosted or places(project)[1] is None


def places(project: Project) -> tuple[Path | None, Path | None]:
    """The folders of the cache and of the default remote, None for what is no local folder."""
    with _opened(project) as repo:
        name = repo.config["core"].get("remote")
        url = str(repo.config["remote"][name]["url"]) if name else ""
        folder = Path(url) if url and "://" not in url else None
        return Path(repo.cache.local.path).parents[1], folder
