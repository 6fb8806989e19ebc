"""How a verb ends when something goes wrong: a sentence, and an exit code."""

import errno
from pathlib import Path

import pytest

from mlgates.command import command_line
from mlgates.errors import ProjectError


@pytest.mark.parametrize(
    ("file_names", "message"), [([], ""), (["var/champion.json"], ": var/champion.json")]
)
def test_a_full_disk_is_reported_in_a_sentence(
    capsys: pytest.CaptureFixture[str], file_names: list[str], message: str
) -> None:
    def full() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", *file_names)

    assert command_line(full) == 1
    expected = f"error: No space left on device{message}.\n  Fix that"
    assert capsys.readouterr().err.startswith(expected)


def test_an_error_that_a_user_cannot_fix_is_a_traceback() -> None:
    with pytest.raises(IsADirectoryError):
        command_line(lambda: len(Path().read_bytes()))


def test_a_project_error_ends_with_its_sentence_and_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse() -> int:
        raise ProjectError("There is no model.", "Run: uv run dvc repro", code=4)

    assert command_line(refuse) == 4
    assert capsys.readouterr().err == "error: There is no model.\n  Run: uv run dvc repro\n"


def test_an_interrupted_command_says_that_it_can_be_run_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert command_line(interrupted) == 130
    assert "Run the same command again" in capsys.readouterr().err
