"""git as a process: on which repository it works, and what is shown of its messages."""

import shutil
from pathlib import Path

import pytest

from clones import Clone, refusal
from mlgates.registry.git import _reason, first_names, git, remote
from mlgates.registry.promote import promote
from mlgates.registry.status import status


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("warning: x\nfatal: it is gone \nmore", "it is gone"),
        (
            "To there\n ! [rejected] tag -> tag (exists)\nerror: failed",
            "[rejected] tag -> tag (exists)",
        ),
        ("one\nlast", "last"),
        ("", "no reason given"),
    ],
)
def test_of_what_git_says_the_reason_is_shown(said: str, reason: str) -> None:
    assert _reason(said) == reason


def test_git_is_asked_about_this_repository_also_from_a_hook_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    git(tmp_path, "init", "--quiet")
    chosen = [remote(tmp_path)]
    for name in ("there", "origin", "zebra"):
        git(tmp_path, "remote", "add", name, "../other.git")
        chosen.append(remote(tmp_path))
    assert chosen == ["", "there", "origin", "origin"]


def test_a_refusal_is_a_sentence_or_an_empty_answer(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert "git frobnicate failed: " in refusal(git, tmp_path, "frobnicate")
    assert git(tmp_path, "frobnicate", check=False) == ""


def test_of_many_names_the_first_are_shown() -> None:
    assert first_names(["a", "b", "c"]) == "a, b, c"
    assert first_names(["a", "b", "c", "d"]) == "a, b, c, ..."


def test_without_git_there_is_one_sentence(
    ada: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(ada.root / ".git")
    assert "not a git repository" in refusal(promote, ada.project)
    ada.git("init", "--quiet")
    assert "There is no commit yet" in refusal(promote, ada.project)
    assert "git add -A" in status(ada.project)[0].text
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in refusal(promote, ada.project)
