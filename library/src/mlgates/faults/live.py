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
from mlgates.monitoring.watch import followed
from mlgates.project import Project
from mlgates.registry.sandbox import scratch
from mlgates.serving import prediction_log
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict

ALSO_READ = (PIPELINE, CYCLE, PARAMS, PYPROJECT)


@contextmanager
def _root(bench: Bench) -> Iterator[Project]:
    with trusting(bench.project) as placed:
        for name in ALSO_READ:
            shutil.copy(bench.project.root / name, placed.root)
        champion.put_in_service(placed, released(bench, placed, "v1.0.0"))
        yield placed


@contextmanager
def _service(bench: Bench) -> Iterator[tuple[Project, str]]:
    with _root(bench) as placed, served(placed, free_port()) as url:
        yield placed, url


def _follows(bench: Bench, *, damaged: bool) -> Report:
    """Promote v2.0.0 beside a running service; the check of the monitor on what was answered since."""
    rows = bench.contract.payload(bench.resample(0, 50))
    with _service(bench) as (placed, url):
        before = ask(url, rows)["release"]
        recorded = released(bench, placed, "v2.0.0", 0.6)
        if damaged:
            flip(champion.find(placed, "v2.0.0") / "model.pkl")
        time.sleep(0.01)
        champion.put_in_service(placed, recorded)
        started = time.time()
        after = ask(url, rows)["release"]
        logged = prediction_log.read(placed, started)
        check = followed(logged, "v2.0.0", started - 3600)
        kept = Verdict.OK if before == "v1.0.0" and len(logged) == len(rows) else Verdict.FAIL
    return Report(
        "service",
        [check, Check("serving.answers", kept, f"{before}, then {after}", rows=len(rows))],
    )


@fault("one byte of the model file is changed", caught_by="serving.digest", row="Infra 4")
def changed_byte(bench: Bench) -> Report:
    """Somebody swaps or damages the file beside the service."""
    with _root(bench) as placed:
        flip(champion.find(placed, "v1.0.0") / "model.pkl")
        champion.load_served(placed, champion.in_service(placed))
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
    """Over HTTP: a value beyond its bound is refused by the rule that the suite has, and nothing is predicted."""
    row = bench.contract.payload(bench.resample(0, 50))[0]
    planted = breaking(bench.contract)
    if planted is None:
        raise NotApplicable("the contract allows every value of a request")
    column, value, rule = planted
    with _service(bench) as (placed, url):
        ask(url, [row])
        try:
            ask(url, [row | {column.name: value}])
            told = ""
        except ProjectError as error:
            told = str(error)
        written = len(prediction_log.read(placed))
    caught = (
        f'"{rule}"' in told
        and json.dumps(column.label, ensure_ascii=False) in told
        and written == 1
    )
    return Report(
        "service",
        [Check("serving.refused", Verdict.FAIL if caught else Verdict.OK, evidence=told[:90])],
    )


@fault(
    "a column goes missing, in a real dvc repro", caught_by="data.columns", row="Infra 3", slow=True
)
def stopped_run(bench: Bench) -> Report:
    """data.py of a scratch clone loses a column: validate stops the run, and nothing is trained."""
    with scratch(bench.project) as clone:
        data = next((clone.root / SOURCES).glob("*/data.py"))
        lost = f"\n\n_whole = read\n\n\ndef read(period):\n    return _whole(period).drop(columns={bench.first!r})\n"
        data.write_text(data.read_text(encoding="utf-8") + lost, encoding="utf-8")
        shutil.rmtree(clone.root / MADE, ignore_errors=True)
        (clone.root / MANIFEST).unlink(
            missing_ok=True
        )  # as if these periods were new: a closed one is refused before
        ran = tools.run(clone, "dvc", "repro")
        report = Report.from_dict(read_json(clone.root / VALIDATION))
        if ran.code == 0 or (clone.root / CANDIDATE).exists():
            report.add(Check("repro.stops", Verdict.FAIL, evidence="the run went on"))
            report.facts["caught_by"] = "repro.stopped"
    return report
