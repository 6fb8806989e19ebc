"""What a verb of `mlops` answers."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A text for a person, and the same as plain data for `--json`."""

    text: str
    data: dict[str, Any]
    exit_code: int = 0
