"""The drill: features and columns are changed in a scratch clone while its service answers.

Six changes follow each other: a feature is added, changed, renamed and removed, a column is added
and removed. After each one the clone trains, judges and promotes with the team's own wiring, and
the service must answer with just that release. No request may be lost while releases with other
features take each other's place. A change of columns changes the contract: there the running
service must refuse, and say that it has to be deployed anew.
"""

import ast
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mlgates import tools
from mlgates.contract import Contract
from mlgates.errors import ProjectError
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy
from mlgates.files import read_json, read_yaml, write_text
from mlgates.layout import CANDIDATE, DVC_LOCK, GATE, PARAMS, REFERENCE, REPORTS, SOURCES
from mlgates.local_service import ask, free_port, served
from mlgates.model_folder import load
from mlgates.monitoring import skew
from mlgates.project import Project
from mlgates.registry.git import git
from mlgates.registry.sandbox import scratch
from mlgates.serving import prediction_log
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict, at_most

FEATURE, RENAMED, COLUMN = "drilled", "drilled_again", "drilled_column"
MOST_FILES = 2  # that a new feature may need: features.py, and its test
ROWS = 100  # in each request
SECONDS_BETWEEN = 0.2  # the requests that go on while releases change
OVERRIDE_DAYS = 1

# Enough to judge a model, and no more: what is drilled is the way of a change, not the model
SMALL = {
    "train": {"max_rows": 5_000},
    "evaluate": {"resamples": 40, "ablation_rows": 0, "tune_trials": 0, "curve_rows": 0},
}

ADDED = '''

def {name}({argument}):
    """By the drill."""
    return {code}
'''
READ_WITH_COLUMN = f'''

_read_without_the_drill = read


def read(period):
    """By the drill: the periods with one more column."""
    return _read_without_the_drill(period).assign({COLUMN}=1)
'''


@dataclass(frozen=True)
class Change:
    """What is done to the team's files in the clone.

    `new_contract` if other columns are asked for after it.
    """

    name: str
    edit: Callable[["Clone"], None]
    new_contract: bool = False


