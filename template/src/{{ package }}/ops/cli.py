"""`mlops`: only the verbs that no tool has. Training is `dvc repro`, serving `bentoml serve`, looking `mlflow ui`."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .project import ProjectError, command_line, find_root, nearest, say, tell_ci
from .verdict import EXIT_CODES

Arguments = argparse.Namespace


@dataclass(frozen=True)
class Verb:
    """A verb: its help, its options, and the function that imports what it needs when it runs."""

    help: str
    run: Callable[[Arguments], int]
    options: tuple[tuple[str, dict[str, object]], ...] = ()


def _up(arguments: Arguments) -> int:
    from .up import up

    return up(find_root(), serve=not arguments.no_serve)


def _status(_: Arguments) -> int:
    from .registry.status import status

    told, outputs = status(find_root())
    say(told)
    tell_ci(**outputs)
    return 0


def _promote(arguments: Arguments) -> int:
    from .registry.override import overriding
    from .registry.promote import promote

    given = (arguments.by, arguments.until, arguments.reason)
    override = overriding(*given) if arguments.override or arguments.by or arguments.until else None
    say(promote(find_root(), arguments.to, arguments.reason, override))
    return 0


def _rollback(arguments: Arguments) -> int:
    if arguments.now:
        from .registry.now import now

        say(now(find_root(), arguments.reason))
        return 0
    from .registry.promote import rollback

    say(rollback(find_root(), arguments.alias, arguments.reason))
    return 0


def _monitor(arguments: Arguments) -> int:
    from .monitoring.monitor import monitor
    from .report import terminal

    report = monitor(find_root(), arguments.since)
    say(terminal(report))
    print("page: var/monitor/latest.html")
    return report.exit_code


def _trace(arguments: Arguments) -> int:
    from .registry.trace import prediction, trace

    root, what = find_root(), arguments.what
    text, verdict = trace(root, what)
    say(text)
    if not what or not prediction(root, what):
        return EXIT_CODES[verdict]
    from .monitoring.explain import explain

    explained = explain(root, what)
    say(f"\n{explained}")
    return EXIT_CODES[verdict] or explained.exit_code


def _reproduce(arguments: Arguments) -> int:
    from .registry.reproduce import reproduce
    from .report import terminal

    report = reproduce(find_root(), arguments.release)
    say(terminal(report))
    return report.exit_code


def _alarm(_: Arguments) -> int:
    from .monitoring.alarm import alarm

    return alarm(find_root())


def _prove(arguments: Arguments) -> int:
    from .prove import prove

    return prove(find_root(), fast=arguments.fast)


def _close(arguments: Arguments) -> int:
    from .registry.cycle import amend, close

    say(amend(find_root(), arguments.amend) if arguments.amend else close(find_root(), arguments.period))
    return 0


def _draft(arguments: Arguments) -> int:
    from .draft import Wishes, draft

    wishes = Wishes(
        arguments.target, arguments.id or "", arguments.time or "", tuple(arguments.group), arguments.task or ""
    )
    say(draft(find_root(), arguments.source, wishes, arguments.query or ""))
    return 0


def _mirror(_: Arguments) -> int:
    from .registry.mirror import mirror

    say(mirror(find_root()))
    return 0


def _follow(_: Arguments) -> int:
    from .registry.follow import follow

    say(follow(find_root()))
    return 0


def _outcomes(arguments: Arguments) -> int:
    from .monitoring.outcomes import record

    say(record(find_root(), arguments.file))
    return 0


def _erase(arguments: Arguments) -> int:
    from .registry.erase import erase

    asked = (arguments.ids, arguments.file, arguments.column, arguments.reason)
    say(erase(find_root(), *asked, purges=arguments.purge))
    return 0


def _simulate(arguments: Arguments) -> int:
    from .simulate import simulate

    return simulate(find_root(), arguments.periods)


REASON: tuple[str, dict[str, object]] = (
    "--reason",
    {"default": "", "metavar": "TEXT", "help": "why; kept in the record"},
)
EXIT_ZERO: tuple[str, dict[str, object]] = (
    "--exit-zero",
    {"action": "store_true", "help": "end with 0 also on fail and insufficient (for CI, which reads the verdict)"},
)
VERDICTS = {code: str(verdict) for verdict, code in EXIT_CODES.items()}
DAILY = {
    "up": Verb(
        "first run: shows each native command, then runs it, until a model is served",
        _up,
        (("--no-serve", {"action": "store_true", "help": "stop before the service is started"}),),
    ),
    "status": Verb("who is champion since when, the last verdicts, and what waits for whom", _status),
    "promote": Verb(
        "release models/candidate and give it the next alias, if everything that this demands holds",
        _promote,
        (
            ("--to", {"metavar": "ALIAS", "help": "the alias (the next one of promote.path)"}),
            ("--override", {"action": "store_true", "help": "despite the gate's verdict; with the next three"}),
            ("--by", {"default": "", "metavar": "NAME", "help": "who answers for it"}),
            ("--until", {"default": "", "metavar": "DATE", "help": "the last day, at most 90 ahead: 2027-01-31"}),
            REASON,
        ),
    ),
    "rollback": Verb(
        "assign the release before to the alias again",
        _rollback,
        (
            ("--alias", {"metavar": "ALIAS", "help": "the alias (the last one of promote.path)"}),
            ("--now", {"action": "store_true", "help": "this machine's service at once, even with git away"}),
            REASON,
        ),
    ),
    "monitor": Verb(
        "compare what was served, and what came true, with the reference",
        _monitor,
        (
            (
                "--since",
                {"type": float, "metavar": "SECONDS", "help": "only predictions after this unix time (90 days ago)"},
            ),
        ),
    ),
    "prove": Verb(
        "plant faults and show that the named check catches each",
        _prove,
        (("--fast", {"action": "store_true", "help": "without the service and without a full repro"}),),
    ),
    "trace": Verb(
        "what made a release or a prediction, and what it served; which models saw a period",
        _trace,
        (("what", {"nargs": "?", "help": "release, prediction or period (a table of all releases)"}),),
    ),
}
OTHER = {
    "reproduce": Verb(
        "make a release again in a clean clone, and compare data, predictions and numbers",
        _reproduce,
        (("release", {"help": "v1.2.0, or the beginning of a fingerprint"}),),
    ),
    "close": Verb(
        "open the next cycle: the last closed period and the champion to beat",
        _close,
        (
            ("period", {"nargs": "?", "help": "the last closed period (the next one)"}),
            ("--amend", {"metavar": "PERIOD", "help": "instead: read this closed period again, because it was wrong"}),
        ),
    ),
    "follow": Verb("bring the recorded champion and the look-ups to this machine's service", _follow),
    "draft": Verb(
        "write the four files from a table of your own; what they replace is kept",
        _draft,
        (
            ("source", {"help": "CSV or Parquet file, or the URL of a database"}),
            ("--target", {"required": True, "metavar": "COLUMN", "help": "what is to be predicted"}),
            ("--id", {"metavar": "COLUMN", "help": "what tells rows apart"}),
            ("--time", {"metavar": "COLUMN", "help": "the moment of the decision, or a year: it makes the periods"}),
            ("--group", {"action": "append", "default": [], "metavar": "COLUMN", "help": "a protected group"}),
            ("--query", {"metavar": "SQL", "help": "for a database: a table's name, or SQL"}),
            ("--task", {"choices": ["binary", "multiclass", "regression"], "help": "if the target's values mislead"}),
        ),
    ),
    "mirror": Verb("fill MLflow's registry from the record", _mirror),
    "outcomes": Verb(
        "take in what came true", _outcomes, (("file", {"type": Path, "help": "CSV or Parquet: key and outcome"}),)
    ),
    "erase": Verb(
        "forget somebody: mark the rows of an id, so that no data version, log or model has them again",
        _erase,
        (
            (
                "ids",
                {"nargs": "*", "metavar": "ID", "help": "the key (several columns: with commas); none: all so far"},
            ),
            ("--file", {"type": Path, "help": "CSV or Parquet that holds the ids in columns of their names"}),
            ("--column", {"metavar": "NAME", "help": "the ids are values of this request column, not keys"}),
            ("--purge", {"action": "store_true", "help": "old versions of data and models, too; cannot be undone"}),
            REASON,
        ),
    ),
    "alarm": Verb("turn the last monitor report into one GitHub issue and a training", _alarm),
    "simulate": Verb(
        "play the next periods in a scratch clone: serve, watch, retrain, gate, follow",
        _simulate,
        (("--periods", {"type": int, "default": 4, "metavar": "N", "help": "how many (4)"}),),
    ),
}
VERBS = DAILY | OTHER


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise ProjectError(message, f"See: {self.prog} --help", code=2)


def _overview() -> str:
    lines = ["usage: mlops VERB [options]      mlops VERB --help shows the options", "", "every day:"]
    lines += [f"  {name:<9} {verb.help}" for name, verb in DAILY.items()]
    lines += ["", "besides:", *(f"  {name:<9} {verb.help}" for name, verb in OTHER.items())]
    native = "train: uv run dvc repro    serve: uv run bentoml serve    look: uv run mlflow ui    update: copier update"
    return "\n".join([*lines, "", native, "exit codes: 0 ok, 1 error, 2 usage, 3 fail, 4 insufficient"])


def run(words: list[str]) -> int:
    """Run one verb and return its exit code. Raises: ProjectError (exit code 2) for what does not exist."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if words else 2
    if words[0] not in VERBS:
        raise ProjectError(f"mlops has no verb {words[0]!r}.", nearest(words[0], VERBS), code=2)
    verb = VERBS[words[0]]
    parser = _Parser(prog=f"mlops {words[0]}", description=verb.help)
    for name, settings in (*verb.options, EXIT_ZERO):
        parser.add_argument(name, **settings)  # type: ignore[arg-type]
    arguments = parser.parse_args(words[1:])
    try:
        code = verb.run(arguments)
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
