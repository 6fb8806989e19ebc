"""Faults in who signed a model and in what was answered: the last good champion stays in use."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from mlgates import team_code
from mlgates.contract import Lookup
from mlgates.evaluation import serving_environment
from mlgates.evaluation.measure import measure, not_comparable
from mlgates.evaluation.metrics import MAIN
from mlgates.faults.model import fitted, gate_report, scores_of
from mlgates.faults.monitoring import logged, read_number
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy
from mlgates.files import digest, read_json, temporary_folder, write_json, write_text
from mlgates.gate import serving_rules
from mlgates.gate.model_card import complete, sections
from mlgates.lineage.explain import explained
from mlgates.model_folder import CONTRACT, save
from mlgates.monitoring.skew import equal_or_both_missing
from mlgates.monitoring.watch import logged_scores
from mlgates.project import Project
from mlgates.trust import champion, keys, verify
from mlgates.verdict import Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

Pointer = dict[str, Any]  # what champion.json says of the champion
# Plants a fault into the folder of a signed, judged model and what champion.json will say of it
Spoil = Callable[[Path, Pointer], None]
Tables = dict[str, "pd.DataFrame"]  # by the name of the look-up
TABLES = {"rows": {"rows": 1_000, "sha256": "0" * 64}}  # a period's data in the manifest


@contextmanager
def trusting(project: Project) -> Iterator[Project]:
    """The project in an empty folder that trusts one key.

    As long as the block lasts, this process signs with that key.
    """
    with temporary_folder() as folder:
        empty = project.moved(folder / "project")
        with patch.dict(os.environ, {keys.SETTING: str(folder / "signing.pem")}):
            keys.make(empty, "prove")
            yield empty


def released(bench: Bench, project: Project, release: str, threshold: float = 0.5) -> Pointer:
    """Put a signed model where `promote` would put it; returns what champion.json would say."""
    folder = champion.model_path(project, release)
    scorer = replace(fitted(bench)[0], threshold=threshold)
    save(scorer, folder, bench.contract, team_code.collected(bench.project))
    _sign(project, folder)
    pointer: Pointer = {
        "alias": "champion",
        "release": release,
        "fingerprint": release,
        "since": "",
    }
    as_if_judged(folder, pointer)
    return pointer


def as_if_judged(folder: Path, pointer: Pointer) -> None:
    """Give a pointer the digest and the gate report that a model would have after its gate."""
    pointer["digest"] = digest(folder)
    passed = Report("gate", [Check("gate.finite", Verdict.OK)], {"model": pointer["digest"]})
    pointer["report"] = json.loads(json.dumps(passed.to_dict()))


def _sign(project: Project, folder: Path) -> None:
    """Sign a model with the key of this process."""
    write_text(verify.signature(folder), keys.sign(project, folder))


def _sign_changed(folder: Path, pointer: Pointer) -> None:
    """Sign and judge a model again after a change, so that only the change itself can be found.

    `folder` is PROJECT/var/models/ID.
    """
    _sign(Project(folder.parents[2], "elsewhere"), folder)
    as_if_judged(folder, pointer)


class _LastMessage(logging.Handler):
    """Keeps the last message that was logged."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def _n_refused(check: str) -> float:
    """How many models the service has refused because of a check, by its own metric."""
    from prometheus_client import REGISTRY

    labels = {"check": check}
    return REGISTRY.get_sample_value("mlops_models_refused_total", labels) or 0.0


def swapped(bench: Bench, check: str, spoil: Spoil, stays: str = "v1.0.0") -> Report:
    """v2.0.0 is recorded while v1.0.0 is in service; what the service's own follower does.

    The report has two checks. `check` fails if the follower refused v2.0.0 and counted it under
    that name. `serving.answers` is ok if the right model is in service afterwards: v2.0.0 if it was
    taken, `stays` if it was refused.
    """
    from mlgates.serving.model_loader import Follower, logger

    heard = _LastMessage()
    with (
        trusting(bench.project) as project,
        patch.object(logger, "handlers", [heard]),
        patch.object(logger, "propagate", False),
    ):
        champion.put_in_service(project, released(bench, project, "v1.0.0"))
        follower = Follower(project)
        n_refused_before = _n_refused(check)
        first = follower.current()

        pointer = released(bench, project, "v2.0.0", threshold=0.6)
        spoil(champion.find(project, "v2.0.0"), pointer)
        champion.put_in_service(project, pointer)
        second = follower.current()
        is_refused = _n_refused(check) > n_refused_before

    release = second.release if second else "nothing"
    expected = stays if is_refused else "v2.0.0"
    refusal = Verdict.FAIL if is_refused else Verdict.OK
    answers = Verdict.OK if first and release == expected else Verdict.FAIL
    checks = [
        Check(check, refusal, evidence=heard.text),
        Check("serving.answers", answers, release),
    ]
    return Report("service", checks)


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
    column, _ = read_number(bench)
    rows = bench.halves[1].head(200)
    arrays = bench.contract.arrays(rows)
    in_cents = arrays | {column: arrays[column] * 100}
    log = logged(bench, rows, in_cents)

    features = fitted(bench)[0].matrix(arrays)
    logged_features = log.filter(like="feature__").to_numpy()
    is_changed = ~equal_or_both_missing(features, logged_features).all(axis=1)
    if not is_changed.any():
        raise NotApplicable(f"no feature shows the unit of {column}")
    first_changed = np.flatnonzero(is_changed)[:1]
    return _explained(bench, log.iloc[first_changed].reset_index(drop=True))