@dataclass
class Clone:
    """The clone, and what the drill knows of it."""

    project: Project
    contract: Contract
    requests: list[dict[str, Any]]
    untouched: dict[str, str] = field(default_factory=dict)  # files as they were, by name

    def path(self, name: str) -> Path:
        """A file of the team."""
        return next((self.project.root / SOURCES).glob(f"*/{name}"))

    def append(self, name: str, text: str) -> None:
        """Write something at the end of a file of the team."""
        self.untouched.setdefault(name, self.path(name).read_text(encoding="utf-8"))
        path = self.path(name)
        write_text(path, path.read_text(encoding="utf-8") + text)

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace some text of a file."""
        path = self.path(name)
        write_text(path, path.read_text(encoding="utf-8").replace(old, new))

    def restore(self, name: str) -> None:
        """Bring a file back to what it was before the drill."""
        write_text(self.path(name), self.untouched[name])


def add_feature(clone: Clone) -> None:
    """A function more in features.py, of the first request column that a feature may read."""
    contract = clone.contract
    allowed = [name for name in contract.request_columns if not contract.why_forbidden(name)]
    if not allowed:
        raise NotApplicable("no feature may read any column of the request")
    argument = allowed[0]
    column = contract.columns[argument]
    code = f"({argument} == {argument}[0]) * 1.0"
    if column.kind == "datetime":
        code = f'{argument}.astype("datetime64[h]").astype(float) % 24'
    elif column.is_number:
        code = f"{argument} * 2.0"
    clone.append("features.py", ADDED.format(name=FEATURE, argument=argument, code=code))


def change_feature(clone: Clone) -> None:
    """The same feature, computed otherwise."""
    clone.replace(
        "features.py", '"""By the drill."""\n    return ', '"""By the drill."""\n    return 3 + '
    )


def rename_feature(clone: Clone) -> None:
    """The same feature under another name."""
    clone.replace("features.py", f"def {FEATURE}(", f"def {RENAMED}(")


def remove_feature(clone: Clone) -> None:
    """features.py as it was."""
    clone.restore("features.py")


def add_column(clone: Clone) -> None:
    """One more column that the caller has to send, and that data.py delivers."""
    name = clone.contract.request.__name__
    path = clone.path("schema.py")
    text = path.read_text(encoding="utf-8")
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    request = next((node for node in classes if node.name == name), None)
    if request is None or request.body[-1].end_lineno is None:
        raise NotApplicable(f"schema.py itself does not define {name}")
    clone.untouched["schema.py"] = text
    lines = text.splitlines(keepends=True)
    indent = " " * request.body[-1].col_offset
    lines.insert(request.body[-1].end_lineno, f"{indent}{COLUMN}: int\n")
    write_text(path, "".join(lines))
    clone.append("data.py", READ_WITH_COLUMN)
    for row in clone.requests:
        row[COLUMN] = 1


def remove_column(clone: Clone) -> None:
    """The column is neither asked for nor delivered any more."""
    clone.restore("schema.py")
    clone.restore("data.py")
    for row in clone.requests:
        del row[COLUMN]


FEATURE_CHANGES = (
    Change("feature_added", add_feature),
    Change("feature_changed", change_feature),
    Change("feature_renamed", rename_feature),
    Change("feature_removed", remove_feature),
)
COLUMN_CHANGES = (
    Change("column_added", add_column, new_contract=True),
    Change("column_removed", remove_column, new_contract=True),
)


@healthy("features and columns are changed in a scratch clone", seeds=1, slow=True)
def drill(bench: Bench, _: int) -> Report:
    """Each change is trained, judged, promoted and served, and no request is lost on the way."""
    report = Report("drill")
    seconds = []
    with scratch(bench.project) as project:
        clone = _begun(bench, project)
        try:
            with _Service(clone) as service:
                with service.asked_all_the_time():
                    for change in FEATURE_CHANGES:
                        seconds.append(_cycle(clone, change, report))
                        report.add(_answered(clone, change, service), _skew(clone, change))
                report.add(_lost(service.failures, service.answers))

                for change in COLUMN_CHANGES:
                    requests_before = [dict(row) for row in clone.requests]
                    seconds.append(_cycle(clone, change, report))
                    report.add(_refuses(change, service.answer(requests_before)))
                    service.deploy()
                    report.add(_answered(clone, change, service))
        except ProjectError as error:
            report.add(Check("drill.cycle", Verdict.FAIL, evidence=" ".join(str(error).split())))
    report.facts["note"] = ", ".join(seconds)
    return report


@fault("a new feature that needs three files", caught_by="drill.files", row="Data 6", slow=True)
def scattered(bench: Bench) -> Report:
    """A feature is written down in the schema and in the parameters as well."""
    with scratch(bench.project) as project:
        clone = Clone(project, bench.contract, [])
        add_feature(clone)
        clone.append("schema.py", "# drilled\n")
        write_text(project.root / PARAMS, (project.root / PARAMS).read_text() + "# drilled\n")
        return Report("drill", [_files(clone)])


@fault(
    "a release that the service does not follow",
    caught_by="drill.served.feature_added",
    row="Infra 7",
)
def not_followed(_: Bench) -> Report:
    """The record says v2.0.0, the service goes on answering with v1.0.0."""
    return Report("drill", [_follows(FEATURE_CHANGES[0], "v2.0.0", "v1.0.0")])


@fault(
    "a service that answers for another contract",
    caught_by="drill.refused.column_added",
    row="Infra 7",
)
def not_refused(_: Bench) -> Report:
    """It was not deployed anew, and answers as if nothing had changed."""
    return Report("drill", [_refuses(COLUMN_CHANGES[0], "v1.0.0")])


@fault(
    "a service that computes a changed feature as before",
    caught_by="drill.skew.feature_changed",
    row="Infra 5",
)
def computed_as_before(_: Bench) -> Report:
    """One of three rows was computed by the code of the release before."""
    checks = [at_most("skew.hour", 1, 0, 3), at_most("skew.score", 0, 0, 3)]
    return Report("drill", [_agrees(FEATURE_CHANGES[1], checks)])


@fault(
    "requests are lost while a release is taken over",
    caught_by="drill.lost_requests",
    row="Infra 7",
)
def lost(_: Bench) -> Report:
    """Two of a hundred callers had no answer."""
    return Report("drill", [_lost(["connection refused", "503"], 98)])


def _begun(bench: Bench, project: Project) -> Clone:
    """The clone with a champion, and small parameters."""
    if not (bench.project.root / CANDIDATE / REFERENCE).exists():
        raise NotApplicable("nothing was trained yet")
    if bench.project.cycle()["until"] is None:
        raise NotApplicable("no period is closed yet")
    clone = Clone(project, bench.contract, bench.contract.payload(bench.resample(0, ROWS)))
    params = read_yaml(project.root / PARAMS) or {}
    for section, values in SMALL.items():
        params[section] = {**(params.get(section) or {}), **values}
    write_text(project.root / PARAMS, yaml.safe_dump(params))
    _cycle(clone, Change("begin", lambda clone: None), Report("begin"))
    return clone


def _cycle(clone: Clone, change: Change, report: Report) -> str:
    """Change, commit, train, commit, promote; returns the change and its seconds.

    Raises: ProjectError with the command that stopped.
    """
    project = clone.project
    started = time.monotonic()
    change.edit(clone)
    if change.name == "feature_added":
        report.add(_files(clone))
    _commit(project, change.name)
    if change.new_contract:  # the closed periods lack the new column, or have the old one
        tools.run(project, "mlops", "close", "--amend-all").checked()
    tools.run(project, "mlops", "close", str(project.cycle()["until"])).checked()
    if project.cycle()["champion"]:
        tools.run(project, "mlops", "follow").checked()
    tools.run(project, "dvc", "repro").checked()
    _commit(project, f"Train: {change.name}")

    words = ["mlops", "promote", "--reason", change.name]
    if read_json(project.root / GATE)["verdict"] != Verdict.OK:  # the change is no gain
        last_day = datetime.now(UTC).date() + timedelta(OVERRIDE_DAYS)
        words += ["--override", "--by", "prove", "--until", str(last_day)]
    for alias in project.settings().promote.path:
        tools.run(project, *words, "--to", alias).checked()
    return f"{change.name} {time.monotonic() - started:.0f} s"


def _commit(project: Project, message: str) -> None:
    git(project.root, "add", "--all")
    git(project.root, "commit", "--quiet", "--allow-empty", "--message", message)
    git(project.root, "push", "--quiet")  # to the bare copy beside the clone


def _files(clone: Clone) -> Check:
    """The files that differ, but for what the pipeline writes."""
    root = clone.project.root
    lines = git(root, "status", "--porcelain", "--untracked-files=all").splitlines()
    by_hand = []
    for line in lines:
        name = line.split(maxsplit=1)[1]
        if not name.endswith(DVC_LOCK.name) and f"{REPORTS}/" not in name:
            by_hand.append(name)
    evidence = ", ".join(by_hand)
    return at_most("drill.files", len(by_hand), MOST_FILES, len(lines), evidence=evidence)


class _Service:
    """`bentoml serve` in the clone, and a caller that asks all the time while releases change."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        self.stack = ExitStack()
        self.url = ""
        self.answers = 0
        self.failures: list[str] = []

    def __enter__(self) -> "_Service":
        self.deploy()
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def deploy(self) -> None:
        """Start the service anew, with the code that the clone has now."""
        self.stack.close()
        self.url = self.stack.enter_context(served(self.clone.project, free_port()))

    def answer(self, rows: list[dict[str, Any]]) -> str:
        """The release that answered, or the sentence with which the service refused."""
        try:
            return str(ask(self.url, rows)["release"])
        except ProjectError as error:
            return str(error)

    @contextmanager
    def asked_all_the_time(self) -> Iterator[None]:
        """Requests go on until the block ends; those without an answer are kept as `failures`."""
        stop = threading.Event()

        def go_on() -> None:
            while not stop.wait(SECONDS_BETWEEN):
                try:
                    ask(self.url, self.clone.requests[:1])
                    self.answers += 1
                except (ProjectError, OSError) as error:
                    self.failures.append(" ".join(str(error).split()))

        caller = threading.Thread(target=go_on, daemon=True)
        caller.start()
        try:
            yield
        finally:
            stop.set()
            caller.join()


