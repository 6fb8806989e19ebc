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
from mlgates.verdict import Effect, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd


class NotApplicable(Exception):
    """The contract has nothing that this fault could be planted in; printed as such, counted for nothing."""


@dataclass(frozen=True)
class Fault:
    """`plant` returns the report of the real check on faulty input; `caught_by` must have verdict `expected` in it.

    Where its name ends in a column or a feature of the contract, the report's fact `caught_by` is the full name.
    """

    name: str
    caught_by: str
    row: str
    expected: Verdict
    plant: Callable[["Bench"], Report]
    spared: str = (
        ""  # checks whose name starts so must stay ok: the fault must not be called by another name
    )
    slow: bool = False


@dataclass(frozen=True)
class Healthy:
    """A run without a fault; `run` takes a seed."""

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
    """Register a fault; `row` is the row of Google's ML Test Score that it proves."""

    def register(plant: Plant) -> Plant:
        FAULTS.append(Fault(name, caught_by, row, expected, plant, spared, slow))
        return plant

    return register


def healthy(name: str, *, seeds: int = 5, slow: bool = False) -> Callable[[Plant], Plant]:
    """Register a run without a fault, for some seeds: no check in its reports may fail."""

    def register(run: Plant) -> Plant:
        HEALTHY.append(Healthy(name, run, seeds, slow))
        return run

    return register


@dataclass
class Bench:
    """Healthy rows of this project, its settings, and what is made of them once."""

    project: Project
    rows: "pd.DataFrame"
    settings: Settings
    size: int = 5_000
    trained: dict[str, tuple[Scorer, dict[str, Scorer]]] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def contract(self) -> Contract:
        """The project's contract."""
        return self.project.contract

    def wiring(self, name: str) -> Any:
        """The team's wiring file of a stage: faults are planted where it is, so a call that was removed is seen."""
        return self.project.stage(name)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What several faults need, made for the first of them."""
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    def resample(self, seed: int, size: int = 0) -> "pd.DataFrame":
        """Healthy rows drawn again, no key twice: no real period is certain to be healthy."""
        size = size or self.size
        drawn = self.rows.sample(
            size, replace=len(self.rows) < size, random_state=seed
        ).reset_index(drop=True)
        key = list(self.contract.key)
        return drawn.drop_duplicates(key).reset_index(drop=True) if key else drawn

    @cached_property
    def halves(self) -> "tuple[pd.DataFrame, pd.DataFrame]":
        """Rows to train on and rows to evaluate on."""
        shuffled = self.rows.sample(frac=1, random_state=0).reset_index(drop=True)
        return shuffled.iloc[::2].reset_index(drop=True), shuffled.iloc[1::2].reset_index(drop=True)

    @cached_property
    def thirds(self) -> "list[pd.DataFrame]":
        """Three parts of the rows, as data.py would deliver them."""
        shuffled = self.request_rows(self.rows.sample(frac=1, random_state=0))
        return [shuffled.iloc[part::3].reset_index(drop=True) for part in range(3)]

    def column(self, wanted: Callable[[Column], bool], what: str) -> Column:
        """A request column that the fault needs. Raises: NotApplicable if the contract has none."""
        for column in self.contract.request_columns.values():
            if wanted(column):
                return column
        raise NotApplicable(f"the request has no {what}")

    @cached_property
    def number(self) -> Column:
        """The number with the widest bounds, if possible one that another unit drives beyond them."""
        bounded = [
            c for c in self.contract.request_columns.values() if c.is_number and c.high is not None
        ]
        bounded = [c for c in bounded if c.name not in self.contract.key] or bounded
        if not bounded:
            raise NotApplicable("the request has no number with bounds")
        return max(bounded, key=lambda c: (self.leaves(c), float(c.high or 0) - float(c.low or 0)))

    def leaves(self, column: Column) -> bool:
        """Whether a tenth of a column's values are beyond its bounds in a unit that is 1,609 times smaller."""
        values = self.rows[column.name].to_numpy(dtype=float, na_value=np.nan) * 1609
        low = -np.inf if column.low is None else column.low
        return bool(((values < low) | (values > float(column.high or 0))).mean() > 0.1)

    @property
    def moving(self) -> Column:
        """`number`, where another unit shows. Raises: NotApplicable where most values are zero."""
        if not self.leaves(self.number):
            raise NotApplicable("no number of the request leaves its bounds in another unit")
        return self.number

    @property
    def first(self) -> str:
        """The name of the request's first column."""
        return next(iter(self.contract.request_columns))

    def request_rows(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """Only what data.py would deliver: request and outcome."""
        return rows[[*self.contract.request_columns, self.contract.outcome.name]]


def outcome(fault: Fault, bench: Bench) -> tuple[bool | None, str]:
    """Plant a fault: True if the named check has the expected verdict and nothing else is blamed, None if n/a."""
    try:
        report = fault.plant(bench)
    except NotApplicable as reason:
        return None, str(reason)
    except ProjectError as error:
        refused = str(error).startswith(fault.caught_by)
        return refused, str(error).splitlines()[0]
    name = report.facts.get("caught_by", fault.caught_by)
    try:
        check = report[name]
    except KeyError:
        return False, f"{name} did not run"
    blamed = (
        [other.name for other in report.named(fault.spared) if other.verdict is Verdict.FAIL]
        if fault.spared
        else []
    )
    if blamed:
        return False, f"wrongly called {blamed[0]}"
    value = f"{check.value:.4g}" if isinstance(check.value, int | float) else check.value
    measured = "" if value is None and check.limit is None else f" ({value}, limit {check.limit})"
    named = "" if name == fault.caught_by else f"{name}: "
    return (
        check.verdict is fault.expected,
        f"{named}{check.verdict}{measured} {check.evidence}".strip(),
    )


def strict(report: Report) -> Report:
    """The same report with every check in its verdict.

    Of a healthy run nothing may drift, or ask a person, either.
    """
    checks = [replace(check, effect=Effect.BLOCK) for check in report.all_checks]
    return replace(report, all_checks=checks)


def scrambled(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """The same values in another order."""
    return np.random.default_rng(seed).permutation(values)
