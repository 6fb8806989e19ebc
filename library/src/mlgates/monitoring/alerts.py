"""alarm: the last monitor report as one GitHub issue, and at most one training for each closed period."""

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

LABEL, WORKFLOW = "monitor", "ct.yml"
ACTS = {
    Verdict.FAIL: "open or comment the issue and start training",
    Verdict.OK: "close the issue, if one is open",
}


def alarm(project: Project) -> int:
    """Fail: open the issue or comment, and start training once per period. Ok: comment and close. Else touch nothing.

    Without GitHub (`GITHUB_REPOSITORY` and `gh`) it says what it would do. Raises: ProjectError if GitHub refuses.
    """
    report = Report.from_dict(read_json(project.root / MONITOR_LATEST, "Run: uv run mlops monitor"))
    if (
        report.verdict not in ACTS
        or not os.environ.get("GITHUB_REPOSITORY")
        or not shutil.which("gh")
    ):
        print(
            f"alarm: {report.verdict}; on GitHub this means: {ACTS.get(report.verdict, 'touch nothing')}"
        )
        return 0
    found = _gh(project, "GET", f"issues?state=all&labels={LABEL}&per_page=100")
    issues = [issue for issue in found if "pull_request" not in issue]
    issue = next((issue for issue in issues if issue["state"] == "open"), None)
    if issue:
        _gh(project, "POST", f"issues/{issue['number']}/comments", body=_body(report))
    if issue and report.verdict is Verdict.OK:
        _gh(project, "PATCH", f"issues/{issue['number']}", state="closed")
    if report.verdict is Verdict.FAIL:
        issue = issue or _gh(
            project,
            "POST",
            "issues",
            title=f"The {report.title} says fail",
            body=_body(report),
            labels=[LABEL],
        )
        marker = f"<!-- training started for {project.cycle()['until']} -->"
        if not any(marker in (one["body"] or "") for one in [*issues, issue]):
            # noted before it starts, so that it starts at most once
            _gh(project, "PATCH", f"issues/{issue['number']}", body=f"{issue['body']}\n{marker}")
            branch = os.environ.get("GITHUB_REF_NAME", "main")
            _gh(project, "POST", f"actions/workflows/{WORKFLOW}/dispatches", ref=branch)
    print(f"alarm: {report.verdict}; issue {issue['number'] if issue else 'none'}")
    return 0


def _body(report: Report) -> str:
    bad = [check for check in [*report.checks, *report.drift] if check.verdict is Verdict.FAIL]
    rows = [[check.name, number(check.value), number(check.limit), check.evidence] for check in bad]
    table = Grid(["check", "value", "limit", "evidence"], rows).markdown()
    return f"**{report.title}**: {MARKS[report.verdict]}\n\n{table}".rstrip("\n")


def _gh(project: Project, method: str, path: str, **fields: Any) -> Any:
    """What GitHub answers. Raises: ProjectError with its reason if it refuses."""
    words = ["gh", "api", "-X", method, f"repos/{os.environ['GITHUB_REPOSITORY']}/{path}"]
    if fields:
        words += ["--input", "-"]
    answer = tools.run(project, *words, given=json.dumps(fields))
    if answer.code:
        raise ProjectError(f"GitHub refused {method} {path.split('?')[0]}: {answer.reason}")
    return json.loads(answer.printed) if answer.printed.strip() else None
