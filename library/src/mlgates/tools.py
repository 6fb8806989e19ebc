"""Run a tool for a project: dvc, bentoml, mlops, git, uv, gh.

All get the same environment, and a failure of each becomes a ProjectError of the same form. A test
checks that no other module starts a process.
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

# Tools that are Python modules: they are run by this interpreter, so the versions are those of its
# environment, whether or not that environment is activated.
MODULES = {"dvc": "dvc", "bentoml": "bentoml", "mlops": "mlgates.cli", "ruff": "ruff"}
INSTALL = {
    "git": "Install it: https://git-scm.com/downloads",
    "uv": "Install it: https://docs.astral.sh/uv/getting-started/installation",
}

# The groups of dependencies that a service installs, as words for uv. A request may need no others.
SERVING_GROUPS = ("--no-default-groups", "--group", "serve", "--group", "team-serve")

# git sets these for its hooks. With them a tool would work on the hook's repository, wherever it
# is started.
GIT_HOOK_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
)
# uv sets VIRTUAL_ENV. Started in another folder, it warns that this is not that folder's own
# environment.
REMOVED_VARIABLES = (*GIT_HOOK_VARIABLES, "VIRTUAL_ENV")

TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+", re.MULTILINE)
REASON_LINES = 3  # the last lines of a tool's output, which usually say why it failed
REASON_CHARACTERS = 300
STOP_SECONDS = 20  # a tool in the background has this long to end by itself

Running = subprocess.Popen[bytes]  # a tool that is running in the background


@dataclass(frozen=True)
class Ended:
    """A tool that has ended: its command, its exit code, and what it wrote.

    `printed` is its standard output, `said` its standard error.
    """

    words: Sequence[str]
    code: int
    stdout: str = ""
    stderr: str = ""

    @property
    def reason(self) -> str:
        """The last lines of its standard error, or else of its standard output, as one line.

        Of a traceback only the error is left.
        """
        text = TRACEBACK.sub("", self.stderr) or self.stdout
        lines = []
        for line in text.splitlines():
            if line.strip():
                lines.append(" ".join(line.split()))
        reason = " ".join(lines[-REASON_LINES:]).rstrip(".")
        if len(reason) > REASON_CHARACTERS:
            reason = f"... {reason[-REASON_CHARACTERS:]}"
        return reason or "no reason given"

    @property
    def failure(self) -> str:
        """Which command failed, and its last lines; empty if it ended with 0."""
        if self.code == 0:
            return ""
        return f"`{as_typed(self.words)}` stopped: {self.reason}."

    def checked(self, allowed: Sequence[int] = (0,), remedy: str = "") -> str:
        """Its standard output.

        Raises: ProjectError with `failure` if its exit code is none of those allowed.
        """
        if self.code not in allowed:
            raise ProjectError(self.failure, remedy)
        return self.stdout


def as_typed(words: Sequence[str]) -> str:
    """The words of a command as a person would type them: those with blanks in quotes."""
    quoted = []
    for word in words:
        if " " in word:
            word = f'"{word}"'
        quoted.append(word)
    return " ".join(quoted)


def command(*words: str) -> list[str]:
    """The command with a Python tool replaced by the one of this interpreter's environment."""
    if words[0] in MODULES:
        return [sys.executable, "-m", MODULES[words[0]], *words[1:]]
    return list(words)


def settings() -> dict[str, str]:
    """The environment variables of a tool that needs no project.

    Telemetry is off unless the user has set it. git works on the repository of the folder where it
    is started.
    """
    variables = {**SETTINGS, **os.environ}
    for name in REMOVED_VARIABLES:
        variables.pop(name, None)
    return variables


def environment(
    project: Project,
    programs: Path | None = None,
    library: Path | None = None,
) -> dict[str, str]:
    """The environment variables of a tool in a project.

    The tool finds the project from any folder. Programs are looked for beside this interpreter
    first, and modules in the project's sources first. `programs`, a folder of programs, and
    `library`, a folder with another mlgates, go before these.
    """
    program_folders = [programs, Path(sys.executable).parent, os.environ.get("PATH")]
    module_folders = [library, _sources(project), os.environ.get("PYTHONPATH")]
    return {
        **settings(),
        "PATH": _search_path(program_folders),
        "PYTHONPATH": _search_path(module_folders),
        ROOT: str(project.root),
    }


def _sources(project: Project) -> Path | None:
    """The project's src/; in a folder without one, the sources that this process imports."""
    sources = project.root / SOURCES
    if sources.exists():
        return sources.resolve()
    package = importlib.util.find_spec(project.package)
    if package is None or not package.submodule_search_locations:
        return None
    package_folder = next(iter(package.submodule_search_locations))
    return Path(package_folder).parent.resolve()


def _search_path(folders: Sequence[Path | str | None]) -> str:
    """The folders as the value of PATH or PYTHONPATH; None and empty ones are left out."""
    return os.pathsep.join(str(folder) for folder in folders if folder)


def run(
    project: Project,
    *words: str,
    given: str = "",
    environs: Mapping[str, str] | None = None,
) -> Ended:
    """Run a tool in the project's folder, and return how it ended and what it wrote.

    `given` is its standard input, `environs` its environment variables, by default
    `environment(project)`. A code other than 0 is no error here: see `Ended.checked`.
    Raises: ProjectError if it is not installed.
    """
    return ended(words, environs or environment(project), project.root, given)


def show(project: Project, *words: str, remedy: str = "") -> None:
    """Run a tool in the project's folder; what it writes goes to the user's terminal.

    Raises: ProjectError if it is not installed or ends with an error, which it has shown itself.
    """
    with _installed(words[0]):
        environs = environment(project)
        completed = subprocess.run(command(*words), cwd=project.root, env=environs, check=False)
    if completed.returncode:
        raise ProjectError(f"`{as_typed(words)}` stopped; its last lines say why.", remedy)


def ended(
    words: Sequence[str],
    environs: Mapping[str, str],
    folder: Path | None = None,
    given: str = "",
) -> Ended:
    """Run a tool with these environment variables; as `run`, where no project is needed.

    Raises: ProjectError if it is not installed.
    """
    with _installed(words[0]):
        completed = subprocess.run(
            command(*words),
            cwd=folder,
            env=dict(environs),
            input=given.encode(),
            capture_output=True,
            check=False,
        )
    output = completed.stdout.decode(errors="replace")
    error_output = completed.stderr.decode(errors="replace")
    return Ended(words, completed.returncode, output, error_output)


@contextmanager
def started(project: Project, *words: str, log: Path) -> Iterator[Running]:
    """Run a tool in the background until the block ends; what it writes goes to the file `log`."""
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
    """Raises: ProjectError in place of FileNotFoundError when the block starts a program."""
    try:
        yield
    except FileNotFoundError:
        raise ProjectError(f"{program} is not installed.", INSTALL.get(program, "")) from None


@contextmanager
def inside(project: Project, without: Sequence[str] = ()) -> Iterator[None]:
    """Give this process, and all that it starts, the environment of a tool in the project.

    `without` names variables that are removed. The former environment comes back when the block
    ends, also after an error.
    """
    before = dict(os.environ)
    variables = environment(project)
    for name in without:
        variables.pop(name, None)
    try:
        for name in before:
            if name not in variables:
                del os.environ[name]
        os.environ.update(variables)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
