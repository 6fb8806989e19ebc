"""`mlops`: only the verbs that no other tool has.

Training is `dvc repro`, serving `bentoml serve`, and `mlflow ui` shows runs. A verb imports what it
needs when it runs, so that `mlops --help` is fast.
"""

import inspect
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from functools import wraps
from json import dumps
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from mlgates.answer import Answer
from mlgates.ci import add_to_summary, set_outputs
from mlgates.command import command_line
from mlgates.errors import ProjectError
from mlgates.files import read_json
from mlgates.layout import MONITOR_PAGE, PROOF, STORED_REPORTS
from mlgates.project import Project
from mlgates.reports import terminal
from mlgates.screen import show, timed
from mlgates.verdict import EXIT_CODES, Report

# What a verb returns: an answer, a report or a text to be shown, or just its exit code.
Returned = Answer | Report | str | int
Verb = TypeVar("Verb", bound=Callable[..., Returned])

VERDICTS = {code: str(verdict) for verdict, code in EXIT_CODES.items()}
INTERRUPTED = 130  # the exit code with which Typer reports Ctrl-C

# The groups of `mlops --help`, in its order
DAILY = "Every day"
RECORD = "Releases and the record"
DATA = "Data and labels"
PROJECT = "Set up, and behind the scenes"

NATIVE_TOOLS = (
    "Train: uv run dvc repro. Serve: uv run bentoml serve. Look: uv run mlflow ui. "
    "Update: copier update. Exit codes: 0 ok, 1 error, 2 usage, 3 fail, 4 inconclusive."
)

RESTORE = (
    "To go back to the last committed state, without your uncommitted changes:"
    " git checkout . && uv run dvc checkout"
)

Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the record.")
]
ExitZero = Annotated[
    bool,
    typer.Option(
        "--exit-zero",
        help="End with 0 also on fail and inconclusive (for CI, which reads the verdict).",
    ),
]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print the answer as JSON, for a program to read.")
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show every line, with its evidence.")]

# Verbs that show the progress of their steps themselves
WITH_OWN_PROGRESS = ("up", "prove", "simulate", "run")

app = typer.Typer(
    help="Release, watch and prove the models of this project.",
    epilog=NATIVE_TOOLS,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,  # an unexpected error keeps Python's own traceback
)


@app.callback(invoke_without_command=True)
def _without_verb(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version of mlgates.")
    ] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed_version

        print(f"mlgates {installed_version('mlgates')}")
        raise typer.Exit(0)
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def verb(panel: str, *, json: bool = False) -> Callable[[Verb], Verb]:
    """Make a function `_name` of the project and its options the verb `name`.

    Its docstring is the help. Every verb has the option `--exit-zero`, too, and with `json` the
    option `--json`.
    """

    def register(function: Verb) -> Verb:
        name = function.__name__.removeprefix("_")
        app.command(name, rich_help_panel=panel)(_command(name, function, json))
        return function

    return register


def _command(name: str, function: Callable[..., Returned], has_json: bool) -> Callable[..., int]:
    """What Typer calls for a verb: the function without its first argument, the project."""
    signature = inspect.signature(function)
    _, *parameters = signature.parameters.values()
    further = {"exit_zero": ExitZero}
    if has_json:
        further["as_json"] = AsJson
    for option, annotation in further.items():
        parameters.append(
            inspect.Parameter(
                option, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation
            )
        )

    @wraps(function)
    def command(*, exit_zero: bool, as_json: bool = False, **options: object) -> int:
        verbose = bool(options.get("verbose"))
        try:
            returned = _returned(name, function, options, as_json)
            code = _show(returned, as_json=as_json, verbose=verbose)
        except ProjectError as error:
            if as_json:
                print(dumps({"error": str(error), "exit_code": error.code}))
            if not (exit_zero and error.code in VERDICTS):
                raise
            if not as_json:
                print(f"::notice::{str(error).splitlines()[0]}\n{error}")
            code = error.code
        set_outputs(verdict=VERDICTS.get(code, "error"))
        return 0 if exit_zero and code in VERDICTS else code

    # Typer reads these two to learn the options.
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters
    )
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _returned(
    name: str, function: Callable[..., Returned], options: dict[str, object], as_json: bool
) -> Returned:
    """What a verb returns; its progress is shown meanwhile."""
    project = Project.find()
    progress = nullcontext() if name in WITH_OWN_PROGRESS else timed(project, name)
    # What a verb prints on its way must not stand in front of the JSON.
    output = redirect_stdout(sys.stderr) if as_json else nullcontext()
    with output, progress:
        return function(project, **options)


