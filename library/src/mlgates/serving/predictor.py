"""From rows to predictions, without HTTP: check, look up, score, log.

The service and the tests use the same `Predictor`. `predict` and what it calls run once a request;
their work on rows stays in NumPy and in comprehensions, because a served row has a CPU budget.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails, to_json

from mlgates.contract import Arrays, Contract, rule_of
from mlgates.layout import ONLINE_STORE, PREDICTIONS
from mlgates.project import Project
from mlgates.serving import prometheus
from mlgates.serving.model_loader import Champion, Follower
from mlgates.serving.online_store import Store
from mlgates.serving.prediction_log import ID, PredictionLog, Unwritable, log_columns, new_ids
from mlgates.serving.sqlite import sqlite_values

logger = logging.getLogger("bentoml.mlops")
MAX_FAULTS = 20  # that one refusal lists
MAX_NAME = 60  # characters of a column's name that a caller made up
NO_CHAMPION = "No champion is in service. Release one: uv run mlops promote"
LOG_UNWRITABLE = "The prediction log cannot be written, so nothing is answered."
# The rule that a whole request breaks, by pydantic's name for it: it has no row, or too many.
RULES_OF_REQUESTS = {"too_short": "data.min_rows", "too_long": "serve.max_rows"}

Fault = dict[str, Any]  # row, column, rule and message; never a value


class Refused(Exception):
    """Rows that are not predicted.

    `code` is the status that HTTP has for it. `detail` names row, column and rule of each fault,
    and never a value.
    """

    def __init__(self, code: int, message: str, detail: list[Fault] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail


def batch_model(project: Project) -> type[BaseModel]:
    """The type of a request: `{"rows": [...]}` with 1 to `serve.max_rows` rows of the contract.

    Types are strict: "5" is no number.
    """
    request = project.contract.request_model
    row_attributes = {"model_config": ConfigDict(strict=True), "__doc__": request.__doc__}
    row = type("Request", (request,), row_attributes)
    length = Field(min_length=1, max_length=project.settings().serve.max_rows)
    rows = Annotated[list[row], length]  # type: ignore[valid-type]
    config = ConfigDict(extra="forbid", strict=True)
    return create_model("Batch", __config__=config, __doc__="Rows to score.", rows=(rows, ...))


def answer_model(project: Project) -> type[BaseModel]:
    """The type of an answer: `{"release": ..., "predictions": [...]}`, one for each row."""
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

    Raises: Refused with all faults.
    """
    try:
        rows: list[Any] = batch.model_validate_json(body).rows
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
    else:
        return rows
    # Outside of the `except`, so that the refusal does not carry pydantic's error, which quotes
    # the caller's values.
    raise _with_faults([_fault_of(error, contract) for error in errors])


def _fault_of(error: ErrorDetails, contract: Contract) -> Fault:
    """What pydantic says of a request, in the words of the contract and without a value.

    The place of an error is ("rows", number of the row, column, ...), as far as it goes.
    """
    rule = rule_of(error["type"], error["input"])
    _, row, column, *_ = (*error["loc"], None, None, None)
    if column is None:
        return _fault(row, None, RULES_OF_REQUESTS.get(error["type"], rule), error["msg"])
    name = str(column)[:MAX_NAME]
    if name in contract.columns:
        name = contract.columns[name].label
    return _fault(row, name, rule, error["msg"])


