"""The one type for every check: a gate, a monitor, a rule about data and a planted fault all speak in it."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from mlgates.errors import ProjectError


class Verdict(StrEnum):
    """Three values, because "could not tell" must never be read as "passed"."""

    OK = "ok"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    @classmethod
    def _missing_(cls, value: object) -> "Verdict | None":
        """Read a report that was stored before 0.4, when the verdict had another name."""
        return cls.INCONCLUSIVE if value == "inconclusive" else None


EXIT_CODES = {Verdict.OK: 0, Verdict.FAIL: 3, Verdict.INCONCLUSIVE: 4}


class Effect(StrEnum):
    """What follows where a check fails; only blocking checks count for the verdict of a report."""

    BLOCK = "block"  # it blocks whatever asked for the report: a run, a promotion, a service
    BLOCK_PROMOTION = "block_promotion"  # the run goes on, so that everything else is measured
    RETRAIN = "retrain"  # it asks for retraining: the data have moved
    WARN = "warn"  # it asks a person to look

    @classmethod
    def _missing_(cls, value: object) -> "Effect | None":
        """Read a report that was stored before 0.4."""
        return cls.BLOCK_PROMOTION if value == "veto" else None


IMPLIED = {  # the parts of a stored report, and what a check there does unless it says otherwise
    "checks": Effect.BLOCK,
    "drift": Effect.RETRAIN,
    "warnings": Effect.WARN,
}
PART = {effect: part for part, effect in IMPLIED.items()} | {Effect.BLOCK_PROMOTION: "checks"}


OLD_PARTS = {"warnings": "advice"}  # what a part was called before 0.4
OLD_FACTS = {"opponent": "champion", "opponent_release": "champion_release"}  # the same for facts
RENAMED = {  # checks that were called otherwise before 0.4, by the beginning of the name
    "data.account": "data.row_count",
    "data.key": "data.unique_key",
    "data.rows": "data.min_rows",
    "drift.outcome": "drift.label",
    "gate.better": "gate.improvement",
    "gate.calibration": "gate.calibration_error",
    "gate.card": "gate.model_card",
    "gate.churn": "gate.changed_decisions",
    "gate.cost": "gate.feature_cost",
    "gate.floor": "gate.slice_floor",
    "gate.gain": "gate.feature_gain",
    "gate.group": "gate.fairness",
    "gate.lookup": "gate.missing_lookup",
    "gate.megabytes": "gate.model_size",
    "gate.milliseconds": "gate.latency",
    "gate.noise": "gate.robustness",
    "gate.tuned": "gate.tuning",
    "monitor.estimate": "monitor.estimated_performance",
    "monitor.invariants": "monitor.contract",
    "monitor.outcomes": "monitor.labels",
    "monitor.predictions": "monitor.prediction_drift",
    "monitor.quality": "monitor.performance",
    "monitor.rows": "monitor.min_rows",
    "poison.flood": "poison.near_duplicates",
    "poison.labels": "poison.label_flips",
}


def current_name(name: str) -> str:
    """The name of a check today, given the name in a stored report, which may be older."""
    head = re.match(
        r"\w+\.\w+", name
    )  # what follows is a column, a feature, a slice, or `:` and a look-up
    if head is None or head[0] not in RENAMED:
        return name
    return RENAMED[head[0]] + name[head.end() :]


@dataclass(frozen=True)
class Check:
    """One measured number against one limit.

    `interval` is the 95 % interval of `value`; `rows` is how many rows were measured; `evidence` is
    a short sentence; `effect` is what follows if it fails.
    """

    name: str
    verdict: Verdict
    value: float | str | None = None
    limit: float | str | None = None
    interval: tuple[float, float] | None = None
    rows: int | None = None
    required: bool = True
    evidence: str = ""
    effect: Effect = Effect.BLOCK

    def to_dict(self) -> dict[str, Any]:
        """Plain data; JSON knows no NaN and no infinity, so they become None.

        Of the effects only BLOCK_PROMOTION is written: the others follow from the part of the report.
        """
        numbers = [
            number for number in (self.value, *(self.interval or ())) if isinstance(number, float)
        ]
        finite = all(map(math.isfinite, numbers))
        stored = asdict(self if finite else replace(self, value=None, interval=None))
        if self.effect in IMPLIED.values():
            del stored["effect"]
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], part: str = "checks") -> "Check":
        """Read back what `to_dict` wrote, from a part of a stored report.

        Raises: ValueError for an effect that does not belong there: no failed check is talked out
        of a verdict.
        """
        interval = tuple(stored["interval"]) if stored.get("interval") else None
        effect = Effect(stored.get("effect", IMPLIED[part]))
        if PART[effect] != part:
            raise ValueError(f"{stored['effect']!r} among the {part}")
        verdict = Verdict(stored["verdict"])
        name = current_name(stored["name"])
        return cls(
            **{**stored, "name": name, "verdict": verdict, "interval": interval, "effect": effect}
        )


def at_most(
    name: str, value: float | None, limit: float, rows: int, *, min_rows: int = 1, **more: Any
) -> Check:
    """`ok` if the value is at most the limit; `inconclusive` without a value or with fewer than `min_rows` rows."""
    value = None if value is None or value != value else value
    if value is None or rows < min_rows:
        return Check(name, Verdict.INCONCLUSIVE, value, limit, rows=rows, **more)
    return Check(
        name, Verdict.OK if value <= limit else Verdict.FAIL, value, limit, rows=rows, **more
    )


def not_below(
    name: str,
    value: float | None,
    interval: tuple[float, float] | None,
    limit: float,
    rows: int,
    *,
    min_rows: int = 1,
    **more: Any,
) -> Check:
    """Compare an interval with a lower limit: above is `ok`, below is `fail`, astride or absent is `inconclusive`."""
    verdict = Verdict.INCONCLUSIVE
    if interval and interval[0] == interval[0] and interval[1] == interval[1]:
        if rows >= min_rows and interval[0] >= limit:
            verdict = Verdict.OK
        elif rows >= min_rows and interval[1] < limit:
            verdict = Verdict.FAIL
    else:
        interval = None
    return Check(name, verdict, value, limit, interval, rows, **more)


@dataclass
class Report:
    """Checks under one title; `facts` are for the reader.

    What a failed check stops, it carries itself (`Check.effect`), and this class alone goes by it:
    `checks` make the verdict; neither `drift`, which asks for retraining, nor `warnings`, which ask
    a person, stops anything.
    """

    title: str
    all_checks: list[Check] = field(default_factory=list)  # in the order in which they are stored
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bring the given checks into order."""
        given, self.all_checks = self.all_checks, []
        self.add(*given)

    def add(self, *checks: Check) -> None:
        """Take checks in; each one knows what it does where it fails."""
        order = [*IMPLIED]
        every = [*self.all_checks, *checks]
        self.all_checks = sorted(every, key=lambda check: order.index(PART[check.effect]))

    def _part(self, name: str) -> tuple[Check, ...]:
        return tuple(check for check in self.all_checks if PART[check.effect] == name)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks that the verdict comes from."""
        return self._part("checks")

    @property
    def drift(self) -> tuple[Check, ...]:
        """The checks that ask for retraining."""
        return self._part("drift")

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks that ask a person to look."""
        return self._part("warnings")

    @property
    def verdict(self) -> Verdict:
        """`fail` if any check fails, else `inconclusive` if a required one is or none ran, else `ok`."""
        if any(check.verdict is Verdict.FAIL for check in self.checks):
            return Verdict.FAIL
        required = [check for check in self.checks if check.required]
        if not required or any(check.verdict is Verdict.INCONCLUSIVE for check in required):
            return Verdict.INCONCLUSIVE
        return Verdict.OK

    @property
    def stops(self) -> list[str]:
        """The names of the checks that the verdict comes from; none if it is ok."""
        same = [check for check in self.checks if check.verdict is self.verdict is not Verdict.OK]
        decisive = [check.name for check in same if check.required or check.verdict is Verdict.FAIL]
        return decisive or [check.name for check in same]

    @property
    def exit_code(self) -> int:
        """0 ok, 3 fail, 4 inconclusive."""
        return EXIT_CODES[self.verdict]

    def __getitem__(self, name: str) -> Check:
        """The check of that name, wherever it stands; KeyError if it did not run."""
        for check in self.all_checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def named(self, prefix: str) -> Iterable[Check]:
        """All checks whose name starts with the prefix."""
        return (check for check in self.all_checks if check.name.startswith(prefix))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `verdict` is written for readers and computed again by `from_dict`."""
        stored: dict[str, Any] = {"title": self.title, "verdict": str(self.verdict)}
        stored["facts"] = self.facts
        for part in IMPLIED:
            stored[part] = [check.to_dict() for check in self._part(part)]
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Report":
        """Read back what `to_dict` wrote; the stored verdict is not believed. Raises: ProjectError for no report."""
        try:
            checks = []
            for part in IMPLIED:
                name = OLD_PARTS[part] if OLD_PARTS.get(part) in stored else part
                for check in stored[name]:
                    checks.append(Check.from_dict(check, part))
            facts = dict(stored["facts"])
            for old, new in OLD_FACTS.items():
                if old in facts:
                    facts[new] = facts.pop(old)
            return cls(stored["title"], checks, facts)
        except (KeyError, TypeError, ValueError) as error:
            raise ProjectError(
                f"A stored report is damaged ({error!r}).",
                "Make it again: uv run dvc repro --force gate",
            ) from None
