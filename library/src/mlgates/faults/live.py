"""Faults in a real service over HTTP and in a real `dvc repro`."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlgates import tools
from mlgates.errors import ProjectError
from mlgates.faults.constraints import breaking
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy
from mlgates.faults.trust import flip, released, trusting
from mlgates.files import read_json
from mlgates.layout import (
    CANDIDATE,
    CYCLE,
    MADE,
    MANIFEST,
    PARAMS,
    PIPELINE,
    PYPROJECT,
    SOURCES,
    VALIDATION,
)
from mlgates.local_service import ask, free_port, served
from mlgates.monitoring.watch import follow_check
from mlgates.project import Project
from mlgates.registry.sandbox import scratch
from mlgates.serving import prediction_log
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict

SERVICE_FILES = (PIPELINE, CYCLE, PARAMS, PYPROJECT)  # which the service reads, too
ROWS = 50  # that the service is asked for
MAX_EVIDENCE = 90  # characters of a refusal in the table

# The end of a data.py that delivers everything but one column
LOSE_A_COLUMN = """

_whole = read


def read(period):
    return _whole(period).drop(columns={column!r})
"""


@contextmanager
def _project_with_champion(bench: Bench) -> Iterator[Project]:
    """The project in a folder of its own, where v1.0.0 is the champion."""
    with trusting(bench.project) as project:
        for name in SERVICE_FILES:
            shutil.copy(bench.project.root / name, project.root)
        champion.put_in_service(project, released(bench, project, "v1.0.0"))
        yield project


@contextmanager
def _service(bench: Bench) -> Iterator[tuple[Project, str]]:
    """A running service of v1.0.0: its project, and its URL."""
    with _project_with_champion(bench) as project, served(project, free_port()) as url:
        yield project, url


def _follows(bench: Bench, *, damaged: bool) -> Report:
    """Promote v2.0.0 beside a running service; whether the service follows.

    The report has the monitor's check of what was answered since, and `serving.answers`: v1.0.0
    answered before, and every request afterwards was answered and logged.
    """
    rows = bench.contract.payload(bench.resample(0, ROWS))
    with _service(bench) as (project, url):
        release_before = ask(url, rows)["release"]
        pointer = released(bench, project, "v2.0.0", threshold=0.6)
        if damaged:
            flip(champion.find(project, "v2.0.0") / "model.pkl")
        time.sleep(0.01)  # what was answered before is logged at an earlier time
        champion.put_in_service(project, pointer)

        started = time.time()
        release_after = ask(url, rows)["release"]
        log = prediction_log.read(project, started)
        # As if v2.0.0 had been recorded an hour ago: the seconds that a service has are over.
        follow = follow_check(log, "v2.0.0", started - 3600)

    answers = Verdict.FAIL
    if release_before == "v1.0.0" and len(log) == len(rows):
        answers = Verdict.OK
    value = f"{release_before}, then {release_after}"
    return Report("service", [follow, Check("serving.answers", answers, value, rows=len(rows))])


@fault("one byte of the model file is changed", caught_by="serving.digest", row="Infra 4")
def changed_byte(bench: Bench) -> Report:
    """The file is swapped or damaged beside the service."""
    with _project_with_champion(bench) as project:
        flip(champion.find(project, "v1.0.0") / "model.pkl")
        champion.load_served(project, champion.read_pointer(project))  # it must refuse
    return Report("load", [Check("serving.digest", Verdict.OK)])


@healthy("service", seeds=1, slow=True)
def healthy_promotion(bench: Bench, _: int) -> Report:
    """A sound model is promoted, and the service follows without a restart."""
    return _follows(bench, damaged=False)


@fault(
    "a service that does not follow",
    caught_by="serving.follow",
    row="Infra 7",
    spared="serving.answers",
    slow=True,
)
def does_not_follow(bench: Bench) -> Report:
    """The promoted model is damaged: the last good one goes on answering, and that is noticed."""
    return _follows(bench, damaged=True)


@fault("a request beyond the contract", caught_by="serving.refused", row="Mon 2", slow=True)
def refused(bench: Bench) -> Report:
    """Over HTTP: a value beyond its bound is refused, and nothing is predicted.

    The rule that refuses it is the one that the suite has.
    """
    row = bench.contract.payload(bench.resample(0, ROWS))[0]
    planted = breaking(bench.contract)
    if planted is None:
        raise NotApplicable("the contract allows every value of a request")
    column, value, rule = planted

    message = ""
    with _service(bench) as (project, url):
        ask(url, [row])  # the healthy row is answered and logged
        try:
            ask(url, [row | {column.name: value}])
        except ProjectError as error:
            message = str(error)
        n_logged = len(prediction_log.read(project))

    names_rule = f'"{rule}"' in message
    names_column = json.dumps(column.label, ensure_ascii=False) in message
    verdict = Verdict.OK
    if names_rule and names_column and n_logged == 1:
        verdict = Verdict.FAIL
    check = Check("serving.refused", verdict, evidence=message[:MAX_EVIDENCE])
    return Report("service", [check])


@fault(
    "a column goes missing, in a real dvc repro", caught_by="data.columns", row="Infra 3", slow=True
)
def stopped_run(bench: Bench) -> Report:
    """data.py of a scratch clone loses a column: validate stops the run, and nothing is trained."""
    with scratch(bench.project) as clone:
        path = next((clone.root / SOURCES).glob("*/data.py"))
        code = path.read_text(encoding="utf-8")
        path.write_text(code + LOSE_A_COLUMN.format(column=bench.first_column), encoding="utf-8")
        shutil.rmtree(clone.root / MADE, ignore_errors=True)
        # As if these periods were new: a change to a closed one is refused before it is validated.
        (clone.root / MANIFEST).unlink(missing_ok=True)

        ended = tools.run(clone, "dvc", "repro")
        report = Report.from_dict(read_json(clone.root / VALIDATION))
        if ended.code == 0 or (clone.root / CANDIDATE).exists():
            report.add(Check("repro.stops", Verdict.FAIL, evidence="the run was not stopped"))
            # No check has this name, so the fault has escaped whatever validate says.
            report.facts["caught_by"] = "repro.stopped"
    return report