def _show(returned: Returned, *, as_json: bool, verbose: bool) -> int:
    """Show what a verb returned; returns its exit code. `verbose` shows a report's every check."""
    if isinstance(returned, int):
        return returned
    if isinstance(returned, str):
        returned = Answer(returned, {"message": returned})
    if isinstance(returned, Report):
        text = terminal(returned, verbose=verbose)
        returned = Answer(text, returned.to_dict(), returned.exit_code)
    if as_json:
        print(dumps({**returned.data, "exit_code": returned.exit_code}, indent=2))
        return returned.exit_code
    show(returned.text)
    add_to_summary(returned.text)
    return returned.exit_code


# Every day


@verb(DAILY)
def _up(
    project: Project,
    no_serve: Annotated[
        bool, typer.Option("--no-serve", help="Stop before the service is started.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Where the service listens.")
    ] = 3000,
) -> Returned:
    """First run: show each native command, then run it, until a model is served."""
    from mlgates.quickstart import up

    return up(project, serve=not no_serve, port=port)


@verb(DAILY, json=True)
def _status(project: Project, verbose: Verbose = False) -> Returned:
    """Who is champion since when, the last verdicts, and what to do next."""
    from mlgates.registry.status import status

    answer, outputs = status(project, verbose=verbose)
    set_outputs(**outputs)
    return answer


@verb(DAILY, json=True)
def _promote(
    project: Project,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="ALIAS", help="The alias (the next one of promote.path)."),
    ] = None,
    override: Annotated[
        bool,
        typer.Option("--override", help="Despite the gate's verdict; with the next three options."),
    ] = False,
    by: Annotated[
        str, typer.Option("--by", metavar="NAME", help="Who answers for the override.")
    ] = "",
    until: Annotated[
        str,
        typer.Option(
            "--until", metavar="DATE", help="Its last day, at most 90 ahead, such as 2027-01-31."
        ),
    ] = "",
    reason: Reason = "",
) -> Returned:
    """Release models/candidate and give it the next alias, if all that this demands holds."""
    from mlgates.registry.override import overriding
    from mlgates.registry.promote import promote

    terms = None
    if override or by or until:
        terms = overriding(by, until, reason)
    return promote(project, to, reason, terms)


@verb(DAILY, json=True)
def _rollback(
    project: Project,
    alias: Annotated[
        str | None,
        typer.Option("--alias", metavar="ALIAS", help="The alias (the last one of promote.path)."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="RELEASE", help="Such as v1.2.0 (the one that had the alias before)."
        ),
    ] = None,
    now: Annotated[
        bool,
        typer.Option(
            "--now", help="This machine's service at once, also if git cannot be reached."
        ),
    ] = False,
    reason: Reason = "",
) -> Returned:
    """Give the alias back to the release that had it before."""
    if now and (to or alias):
        raise ProjectError(
            "--now goes back to the release before, without asking the record.",
            "Leave out --to and --alias, or leave out --now.",
            code=2,
        )
    if now:
        from mlgates.registry import local_rollback

        return local_rollback.now(project, reason)
    from mlgates.registry.promote import rollback

    return rollback(project, alias, reason, to)


@verb(DAILY, json=True)
def _monitor(
    project: Project,
    since: Annotated[
        float | None,
        typer.Option(
            "--since",
            metavar="SECONDS",
            help="Only predictions after this unix time (90 days ago).",
        ),
    ] = None,
    verbose: Verbose = False,
) -> Returned:
    """Compare what was served, and the labels that are known by now, with the reference."""
    report: Report = project.wiring("monitor").main(project, since)
    text = f"{terminal(report, verbose=verbose)}\npage: {MONITOR_PAGE.as_posix()}"
    return Answer(text, report.to_dict(), report.exit_code)


@verb(DAILY, json=True)
def _prove(
    project: Project,
    fast: Annotated[
        bool, typer.Option("--fast", help="Without the service and without whole cycles.")
    ] = False,
    verbose: Verbose = False,
) -> Returned:
    """Plant faults and show that the named check catches each."""
    from mlgates.faults.prove import prove

    proof = prove(project, fast=fast)
    return Answer(proof.text(verbose=verbose), proof.to_dict(), proof.exit_code)


