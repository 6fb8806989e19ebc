"""Where a word is left after it was erased."""

from clones import Clone


def traces(clone: Clone, word: str, below: str = "") -> list[str]:
    """The files of the project, its cache and its remote that hold a word; git's and the source itself left out."""
    skipped = (clone.root / ".git", clone.root / "src", clone.around / "origin.git")
    holding = []
    for path in sorted((clone.around / below).rglob("*")):
        if not path.is_file() or any(path.is_relative_to(part) for part in skipped):
            continue
        if word.encode() in path.read_bytes():
            holding.append(str(path.relative_to(clone.around)))
    return holding
