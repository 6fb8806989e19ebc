"""The one type for every check: a gate, a monitor, a rule about data and a planted fault all speak in it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from mlgates.errors import ProjectError


class Verdict(StrEnum):
    """Three values, because "could not tell" must never be read as "passed"."""

    OK = "ok"
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


EXIT_CODES = {Verdict.OK: 0, Verdict.FAIL: 3, Verdict.INSUFFICIENT: 4}


@dataclass(frozen=True)
class Check:
    """One measured number against one limit.

    `interval` is the 95 % interval of `value`; `rows` is how many rows were measured; `evidence` is a short sentence.
    """

    name: str
    verdict: Verdict
    value: float | str | None = None
    limit: float | str | None = None
    interval: tuple[float, float] | None = None
    rows: int | None = None
    required: bool = True
    evidence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data; JSON knows no NaN and no infinity, so they become None."""
        numbers = [number for number in (self.value, *(self.interval or ())) if isinstance(number, float)]
        return asdict(self if all(map(math.isfinite, numbers)) else replace(self, value=None, interval=None))

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Check":
        """Read back what `to_dict` wrote."""
        interval = tuple(stored["interval"]) if stored.get("interval") else None
        return cls(**{**stored, "verdict": Verdict(stored["verdict"]), "interval": interval})


def at_most(name: str, value: float | None, limit: float, rows: int, *, least: int = 1, **more: Any) -> Check:
    """`ok` if the value is at most the limit; `insufficient` without a value or with fewer than `least` rows."""
    value = None if value is None or value != value else value
    if value is None or rows < least:
        return Check(name, Verdict.INSUFFICIENT, value, limit, rows=rows, **more)
    return Check(name, Verdict.OK if value <= limit else Verdict.FAIL, value, limit, rows=rows, **more)


def not_below(
    name: str,
    value: float | None,
    interval: tuple[float, float] | None,
    limit: float,
    rows: int,
    *,
    least: int = 1,
    **more: Any,
) -> Check:
    """Compare an interval with a lower limit: above is `ok`, below is `fail`, astride or absent is `insufficient`."""
    verdict = Verdict.INSUFFICIENT
    if interval and interval[0] == interval[0] and interval[1] == interval[1]:
        if rows >= least and interval[0] >= limit:
            verdict = Verdict.OK
        elif rows >= least and interval[1] < limit:
            verdict = Verdict.FAIL
    else:
        interval = None
    return Check(name, verdict, value, limit, interval, rows, **more)


@dataclass
class Report:
    """Checks under one title; `facts` are for the reader.

    Neither `drift`, which asks for retraining, nor `advice`, which asks a person, stops anything.
    """

    title: str
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    drift: list[Check] = field(default_factory=list)
    advice: list[Check] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """`fail` if any check fails, else `insufficient` if a required one is or none ran, else `ok`."""
        if any(check.verdict is Verdict.FAIL for check in self.checks):
            return Verdict.FAIL
        required = [check for check in self.checks if check.required]
        if not required or any(check.verdict is Verdict.INSUFFICIENT for check in required):
            return Verdict.INSUFFICIENT
        return Verdict.OK

    @property
    def stops(self) -> list[str]:
        """The names of the checks that the verdict comes from; none if it is ok."""
        same = [check for check in self.checks if check.verdict is self.verdict is not Verdict.OK]
        decisive = [check.name for check in same if check.required or check.verdict is Verdict.FAIL]
        return decisive or [check.name for check in same]

    @property
    def exit_code(self) -> int:
        """0 ok, 3 fail, 4 insufficient."""
        return EXIT_CODES[self.verdict]

    def __getitem__(self, name: str) -> Check:
        """The check of that name, wherever it stands; KeyError if it did not run."""
        for check in [*self.checks, *self.drift, *self.advice]:
            if check.name == name:
                return check
        raise KeyError(name)

    def named(self, prefix: str) -> Iterable[Check]:
        """All checks whose name starts with the prefix."""
        return (check for check in [*self.checks, *self.drift, *self.advice] if check.name.startswith(prefix))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `verdict` is written for readers and computed again by `from_dict`."""
        return {
            "title": self.title,
            "verdict": str(self.verdict),
            "facts": self.facts,
            "checks": [check.to_dict() for check in self.checks],
            "drift": [check.to_dict() for check in self.drift],
            "advice": [check.to_dict() for check in self.advice],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Report":
        """Read back what `to_dict` wrote; the stored verdict is not believed. Raises: ProjectError for no report."""
        try:
            parts = (stored["checks"], stored["drift"], stored["advice"])
            checks, drift, advice = ([Check.from_dict(check) for check in part] for part in parts)
            return cls(stored["title"], checks, dict(stored["facts"]), drift, advice)
        except (KeyError, TypeError, ValueError) as error:
            raise ProjectError(
                f"A stored report is damaged ({error!r}).", "Make it again: uv run dvc repro --force gate"
            ) from None
