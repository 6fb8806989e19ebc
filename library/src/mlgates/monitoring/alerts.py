"""`mlops alarm`: keeps one GitHub issue in step with the last monitor report, and starts training.

Training starts at most once for each closed period.
"""

import json
import os
import shutil
from typing import Any

from mlgates import tools
from mlgates.errors import ProjectError
from mlgates.files import read_json
from mlgates.grid import Grid
from mlgates.layout import MONITOR_LATEST
from mlgates.project import Project
from mlgates.reports import MARKS, number
from mlgates.verdict import Report, Verdict

LABEL = "monitor"  # of the issue: this is how it is found again
WORKFLOW = "ct.yml"  # the one that trains

# What follows from a verdict on GitHub. An inconclusive report changes nothing there.
ACTIONS = {
    Verdict.FAIL: "open or comment the issue and start training",
    Verdict.OK: "close the issue, if one is open",
}


def alarm(project: Project) -> int:
    """Bring the issue on GitHub in line with the last monitor report; returns the exit code, 0.

    `fail` opens the issue or comments on it, and starts training once for each closed period. `ok`
    comments on an open issue and closes it. `inconclusive` changes nothing. Without GitHub
    (`GITHUB_REPOSITORY` and the program `gh`) it prints what it would do.

    Raises: ProjectError if there is no monitor report, or if GitHub refuses a call.
    """
    stored = read_json(project.root / MONITOR_LATEST, "Run: uv run mlops monitor")
    report = Report.from_dict(stored)
    if report.verdict not in ACTIONS or not _is_on_github():
        action = ACTIONS.get(report.verdict, "touch nothing")
        print(f"alarm: {report.verdict}; on GitHub this means: {action}")
        return 0

    issues = _issues(project)
    open_issues = (listed for listed in issues if listed["state"] == "open")
    issue: dict[str, Any] = next(open_issues, {})
    failed = report.verdict is Verdict.FAIL
    if issue:
        _call(project, "POST", f"{_path(issue)}/comments", body=_body(report))
    elif failed:
        issue = _open_issue(project, report)
        issues.append(issue)

    if failed:
        _train_once(project, issue, issues)
    elif issue:
        _call(project, "PATCH", _path(issue), state="closed")
    print(f"alarm: {report.verdict}; issue {issue.get('number', 'none')}")
    return 0


def _is_on_github() -> bool:
    return bool(os.environ.get("GITHUB_REPOSITORY") and shutil.which("gh"))


def _issues(project: Project) -> list[dict[str, Any]]:
    """The issues of the monitor, open and closed; GitHub lists pull requests among them."""
    listed = _call(project, "GET", f"issues?state=all&labels={LABEL}&per_page=100")
    issues = []
    for issue in listed:
        if "pull_request" not in issue:
            text = issue["body"] or ""  # null if somebody opened it without a text
            issues.append({**issue, "body": text})
    return issues


def _open_issue(project: Project, report: Report) -> dict[str, Any]:
    """A new issue about the report, as GitHub answers it."""
    title = f"The {report.title} says fail"
    issue: dict[str, Any] = _call(
        project,
        "POST",
        "issues",
        title=title,
        body=_body(report),
        labels=[LABEL],
    )
    return issue


def _train_once(project: Project, issue: dict[str, Any], issues: list[dict[str, Any]]) -> None:
    """Start training, unless one of the issues notes that it was started for this period."""
    marker = f"<!-- training started for {project.cycle()['until']} -->"
    if any(marker in other["body"] for other in issues):
        return
    # The note is written before training starts: if this run dies in between, training starts
    # once less, and never twice.
    _call(project, "PATCH", _path(issue), body=f"{issue['body']}\n{marker}")
    branch = os.environ.get("GITHUB_REF_NAME", "main")
    _call(project, "POST", f"actions/workflows/{WORKFLOW}/dispatches", ref=branch)


def _path(issue: dict[str, Any]) -> str:
    return f"issues/{issue['number']}"


def _body(report: Report) -> str:
    """The verdict and a table of the checks that failed, as Markdown."""
    rows = []
    for check in [*report.checks, *report.drift]:
        if check.verdict is Verdict.FAIL:
            rows.append([check.name, number(check.value), number(check.limit), check.evidence])
    table = Grid(["check", "value", "limit", "evidence"], rows).markdown()
    return f"**{report.title}**: {MARKS[report.verdict]}\n\n{table}".rstrip("\n")


def _call(project: Project, method: str, path: str, **fields: Any) -> Any:
    """What GitHub's API answers, or None for an empty answer. `fields` are sent as JSON.

    Raises: ProjectError with GitHub's reason if it refuses.
    """
    words = ["gh", "api", "-X", method, f"repos/{os.environ['GITHUB_REPOSITORY']}/{path}"]
    if fields:
        words += ["--input", "-"]
    answer = tools.run(project, *words, given=json.dumps(fields))
    if answer.code:
        raise ProjectError(f"GitHub refused {method} {path.split('?')[0]}: {answer.reason}")
    return json.loads(answer.stdout) if answer.stdout.strip() else None
