"""`mlops`: only the verbs that no tool has. Training is `dvc repro`, serving `bentoml serve`, looking `mlflow ui`."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlgates.ci import say, tell_ci
from mlgates.command import command_line
from mlgates.errors import ProjectError, nearest
from mlgates.project import Project
from mlgates.reports import terminal
from mlgates.verdict import EXIT_CODES, Report

Arguments = argparse.Namespace
Option = tuple[str, dict[str, object]]
Answer = (
    Report | str | int
)  # what a verb gives: a report or a text to be told, or just its exit code
Run = Callable[[Project, Arguments], Answer]


@dataclass(frozen=True)
class Verb:
    """A verb: its help, its options, and the function that imports what it needs when it runs."""

    help: str
    run: Run
    options: tuple[Option, ...]
    daily: bool


VERBS: dict[str, Verb] = {}  # in the order of the help
VERDICTS = {code: str(verdict) for verdict, code in EXIT_CODES.items()}


def option(name: str, **settings: object) -> Option:
    """An option or argument, as `argparse` describes it."""
    return name, settings


REASON = option("--reason", default="", metavar="TEXT", help="why; kept in the record")

EXIT_ZERO = option(
    "--exit-zero",
    action="store_true",
    help="end with 0 also on fail and inconclusive (for CI, which reads the verdict)",
)


def verb(told: str, *options: Option, daily: bool = False) -> Callable[[Run], None]:
    """Make `_name`, a function of the project's root and the arguments, the verb `name`."""

    def add(run: Run) -> None:
        VERBS[run.__name__.removeprefix("_")] = Verb(told, run, (*options, EXIT_ZERO), daily)

    return add


@verb(
    "first run: shows each native command, then runs it, until a model is served",
    option("--no-serve", action="store_true", help="stop before the service is started"),
    daily=True,
)
def _up(project: Project, given: Arguments) -> Answer:
    from mlgates.quickstart import up

    return up(project, serve=not given.no_serve)


@verb("who is champion since when, the last verdicts, and what waits for whom", daily=True)
def _status(project: Project, _: Arguments) -> Answer:
    from mlgates.registry.status import status

    told, outputs = status(project)
    tell_ci(**outputs)
    return told


@verb("each parameter: its value, where it is set, and what it means")
def _params(project: Project, _: Arguments) -> Answer:
    from mlgates.settings import shown

    return shown(project.root)


@verb(
    "release models/candidate and give it the next alias, if everything that this demands holds",
    option("--to", metavar="ALIAS", help="the alias (the next one of promote.path)"),
    option(
        "--override", action="store_true", help="despite the gate's verdict; with the next three"
    ),
    option("--by", default="", metavar="NAME", help="who answers for it"),
    option(
        "--until", default="", metavar="DATE", help="the last day, at most 90 ahead: 2027-01-31"
    ),
    REASON,
    daily=True,
)
def _promote(project: Project, given: Arguments) -> Answer:
    from mlgates.registry.override import overriding
    from mlgates.registry.promote import promote

    wanted = given.override or given.by or given.until
    override = overriding(given.by, given.until, given.reason) if wanted else None
    return promote(project, given.to, given.reason, override)


@verb(
    "assign the release before to the alias again",
    option("--alias", metavar="ALIAS", help="the alias (the last one of promote.path)"),
    option("--now", action="store_true", help="this machine's service at once, even with git away"),
    REASON,
    daily=True,
)
def _rollback(project: Project, given: Arguments) -> Answer:
    if given.now:
        from mlgates.registry.local_rollback import now

        return now(project, given.reason)
    from mlgates.registry.promote import rollback

    return rollback(project, given.alias, given.reason)


@verb(
    "compare what was served, and what came true, with the reference",
    option(
        "--since",
        type=float,
        metavar="SECONDS",
        help="only predictions after this unix time (90 days ago)",
    ),
    daily=True,
)
def _monitor(project: Project, given: Arguments) -> Answer:
    report: Report = project.wiring("monitor").main(project, given.since)
    say(terminal(report))
    print("page: var/monitor/latest.html")
    return report.exit_code


