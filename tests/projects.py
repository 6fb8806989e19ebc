"""The template as a release, projects made from it, and the one environment that they share."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import copier
import yaml

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "library"
NOW = "v999.0.0"  # the tag that the work tree gets in the tests' clone
# The tag of the first commit of this layout, which is the first that holds the marker.
FIRST = "v0.4.0.dev0"
MARKER = "library/pyproject.toml"
UV = os.environ.get("UV") or shutil.which("uv") or "uv"
NOBODY = {  # who commits
    "GIT_AUTHOR_NAME": "nobody@example.org",
    "GIT_AUTHOR_EMAIL": "nobody@example.org",
    "GIT_COMMITTER_NAME": "nobody@example.org",
    "GIT_COMMITTER_EMAIL": "nobody@example.org",
}

Answers = dict[str, str]
ROWS: dict[str, Answers] = {  # every two answers meet in one row
    "-".join(row): dict(zip(("task", "sample", "ci"), row, strict=True))
    for row in [
        ("binary", "flights", "github"),
        ("binary", "none", "none"),
        ("regression", "flights", "none"),
        ("regression", "none", "github"),
        ("multiclass", "flights", "github"),
        ("multiclass", "none", "none"),
    ]
}

SOURCE = 'mlgates = {{ path = "{}", editable = true }}'
DEFAULT = "binary-flights-github"
FLIGHTS = [row for row in ROWS if "flights" in row]
STUBS = [row for row in ROWS if "none-" in row]


def git(folder: Path, *words: str) -> str:
    """What git prints, run in a folder."""
    return subprocess.run(
        ["git", *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def commit(folder: Path, message: str) -> None:
    """Commit everything."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)


def questions(copier_yml: str) -> dict[str, dict[str, Any]]:
    """The questions of a copier.yml."""
    return {
        name: body for name, body in yaml.safe_load(copier_yml).items() if not name.startswith("_")
    }


def releases() -> dict[str, str]:
    """Tag and commit of each release, newest first.

    The commit of a release is the first whose changelog has its heading.

    Releases before 0.4.0 were never published. Until that is cut, the first commit of this layout
    stands for it, so that updates from it are tested. Where it is not committed yet, there is none.
    """
    commit_of = {}
    for line in (ROOT / "CHANGELOG.md").read_text().splitlines():
        if not line.startswith("## ") or line == "## Unreleased":
            continue
        words = ["log", "--all", "--reverse", "--format=%H", f"-S{line}", "--", "CHANGELOG.md"]
        commits = git(ROOT, *words).split()
        if commits:
            version = line.removeprefix("## ").split()[0]
            commit_of[f"v{version}"] = commits[0]

    words = ["log", "--reverse", "--topo-order", "--diff-filter=A", "--format=%H", "--", MARKER]
    commits = git(ROOT, *words).split()
    if commits:
        commit_of[FIRST] = commits[0]
    return commit_of


def publish(folder: Path) -> Path:
    """Clone the template, tag its releases, and commit the work tree as the newest."""
    git(ROOT, "clone", "--quiet", "--no-checkout", str(ROOT), str(folder))
    for tag, released in releases().items():
        git(folder, "tag", "--force", tag, released)
    git(ROOT, f"--git-dir={folder / '.git'}", "--work-tree=.", "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "The work tree")
    git(folder, "tag", NOW)
    git(folder, "reset", "--quiet", "--hard")
    return folder


def copy(template: Path, folder: Path, answers: Answers | None = None, tag: str = NOW) -> Path:
    """Generate a project as `copier copy --defaults` does, and commit it."""
    data = {"project": "late-flights", **(answers or {})}
    copier.run_copy(str(template), folder, data=data, vcs_ref=tag, defaults=True, quiet=True)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder, "Start")
    return folder


def update(folder: Path, tag: str = NOW, **answers: str) -> None:
    """Update a project as `copier update --defaults` does."""
    copier.run_update(folder, data=answers, vcs_ref=tag, defaults=True, quiet=True, overwrite=True)


def paths(folder: Path) -> list[str]:
    """All files of a project, ignored ones too, git's own not."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if path.parts[0] != ".git")


def environment(pyproject: Path) -> Path:
    """A project's dependencies without the project, installed once for all tests.

    Returns the environment's folder of programs. mlgates is installed as the editable folder
    `library/`, whatever address the project would take it from.
    """
    text = re.sub(
        r"^mlgates = \{.*\}$", SOURCE.format(LIBRARY), pyproject.read_text(), flags=re.MULTILINE
    )
    wanted = [text, (LIBRARY / "pyproject.toml").read_text(), sys.version_info[:2]]
    home = ROOT / ".cache" / f"env-{hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:12]}"
    home.mkdir(parents=True, exist_ok=True)
    programs = home / ".venv" / "bin"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other worker waits here
        if not (home / "ready").exists():
            (home / "pyproject.toml").write_text(text)
            words = [UV, "sync", "--quiet", "--no-install-project", "--python", sys.executable]
            subprocess.run(words, cwd=home, check=True, env=clean())
            (home / "ready").touch()
    return programs


def lock(project: "Project") -> "Project":
    """Commit the uv.lock of the shared environment, as `uv run` would have made one.

    Returns the project.
    """
    shutil.copy(project.programs.parents[1] / "uv.lock", project.folder)
    commit(project.folder, "Lock")
    return project


def clean() -> dict[str, str]:
    """The variables of this process without those of the tests' own environment."""
    unwanted = {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}


@dataclass(frozen=True)
class Project:
    """A generated project whose commands run in the shared environment, on its own sources."""

    folder: Path
    programs: Path

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command, begun in a process group of its own."""
        path = os.pathsep.join([str(self.programs), os.environ["PATH"]])
        settings = clean() | NOBODY | {"PATH": path, "PYTHONPATH": str(self.folder / "src")}
        program = self.programs / words[0]
        return subprocess.Popen(
            [str(program) if program.exists() else words[0], *words[1:]],
            cwd=self.folder,
            env=settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, code: int = 0) -> str:
        """What a command prints; its exit code must be `code`."""
        started = self.start(*words)
        printed, complaints = started.communicate()
        assert started.returncode == code, (
            f"{' '.join(words)}: {started.returncode}\n{printed}\n{complaints}"
        )
        return printed + complaints

    def checks(self, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
        """The checks of the report that a verb of mlops gives, by name."""
        printed = self.run("mlops", *words, "--json", code=code)
        report, _ = json.JSONDecoder().raw_decode(printed)
        return {check["name"]: check for check in report["checks"]}
