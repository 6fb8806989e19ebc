"""From rows to predictions, without HTTP: check, look up, score, log. The service and the tests use the same one."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import to_json

from mlgates.contract import Arrays, Contract, rule_of
from mlgates.layout import ONLINE_STORE, PREDICTIONS
from mlgates.project import Project
from mlgates.serving import prometheus
from mlgates.serving.model_loader import Champion, Follower
from mlgates.serving.online_store import Store
from mlgates.serving.prediction_log import ID, PredictionLog, Unwritable, new_ids, types
from mlgates.serving.sqlite import cells

logger = logging.getLogger("bentoml.mlops")
MOST_FAULTS = 20  # that one refusal lists
NO_CHAMPION = "No champion is in service. Release one: uv run mlops promote"


class Refused(Exception):
    """Rows that are not predicted.

    `code` is the status that HTTP has for it, `detail` names row, column and rule of each fault, and never a value.
    """

    def __init__(self, code: int, message: str, detail: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail


def batch_model(project: Project) -> type[BaseModel]:
    """`{"rows": [...]}` with 1 to `serve.max_rows` rows as the contract describes them; "5" is no number."""
    request, most = project.contract.request_model, project.settings().serve.max_rows
    row = type(
        "Request", (request,), {"model_config": ConfigDict(strict=True), "__doc__": request.__doc__}
    )
    rows = Annotated[list[row], Field(min_length=1, max_length=most)]  # type: ignore[valid-type]
    config = ConfigDict(extra="forbid", strict=True)
    return create_model("Batch", __config__=config, __doc__="Rows to score.", rows=(rows, ...))


def answer_model(project: Project) -> type[BaseModel]:
    """`{"release": ..., "predictions": [...]}` with one prediction for each row, in order."""
    contract = project.contract
    decision = bool if contract.outcome.kind == "bool" else str
    fields: dict[str, dict[str, Any]] = {
        "binary": {"probability": (float, ...), "decision": (decision, ...)},
        "multiclass": {"probabilities": (dict[str, float], ...), "decision": (str, ...)},
        "regression": {"value": (float, ...)},
    }
    prediction = create_model("Prediction", id=(str, ...), **fields[contract.task])
    meaning = "One prediction for each row, in order."
    predictions: Any = (list[prediction], ...)  # type: ignore[valid-type]
    return create_model("Answer", __doc__=meaning, release=(str, ...), predictions=predictions)


def parse_rows(batch: Any, contract: Contract, body: bytes) -> list[Any]:
    """The rows of a JSON body, each checked by itself; `batch` is the `batch_model`.

    Raises: Refused with every fault that was found.
    """
    try:
        rows: list[Any] = batch.model_validate_json(body).rows
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
    else:
        return rows
    faults = []
    for one in found:
        place, kind = one["loc"], one["type"]
        row = place[1] if len(place) > 1 else None
        column = str(place[2])[:60] if len(place) > 2 else None
        if column in contract.columns:
            column = contract.columns[column].label
        number_of_rows = kind in ("too_short", "too_long") and column is None
        rule = "data.min_rows" if number_of_rows else rule_of(kind, one["input"])
        faults.append(_fault(row, column, rule, one["msg"]))
    raise _refused(400, f"Nothing was predicted. Faults found: {len(faults)}", faults)


class Predictor:
    """Checks rows against the contract, looks the rest up, scores with the recorded champion, and logs."""

    def __init__(self, project: Project, worker: int = 1) -> None:
        """`worker` numbers the processes that predict at once: each writes a log of its own.

        Raises: ProjectError if the contract uses a name that the prediction log needs.
        """
        self.contract = project.contract
        self.max_rows = int(project.settings().serve.max_rows)
        self.batch: Any = batch_model(project)
        types(self.contract, [])
        self.follower = Follower(project)
        self.store = Store(project.root / ONLINE_STORE, self.contract)
        self.log = PredictionLog(project.root / PREDICTIONS / f"{worker}.db")

    def ready(self) -> bool:
        """Whether a champion is in service."""
        return self.follower.current() is not None

    def close(self) -> None:
        """Leave no open log behind."""
        self.log.close()

    def parse(self, body: bytes) -> list[Any]:
        """The rows of a JSON body; see `parse_rows`."""
        return parse_rows(self.batch, self.contract, body)

    def predict(self, rows: Sequence[Any]) -> dict[str, Any]:
        """Predictions for rows of `batch_model`, as `answer_model` says; they are in the log when this returns.

        Raises: Refused for values that do not go together, without a champion, where a look-up found nothing that the
        contract demands, or where the log cannot be written.
        """
        if faults := self._with_offset(rows) or self._impossible(rows):
            raise _refused(400, f"Nothing was predicted. Faults found: {len(faults)}", faults)
        champion = self.follower.current()
        if champion is None:
            raise Refused(503, self.follower.reason or NO_CHAMPION)
        arrays = self.contract.arrays_of(rows)
        ages = self._look_up(arrays)
        if unanswered := self.contract.unanswered(arrays):
            faults = []
            for column, places in unanswered.items():
                for row in places.tolist():
                    faults.append(_fault(row, column, "data.missing", "Nothing known, or too old"))
            raise _refused(503, "A look-up that the contract demands found nothing.", faults)
        try:
            return self._scored(champion, arrays, ages)
        except Unwritable as error:
            prometheus.LOG_FAILURES.inc()
            logger.error("The prediction log cannot be written: %s", error)
            raise Refused(
                503, "The prediction log cannot be written, so nothing is answered."
            ) from error

    def _with_offset(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Datetimes with a UTC offset: the contract means local time, so the offset would be dropped silently."""
        faults = []
        for name, column in self.contract.request_columns.items():
            if column.kind != "datetime":
                continue
            for row, values in enumerate(rows):
                if getattr(getattr(values, name), "tzinfo", None) is not None:
                    faults.append(
                        _fault(row, column.label, "data.type", "Input should have no UTC offset")
                    )
        return faults

    def _impossible(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Rows that break a rule between columns."""
        if not self.contract.rules:
            return []
        faults = []
        for name, places in self.contract.impossible(self.contract.arrays_of(rows)).items():
            for row in places.tolist():
                faults.append(_fault(row, name, "data.rule", "The values do not go together"))
        return faults

    def _scored(
        self, champion: Champion, arrays: Arrays, ages: dict[str, list[float]]
    ) -> dict[str, Any]:
        matrix = champion.scorer.matrix(arrays)
        scores = champion.score(matrix)
        rows = len(matrix)
        ids = new_ids(rows)
        decisions = champion.scorer.decide(scores).tolist()
        logged: dict[str, list[Any]] = {
            ID: ids,
            "at": [time.time()] * rows,
            "release": [champion.release] * rows,
            "fingerprint": [champion.fingerprint] * rows,
            "digest": [champion.digest] * rows,
        }
        for name, column in self.contract.feature_columns.items():
            logged[name] = cells(column, arrays[name])
        logged |= ages
        for name, values in zip(champion.scorer.plan.names, matrix.T.tolist(), strict=True):
            logged[f"feature__{name}"] = values
        logged["score"] = scores.tolist()
        if scores.ndim > 1:
            logged["score"] = [to_json(row).decode() for row in scores.tolist()]
        logged["decision"] = decisions
        self.log.append(logged, champion.columns)
        prometheus.ROWS.inc(rows)
        return {"release": champion.release, "predictions": self._answers(ids, scores, decisions)}

    def _answers(
        self, ids: list[str], scores: np.ndarray, decisions: list[Any]
    ) -> list[dict[str, Any]]:
        """One prediction for each row, as `answer_model` describes it."""
        if self.contract.task == "regression":
            return [{"id": one, "value": value} for one, value in zip(ids, decisions, strict=True)]
        answers = []
        for one, score, decision in zip(ids, scores.tolist(), decisions, strict=True):
            if self.contract.task == "binary":
                answers.append({"id": one, "probability": score, "decision": decision})
            else:
                named = dict(zip(self.contract.classes, score, strict=True))
                answers.append({"id": one, "probabilities": named, "decision": decision})
        return answers

    def _look_up(self, arrays: Arrays) -> dict[str, list[float]]:
        """Add what the look-ups know to `arrays`; returns how old it is, in seconds, by the log's column."""
        ages = {}
        for look in self.contract.lookups:
            found, age = self.store.find(look, arrays)
            arrays.update(found)
            ages[f"{look.name}__age"] = age.tolist()
            missing, old = int(np.isnan(age).sum()), int((age > look.max_seconds).sum())
            for result, count in (
                ("missing", missing),
                ("too_old", old),
                ("found", len(age) - missing - old),
            ):
                if count:
                    prometheus.LOOKUPS.labels(look.name, result).inc(count)
            if missing < len(age):
                prometheus.AGE.labels(look.name).set(np.nanmax(age))
        return ages


def _refused(code: int, message: str, faults: list[dict[str, Any]]) -> Refused:
    """A refusal whose faults are counted by rule."""
    for rule, count in Counter(fault["rule"] for fault in faults).items():
        prometheus.REFUSED.labels(rule).inc(count)
    return Refused(code, message, faults[:MOST_FAULTS])


def _fault(row: Any, column: str | None, rule: str, message: str) -> dict[str, Any]:
    return {"row": row, "column": column, "rule": rule, "message": message}