def _answered(clone: Clone, change: Change, service: _Service) -> Check:
    """`drill.served.<change>`: a request is answered by the release that was just promoted."""
    promoted = str(champion.read_pointer(clone.project)["release"])
    return _follows(change, promoted, service.answer(clone.requests))


def _follows(change: Change, promoted: str, answered: str) -> Check:
    verdict = Verdict.OK if answered == promoted else Verdict.FAIL
    evidence = "the release that answered, and the one that was promoted"
    return Check(f"drill.served.{change.name}", verdict, answered, promoted, evidence=evidence)


def _refuses(change: Change, answer: str) -> Check:
    """`drill.refused.<change>`: a service with the old contract asks to be deployed anew."""
    verdict = Verdict.OK if "Deploy the service anew" in answer else Verdict.FAIL
    return Check(f"drill.refused.{change.name}", verdict, evidence=" ".join(answer.split()))


def _lost(failures: list[str], answers: int) -> Check:
    """`drill.lost_requests`, of all that were sent while features changed."""
    evidence = f"first: {failures[0]}" if failures else ""
    sent = answers + len(failures)
    return at_most("drill.lost_requests", len(failures), 0, sent, evidence=evidence)


def _skew(clone: Clone, change: Change) -> Check:
    """`drill.skew.<change>`: what the service logged, computed again as the monitor does it."""
    pointer = champion.read_pointer(clone.project)
    folder = champion.find(clone.project, pointer["fingerprint"])
    scorer = load(folder, clone.contract)
    logged = prediction_log.read(clone.project)
    logged = logged[logged["fingerprint"] == pointer["fingerprint"]]
    columns = [f"feature__{name}" for name in scorer.plan.names]
    features = logged[columns].to_numpy(dtype=float, na_value=np.nan)
    again = scorer.matrix(clone.contract.arrays(logged))
    return _agrees(change, skew.features(scorer, features, again, scorer.score(features)))


def _agrees(change: Change, checks: list[Check]) -> Check:
    differing = [check.name for check in checks if check.verdict is not Verdict.OK]
    rows = min((check.rows or 0 for check in checks), default=0)
    evidence = ", ".join(differing) or "features and scores are computed again, and equal"
    return at_most(f"drill.skew.{change.name}", len(differing), 0, rows, evidence=evidence)