@fault(
    "a score that the model never gave",
    caught_by="explain.score",
    row="Infra 5",
    spared="explain.features",
)
def other_score(bench: Bench) -> Report:
    """The answer was changed on its way to the log."""
    log = logged(bench, bench.halves[1].head(200))
    scores = logged_scores(bench.contract, log).reshape(len(log), -1)
    distances = np.abs(scores - scores[0]).max(axis=1)  # to the score of the first row
    if distances.max() < 0.001:
        raise NotApplicable("all rows have the same score")
    farthest = int(distances.argmax())
    return _explained(bench, log.head(1).assign(score=log["score"][farthest]))


@fault(
    "the service looked up something else",
    caught_by="explain.lookup",
    row="Infra 5",
    spared="explain.features",
)
def other_value(bench: Bench) -> Report:
    """The online store has other values than the tables that training joins."""
    contract = bench.contract
    names = []
    for look in contract.lookups:
        for name, column in contract.from_source(look.name).items():
            if column.is_number:
                names.append(name)
    rows = bench.halves[1].dropna(subset=names).head(1).reset_index(drop=True)
    if not names or rows.empty:
        raise NotApplicable("no number is looked up")

    tables = {look.name: _other_table(bench, look, rows, names) for look in contract.lookups}
    return _explained(bench, logged(bench, rows), tables)


def _other_table(
    bench: Bench, look: Lookup, rows: "pd.DataFrame", names: Sequence[str]
) -> "pd.DataFrame":
    """A look-up's table that does not say what was served.

    At the time of the rows its numbers (`names` of all look-ups) are one higher. What was served is
    there, too, but twice as old as a look-up may be.
    """
    import pandas as pd

    columns = bench.contract.from_source(look.name)
    served = rows[[*look.keys, *columns]].assign(**{look.time: rows[look.at]})
    too_old = np.timedelta64(int(2e6 * look.max_seconds), "us")
    outdated = served.assign(**{look.time: rows[look.at] - too_old})
    higher = {name: served[name] + 1 for name in names if name in served}
    return pd.concat([outdated, served.assign(**higher)])


def _carded(bench: Bench, manifest: dict[str, Any]) -> Report:
    """The card's own check on a real measurement.

    `manifest` says by period what its data are. The model was fitted on period 1 and is evaluated
    on period 2.
    """
    rows = bench.halves[1].head(1_000)
    scorer, _ = fitted(bench)
    scores = {"candidate": scores_of(bench, rows, scorer)}
    measured = measure(bench.contract, rows, scores, resamples=20, seed=0)
    measured["model"] = "0" * 64
    measured["champion"] = None
    measured["periods"] = {"train": ["1"], "evaluation": ["2"]}
    trained = {"rows": {"fitted": len(rows)}, "features": scorer.plan.names}
    facts = {"value": 0.0, "metric": MAIN[bench.contract.task]}
    report = Report("gate", [Check("gate.finite", Verdict.OK)], facts)

    card = sections(bench.contract, measured, trained, manifest, bench.settings, report)
    return Report("gate", [complete(card)])


@fault("the model card has an empty section", caught_by="gate.model_card", row="Infra 1")
def empty_section(bench: Bench) -> Report:
    """The manifest does not say which data the model was evaluated on."""
    return _carded(bench, {"1": TABLES})


@healthy("model card", seeds=1)
def full_card(bench: Bench, _: int) -> Report:
    """Everything that the card needs was measured."""
    return _carded(bench, {"1": TABLES, "2": TABLES})


@healthy("explained prediction")
def sound(bench: Bench, seed: int) -> Report:
    """What was served is what training computes."""
    return _explained(bench, logged(bench, bench.resample(seed, 1)))


def _explained(bench: Bench, row: "pd.DataFrame", tables: Tables | None = None) -> Report:
    """What `mlops trace` explains of one logged row."""
    return explained(bench.contract, fitted(bench)[0], bench.halves[0], row, tables or {})


def _fault(name: str, check: str, row: str = "Infra 4") -> Callable[[Spoil], Spoil]:
    """Register a fault of a new champion, which the service must refuse; see `swapped`."""

    def register(spoil: Spoil) -> Spoil:
        register_fault = fault(name, caught_by=check, row=row, spared="serving.answers")
        register_fault(lambda bench: swapped(bench, check, spoil))
        return spoil

    return register


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _features_file(folder: Path) -> Path:
    """features.py of the code that a model carries."""
    return next((folder / team_code.FOLDER).glob("*/features.py"))


@_fault("an edited line in the code that a model carries", "serving.digest")
def edited_code(folder: Path, pointer: Pointer) -> None:
    """A feature would be computed differently than in training."""
    path = _features_file(folder)
    write_text(path, path.read_text(encoding="utf-8") + "\n")


