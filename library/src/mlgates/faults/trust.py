"""Faults in who vouches for a model and for an answer: the service takes no such champion, the last good one stays."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from mlgates import team_code
from mlgates.evaluation import serving_environment
from mlgates.evaluation.measure import measure, not_comparable
from mlgates.evaluation.metrics import MAIN
from mlgates.faults.model import fitted, judged, scored
from mlgates.faults.monitoring import logged, read_number
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy
from mlgates.files import digest, read_json, temporary_folder, write_json, write_text
from mlgates.gate import serving_rules
from mlgates.gate.model_card import complete, sections
from mlgates.lineage.explain import explained
from mlgates.model_folder import CONTRACT, save
from mlgates.monitoring.skew import same
from mlgates.monitoring.watch import logged_scores
from mlgates.project import Project
from mlgates.trust import champion, keys, verify
from mlgates.verdict import Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

Pointer = dict[str, Any]
Spoil = Callable[[Path, Pointer], None]


@contextmanager
def trusting(project: Project) -> Iterator[Project]:
    """An empty folder for the project that trusts one key: that of this process as long as the block lasts."""
    with temporary_folder() as folder:
        placed = project.moved(folder / "project")
        with patch.dict(os.environ, {keys.SETTING: str(folder / "signing.pem")}):
            keys.make(placed, "prove")
            yield placed


def released(bench: Bench, project: Project, release: str, threshold: float = 0.5) -> Pointer:
    """Put a signed model where `promote` would put it; returns what `champion.json` would say."""
    folder = champion.place(project, release)
    scorer = replace(fitted(bench)[0], threshold=threshold)
    save(scorer, folder, bench.contract, team_code.collected(bench.project))
    write_text(verify.signature(folder), keys.sign(project, folder))
    pointer: Pointer = {
        "alias": "champion",
        "release": release,
        "fingerprint": release,
        "since": "",
    }
    as_if_judged(folder, pointer)
    return pointer


def as_if_judged(folder: Path, pointer: Pointer) -> None:
    """Let a pointer say of a model what the gate and the record would."""
    pointer["digest"] = digest(folder)
    passed = Report("gate", [Check("gate.finite", Verdict.OK)], {"model": pointer["digest"]})
    pointer["report"] = json.loads(json.dumps(passed.to_dict()))


class _Heard(logging.Handler):
    said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = record.getMessage()


def swapped(bench: Bench, check: str, spoil: Spoil, stays: str = "v1.0.0") -> Report:
    """v2.0.0 is recorded while v1.0.0 is in service; what the service's own follower makes of it, and counts.

    Where v2.0.0 is refused, `stays` is what must be in service afterwards.
    """
    from prometheus_client import REGISTRY

    from mlgates.serving.model_loader import Follower, logger

    def refused() -> float:
        return REGISTRY.get_sample_value("mlops_models_refused_total", {"check": check}) or 0.0

    with (
        trusting(bench.project) as placed,
        patch.object(logger, "handlers", [_Heard()]),
        patch.object(logger, "propagate", False),
    ):
        champion.put_in_service(placed, released(bench, placed, "v1.0.0"))
        follower, before = Follower(placed), refused()
        first = follower.current()
        pointer = released(bench, placed, "v2.0.0", 0.6)
        spoil(champion.find(placed, "v2.0.0"), pointer)
        champion.put_in_service(placed, pointer)
        after, told, counted = follower.current(), logger.handlers[0].said, refused() - before  # type: ignore[attr-defined]
    served = after.release if after else "nothing"
    right = bool(first) and served == (stays if counted else "v2.0.0")
    caught, kept = Verdict.FAIL if counted else Verdict.OK, Verdict.OK if right else Verdict.FAIL
    return Report(
        "service", [Check(check, caught, evidence=told), Check("serving.answers", kept, served)]
    )


@healthy("signed model", seeds=1)
def taken(bench: Bench, _: int) -> Report:
    """A signed, judged model that runs here is taken."""
    return swapped(bench, "serving.signature", lambda folder, pointer: None)


@fault(
    "the service computes in cents what training computes in euros",
    caught_by="explain.features",
    row="Infra 5",
)
def cents(bench: Bench) -> Report:
    """The log says what the request said; a feature was computed from a hundred times as much."""
    (column, _), rows = read_number(bench), bench.halves[1].head(200)
    seen = bench.contract.arrays(rows)
    log = logged(bench, rows, seen | {column: seen[column] * 100})
    moved = ~same(fitted(bench)[0].matrix(seen), log.filter(like="feature__").to_numpy()).all(
        axis=1
    )
    if not moved.any():
        raise NotApplicable(f"no feature shows the unit of {column}")
    return _explained(bench, log.iloc[np.flatnonzero(moved)[:1]].reset_index(drop=True))


@fault(
    "a score that the model never gave",
    caught_by="explain.score",
    row="Infra 5",
    spared="explain.features",
)
def other_score(bench: Bench) -> Report:
    """The answer was changed on its way to the log."""
    rows = logged(bench, bench.halves[1].head(200))
    scores = logged_scores(bench.contract, rows).reshape(len(rows), -1)
    far = np.abs(scores - scores[0]).max(axis=1)
    if far.max() < 0.001:
        raise NotApplicable("all rows have the same score")
    return _explained(bench, rows.head(1).assign(score=rows["score"][int(far.argmax())]))


@fault(
    "the service looked up something else",
    caught_by="explain.lookup",
    row="Infra 5",
    spared="explain.features",
)
def other_value(bench: Bench) -> Report:
    """The online store has other values than the tables that training joins."""
    import pandas as pd

    looked_up = [bench.contract.from_source(look.name) for look in bench.contract.lookups]
    names = [name for columns in looked_up for name, column in columns.items() if column.is_number]
    rows = bench.halves[1].dropna(subset=names).head(1).reset_index(drop=True)
    if not names or rows.empty:
        raise NotApplicable("no number is looked up")
    tables = {}
    for look, columns in zip(bench.contract.lookups, looked_up, strict=True):
        now = rows[[*look.keys, *columns]].assign(**{look.time: rows[look.at]})
        before = now.assign(
            **{look.time: rows[look.at] - np.timedelta64(int(2e6 * look.max_seconds), "us")}
        )
        tables[look.name] = pd.concat(
            [before, now.assign(**{n: now[n] + 1 for n in names if n in now})]
        )
    return _explained(bench, logged(bench, rows), tables)


def _carded(bench: Bench, manifest: dict[str, Any]) -> Report:
    """The card's own check on a real measurement; the manifest says what the data of each period are."""
    rows = bench.halves[1].head(1_000)
    measured = measure(
        bench.contract,
        rows,
        {"candidate": scored(bench, rows, fitted(bench)[0])},
        resamples=20,
        seed=0,
    )
    measured |= {
        "model": "0" * 64,
        "champion": None,
        "periods": {"train": ["1"], "evaluation": ["2"]},
    }
    trained = {"rows": {"fitted": len(rows)}, "features": fitted(bench)[0].plan.names}
    report = Report(
        "gate",
        [Check("gate.finite", Verdict.OK)],
        {"value": 0.0, "metric": MAIN[bench.contract.task]},
    )
    return Report(
        "gate",
        [complete(sections(bench.contract, measured, trained, manifest, bench.settings, report))],
    )


