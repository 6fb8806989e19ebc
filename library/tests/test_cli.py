"""The command: its help, its suggestions, its exit codes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlgates import Project, ProjectError, cli
from mlgates.answer import Answer
from mlgates.files import write_json
from mlgates.layout import GATE
from mlgates.verdict import Check, Report, Verdict

DAILY = ("up", "status", "promote", "rollback", "monitor", "prove", "trace")
NOTHING_IN_SERVICE = "No model is in service here."


def printed(*words: str, code: int = 0, **variables: str) -> str:
    """What the command prints, run as a user runs it."""
    ended = subprocess.run(
        [sys.executable, "-m", "mlgates.cli", *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == code, ended.stderr
    return ended.stdout + ended.stderr


def test_help_shows_first_what_a_day_needs() -> None:
    text = printed("--help", COLUMNS="100")
    every_day, _, rest = text.partition("Releases and the record")
    for name in DAILY:
        assert f" {name} " in every_day
    for name in ("reproduce", "close", "params", "simulate", "eject"):
        assert f" {name} " in rest
    assert max(len(line) for line in text.splitlines()) <= 100


def test_help_has_no_colour_where_nobody_sees_it_and_survives_a_small_code_page() -> None:
    text = printed("promote", "--help", PYTHONIOENCODING="ascii")
    assert "--override" in text and "\\x1b[" not in text
    text.encode("ascii")


def test_without_a_verb_it_shows_the_help_and_ends_as_wrong_usage() -> None:
    assert "Every day" in printed(code=2)


def test_the_version_is_that_of_the_library() -> None:
    assert printed("--version").startswith("mlgates ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["prmote"], "Did you mean 'promote'"),
        (["status", "--fast"], "See: mlops status --help"),
        (["reproduce"], "See: mlops reproduce --help"),
        (["draft", "x.csv", "--target", "y", "--task", "ranking"], "See: mlops draft --help"),
    ],
)
def test_a_wrong_word_is_a_sentence_and_the_exit_code_of_wrong_usage(
    words: list[str], sentence: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        cli.run(words)
    assert sentence in str(caught.value) and caught.value.code == 2


def test_verbs_are_completed_in_the_shell() -> None:
    asked = {"_MLOPS_COMPLETE": "complete_bash", "COMP_WORDS": "mlops pro", "COMP_CWORD": "1"}
    assert printed(**asked).split() == ["promote", "prove"]


@pytest.fixture
def in_project(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The command's project is an empty folder."""
    monkeypatch.setattr(Project, "find", classmethod(lambda cls: empty))
    return empty


def test_exit_zero_turns_a_verdict_into_success_and_an_error_not(
    in_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ProjectError, match=NOTHING_IN_SERVICE):
        cli.run(["monitor"])
    assert cli.run(["monitor", "--exit-zero"]) == 0
    assert f"::notice::{NOTHING_IN_SERVICE}" in capsys.readouterr().out
    (in_project.root / "params.yaml").write_text("gate: {marign: 1}\n")
    with pytest.raises(ProjectError, match="params"):
        cli.run(["params", "--exit-zero"])


def test_json_is_all_that_a_verb_prints_and_says_the_same(
    in_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_project.root / "params.yaml").write_text("")
    assert cli.run(["params", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["exit_code"] == 0
    assert answer["parameters"]["gate.margin"]["from"] == "default"

    (in_project.root / "params.yaml").write_text("gate: {margin: 0.5}\n")
    assert cli.run(["params", "--json"]) == 0
    parameter = json.loads(capsys.readouterr().out)["parameters"]["gate.margin"]
    assert parameter["value"] == 0.5 and parameter["from"] == "params.yaml"


def test_what_a_verb_prints_on_its_way_does_not_disturb_the_json(
    in_project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(root: Path) -> Answer:
        print("a warning of a tool")
        return Answer("text", {"parameters": {}})

    monkeypatch.setattr("mlgates.settings.shown", shown)
    assert cli.run(["params", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"parameters": {}, "exit_code": 0}
    assert captured.err == "a warning of a tool\n"


def test_an_error_is_json_too(in_project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ProjectError):
        cli.run(["monitor", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert NOTHING_IN_SERVICE in answer["error"] and answer["exit_code"] == 4
    assert cli.run(["monitor", "--json", "--exit-zero"]) == 0
    assert json.loads(capsys.readouterr().out) == answer  # and no notice for GitHub beside it


def test_a_stored_report_is_shown_again_with_its_exit_code(
    in_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ProjectError, match="uv run dvc repro"):
        cli.run(["report", "gate"])
    report = Report("gate  candidate", [Check("gate.latency", Verdict.FAIL, 9.0, 1.0)])
    write_json(in_project.root / GATE, report.to_dict())
    assert cli.run(["report", "gate"]) == 3
    assert "gate.latency" in capsys.readouterr().out
    assert cli.run(["report", "gate", "--exit-zero"]) == 0
    capsys.readouterr()
    assert cli.run(["report", "gate", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["checks"][0]["name"] == "gate.latency"


def test_output_survives_an_encoding_that_lacks_a_character(in_project: Project) -> None:
    (in_project.root / "pyproject.toml").write_text('[tool.mlgates]\npackage = "late_flights"\n')
    (in_project.root / "params.yaml").write_text("model: {note: naïve 航}\n", encoding="utf-8")
    variables = {"PYTHONIOENCODING": "ascii", "MLOPS_ROOT": str(in_project.root)}
    assert "na?ve ?" in printed("params", **variables)


def test_a_rollback_at_once_names_no_release(in_project: Project) -> None:
    with pytest.raises(ProjectError, match="Leave out --to") as refused:
        cli.run(["rollback", "--now", "--to", "v1.0.0", "--reason", "bad"])
    assert refused.value.code == 2


def test_a_stage_that_fails_says_how_to_go_back(project: Project, in_project: Project) -> None:
    shutil.copy(project.root / "pyproject.toml", in_project.root)
    with pytest.raises(ProjectError, match=r"git checkout \. && uv run dvc checkout"):
        cli.run(["run", "gate"])


def test_an_interrupted_verb_stays_an_interruption(
    in_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    shown: Callable[..., str] = interrupt
    monkeypatch.setattr("mlgates.settings.shown", shown)
    with pytest.raises(KeyboardInterrupt):
        cli.run(["params"])
