"""Run a tool for a project: dvc, bentoml, mlops, git, uv, gh.

All have one environment, and fail in one way.
"""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlgates.command import SETTINGS
from mlgates.errors import ProjectError
from mlgates.layout import SOURCES
from mlgates.project import ROOT, Project

MODULES = {"dvc": "dvc", "bentoml": "bentoml", "mlops": "mlgates.cli", "ruff": "ruff"}
INSTALL = {
    "git": "Install it: https://git-scm.com/downloads",
    "uv": "Install it: https://docs.astral.sh/uv/getting-started/installation",
}

# what the service installs, as words for uv: nothing else may be needed by a request
SERVING_GROUPS = ("--no-default-groups", "--group", "serve", "--group", "team-serve")

# git sets these for its hooks: a tool would work on the hook's repository, wherever it is started
OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
# uv sets this; in another folder it warns that the environment is not that folder's own
LEFT_OUT = (*OF_A_HOOK, "VIRTUAL_ENV")

TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+", re.MULTILINE)
LAST_LINES = 3
MOST_CHARACTERS = 300
STOP_SECONDS = 20  # that a tool in the background has to end by itself

Running = subprocess.Popen[bytes]  # a tool that has not ended


@dataclass(frozen=True)
class Ended:
    """A tool that has ended: its words, its exit code, and what it wrote.

    `printed` is its standard output, `said` its standard error.
    """

    words: Sequence[str]
    code: int
    printed: str = ""
    said: str = ""

    @property
    def reason(self) -> str:
        """The last lines of what it said, or else printed, as one line.

        Of a traceback it is the error alone.
        """
        text = TRACEBACK.sub("", self.said) or self.printed
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        reason = " ".join(lines[-LAST_LINES:]).rstrip(".")
        if len(reason) > MOST_CHARACTERS:
            reason = f"... {reason[-MOST_CHARACTERS:]}"
        return reason or "no reason given"

    @property
    def failure(self) -> str:
        """Nothing if it ended well, else which command stopped, and its last lines."""
        return f"`{as_typed(self.words)}` stopped: {self.reason}." if self.code else ""

    def checked(self, allowed: Sequence[int] = (0,), remedy: str = "") -> str:
        """What it printed.

        Raises: ProjectError with `failure` if it ended with another code than those allowed.
        """
        if self.code not in allowed:
            raise ProjectError(self.failure, remedy)
        return self.printed


def as_typed(words: Sequence[str]) -> str:
    """The words of a command as a person would type them."""
    return " ".join(f'"{word}"' if " " in word else word for word in words)


def command(*words: str) -> list[str]:
    """The command by this interpreter's own tools, wherever its environment lies."""
    if words[0] in MODULES:
        return [sys.executable, "-m", MODULES[words[0]], *words[1:]]
    return list(words)


def settings() -> dict[str, str]:
    """The environment of a tool that needs no project.

    Telemetry is off, and git works on the repository of the folder where it is started.
    """
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    return {**SETTINGS, **kept}


def environment(
    project: Project,
    programs: Path | None = None,
    library: Path | None = None,
) -> dict[str, str]:
    """The environment of a tool in a project.

    It finds the project from anywhere, and the project's sources and this interpreter first.

    A folder of other `programs`, or of another mlgates (`library`), goes before these.
    """
    paths = [programs, Path(sys.executable).parent, os.environ.get("PATH")]
    sources = [library, _sources(project), os.environ.get("PYTHONPATH")]
    found = {"PATH": _joined(paths), "PYTHONPATH": _joined(sources)}
    return {**settings(), **found, ROOT: str(project.root)}


def _sources(project: Project) -> Path | None:
    """The project's own sources, or, in a folder without any, those that this process imports."""
    own = project.root / SOURCES
    if own.exists():
        return own.resolve()
    package = importlib.util.find_spec(project.package)
    if package is None or not package.submodule_search_locations:
        return None
    return Path(next(iter(package.submodule_search_locations))).parent.resolve()


def _joined(folders: Sequence[Path | str | None]) -> str:
    return os.pathsep.join(str(folder) for folder in folders if folder)


def run(
    project: Project,
    *words: str,
    given: str = "",
    environs: Mapping[str, str] | None = None,
) -> Ended:
    """Run a tool in the project's folder and keep what it writes; `given` is its standard input.

    `environs` is its environment if that is not `environment(project)`.
    Raises: ProjectError if it is not installed.
    """
    return ended(words, environs or environment(project), project.root, given)


def show(project: Project, *words: str, remedy: str = "") -> None:
    """Run a tool in the project's folder, on the user's terminal.

    Raises: ProjectError if it is not installed or ends with an error; it has said why.
    """
    with _installed(words[0]):
        environs = environment(project)
        done = subprocess.run(command(*words), cwd=project.root, env=environs, check=False)
    if done.returncode:
        raise ProjectError(f"`{as_typed(words)}` stopped; its last lines say why.", remedy)


def ended(
    words: Sequence[str],
    environs: Mapping[str, str],
    folder: Path | None = None,
    given: str = "",
) -> Ended:
    """Run a tool with this environment, and keep what it writes.

    Raises: ProjectError if it is not installed.
    """
    with _installed(words[0]):
        done = subprocess.run(
            command(*words),
            cwd=folder,
            env=dict(environs),
            input=given.encode(),
            capture_output=True,
            check=False,
        )
    printed = done.stdout.decode(errors="replace")
    return Ended(words, done.returncode, printed, done.stderr.decode(errors="replace"))


@contextmanager
def started(project: Project, *words: str, log: Path) -> Iterator[Running]:
    """A tool in the background until the block ends; what it writes goes to the file `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file, _installed(words[0]):
        process = subprocess.Popen(
            command(*words), cwd=project.root, env=environment(project), stdout=file, stderr=file
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def _installed(program: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ProjectError(f"{program} is not installed.", INSTALL.get(program, "")) from None


@contextmanager
def inside(project: Project, without: Sequence[str] = ()) -> Iterator[None]:
    """While it lasts, this process has the environment of a tool in the project.

    So has whatever it starts. `without` names variables that are left out. The former
    environment comes back, also after an error.
    """
    before = dict(os.environ)
    kept = environment(project)
    try:
        for name in before.keys() | kept.keys():
            if name in without or name not in kept:
                os.environ.pop(name, None)
            else:
                os.environ[name] = kept[name]
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