TABLES = {"rows": {"rows": 1_000, "sha256": "0" * 64}}


@fault("the model card has an empty section", caught_by="gate.model_card", row="Infra 1")
def empty_section(bench: Bench) -> Report:
    """Nobody can say which data the model was evaluated on."""
    return _carded(bench, {"1": TABLES})


@healthy("model card", seeds=1)
def full_card(bench: Bench, _: int) -> Report:
    """What ought to be measured is measured."""
    return _carded(bench, {"1": TABLES, "2": TABLES})


@healthy("explained prediction")
def sound(bench: Bench, seed: int) -> Report:
    """What was served is what training computes."""
    return _explained(bench, logged(bench, bench.resample(seed, 1)))


def _explained(
    bench: Bench, row: "pd.DataFrame", tables: "dict[str, pd.DataFrame] | None" = None
) -> Report:
    return explained(bench.contract, fitted(bench)[0], bench.halves[0], row, tables or {})


def _fault(name: str, check: str) -> Callable[[Spoil], Spoil]:
    def register(spoil: Spoil) -> Spoil:
        row = "Infra 6" if check == "serving.library" else "Infra 4"
        planted = fault(name, caught_by=check, row=row, spared="serving.answers")
        planted(lambda bench: swapped(bench, check, spoil))
        return spoil

    return register


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@_fault("an edited line in the code that a model carries", "serving.digest")
def edited_code(folder: Path, pointer: Pointer) -> None:
    """A feature would be computed otherwise than it was trained."""
    path = next((folder / team_code.FOLDER).glob("*/features.py"))
    write_text(path, path.read_text(encoding="utf-8") + "\n")


@_fault("bytecode beside the code that a model carries", "serving.digest")
def planted_bytecode(folder: Path, pointer: Pointer) -> None:
    """Python would run it in place of the text that everybody has read."""
    path = next((folder / team_code.FOLDER).glob("*/features.py"))
    write_text(
        path.parent / "__pycache__" / f"features.{sys.implementation.cache_tag}.pyc", "anything"
    )


