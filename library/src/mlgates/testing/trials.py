"""What promises try: a part of the project is run without output, or must stop with an error."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import yaml

from mlgates.errors import ProjectError
from mlgates.layout import PARAMS
from mlgates.project import Project


def run_quietly(run: Callable[[], object]) -> None:
    """Run something without its standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        run()


def error_message(run: Callable[[], object]) -> str:
    """The message of the ProjectError with which something must stop."""
    try:
        run_quietly(run)
    except ProjectError as error:
        return str(error)
    raise AssertionError("it went on, though it should have stopped with an error")


def remove(project: Project, path: Path) -> None:
    """Delete a file of the project, if it exists."""
    (project.root / path).unlink(missing_ok=True)


def set_parameter(project: Project, section: str, name: str, value: object) -> None:
    """Write one parameter into params.yaml."""
    path = project.root / PARAMS
    params = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    params.setdefault(section, {})[name] = value
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
