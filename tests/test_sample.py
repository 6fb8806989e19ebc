"""The samples that the library's tests work on are what the template renders today."""

from pathlib import Path

from scripts.sample import SAMPLES, write

from .projects import paths


def contents(folder: Path) -> dict[str, str]:
    """The text of each file, without what Python leaves behind."""
    names = [name for name in paths(folder) if "__pycache__" not in name]
    return {name: (folder / name).read_text() for name in names}


def test_the_samples_of_the_library_are_fresh(template: Path, tmp_path: Path) -> None:
    write(template, tmp_path)
    fresh, stored = contents(tmp_path), contents(SAMPLES)
    differing = [name for name in {*fresh, *stored} if fresh.get(name) != stored.get(name)]
    assert not differing, f"Run: python -m scripts.sample. Not fresh: {sorted(differing)}"
