"""A user's mistake or a missing piece: one sentence and a remedy, never a traceback."""

import difflib
import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


class ProjectError(Exception):
    """A user's mistake or a missing piece: shown as one sentence and a remedy, never as a traceback."""

    def __init__(self, message: str, remedy: str = "", code: int = 1) -> None:
        super().__init__(f"{message}\n  {remedy}" if remedy else message)
        self.code = code


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known, empty when nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(known))}."