@verb(DAILY, json=True)
def _report(
    project: Project,
    name: Annotated[
        Literal["gate", "validate", "monitor", "prove"], typer.Argument(help="Which report.")
    ],
    verbose: Verbose = False,
) -> Returned:
    """Show the last report again: what decided, or every check."""
    if name == "prove":
        from mlgates.faults.proof import Proof

        proof = Proof.from_dict(read_json(project.root / PROOF, "Run: uv run mlops prove"))
        return Answer(proof.text(verbose=verbose), proof.to_dict(), proof.exit_code)
    remedy = "Run: uv run mlops monitor" if name == "monitor" else "Run: uv run dvc repro"
    return Report.from_dict(read_json(project.root / STORED_REPORTS[name], remedy))


@verb(DAILY, json=True)
def _trace(
    project: Project,
    what: Annotated[
        str | None, typer.Argument(help="Release, prediction or period (a table of all releases).")
    ] = None,
) -> Returned:
    """What made a release or a prediction, and what it served; which models saw a period."""
    from mlgates.lineage.trace import prediction, trace

    table, verdict = trace(project, what)
    text = table.text()
    data: dict[str, object] = {"verdict": str(verdict), "rows": table.records()}
    if not what or not prediction(project, what):
        return Answer(text, data, EXIT_CODES[verdict])
    from mlgates.lineage.explain import explain

    explained = explain(project, what)
    data["explained"] = explained.to_dict()
    exit_code = EXIT_CODES[verdict] or explained.exit_code
    return Answer(f"{text}\n\n{explained}", data, exit_code)


# Releases and the record


@verb(RECORD, json=True)
def _reproduce(
    project: Project,
    release: Annotated[str, typer.Argument(help="v1.2.0, or the beginning of a model's id.")],
    verbose: Verbose = False,
) -> Returned:
    """Make a release again in a clean clone, and compare data, predictions and numbers."""
    from mlgates.lineage.reproduce import reproduce

    return reproduce(project, release)


@verb(RECORD)
def _follow(project: Project) -> Returned:
    """Bring the recorded champion and the look-ups to this machine's service."""
    from mlgates.registry.deploy import follow

    return follow(project)


@verb(RECORD)
def _mirror(project: Project) -> Returned:
    """Fill MLflow's registry from the record."""
    from mlgates.registry.mlflow_registry import mirror

    return mirror(project)


@verb(RECORD)
def _sign(
    project: Project,
    keyless: Annotated[
        str,
        typer.Option(
            "--keyless", metavar="IDENTITY", help="Trust what CI signs by the name of its workflow."
        ),
    ] = "",
    issuer: Annotated[
        str, typer.Option("--issuer", metavar="URL", help="Who certifies that name (GitHub).")
    ] = "",
) -> Returned:
    """Begin to sign models, or sign again what holds an alias, after a key was lost."""
    from mlgates.trust.sign import sign

    return sign(project, keyless, issuer)


@verb(RECORD)
def _wheel(project: Project) -> Returned:
    """Write what `bentoml build` packs: the library, and the version of each package it needs."""
    from mlgates.registry.wheel import for_bento

    return for_bento(project)


# Data and labels


@verb(DATA)
def _close(
    project: Project,
    period: Annotated[
        str | None, typer.Argument(help="The last closed period (the next one).")
    ] = None,
    amend: Annotated[
        str | None,
        typer.Option(
            "--amend",
            metavar="PERIOD",
            help="Instead: read this closed period again, because it was wrong.",
        ),
    ] = None,
    amend_all: Annotated[
        bool,
        typer.Option(
            "--amend-all",
            help="Instead: read every closed period again, because the contract has other columns.",
        ),
    ] = False,
) -> Returned:
    """Open the next cycle: the last closed period, and the champion to beat."""
    from mlgates.registry import training_cycle

    if amend_all:
        return training_cycle.amend_all(project)
    if amend:
        return training_cycle.amend(project, amend)
    return training_cycle.close(project, period)


@verb(DATA)
def _outcomes(
    project: Project,
    file: Annotated[Path, typer.Argument(help="CSV or Parquet with the key and the label.")],
) -> Returned:
    """Take in the labels of what was predicted."""
    from mlgates.monitoring.outcomes import record

    return record(project, file)


