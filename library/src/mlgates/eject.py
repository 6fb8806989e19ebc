"""`mlops eject`: the project carries the library itself, in vendor/mlgates, to be read, audited or changed there.

For teams without access to the library's address, or that want every line in their own review. The way back is git's:
revert the commit.
"""

import re
import shutil
import textwrap
from importlib.metadata import Distribution
from pathlib import Path

from mlgates.errors import ProjectError
from mlgates.files import whole, write_text
from mlgates.layout import PIPELINE, PYPROJECT, SOURCES, VENDOR
from mlgates.project import Project, table
from mlgates.registry.git import changes
from mlgates.registry.wheel import PACKAGE, installation, licence
from mlgates.results import hashed

SOURCE = re.compile(r"^mlgates = \{.*\}$", re.MULTILINE)  # the entry below [tool.uv.sources]
CARRIED = f'mlgates = {{ path = "{VENDOR.as_posix()}", editable = true }}'
RESULTS_TABLE = re.compile(r"(?<=^\[tool\.mlgates\.results\]\n)(?:^[a-z]+ = .*\n)+", re.MULTILINE)
ANSWERS = ".copier-answers.yml"
EXTRA = re.compile(r"""(?:and )?extra == ['"](?P<name>[\w-]+)['"]""")
FILES = (PYPROJECT.name, PIPELINE.name, ANSWERS)  # what is edited; all of it can be undone by git
NEXT = """\
vendor/mlgates is the library now. Next:

    uv sync                 installs it from there, editable
    uv run dvc status       names every stage: they depend on its files from now on
    uv run dvc repro        (or `uv run dvc commit`, as long as you have changed nothing in it)
    git add -A && git commit -m "Carry mlgates"
"""


def eject(project: Project) -> str:
    """Copy the library that runs to vendor/mlgates, and let pyproject.toml, dvc.yaml and Copier's answers name it.

    Returns what to do next. Raises: ProjectError, before anything is written, if it is there already, if one of the
    edited files has changes that git does not have, or if pyproject.toml names no source of mlgates.
    """
    if (project.root / VENDOR).exists():
        raise ProjectError(
            f"{VENDOR.as_posix()} is there already.", "To take it anew: git rm -r vendor/mlgates"
        )
    dirty = [name for name in FILES if changes(project.root, name)]
    if dirty:
        raise ProjectError(
            f"Not committed: {', '.join(dirty)}.",
            "Commit first: then git shows what eject changes.",
        )
    edited = _edited(project.root)

    with whole(project.root / VENDOR) as folder:
        _copy(folder)
    for name, text in edited.items():
        write_text(project.root / name, text)
    return NEXT


def _edited(root: Path) -> dict[str, str]:
    """The texts of the files that name the library, as they will be. Raises: ProjectError if one does not name it."""
    pyproject = (root / PYPROJECT).read_text(encoding="utf-8")
    start = pyproject.find("[tool.uv.sources]")
    if start < 0 or not SOURCE.search(pyproject, start):
        raise ProjectError(
            "pyproject.toml names no source of mlgates below [tool.uv.sources].",
            'Add one, on one line: mlgates = { git = ADDRESS, rev = COMMIT, subdirectory = "library" }',
        )
    if not table(root).get("results"):
        raise ProjectError("pyproject.toml has no [tool.mlgates.results].", "Run: copier update")
    pyproject = pyproject[:start] + SOURCE.sub(CARRIED, pyproject[start:], count=1)
    numbers = "".join(f'{name} = "{content}"\n' for name, content in hashed(PACKAGE).items())
    edited = {PYPROJECT.name: RESULTS_TABLE.sub(numbers, pyproject, count=1)}

    edited[PIPELINE.name] = _with_dependency((root / PIPELINE).read_text(encoding="utf-8"))
    answers = root / ANSWERS
    if answers.exists():  # so that an update renders the same line
        text = answers.read_text(encoding="utf-8")
        edited[ANSWERS] = re.sub(r"(?m)^library:.*$", f"library: {VENDOR.as_posix()}", text)
    return edited


def _with_dependency(pipeline: str) -> str:
    """dvc.yaml with the library's files below `deps:` of each stage that names its results."""
    stages = re.split(r"(?m)^(?=  [\w-]+:$)", pipeline)
    for place, stage in enumerate(stages):
        if "tool.mlgates.results" in stage:
            stages[place] = stage.replace(
                "    deps:\n", f"    deps:\n      - {(VENDOR / SOURCES).as_posix()}\n", 1
            )
    return "".join(stages)


def _copy(folder: Path) -> None:
    """A package that can be built: the installed files in the src layout, and a pyproject.toml."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(PACKAGE, folder / SOURCES / "mlgates", ignore=ignored)
    installed = installation()
    write_text(folder / PYPROJECT, _pyproject(installed))
    write_text(folder / "LICENSE", licence())


def _pyproject(installed: Distribution) -> str:
    """The metadata of the installed library as a pyproject.toml."""
    required: dict[str, list[str]] = {"": []}
    for requirement in installed.requires or []:
        extra = EXTRA.search(requirement)
        plain = EXTRA.sub("", requirement).strip().rstrip(";").strip()
        required.setdefault(extra["name"] if extra else "", []).append(plain)
    core = required.pop("")
    extras = "".join(f"{name} = {_array(required[name])}\n" for name in sorted(required))
    facts = installed.metadata
    return textwrap.dedent("""\
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
    """).format(
        version=installed.version,
        summary=facts["Summary"],
        python=facts["Requires-Python"],
        core=_array(core),
        extras=extras,
    )


def _array(requirements: list[str]) -> str:
    lines = "".join(f'    "{requirement}",\n' for requirement in requirements)
    return f"[\n{lines}]"