@verb(
    "plant faults and show that the named check catches each",
    option("--fast", action="store_true", help="without the service and without a full repro"),
    daily=True,
)
def _prove(project: Project, given: Arguments) -> Answer:
    from mlgates.faults.prove import prove

    return prove(project, fast=given.fast)


@verb(
    "what made a release or a prediction, and what it served; which models saw a period",
    option("what", nargs="?", help="release, prediction or period (a table of all releases)"),
    daily=True,
)
def _trace(project: Project, given: Arguments) -> Answer:
    from mlgates.lineage.trace import prediction, trace

    text, verdict = trace(project, given.what)
    say(text)
    if not given.what or not prediction(project, given.what):
        return EXIT_CODES[verdict]
    from mlgates.lineage.explain import explain

    explained = explain(project, given.what)
    say(f"\n{explained}")
    return EXIT_CODES[verdict] or explained.exit_code


@verb(
    "make a release again in a clean clone, and compare data, predictions and numbers",
    option("release", help="v1.2.0, or the beginning of a fingerprint"),
)
def _reproduce(project: Project, given: Arguments) -> Answer:
    from mlgates.lineage.reproduce import reproduce

    return reproduce(project, given.release)


@verb(
    "open the next cycle: the last closed period and the champion to beat",
    option("period", nargs="?", help="the last closed period (the next one)"),
    option(
        "--amend",
        metavar="PERIOD",
        help="instead: read this closed period again, because it was wrong",
    ),
    option(
        "--amend-all",
        action="store_true",
        help="instead: read every closed period again, because the contract has other columns",
    ),
)
def _close(project: Project, given: Arguments) -> Answer:
    from mlgates.registry.training_cycle import amend, amend_all, close

    if given.amend_all:
        return amend_all(project)
    return amend(project, given.amend) if given.amend else close(project, given.period)


@verb(
    "run a stage of dvc.yaml, as DVC does: src/*/pipeline/STAGE.py",
    option("stage", help="ingest, validate, train, studies, evaluate, gate or track"),
)
def _run(project: Project, given: Arguments) -> Answer:
    from mlgates.results import check_results

    check_results(project)
    project.run_stage(given.stage)
    return 0


@verb(
    "make the library a file, with the numbers of all that a request needs: what `bentoml build` packs"
)
def _wheel(project: Project, _: Arguments) -> Answer:
    from mlgates.registry.wheel import for_bento

    return for_bento(project)


@verb("carry the library in the project: vendor/mlgates, which is then yours to read and to change")
def _eject(project: Project, _: Arguments) -> Answer:
    from mlgates.eject import eject

    return eject(project)


@verb(
    "begin to sign models, or sign again what holds an alias, after a key was lost",
    option(
        "--keyless",
        default="",
        metavar="IDENTITY",
        help="trust what CI signs by the name of its workflow",
    ),
    option("--issuer", default="", metavar="URL", help="who says so of a CI run (GitHub)"),
)
def _sign(project: Project, given: Arguments) -> Answer:
    from mlgates.trust.sign import sign

    return sign(project, given.keyless, given.issuer)


@verb("bring the recorded champion and the look-ups to this machine's service")
def _follow(project: Project, _: Arguments) -> Answer:
    from mlgates.registry.deploy import follow

    return follow(project)


@verb(
    "write the four files from a table of your own; what they replace is kept",
    option("source", help="CSV or Parquet file, or the URL of a database"),
    option("--target", required=True, metavar="COLUMN", help="what is to be predicted"),
    option("--id", default="", metavar="COLUMN", help="what tells rows apart"),
    option(
        "--time",
        default="",
        metavar="COLUMN",
        help="the moment of the decision, or a year: it makes the periods",
    ),
    option("--group", action="append", default=[], metavar="COLUMN", help="a protected group"),
    option("--query", default="", metavar="SQL", help="for a database: a table's name, or SQL"),
    option(
        "--task",
        default="",
        choices=["binary", "multiclass", "regression"],
        help="if the target's values mislead",
    ),
)
def _draft(project: Project, given: Arguments) -> Answer:
    from mlgates.draft.draft import Wishes, draft

    wishes = Wishes(given.target, given.id, given.time, tuple(given.group), given.task)
    return draft(project, given.source, wishes, given.query)


