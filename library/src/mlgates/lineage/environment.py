"""The programs and the library that a release is made again with."""

import platform
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlgates import tools
from mlgates.errors import ProjectError
from mlgates.files import read_yaml
from mlgates.layout import LIBRARY, UV_LOCK
from mlgates.project import Project
from mlgates.registry import dvc_storage, wheel
from mlgates.registry.releases import Release, show
from mlgates.trust import champion
from mlgates.verdict import Check, Verdict

CHECK = "reproduce.environment"
SYNC = ("sync", "--frozen", "--quiet", "--no-install-project", "--no-compile-bytecode")
# uv does not ask the git host that the library came from: the release has the library as a file.
WITHOUT_LIBRARY = ("--no-install-package", wheel.NAME)
INSTALL = ("pip", "install", "--quiet", "--offline", "--no-deps")


@dataclass(frozen=True)
class Environment:
    """A folder of programs, and an unpacked mlgates that is imported before theirs, or None."""

    programs: Path
    library: Path | None = None

    def run(self, work: Project, *words: str) -> tools.Ended:
        """Run a tool in `work`. It finds these programs before those of this process."""
        environs = tools.environment(work, self.programs, self.library)
        return tools.run(work, *words, environs=environs)

    @property
    def python(self) -> str:
        """The path of the interpreter."""
        return str(self.programs / Path(sys.executable).name)


def environment_of(
    project: Project, work: Project, base: Path, release: Release
) -> tuple[Environment, Check]:
    """The environment to rebuild a release in, and the check `reproduce.environment`.

    `work` is a clone at the release's commit, `base` the folder around it. The interpreter that
    runs is used if its version and the packages in uv.lock are those of the release. Otherwise uv
    makes an environment in `base`. The library comes from the wheel that the release kept in the
    DVC remote. Raises: ProjectError if the remote does not have that wheel any more.
    """
    running = platform.python_version()
    model = champion.model_path(work, release.fingerprint)
    recorded = str(read_yaml(model / "python_env.yaml")["python"])
    library = _library(work, base)
    lock = show(work, release.commit, UV_LOCK)
    here = Path(sys.executable).parent

    if running == recorded and _packages(lock) == _packages(_current_lock(project)):
        return _this_environment(here, library, lock)

    reason = "the release has no uv.lock"
    if lock:
        reason = _make(work, base, recorded)
    if reason:
        check = Check(
            CHECK,
            Verdict.INCONCLUSIVE,
            value=running,
            limit=recorded,
            required=bool(lock),
            evidence=f"this interpreter, because {reason}",
        )
        return Environment(here, library), check

    evidence = "made again by uv sync --frozen"
    if library:
        evidence += f", with mlgates {_version(library)} from the DVC remote"
    check = Check(CHECK, Verdict.OK, value=recorded, limit=recorded, evidence=evidence)
    return Environment(base / "env" / here.name), check


def _this_environment(here: Path, library: Path | None, lock: str) -> tuple[Environment, Check]:
    """The programs that run, with the release's library where that is another one than runs."""
    running = platform.python_version()
    evidence = "this interpreter"
    if library and wheel.is_running(library):
        library = None
    if library:
        evidence += f", with the release's mlgates ({_version(library)})"
    if not lock:
        evidence += "; the release has no uv.lock"
    check = Check(CHECK, Verdict.OK, value=running, limit=running, evidence=evidence)
    return Environment(here, library), check


def _library(work: Project, base: Path) -> Path | None:
    """The library that judged a release, unpacked; None if the release kept none.

    Raises: ProjectError if the DVC remote does not have it any more.
    """
    if not wheel.is_kept(work):
        return None
    dvc_storage.pull(work, LIBRARY.as_posix())
    return wheel.unpack(_wheel(work), base / "library")


def _wheel(work: Project) -> Path:
    """The library of the release as a file."""
    return next((work.root / LIBRARY).glob("*.whl"))


def _version(library: Path) -> str:
    """The version of an unpacked library."""
    (metadata,) = library.glob(f"{wheel.NAME}-*.dist-info")
    return metadata.name.removeprefix(f"{wheel.NAME}-").removesuffix(".dist-info")


def _current_lock(project: Project) -> str:
    """The text of the project's uv.lock as it is now, empty if there is none."""
    path = project.root / UV_LOCK
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _packages(lock: str) -> list[dict[str, Any]]:
    """The packages in the text of a uv.lock, without two that do not come from it.

    mlgates is a file of the release, and the project itself is in git.
    """
    packages = []
    for package in tomllib.loads(lock).get("package", []):
        if package["name"] != wheel.NAME and "editable" not in package["source"]:
            packages.append(package)
    return packages


def _make(work: Project, base: Path, python: str) -> str:
    """Let uv make the release's environment in `base/env`; returns why it cannot, or nothing."""
    folder = base / "env"
    commands = [[*SYNC, "--python", python]]
    if (work.root / LIBRARY).exists():
        commands = [
            [*SYNC, *WITHOUT_LIBRARY, "--python", python],
            [*INSTALL, "--python", str(folder), str(_wheel(work))],
        ]
    reason = ""
    for words in commands:
        problem = _uv(work, folder, *words)
        if problem:
            reason = f"uv sync cannot make the release's: {problem}"
            break
    return reason


def _uv(work: Project, folder: Path, *words: str) -> str:
    """Run uv on the environment in a folder; returns why it stopped, or nothing."""
    environs = tools.environment(work) | {"UV_PROJECT_ENVIRONMENT": str(folder)}
    try:
        ended = tools.run(work, "uv", *words, environs=environs)
    except ProjectError as error:
        return " ".join(str(error).split())
    return ended.reason if ended.code else ""
