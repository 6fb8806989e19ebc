"""Errors that a user can do something about: a sentence that says what is wrong, and a remedy."""

import errno
from collections.abc import Iterable

# Why a file cannot be written, as far as the user can change it: the disk is full, the quota is
# used up, the file system has no room for so large a file or is read-only, permission is denied.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


class ProjectError(Exception):
    """A user's mistake or a missing piece: shown as a sentence and a remedy, without a traceback.

    `code` is the exit code with which the command line ends.
    """

    def __init__(self, message: str, remedy: str = "", code: int = 1) -> None:
        """`message` says what is wrong, `remedy` what to do about it."""
        text = message
        if remedy:
            text = f"{message}\n  {remedy}"
        super().__init__(text)
        self.code = code


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the known name most like it, or all known ones if none is."""
    import difflib

    candidates = list(known)
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(sorted(candidates))}."