@verb(DATA)
def _erase(
    project: Project,
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="The key (several columns: with commas) (all ids so far).",
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="CSV or Parquet that holds the ids in columns of their names."),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            "--column",
            metavar="NAME",
            help="The ids are values of this request column, not keys.",
        ),
    ] = None,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge", help="Old versions of data and models, too. This cannot be undone."
        ),
    ] = False,
    reason: Reason = "",
) -> Returned:
    """Forget somebody: no data version, log or model has the rows of an id again."""
    from mlgates.privacy.erase import erase

    return erase(project, ids or [], file, column, reason, purges=purge)


@verb(DATA)
def _draft(
    project: Project,
    source: Annotated[str, typer.Argument(help="A CSV or Parquet file, or the URL of a database.")],
    target: Annotated[
        str, typer.Option("--target", metavar="COLUMN", help="What is to be predicted.")
    ],
    id_column: Annotated[
        str, typer.Option("--id", metavar="COLUMN", help="What tells rows apart.")
    ] = "",
    time: Annotated[
        str,
        typer.Option(
            "--time",
            metavar="COLUMN",
            help="The moment of the decision, or a year: it makes the periods.",
        ),
    ] = "",
    group: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="COLUMN", help="A protected group; may be repeated."),
    ] = None,
    query: Annotated[
        str,
        typer.Option("--query", metavar="SQL", help="For a database: a table's name, or SQL."),
    ] = "",
    task: Annotated[
        Literal["binary", "multiclass", "regression"] | None,
        typer.Option("--task", help="If the target's values mislead."),
    ] = None,
) -> Returned:
    """Write the four files from a table of your own; the files that they replace are kept."""
    from mlgates.draft.draft import Wishes, draft

    wishes = Wishes(target, id_column, time, tuple(group or ()), task or "")
    return draft(project, source, wishes, query)


# Set up, and behind the scenes


@verb(PROJECT, json=True)
def _params(project: Project) -> Returned:
    """Each parameter: its value, where it is set, and what it means."""
    from mlgates.settings import shown

    return shown(project.root)


@verb(PROJECT)
def _simulate(
    project: Project,
    periods: Annotated[
        int, typer.Option("--periods", metavar="N", help="How many periods are played.")
    ] = 4,
) -> Returned:
    """Play the next periods in a scratch clone: serve, watch, retrain, gate, follow."""
    from mlgates.simulate import simulate

    return simulate(project, periods)


@verb(PROJECT)
def _run(
    project: Project,
    stage: Annotated[
        str,
        typer.Argument(help="ingest, validate, train, studies, evaluate, gate or track."),
    ],
) -> Returned:
    """Run a stage of dvc.yaml, as DVC does: src/*/pipeline/STAGE.py."""
    from mlgates.results import check_results

    check_results(project)
    project.stage(stage)  # nothing has run yet where the wiring file itself cannot be used
    try:
        with timed(project, stage):
            project.run_stage(stage)
    except ProjectError as error:
        raise ProjectError(str(error), RESTORE, code=error.code) from error
    return 0


@verb(PROJECT)
def _alarm(project: Project) -> Returned:
    """Turn the last monitor report into one GitHub issue, and start training where that helps."""
    from mlgates.monitoring.alerts import alarm

    return alarm(project)


@verb(PROJECT)
def _eject(project: Project) -> Returned:
    """Carry the library in the project, as vendor/mlgates: it is then yours to change."""
    from mlgates.eject import eject

    return eject(project)


def run(words: list[str]) -> int:
    """Run one verb and return its exit code.

    Raises: ProjectError, with exit code 2 for a verb or an option that does not exist.
    """
    try:
        code = app(words, prog_name="mlops", standalone_mode=False)
    except typer.TyperException as error:
        known = words[:1] if words[:1] and _is_verb(words[0]) else []
        help_command = " ".join(["mlops", *known, "--help"])
        raise ProjectError(error.format_message(), f"See: {help_command}", code=2) from None
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return int(code or 0)


def _is_verb(word: str) -> bool:
    return any(command.name == word for command in app.registered_commands)


def main() -> int:
    """The console script."""
    return command_line(lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    raise SystemExit(main())
