"""What a planted fault is: a few lines beside the name of the check that must catch it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mlgates.contract import Column, Contract
from mlgates.errors import ProjectError
from mlgates.model_folder import Scorer
from mlgates.project import Project
from mlgates.settings import Settings
from mlgates.verdict import Check, Effect, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

# For a fault in which upstream changes a unit. The large factor drives values beyond most bounds.
METRES_PER_MILE = 1609


class NotApplicable(Exception):
    """The contract has nothing that this fault could be planted in.

    The message is printed as the reason. The fault then counts neither as caught nor as escaped.
    """


@dataclass(frozen=True)
class Fault:
    """A planted fault, and the check that must catch it.

    `plant` runs the real check on faulty input and returns its report. In that report, the check
    `caught_by` must have the verdict `expected`. Some checks have names that end in a column or a
    feature of the contract. For these, `plant` puts the full name into the report's fact
    `caught_by`.

    `spared` is the beginning of a check's name. No check with such a name may fail, because the
    fault must not be mistaken for another one. Empty: every other check may fail, too.
    """

    name: str
    caught_by: str
    row: str
    expected: Verdict
    plant: Callable[["Bench"], Report]
    spared: str = ""
    slow: bool = False

    @property
    def area(self) -> str:
        """What it is a fault of: the name of the module that plants it, such as `data`."""
        return self.plant.__module__.rpartition(".")[2]


@dataclass(frozen=True)
class Healthy:
    """A run without a fault; `run` takes a bench and a seed."""

    name: str
    run: Callable[..., Report]
    seeds: int
    slow: bool


FAULTS: list[Fault] = []
HEALTHY: list[Healthy] = []
Plant = TypeVar("Plant", bound=Callable[..., Report])


def fault(
    name: str,
    *,
    caught_by: str,
    row: str,
    expected: Verdict = Verdict.FAIL,
    spared: str = "",
    slow: bool = False,
) -> Callable[[Plant], Plant]:
    """Register a fault (see `Fault`).

    `row` is the row of Google's ML Test Score that the fault proves. Slow faults are left out by
    `mlops prove --fast`.
    """

    def register(plant: Plant) -> Plant:
        FAULTS.append(Fault(name, caught_by, row, expected, plant, spared, slow))
        return plant

    return register


def healthy(name: str, *, seeds: int = 5, slow: bool = False) -> Callable[[Plant], Plant]:
    """Register a run without a fault. It is run with the seeds 0, 1, ...; no check may fail."""

    def register(run: Plant) -> Plant:
        HEALTHY.append(Healthy(name, run, seeds, slow))
        return run

    return register


@dataclass
class Bench:
    """What faults are planted in: a project, its settings and healthy rows of its data.

    `rows` have their look-ups joined. `size` is the number of rows that a sample has by default.
    """

    project: Project
    rows: "pd.DataFrame"
    settings: Settings
    size: int = 5_000
    fitted_models: dict[str, tuple[Scorer, dict[str, Scorer]]] = field(default_factory=dict)
    computed_once: dict[str, Any] = field(default_factory=dict)

    @property
    def contract(self) -> Contract:
        """The project's contract."""
        return self.project.contract

    def wiring(self, name: str) -> Any:
        """The team's wiring file of a stage.

        Faults go through the team's own wiring, so that a check whose call was removed is noticed.
        """
        return self.project.stage(name)

    def computed(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, computed at the first call and shared by all faults that use it."""
        if name not in self.computed_once:
            self.computed_once[name] = make()
        return self.computed_once[name]

    def resample(self, seed: int, size: int = 0) -> "pd.DataFrame":
        """A random sample of the healthy rows in which no key repeats; `self.size` rows by default.

        Runs without a fault use such samples because no real period is certain to be healthy.
        """
        size = size or self.size
        must_repeat_rows = len(self.rows) < size
        drawn = self.rows.sample(size, replace=must_repeat_rows, random_state=seed)
        if self.contract.key:
            drawn = drawn.drop_duplicates(list(self.contract.key))
        return drawn.reset_index(drop=True)

    @cached_property
    def halves(self) -> "tuple[pd.DataFrame, pd.DataFrame]":
        """Rows to train on and rows to evaluate on."""
        shuffled = self.rows.sample(frac=1, random_state=0)
        train, evaluation = shuffled.iloc[::2], shuffled.iloc[1::2]
        return train.reset_index(drop=True), evaluation.reset_index(drop=True)

    @cached_property
    def thirds(self) -> "list[pd.DataFrame]":
        """Three parts of the rows, as data.py would deliver them."""
        shuffled = self.request_rows(self.rows.sample(frac=1, random_state=0))
        return [shuffled.iloc[part::3].reset_index(drop=True) for part in range(3)]

    def column(self, wanted: Callable[[Column], bool], what: str) -> Column:
        """The first request column that is `wanted`.

        Raises: NotApplicable if there is none; `what` says in the message what was looked for.
        """
        for column in self.contract.request_columns.values():
            if wanted(column):
                return column
        raise NotApplicable(f"the request has no {what}")

    def require_key(self) -> None:
        """Raises: NotApplicable if the contract has no key, so that repeated rows go unnoticed."""
        if not self.contract.key:
            raise NotApplicable("without a key no repeated row can be recognized")

    def require_time(self) -> str:
        """The column that orders the rows. Raises: NotApplicable if the contract names none."""
        if not self.contract.time:
            raise NotApplicable("the contract has no time")
        return self.contract.time

    @cached_property
    def number(self) -> Column:
        """The request's number with the widest bounds.

        Numbers that leave their bounds in another unit come first, numbers of the key come last.
        Raises: NotApplicable if no number has an upper bound.
        """
        bounded = []
        for column in self.contract.request_columns.values():
            if column.is_number and column.high is not None:
                bounded.append(column)
        if not bounded:
            raise NotApplicable("the request has no number with an upper bound")

        outside_key = [column for column in bounded if column.name not in self.contract.key]
        candidates = outside_key or bounded

        def preference(column: Column) -> tuple[bool, float]:
            width = float(column.high or 0) - float(column.low or 0)
            return self._leaves_bounds(column), width

        return max(candidates, key=preference)

    def _leaves_bounds(self, column: Column) -> bool:
        """Whether a change of unit drives more than a tenth of a column's values beyond its bounds.

        The change is the one from miles to metres.
        """
        values = self.rows[column.name].to_numpy(dtype=float, na_value=np.nan) * METRES_PER_MILE
        low = -np.inf if column.low is None else column.low
        high = float(column.high or 0)
        is_outside = (values < low) | (values > high)
        return bool(is_outside.mean() > 0.1)

    @property
    def number_that_leaves_bounds(self) -> Column:
        """`number`, if a change of its unit shows.

        Raises: NotApplicable if it does not, for example because most values are zero.
        """
        if not self._leaves_bounds(self.number):
            raise NotApplicable("no number of the request leaves its bounds in another unit")
        return self.number

    @property
    def first_column(self) -> str:
        """The name of the request's first column."""
        return next(iter(self.contract.request_columns))

    def request_rows(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """The columns that data.py would deliver: those of the request, and the outcome."""
        return rows[[*self.contract.request_columns, self.contract.outcome.name]]


def try_fault(fault: Fault, bench: Bench) -> tuple[bool | None, str]:
    """Plant a fault; returns whether it was caught, and the evidence in one line.

    True: the expected check has the expected verdict, and no check of `fault.spared` failed.
    False: the fault escaped. None: the fault is not applicable to this contract.
    """
    try:
        report = fault.plant(bench)
    except NotApplicable as reason:
        return None, str(reason)
    except ProjectError as error:
        # Some checks stop a run at once. Then the message starts with the name of the check.
        message = str(error)
        return message.startswith(fault.caught_by), message.splitlines()[0]

    name = report.facts.get("caught_by", fault.caught_by)
    try:
        check = report[name]
    except KeyError:
        return False, f"{name} did not run"

    if fault.spared:
        for other in report.named(fault.spared):
            if other.verdict is Verdict.FAIL:
                return False, f"mistaken for another fault: {other.name} failed"

    evidence = _evidence(check)
    if name != fault.caught_by:
        evidence = f"{name}: {evidence}"
    return check.verdict is fault.expected, evidence


def _evidence(check: Check) -> str:
    """Verdict, value, limit and evidence of a check, in one line."""
    value = check.value
    if isinstance(value, int | float):
        value = f"{value:.4g}"

    measured = ""
    if value is not None or check.limit is not None:
        measured = f" ({value}, limit {check.limit})"
    return f"{check.verdict}{measured} {check.evidence}".strip()


def strict(report: Report) -> Report:
    """The same report with every check as a blocking one.

    In a run without a fault, drift and warnings are false alarms, too.
    """
    checks = [replace(check, effect=Effect.BLOCK) for check in report.all_checks]
    return replace(report, all_checks=checks)


def scrambled(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """The same values in another order."""
    return np.random.default_rng(seed).permutation(values)