@_fault("bytecode beside the code that a model carries", "serving.digest")
def planted_bytecode(folder: Path, pointer: Pointer) -> None:
    """Python would run it in place of the source that people have read."""
    name = f"features.{sys.implementation.cache_tag}.pyc"
    write_text(_features_file(folder).parent / "__pycache__" / name, "anything")


@fault(
    "a model made for another contract",
    caught_by="serving.contract",
    row="Infra 4",
    spared="serving.answers",
)
def other_contract(bench: Bench) -> Report:
    """A signed, judged release whose contract had one column less.

    Neither it nor the release before it may answer: requests would be checked by the wrong
    contract.
    """

    def spoil(folder: Path, pointer: Pointer) -> None:
        stored = read_json(folder / CONTRACT)
        del stored["columns"][bench.first_column]
        write_json(folder / CONTRACT, stored)
        _sign_changed(folder, pointer)

    return swapped(bench, "serving.contract", spoil, stays="nothing")


@fault(
    "the champion reads a column that is gone",
    caught_by="gate.champion",
    row="Infra 4",
    expected=Verdict.INCONCLUSIVE,
)
def column_gone(bench: Bench) -> Report:
    """The candidate cannot be compared with it: the gate says so, and why; that is not a pass."""
    with trusting(bench.project) as project:
        pointer = released(bench, project, "v1.0.0")
        folder = champion.find(project, pointer["fingerprint"])
        stored = read_json(folder / "features.json")
        stored["columns"]["gone by now"] = "float"
        write_json(folder / "features.json", stored)
        reason = not_comparable(project, "v1.0.0")
    if "gone by now" not in reason:
        evidence = "the champion was compared although it reads a column that is gone"
        return Report("gate", [Check("gate.champion", Verdict.OK, evidence=evidence)])

    rows = bench.halves[1].head(1_000)
    scores = scores_of(bench, rows, fitted(bench)[0])
    return gate_report(bench, rows, scores, None, {}, champion="v1.0.0", not_compared=reason)


@fault(
    "a library that the service does not install",
    caught_by="gate.serving_environment",
    row="Infra 6",
    slow=True,
)
def missing_library(bench: Bench) -> Report:
    """The features need a tool of the pipeline.

    The model can be trained, but the service cannot load it.
    """
    return _in_service_environment(bench, "import great_expectations\n")


@healthy("a model in the service's environment", seeds=1, slow=True)
def loadable(bench: Bench, _: int) -> Report:
    """The model needs no more than the service installs."""
    return _in_service_environment(bench, "")


def _in_service_environment(bench: Bench, statement: str) -> Report:
    """The gate's check of a model whose features.py has one more statement at its beginning."""
    scorer = fitted(bench)[0]
    code = {}
    for name, text in team_code.collected(bench.project).items():
        if name.endswith("/features.py"):
            text = statement + text
        code[name] = text
    with temporary_folder() as temporary:
        folder = temporary / "model"
        save(scorer, folder, bench.contract, code)
        arrays = bench.contract.arrays(bench.rows.head(serving_environment.ROWS))
        result = serving_environment.measure(bench.project, folder, scorer, arrays)
    if result["not_tried"]:
        raise NotApplicable(f"the service's environment cannot be built: {result['not_tried']}")
    return Report("gate", [serving_rules.serving_check(result)])


@_fault("a changed model with all that lies beside it", "serving.signature")
def changed_with_digest(folder: Path, pointer: Pointer) -> None:
    """The model, its digest and its report are changed; only the key cannot be reached."""
    flip(folder / "model.pkl")
    as_if_judged(folder, pointer)


@_fault("a model signed by a foreign key", "serving.signature")
def foreign_key(folder: Path, pointer: Pointer) -> None:
    """It is signed with a key that the team does not trust."""
    with trusting(Project(folder, "elsewhere")) as elsewhere:
        _sign(elsewhere, folder)


@_fault("a model that nobody signed", "serving.signature")
def unsigned(folder: Path, pointer: Pointer) -> None:
    """The signature is absent."""
    verify.signature(folder).unlink()


@_fault("a model without a verdict", "serving.verdict")
def unjudged(folder: Path, pointer: Pointer) -> None:
    """It was never judged by the gate."""
    pointer["report"] = None


@_fault("a forged verdict", "serving.verdict")
def forged(folder: Path, pointer: Pointer) -> None:
    """The report says ok, but one of its checks failed."""
    pointer["report"]["checks"][0]["verdict"] = "fail"


@_fault("the verdict on another model", "serving.verdict")
def borrowed(folder: Path, pointer: Pointer) -> None:
    """The report is a good one, but about another model."""
    pointer["report"]["facts"]["model"] = "0" * 64


@_fault("a model of another library version", "serving.library", row="Infra 6")
def other_library(folder: Path, pointer: Pointer) -> None:
    """It was trained, judged and signed with another version of scikit-learn."""
    write_text(folder / "requirements.txt", "scikit-learn==0.1\n")
    _sign_changed(folder, pointer)
