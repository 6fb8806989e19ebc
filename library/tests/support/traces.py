"""Where a word is still found after it was erased."""

from clones import Clone


def traces(clone: Clone, word: str, below: str = "") -> list[str]:
    """The files of the project, its cache and its remote that hold a word.

    Those of git and the sources are left out.
    """
    skipped = (clone.root / ".git", clone.root / "src", clone.around / "origin.git")
    files = []
    for path in sorted((clone.around / below).rglob("*")):
        is_skipped = any(path.is_relative_to(folder) for folder in skipped)
        if is_skipped or not path.is_file():
            continue
        if word.encode() in path.read_bytes():
            files.append(str(path.relative_to(clone.around)))
    return files