class Predictor:
    """Checks rows against the contract, looks the rest up, scores with the champion, and logs."""

    def __init__(self, project: Project, worker: int = 1) -> None:
        """`worker` numbers the processes that predict at once: each writes a log of its own.

        Raises: ProjectError if the contract uses a name that the prediction log needs.
        """
        self.contract = project.contract
        self.max_rows = int(project.settings().serve.max_rows)
        self.batch: Any = batch_model(project)
        log_columns(self.contract, [])  # raises now instead of with the first request
        request_columns = self.contract.request_columns.values()
        self.datetimes = [column for column in request_columns if column.kind == "datetime"]
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
        """Predictions for rows of `batch_model`, in the form of `answer_model`.

        They are in the log when this returns.

        Raises: Refused for values that do not go together, without a champion, where a look-up that
        the contract requires found nothing, or where the log cannot be written.
        """
        faults = self._with_offset(rows) or self._breaking_rules(rows)
        if faults:
            raise _with_faults(faults)
        champion = self.follower.current()
        if champion is None:
            raise Refused(503, self.follower.reason or NO_CHAMPION)

        arrays = self.contract.arrays_of(rows)
        ages = self._look_up(arrays)
        self._require_lookups(arrays)
        try:
            return self._scored(champion, arrays, ages)
        except Unwritable as error:
            prometheus.LOG_FAILURES.inc()
            logger.error("The prediction log cannot be written: %s", error)
            raise Refused(503, LOG_UNWRITABLE) from error

    def _with_offset(self, rows: Sequence[Any]) -> list[Fault]:
        """Datetimes with a UTC offset.

        The contract means local time, so the offset would be dropped silently.
        """
        faults = []
        for column in self.datetimes:
            for row, values in enumerate(rows):
                moment = getattr(values, column.name)
                if getattr(moment, "tzinfo", None) is not None:
                    message = "Input should have no UTC offset"
                    faults.append(_fault(row, column.label, "data.type", message))
        return faults

    def _breaking_rules(self, rows: Sequence[Any]) -> list[Fault]:
        """Rows that break a rule between columns."""
        if not self.contract.rules:
            return []
        places_by_rule = self.contract.impossible(self.contract.arrays_of(rows))
        message = "The values do not go together"
        return _faults_at(places_by_rule, "data.rule", message)

    def _look_up(self, arrays: Arrays) -> dict[str, list[float]]:
        """Add the columns of all look-ups to `arrays`.

        Returns the ages of the matches in seconds (NaN: no match), by the log's column.
        """
        ages = {}
        for look in self.contract.lookups:
            looked_up, age = self.store.find(look, arrays)
            arrays.update(looked_up)
            ages[f"{look.name}__age"] = age.tolist()
            _count_lookups(look.name, age, look.max_seconds)
        return ages

    def _require_lookups(self, arrays: Arrays) -> None:
        """Raises: Refused if a look-up that the contract requires has no value for a row."""
        unanswered = self.contract.missing_lookups(arrays)
        if unanswered:
            message = "The look-up has no value, or only one that is too old"
            faults = _faults_at(unanswered, "data.missing", message)
            raise _refused(503, "A look-up that the contract requires found nothing.", faults)

    def _scored(
        self, champion: Champion, arrays: Arrays, ages: dict[str, list[float]]
    ) -> dict[str, Any]:
        """The answer, after it was logged. Raises: Unwritable."""
        matrix = champion.scorer.matrix(arrays)
        scores = champion.score(matrix)
        decisions = champion.scorer.decide(scores).tolist()
        rows = len(matrix)
        ids = new_ids(rows)

        logged: dict[str, list[Any]] = {
            ID: ids,
            "at": [time.time()] * rows,
            "release": [champion.release] * rows,
            "fingerprint": [champion.fingerprint] * rows,
            "digest": [champion.digest] * rows,
        }
        for name, column in self.contract.feature_columns.items():
            logged[name] = sqlite_values(column, arrays[name])
        logged.update(ages)
        for name, values in zip(champion.scorer.plan.names, matrix.T.tolist(), strict=True):
            logged[f"feature__{name}"] = values
        if scores.ndim > 1:
            logged["score"] = [to_json(row).decode() for row in scores.tolist()]
        else:
            logged["score"] = scores.tolist()
        logged["decision"] = decisions
        self.log.append(logged, champion.columns)

        prometheus.ROWS.inc(rows)
        return {"release": champion.release, "predictions": self._answers(ids, scores, decisions)}

    def _answers(
        self, ids: list[str], scores: np.ndarray, decisions: list[Any]
    ) -> list[dict[str, Any]]:
        """One prediction for each row, as `answer_model` describes it."""
        task = self.contract.task
        classes = self.contract.classes
        answers = []
        for prediction_id, score, decision in zip(ids, scores.tolist(), decisions, strict=True):
            if task == "regression":
                answers.append({"id": prediction_id, "value": decision})
            elif task == "binary":
                answers.append({"id": prediction_id, "probability": score, "decision": decision})
            else:
                probabilities = dict(zip(classes, score, strict=True))
                answers.append(
                    {"id": prediction_id, "probabilities": probabilities, "decision": decision}
                )
        return answers


def _count_lookups(name: str, age: np.ndarray, max_age: float) -> None:
    """Count what became of a look-up of (n,) rows, and show the oldest match; ages in seconds."""
    missing = int(np.isnan(age).sum())
    too_old = int((age > max_age).sum())
    found = len(age) - missing - too_old
    for result, count in (("missing", missing), ("too_old", too_old), ("found", found)):
        if count:
            prometheus.LOOKUPS.labels(name, result).inc(count)
    if missing < len(age):
        prometheus.AGE.labels(name).set(np.nanmax(age))


def _with_faults(faults: list[Fault]) -> Refused:
    """The refusal of a request that breaks the contract."""
    return _refused(400, f"Nothing was predicted. Faults found: {len(faults)}", faults)


def _refused(code: int, message: str, faults: list[Fault]) -> Refused:
    """A refusal whose faults are counted by rule."""
    for rule, count in Counter(fault["rule"] for fault in faults).items():
        prometheus.REFUSED.labels(rule).inc(count)
    return Refused(code, message, faults[:MAX_FAULTS])


def _faults_at(places: Mapping[str, np.ndarray], rule: str, message: str) -> list[Fault]:
    """One fault for each row at the places of each column; `message` is the same for all."""
    faults = []
    for column, rows in places.items():
        for row in rows.tolist():
            faults.append(_fault(row, column, rule, message))
    return faults


def _fault(row: Any, column: str | None, rule: str, message: str) -> Fault:
    return {"row": row, "column": column, "rule": rule, "message": message}