@verb("fill MLflow's registry from the record")
def _mirror(project: Project, _: Arguments) -> Answer:
    from mlgates.registry.mlflow_registry import mirror

    return mirror(project)


@verb("take in what came true", option("file", type=Path, help="CSV or Parquet: key and outcome"))
def _outcomes(project: Project, given: Arguments) -> Answer:
    from mlgates.monitoring.outcomes import record

    return record(project, given.file)


@verb(
    "forget somebody: mark the rows of an id, so that no data version, log or model has them again",
    option(
        "ids",
        nargs="*",
        metavar="ID",
        help="the key (several columns: with commas); none: all so far",
    ),
    option("--file", type=Path, help="CSV or Parquet that holds the ids in columns of their names"),
    option("--column", metavar="NAME", help="the ids are values of this request column, not keys"),
    option(
        "--purge",
        action="store_true",
        help="old versions of data and models, too; cannot be undone",
    ),
    REASON,
)
def _erase(project: Project, given: Arguments) -> Answer:
    from mlgates.privacy.erase import erase

    return erase(project, given.ids, given.file, given.column, given.reason, purges=given.purge)


@verb("turn the last monitor report into one GitHub issue and a training")
def _alarm(project: Project, _: Arguments) -> Answer:
    from mlgates.monitoring.alerts import alarm

    return alarm(project)


@verb(
    "play the next periods in a scratch clone: serve, watch, retrain, gate, follow",
    option("--periods", type=int, default=4, metavar="N", help="how many (4)"),
)
def _simulate(project: Project, given: Arguments) -> Answer:
    from mlgates.simulate import simulate

    return simulate(project, given.periods)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise ProjectError(message, f"See: {self.prog} --help", code=2)


def _overview() -> str:
    lines = ["usage: mlops VERB [options]      mlops VERB --help shows the options"]
    for title, daily in (("every day:", True), ("besides:", False)):
        lines += [
            "",
            title,
            *(f"  {name:<9} {one.help}" for name, one in VERBS.items() if one.daily is daily),
        ]
    native = "train: uv run dvc repro    serve: uv run bentoml serve    look: uv run mlflow ui    update: copier update"
    return "\n".join(
        [*lines, "", native, "exit codes: 0 ok, 1 error, 2 usage, 3 fail, 4 inconclusive"]
    )


def _told(answer: Answer) -> int:
    """Say what a verb answered; returns its exit code."""
    if isinstance(answer, int):
        return answer
    say(answer if isinstance(answer, str) else terminal(answer))
    return 0 if isinstance(answer, str) else answer.exit_code


def run(words: list[str]) -> int:
    """Run one verb and return its exit code. Raises: ProjectError (exit code 2) for what does not exist."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if words else 2
    if words[0] not in VERBS:
        raise ProjectError(f"mlops has no verb {words[0]!r}.", nearest(words[0], VERBS), code=2)
    chosen = VERBS[words[0]]
    parser = _Parser(prog=f"mlops {words[0]}", description=chosen.help)
    for name, settings in chosen.options:
        parser.add_argument(name, **settings)  # type: ignore[arg-type]
    arguments = parser.parse_args(words[1:])
    try:
        code = _told(chosen.run(Project.find(), arguments))
    except ProjectError as error:
        if not (arguments.exit_zero and error.code in VERDICTS):
            raise
        print(f"::notice::{str(error).splitlines()[0]}\n{error}")
        code = error.code
    tell_ci(verdict=VERDICTS.get(code, "error"))
    return 0 if arguments.exit_zero and code in VERDICTS else code


def main() -> int:
    """The console script."""
    return command_line(lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    raise SystemExit(main())
