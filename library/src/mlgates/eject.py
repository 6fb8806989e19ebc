"""`mlops eject`: the project carries the library itself, in vendor/mlgates.

There it can be read, audited or changed. This is for teams without access to the library's
address, or teams that want every line in their own review. The way back is git's: revert the
commit.
"""

import re
import shutil
from importlib.metadata import Distribution
from pathlib import Path

from mlgates.errors import ProjectError
from mlgates.files import atomic, write_text
from mlgates.layout import PIPELINE, PYPROJECT, SOURCES, VENDOR
from mlgates.project import Project, table
from mlgates.registry.git import changes
from mlgates.registry.wheel import PACKAGE, installation, licence
from mlgates.results import hashed

ANSWERS = ".copier-answers.yml"
EDITED_FILES = (PYPROJECT.name, PIPELINE.name, ANSWERS)

# In pyproject.toml: where the library comes from, and the lines below [tool.mlgates.results]
UV_SOURCES = "[tool.uv.sources]"
SOURCE_LINE = re.compile(r"^mlgates = \{.*\}$", re.MULTILINE)
CARRIED_SOURCE_LINE = f'mlgates = {{ path = "{VENDOR.as_posix()}", editable = true }}'
RESULTS_LINES = re.compile(r"(?<=^\[tool\.mlgates\.results\]\n)(?:^[a-z]+ = .*\n)+", re.MULTILINE)

# In dvc.yaml: a line such as `  train:` begins a stage
STAGE_START = re.compile(r"^(?=  [\w-]+:$)", re.MULTILINE)
STAGE_DEPS = "    deps:\n"

# In the metadata of a package, a requirement of an extra: `numpy>=2 ; extra == 'serve'`
EXTRA = re.compile(r"""(?:and )?extra == ['"](?P<name>[\w-]+)['"]""")

NEXT_STEPS = """\
vendor/mlgates is the library now. Next:

    uv sync                 installs it from there, editable
    uv run dvc status       names every stage, since they depend on its files from now on
    uv run dvc repro        (or `uv run dvc commit`, as long as you have not changed it)
    git add -A && git commit -m "Carry mlgates"
"""

BUILD_FILE = """\
# Written by `mlops eject` from what was installed.
[project]
name = "mlgates"
version = "{version}"
description = "{summary}"
license = "MIT"
license-files = ["LICENSE"]
requires-python = "{python}"
dependencies = {core}

[project.optional-dependencies]
{extras}
[project.scripts]
mlops = "mlgates.cli:main"

[build-system]
requires = ["uv_build>=0.11,<0.15"]
build-backend = "uv_build"
"""


def eject(project: Project) -> str:
    """Copy the running library to vendor/mlgates, and make the project's files refer to it.

    These are pyproject.toml, dvc.yaml and Copier's answers. Returns what to do next.
    Raises: ProjectError, before anything is written, if vendor/mlgates exists, if one of these
    files has changes that are not committed, or if pyproject.toml names no source of mlgates.
    """
    if (project.root / VENDOR).exists():
        raise ProjectError(
            f"{VENDOR.as_posix()} is there already.",
            "To replace it, run first: git rm -r vendor/mlgates",
        )
    uncommitted = [name for name in EDITED_FILES if changes(project.root, name)]
    if uncommitted:
        raise ProjectError(
            f"Not committed: {', '.join(uncommitted)}.",
            "Commit first: then git shows what eject changes.",
        )
    edited = _edited_files(project.root)

    with atomic(project.root / VENDOR) as folder:
        _copy_library(folder)
    for name, text in edited.items():
        write_text(project.root / name, text)
    return NEXT_STEPS


def _edited_files(root: Path) -> dict[str, str]:
    """The new text of each file that refers to the library, by its name.

    Raises: ProjectError if pyproject.toml does not refer to it.
    """
    edited = {
        PYPROJECT.name: _edited_pyproject(root),
        PIPELINE.name: _with_dependency((root / PIPELINE).read_text(encoding="utf-8")),
    }
    answers = root / ANSWERS
    if answers.exists():
        # With this answer `copier update` renders the same source line into pyproject.toml.
        text = answers.read_text(encoding="utf-8")
        edited[ANSWERS] = re.sub(r"(?m)^library:.*$", f"library: {VENDOR.as_posix()}", text)
    return edited


def _edited_pyproject(root: Path) -> str:
    """pyproject.toml with vendor/mlgates as the source, and its hash in place of the numbers."""
    text = (root / PYPROJECT).read_text(encoding="utf-8")
    start = text.find(UV_SOURCES)
    if start < 0 or not SOURCE_LINE.search(text, start):
        raise ProjectError(
            "pyproject.toml names no source of mlgates below [tool.uv.sources].",
            "Add one, on one line:"
            ' mlgates = { git = ADDRESS, rev = COMMIT, subdirectory = "library" }',
        )
    if not table(root).get("results"):
        raise ProjectError("pyproject.toml has no [tool.mlgates.results].", "Run: copier update")

    text = text[:start] + SOURCE_LINE.sub(CARRIED_SOURCE_LINE, text[start:], count=1)
    lines = [f'{name} = "{content}"\n' for name, content in hashed(PACKAGE).items()]
    return RESULTS_LINES.sub("".join(lines), text, count=1)


def _with_dependency(pipeline: str) -> str:
    """dvc.yaml with the library's files below `deps:` of each stage that names its results.

    The text is edited, so that the team's comments and their order of stages stay.
    """
    dependency = f"      - {(VENDOR / SOURCES).as_posix()}\n"
    parts = []
    for part in STAGE_START.split(pipeline):
        if "tool.mlgates.results" in part:
            part = part.replace(STAGE_DEPS, STAGE_DEPS + dependency, 1)
        parts.append(part)
    return "".join(parts)


def _copy_library(folder: Path) -> None:
    """Write a package that can be built: the installed files in the src layout, and metadata."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(PACKAGE, folder / SOURCES / "mlgates", ignore=ignored)
    write_text(folder / PYPROJECT, _build_file(installation()))
    write_text(folder / "LICENSE", licence())


def _build_file(installed: Distribution) -> str:
    """The metadata of the installed library as a pyproject.toml."""
    core: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in installed.requires or []:
        requirement = EXTRA.sub("", line).strip().rstrip(";").strip()
        extra = EXTRA.search(line)
        if extra:
            extras.setdefault(extra["name"], []).append(requirement)
        else:
            core.append(requirement)

    extra_lines = [f"{name} = {_toml_array(extras[name])}\n" for name in sorted(extras)]
    return BUILD_FILE.format(
        version=installed.version,
        summary=installed.metadata["Summary"],
        python=installed.metadata["Requires-Python"],
        core=_toml_array(core),
        extras="".join(extra_lines),
    )


def _toml_array(requirements: list[str]) -> str:
    """Requirements as an array of TOML, one a line."""
    lines = [f'    "{requirement}",\n' for requirement in requirements]
    return f"[\n{''.join(lines)}]"
