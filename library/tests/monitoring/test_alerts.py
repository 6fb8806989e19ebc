"""An alarm is one issue, and one training for each period."""

import json
import os
import stat
from dataclasses import replace

import pytest

from mlgates import Project
from mlgates.errors import ProjectError
from mlgates.files import write_json
from mlgates.layout import MONITOR
from mlgates.monitoring.alerts import alarm
from mlgates.verdict import Check, Report, Verdict

CYCLE = 'until: "{until}"\nchampion: null\nrelease: null\nage: 0\n'
FIRST = Check("monitor.min_rows", Verdict.OK, 0.5, 0.3)
GH = """#!/usr/bin/env python3
# A stand-in for GitHub's command line: keeps issues in a file and logs each call. No network.
import json, os, sys
state = os.environ["GH_STATE"]
issues = json.load(open(state)) if os.path.exists(state) else []
method, path = sys.argv[3], sys.argv[4]
if method == os.environ.get("GH_REFUSES"):
    sys.exit("HTTP 403: forbidden")
body = json.loads(sys.stdin.read()) if "--input" in sys.argv else {}
print(method, path.split("?")[0], sorted(body), file=open(state + ".log", "a"))
answer = None
if method == "GET":
    answer = issues
elif path.endswith("/issues"):
    answer = {"number": len(issues) + 1, "state": "open"} | body
    issues.append(answer)
elif method == "PATCH":
    answer = issues[int(path.rsplit("/", 1)[1]) - 1]
    answer.update(body)
json.dump(issues, open(state, "w"))
print(json.dumps(answer) if answer is not None else "")
"""


@pytest.fixture
def on_github(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty folder, a repository on GitHub, and a stand-in for `gh`."""
    gh = empty.root / "bin/gh"
    gh.parent.mkdir()
    gh.write_text(GH)
    gh.chmod(gh.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{gh.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GITHUB_REPOSITORY", "team/project")
    monkeypatch.setenv("GH_STATE", str(empty.root / "state"))
    return empty


def calls(
    project: Project, capsys: pytest.CaptureFixture[str], verdict: Verdict, until: str
) -> list[str]:
    """What GitHub is asked after a report with this verdict, in a cycle until that period."""
    log = project.root / "state.log"
    log.unlink(missing_ok=True)
    (project.root / "cycle.yaml").write_text(CYCLE.format(until=until))
    checks = [
        replace(FIRST, verdict=verdict, evidence="a|b"),
        replace(FIRST, name="monitor.fine"),
    ]
    write_json(project.root / MONITOR / "latest.json", Report("monitor", checks).to_dict())
    assert alarm(project) == 0
    assert f"alarm: {verdict}; " in capsys.readouterr().out
    lines = log.read_text().splitlines() if log.exists() else []
    asked = []
    for line in lines:
        method, path, *_ = line.split()
        asked.append(f"{method} {path.removeprefix('repos/team/project/')}")
    return asked


def test_an_alarm_is_one_issue_and_one_training_for_each_period(
    on_github: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(verdict: Verdict, until: str) -> list[str]:
        return calls(on_github, capsys, verdict, until)

    comment = ["GET issues", "POST issues/1/comments"]
    train = ["PATCH issues/1", "POST actions/workflows/ct.yml/dispatches"]
    assert asked(Verdict.INCONCLUSIVE, "1") == []
    assert asked(Verdict.OK, "1") == ["GET issues"]
    assert asked(Verdict.FAIL, "1") == ["GET issues", "POST issues", *train]
    (issue,) = json.loads((on_github.root / "state").read_text())
    assert issue["body"].splitlines()[:-1] == [
        "**monitor**: FAIL",
        "",
        "| check | value | limit | evidence |",
        "| --- | --- | --- | --- |",
        "| monitor.min_rows | 0.5 | 0.3 | a\\|b |",
    ]
    assert asked(Verdict.FAIL, "1") == comment
    assert asked(Verdict.FAIL, "2") == [*comment, *train]
    assert asked(Verdict.OK, "2") == [*comment, "PATCH issues/1"]
    # trained for this period already
    assert asked(Verdict.FAIL, "2") == ["GET issues", "POST issues"]


def test_training_is_noted_in_an_issue_that_somebody_opened_without_a_text(
    on_github: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    state = on_github.root / "state"
    state.write_text(json.dumps([{"number": 1, "state": "open", "body": None}]))
    calls(on_github, capsys, Verdict.FAIL, "1")
    (issue,) = json.loads(state.read_text())
    assert issue["body"] == "\n<!-- training started for 1 -->"


def test_a_refusal_of_github_is_an_error_and_elsewhere_github_is_not_asked(
    on_github: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_REFUSES", "GET")
    with pytest.raises(ProjectError, match="GitHub refused GET issues: HTTP 403: forbidden"):
        calls(on_github, capsys, Verdict.FAIL, "3")
    monkeypatch.delenv("GITHUB_REPOSITORY")
    assert calls(on_github, capsys, Verdict.FAIL, "3") == []
