"""`mlops up`: the commands of a first day, each shown and then run. Each also works by hand."""

import json
import shutil
import time
from contextlib import suppress

from mlgates import tools
from mlgates.errors import ProjectError
from mlgates.layout import CANDIDATE, REFERENCE, SERVE_LOG
from mlgates.local_service import PORT, ask, check_port_is_free, served
from mlgates.project import Project

AN_HOUR = 3600  # seconds


def step(project: Project, why: str, *words: str) -> None:
    """Show a command as a user would type it, and run it in the project.

    Raises: ProjectError if it ends with an error; the command itself has printed why.
    """
    prefix = "" if words[0] == "git" else "uv run "
    print(f"\n# {why}\n$ {prefix}{tools.as_typed(words)}", flush=True)
    tools.show(project, *words, remedy="Fix that, then run `uv run mlops up` again.")


def commit(project: Project, message: str) -> None:
    """Commit all changes, if there are any.

    Raises: ProjectError if git does not know the name and address of the committer.
    """
    from mlgates.registry.git import changes, identity

    if not changes(project.root):
        return
    identity(project.root)
    step(project, "keep the changes", "git", "add", "--all")
    step(
        project,
        "git gets code, parameters, locks and reports; never data or models",
        "git", "commit", "--quiet", "-m", message,
    )  # fmt: skip


def up(project: Project, *, serve: bool = True, port: int = PORT) -> int:
    """From a fresh copy of the template to a served model; what is done already is left out.

    Returns the exit code.
    Raises: ProjectError if a step fails, or if the service's port is in use.
    """
    if not shutil.which("git"):
        raise ProjectError("git is not installed.", "Install it, then run `uv run mlops up` again.")
    if serve:
        # Training takes minutes, so this error comes first.
        check_port_is_free(port)

    _release_first_model(project)
    if serve:
        _serve_until_interrupted(project, port)
    return 0


def _release_first_model(project: Project) -> None:
    """Train, and promote the model if there is no champion yet."""
    from mlgates.registry import releases
    from mlgates.trust import keys, verify

    if not (project.root / ".git").exists():
        step(
            project,
            "git keeps the record of releases",
            "git", "init", "--quiet", "--initial-branch", "main",
        )  # fmt: skip

    first_alias = project.settings().promote.path[0]
    has_champion = releases.champion(project, first_alias) is not None
    if not has_champion and not verify.trusted_keys(project):
        public_key = keys.make(project)[0].relative_to(project.root)
        print(f"\n# your new key signs models; others verify them by its public half: {public_key}")

    commit(project, "Start from copier-mlops")
    step(
        project,
        "ingest, validate, train, studies, evaluate, gate, track (dvc.yaml)",
        "dvc", "repro",
    )  # fmt: skip
    commit(project, "First training")
    if not has_champion:
        step(
            project,
            "release the model, and make it the champion",
            "mlops", "promote", "--reason", "first release",
        )  # fmt: skip


def _serve_until_interrupted(project: Project, port: int) -> None:
    """Serve the champion, and show a request and its answer; ends with Ctrl-C."""
    log = SERVE_LOG.as_posix()
    option = "" if port == PORT else f" --port {port}"
    command = f"uv run bentoml serve{option}"
    print(f"\n# the service, over HTTP; its log is {log}\n$ {command}", flush=True)
    with served(project, port) as url:
        row = example(project)
        body = json.dumps({"rows": [row]})
        print(f"\nThe champion answers at {url}, which is also a page to try it.")
        print(f"Its metrics are at {url}/metrics. An example of a request and its answer:\n")
        print(f"  curl -s {url}/predict -H 'Content-Type: application/json' -d '{body}'\n")
        print(json.dumps(ask(url, [row])))
        print("\nNow try in another terminal:")
        for command in ("mlops status", "mlops prove", "mlops simulate", "mlflow ui"):
            print(f"  uv run {command}")
        print("Ctrl-C stops the service.", flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(AN_HOUR)
    print("\nThe service has stopped. Start it again with: uv run bentoml serve")


def example(project: Project) -> dict[str, object]:
    """A request that a caller could send: the last of the reference rows."""
    import pandas as pd

    contract = project.contract
    rows = pd.read_parquet(
        project.root / CANDIDATE / REFERENCE, columns=list(contract.request_columns)
    )
    return contract.payload(rows.tail(1))[0]
