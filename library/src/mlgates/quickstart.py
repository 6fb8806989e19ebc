"""`mlops up`: the commands of a first day, each shown and then run. Every one of them also works by hand."""

import json
import shutil
import time
from contextlib import suppress

from mlgates import tools
from mlgates.errors import ProjectError
from mlgates.layout import CANDIDATE, REFERENCE
from mlgates.local_service import PORT, _free, ask, served
from mlgates.project import Project


def step(project: Project, why: str, *words: str) -> None:
    """Show a command as a user would type it, and run it in the project.

    Raises: ProjectError if it ends with an error; the command has said why.
    """
    by = "" if words[0] == "git" else "uv run "
    print(f"\n# {why}\n$ {by}{tools.as_typed(words)}", flush=True)
    tools.show(project, *words, remedy="Mend that, then run `uv run mlops up` again.")


def commit(project: Project, message: str) -> None:
    """Commit what is new. Raises: ProjectError if git does not know who commits."""
    from mlgates.registry.git import changes, identity

    if changes(project.root):
        identity(project.root)
        step(project, "keep it", "git", "add", "--all")
        told = "in git: code, parameters, locks and reports; never data or models"
        step(project, told, "git", "commit", "--quiet", "-m", message)


def up(project: Project, *, serve: bool = True) -> int:
    """From a fresh copy to a served model; what is already done is not done again.

    Raises: ProjectError if a step fails, or if the service's port is in use.
    """
    if not shutil.which("git"):
        raise ProjectError("git is not installed.", "Install it, then run `uv run mlops up` again.")
    if serve:
        _free(PORT)
    if not (project.root / ".git").exists():
        step(
            project, "the record lives in git", "git", "init", "--quiet", "--initial-branch", "main"
        )
    from mlgates.registry import releases
    from mlgates.trust import keys, verify

    unheld = releases.champion(project, project.settings().promote.path[0]) is None
    if unheld and not verify.keys(project):
        key = keys.make(project)[0].relative_to(project.root)
        print(f"\n# your key signs models; others trust its public half: {key}")
    commit(project, "Start from copier-mlops")
    step(
        project,
        "ingest, validate, train, studies, evaluate, gate, track (dvc.yaml)",
        "dvc",
        "repro",
    )
    commit(project, "First training")
    if unheld:
        step(
            project,
            "release it, and make it champion",
            "mlops",
            "promote",
            "--reason",
            "first release",
        )
    if not serve:
        return 0
    print("\n# over HTTP; its log is var/serve.log\n$ uv run bentoml serve", flush=True)
    with served(project, PORT) as url:
        body = json.dumps({"rows": [example(project)]})
        print(
            f"\nThe champion answers at {url} (a page to try it; {url}/metrics has its numbers). For example:\n"
        )
        print(f"  curl -s {url}/predict -H 'Content-Type: application/json' -d '{body}'\n")
        print(json.dumps(ask(url, [example(project)])))
        print(
            "\nIn another terminal: uv run mlops status; uv run mlops prove; uv run mlops simulate; uv run mlflow ui"
        )
        print("Ctrl-C stops the service.", flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
    print("\nThe service has stopped; start it again with: uv run bentoml serve")
    return 0


def example(project: Project) -> dict[str, object]:
    """A request that a caller could send, from the reference rows."""
    import pandas as pd

    contract = project.contract
    rows = pd.read_parquet(
        project.root / CANDIDATE / REFERENCE, columns=list(contract.request_columns)
    )
    return contract.payload(rows.tail(1))[0]
