"""alarm: the last monitor report as one GitHub issue, and at most one training for each closed period."""

import json
import os
import shutil
import subprocess
from typing import Any

from mlgates.errors import ProjectError
from mlgates.files import read_json
from mlgates.layout import MONITOR
from mlgates.project import Project
from mlgates.reports import MARKS, number
from mlgates.verdict import Report, Verdict

LABEL, WORKFLOW = "monitor", "ct.yml"
ACTS = {Verdict.FAIL: "open or comment the issue and start training", Verdict.OK: "close the issue, if one is open"}


def alarm(project: Project) -> int:
    """Fail: open the issue or comment, and start training once per period. Ok: comment and close. Else touch nothing.

    Without GitHub (`GITHUB_REPOSITORY` and `gh`) it says what it would do. Raises: ProjectError if GitHub refuses.
    """
    report = Report.from_dict(read_json(project.root / MONITOR / "latest.json", "Run: uv run mlops monitor"))
    if report.verdict not in ACTS or not os.environ.get("GITHUB_REPOSITORY") or not shutil.which("gh"):
        print(f"alarm: {report.verdict}; on GitHub this means: {ACTS.get(report.verdict, 'touch nothing')}")
        return 0
    found = _gh("GET", f"issues?state=all&labels={LABEL}&per_page=100")
    issues = [issue for issue in found if "pull_request" not in issue]
    issue = next((issue for issue in issues if issue["state"] == "open"), None)
    if issue:
        _gh("POST", f"issues/{issue['number']}/comments", body=_body(report))
    if issue and report.verdict is Verdict.OK:
        _gh("PATCH", f"issues/{issue['number']}", state="closed")
    if report.verdict is Verdict.FAIL:
        issue = issue or _gh(
            "POST", "issues", title=f"The {report.title} says fail", body=_body(report), labels=[LABEL]
        )
        marker = f"<!-- training started for {project.cycle()['until']} -->"
        if not any(marker in (one["body"] or "") for one in [*issues, issue]):
            _gh("PATCH", f"issues/{issue['number']}", body=f"{issue['body']}\n{marker}")  # first, so at most once
            _gh("POST", f"actions/workflows/{WORKFLOW}/dispatches", ref=os.environ.get("GITHUB_REF_NAME", "main"))
    print(f"alarm: {report.verdict}; issue {issue['number'] if issue else 'none'}")
    return 0


def _body(report: Report) -> str:
    bad = [check for check in [*report.checks, *report.drift] if check.verdict is Verdict.FAIL]
    lines = [f"| {c.name} | {number(c.value)} | {number(c.limit)} | {c.evidence.replace('|', '/')} |" for c in bad]
    table = ["| check | value | limit | evidence |", "|---|---|---|---|", *lines] if lines else []
    return "\n".join([f"**{report.title}**: {MARKS[report.verdict]}", "", *table])


def _gh(method: str, path: str, **fields: Any) -> Any:
    command = ["gh", "api", "-X", method, f"repos/{os.environ['GITHUB_REPOSITORY']}/{path}"]
    command += ["--input", "-"] if fields else []
    done = subprocess.run(command, input=json.dumps(fields), capture_output=True, text=True)
    if done.returncode:
        raise ProjectError(f"GitHub refused {method} {path.split('?')[0]}: {' '.join(done.stderr.split())[:200]}")
    return json.loads(done.stdout) if done.stdout.strip() else None
