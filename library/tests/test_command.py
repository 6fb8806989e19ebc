"""What a person at the command line is told when something goes wrong."""

import errno
from pathlib import Path

import pytest

from mlgates.command import command_line


@pytest.mark.parametrize(
    ("named", "message"), [([], ""), (["var/champion.json"], ": var/champion.json")]
)
def test_a_full_disk_is_said_in_a_sentence(
    capsys: pytest.CaptureFixture[str], named: list[str], message: str
) -> None:
    def full() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", *named)

    assert command_line(full) == 1
    expected = f"error: No space left on device{message}.\n  Mend that"
    assert capsys.readouterr().err.startswith(expected)
    with pytest.raises(IsADirectoryError):
        command_line(lambda: len(Path().read_bytes()))