@fault(
    "a model made for another contract",
    caught_by="serving.contract",
    row="Infra 4",
    spared="serving.answers",
)
def other_contract(bench: Bench) -> Report:
    """A signed, judged release whose contract had one column less: neither it nor the one before may answer."""

    def spoil(folder: Path, pointer: Pointer) -> None:
        stored = read_json(folder / CONTRACT)
        del stored["columns"][bench.first]
        write_json(folder / CONTRACT, stored)
        write_text(
            verify.signature(folder), keys.sign(Project(folder.parents[2], "elsewhere"), folder)
        )
        as_if_judged(folder, pointer)

    return swapped(bench, "serving.contract", spoil, stays="nothing")


@fault(
    "the champion reads a column that is gone",
    caught_by="gate.champion",
    row="Infra 4",
    expected=Verdict.INCONCLUSIVE,
)
def column_gone(bench: Bench) -> Report:
    """It cannot be compared with: the gate says so, and why, and does not call that a pass."""
    rows = bench.halves[1].head(1_000)
    with trusting(bench.project) as placed:
        folder = champion.find(placed, released(bench, placed, "v1.0.0")["fingerprint"])
        stored = read_json(folder / "features.json")
        stored["columns"]["gone by now"] = "float"
        write_json(folder / "features.json", stored)
        reason = not_comparable(placed, "v1.0.0")
    if "gone by now" not in reason:
        return Report(
            "gate", [Check("gate.champion", Verdict.OK, evidence="it was taken to be comparable")]
        )
    scores = scored(bench, rows, fitted(bench)[0])
    return judged(bench, rows, scores, None, {}, champion="v1.0.0", not_compared=reason)


@fault(
    "a library that the service does not install",
    caught_by="gate.serving_environment",
    row="Infra 6",
    slow=True,
)
def missing_library(bench: Bench) -> Report:
    """The features need a tool of the pipeline: the model can be trained, and cannot be loaded by the service."""
    return _in_service_environment(bench, "import great_expectations\n")


@healthy("a model in the service's environment", seeds=1, slow=True)
def loadable(bench: Bench, _: int) -> Report:
    """What the service installs is enough."""
    return _in_service_environment(bench, "")


def _in_service_environment(bench: Bench, statement: str) -> Report:
    """The gate's check of a model whose carried features.py begins with a statement more."""
    scorer = fitted(bench)[0]
    code = dict(team_code.collected(bench.project))
    for name, text in code.items():
        if name.endswith("/features.py"):
            code[name] = statement + text
    with temporary_folder() as folder:
        save(scorer, folder / "model", bench.contract, code)
        arrays = bench.contract.arrays(bench.rows.head(serving_environment.ROWS))
        tried = serving_environment.measure(bench.project, folder / "model", scorer, arrays)
    if tried["not_tried"]:
        raise NotApplicable(f"the service's environment cannot be made here: {tried['not_tried']}")
    return Report("gate", [serving_rules.judge(tried)])


@_fault("a changed model with all that lies beside it", "serving.signature")
def changed_with_digest(folder: Path, pointer: Pointer) -> None:
    """Whoever can write here changes the model, its digest and its report; only the key is out of reach."""
    flip(folder / "model.pkl")
    as_if_judged(folder, pointer)


@_fault("a model signed by a foreign key", "serving.signature")
def foreign_key(folder: Path, pointer: Pointer) -> None:
    """Somebody whom the team does not trust signs."""
    with trusting(Project(folder, "elsewhere")) as elsewhere:
        write_text(verify.signature(folder), keys.sign(elsewhere, folder))


@_fault("a model that nobody signed", "serving.signature")
def unsigned(folder: Path, pointer: Pointer) -> None:
    """The signature is absent."""
    verify.signature(folder).unlink()


@_fault("a model without a verdict", "serving.verdict")
def unjudged(folder: Path, pointer: Pointer) -> None:
    """No gate ever saw it."""
    pointer["report"] = None


@_fault("a forged verdict", "serving.verdict")
def forged(folder: Path, pointer: Pointer) -> None:
    """The report says ok above a check that failed."""
    pointer["report"]["checks"][0]["verdict"] = "fail"


@_fault("the verdict on another model", "serving.verdict")
def borrowed(folder: Path, pointer: Pointer) -> None:
    """A good report is put beside a model that it is not about."""
    pointer["report"]["facts"]["model"] = "0" * 64


@_fault("a model of another library version", "serving.library")
def other_library(folder: Path, pointer: Pointer) -> None:
    """It was trained, judged and signed where scikit-learn is another one."""
    write_text(folder / "requirements.txt", "scikit-learn==0.1\n")
    write_text(verify.signature(folder), keys.sign(Project(folder.parents[2], "elsewhere"), folder))
    as_if_judged(folder, pointer)
