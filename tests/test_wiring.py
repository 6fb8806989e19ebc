"""Wiring is watched.

Whatever is deleted from a wiring file, a promise of the template turns red by its name.

Not tried are docstrings, which no run reads. Every other statement, decorator and keyword argument
is deleted in turn.
"""

import itertools
import json
from collections.abc import Callable

import pytest

from .projects import DEFAULT, ROOT, Project

# What can be deleted without a promise turning red, by file, and why that is right.
SURVIVORS: dict[str, dict[str, str]] = {
    "pipeline/validate.py": {
        "argument mode='ephemeral'": (
            "the default where there is no gx/ folder; it stands there to be seen"
        ),
    },
    "service.py": {
        "argument path='/'": "BentoML's default; it stands there to be seen",
    },
    "monitor.py": {
        "argument data_definition=definition": (
            "of the reference: Evidently takes the kinds from the current rows"
        ),
        "argument columns=compared.columns": (
            "Evidently's default: all columns of the definition, which are these"
        ),
    },
}
FILES = (
    ("pipeline/ingest.py", "pipeline/validate.py", "pipeline/train.py"),
    ("pipeline/studies.py", "pipeline/evaluate.py", "pipeline/gate.py", "pipeline/track.py"),
    ("service.py", "monitor.py"),
)


def test_all_wiring_files_are_tried(make: Callable[[str], Project]) -> None:
    package = make(DEFAULT).folder / "src/late_flights"
    wiring = {path.relative_to(package).as_posix() for path in package.glob("pipeline/*.py")}
    wiring |= {"service.py", "monitor.py"}
    tried = set(itertools.chain.from_iterable(FILES))
    assert tried == wiring - {"pipeline/__init__.py"}


@pytest.mark.parametrize("files", FILES, ids=lambda files: files[0])
def test_no_statement_of_the_wiring_can_be_deleted_unseen(
    make: Callable[[str], Project], files: tuple[str, ...]
) -> None:
    project = make(DEFAULT)
    printed = project.run("python", str(ROOT / "tests/inside/deletions.py"), *files)
    tried = json.loads(next(line for line in printed.splitlines() if line.startswith('{"')))
    for file in files:
        caught = tried[file]
        assert caught.pop("nothing") == "", "the file as it is does not keep the promises"
        survived = {name for name, by in caught.items() if not by}
        assert len(survived) < len(caught) > 5
        assert survived == set(SURVIVORS.get(file, {})), f"{file}: not as listed above"
