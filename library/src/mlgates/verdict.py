"""The one type for every check: of the gate, the monitor, the data and the planted faults."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from mlgates.errors import ProjectError


class Verdict(StrEnum):
    """Three values, because a check that could not tell must never be read as one that passed."""

    OK = "ok"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    @classmethod
    def _missing_(cls, value: object) -> "Verdict | None":
        """Read a report that was stored before 0.4, when the verdict had another name."""
        return cls.INCONCLUSIVE if value == "insufficient" else None


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


# The parts of a stored report, in their order, and the effect of a check there unless it is stored
# with another one.
IMPLIED = {
    "checks": Effect.BLOCK,
    "drift": Effect.RETRAIN,
    "warnings": Effect.WARN,
}
PART = {  # the part of a report in which a check with this effect is stored
    Effect.BLOCK: "checks",
    Effect.BLOCK_PROMOTION: "checks",
    Effect.RETRAIN: "drift",
    Effect.WARN: "warnings",
}

# Reports that were stored before 0.4 have other names. Old names of parts, by today's name:
OLD_PARTS = {"warnings": "advice"}
# Today's names of facts, by the old name:
OLD_FACTS = {"opponent": "champion", "opponent_release": "champion_release"}
# Today's names of checks, by the old name. Only the beginning of a name was changed.
RENAMED = {
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
    # After these two words a column, a feature or a slice may follow, or `:` and a look-up.
    beginning = re.match(r"\w+\.\w+", name)
    if beginning is None or beginning[0] not in RENAMED:
        return name
    return RENAMED[beginning[0]] + name[beginning.end() :]


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

        Of the effects only BLOCK_PROMOTION is written. The others follow from the part of the
        report.
        """
        check = self
        if not self._is_finite():
            check = replace(self, value=None, interval=None)
        stored = asdict(check)
        if self.effect in IMPLIED.values():
            del stored["effect"]
        return stored

    def _is_finite(self) -> bool:
        """Whether neither value nor interval holds a NaN or an infinity."""
        for number in (self.value, *(self.interval or ())):
            if isinstance(number, float) and not math.isfinite(number):
                return False
        return True

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], part: str = "checks") -> "Check":
        """Read back what `to_dict` wrote, from a part of a stored report.

        Raises: ValueError for an effect that does not belong in that part. Otherwise an edited
        effect could keep a failed check out of the verdict.
        """
        effect = Effect(stored.get("effect", IMPLIED[part]))
        if PART[effect] != part:
            raise ValueError(f"{stored['effect']!r} among the {part}")
        fields = dict(stored)
        fields["name"] = current_name(stored["name"])
        fields["verdict"] = Verdict(stored["verdict"])
        fields["interval"] = tuple(stored["interval"]) if stored.get("interval") else None
        fields["effect"] = effect
        return cls(**fields)


def at_most(
    name: str, value: float | None, limit: float, rows: int, *, min_rows: int = 1, **more: Any
) -> Check:
    """A check that a value is at most the limit.

    It is inconclusive without a value, or with fewer than `min_rows` rows. `more` are further
    fields of the check.
    """
    if value is not None and math.isnan(value):
        value = None
    if value is None or rows < min_rows:
        verdict = Verdict.INCONCLUSIVE
    elif value <= limit:
        verdict = Verdict.OK
    else:
        verdict = Verdict.FAIL
    return Check(name, verdict, value, limit, rows=rows, **more)


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
    """A check that the interval of a value lies above the limit.

    It fails if the interval lies below. It is inconclusive if the limit lies within the interval,
    without an interval, or with fewer than `min_rows` rows. `more` are further fields of the check.
    """
    if interval and any(math.isnan(end) for end in interval):
        interval = None
    verdict = Verdict.INCONCLUSIVE
    if interval and rows >= min_rows:
        low, high = interval
        if low >= limit:
            verdict = Verdict.OK
        elif high < limit:
            verdict = Verdict.FAIL
    return Check(name, verdict, value, limit, interval, rows, **more)


@dataclass
class Report:
    """Checks under one title; `facts` are for the reader.

    Each check carries what it stops if it fails (`Check.effect`), and only this class acts on it.
    `checks` make the verdict. `drift` asks for retraining and `warnings` ask a person to look;
    neither stops anything.
    """

    title: str
    all_checks: list[Check] = field(default_factory=list)  # in the order in which they are stored
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bring the given checks into order."""
        given, self.all_checks = self.all_checks, []
        self.add(*given)

    def add(self, *checks: Check) -> None:
        """Add checks to the parts of the report that their effects belong to."""
        parts = list(IMPLIED)
        every = [*self.all_checks, *checks]
        # Sorting is stable, so within a part the checks stay in the order in which they came.
        self.all_checks = sorted(every, key=lambda check: parts.index(PART[check.effect]))

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
        """`fail` if any check fails, else `inconclusive` or `ok`.

        It is inconclusive if a required check is, or if no required check ran.
        """
        required = [check.verdict for check in self.checks if check.required]
        if any(check.verdict is Verdict.FAIL for check in self.checks):
            return Verdict.FAIL
        if not required or Verdict.INCONCLUSIVE in required:
            return Verdict.INCONCLUSIVE
        return Verdict.OK

    @property
    def stops(self) -> list[str]:
        """The names of the checks that the verdict comes from; none if it is ok."""
        verdict = self.verdict
        if verdict is Verdict.OK:
            return []
        same = [check for check in self.checks if check.verdict is verdict]
        # Each failure decides, but an inconclusive check decides only if it is required. Where no
        # required check ran, the optional ones are all that can be named.
        decisive = same
        if verdict is Verdict.INCONCLUSIVE:
            decisive = [check for check in same if check.required] or same
        return [check.name for check in decisive]

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
        """Plain data for JSON; `verdict` is for readers, because `from_dict` computes it again."""
        stored: dict[str, Any] = {"title": self.title, "verdict": str(self.verdict)}
        stored["facts"] = self.facts
        for part in IMPLIED:
            stored[part] = [check.to_dict() for check in self._part(part)]
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Report":
        """Read back what `to_dict` wrote. The verdict is computed again, not read.

        Raises: ProjectError if it is no report.
        """
        try:
            return cls(stored["title"], _stored_checks(stored), _stored_facts(stored))
        except (KeyError, TypeError, ValueError) as error:
            raise ProjectError(
                f"A stored report is damaged ({error!r}).",
                "Make it again: uv run dvc repro --force gate",
            ) from None


def _stored_checks(stored: Mapping[str, Any]) -> list[Check]:
    """The checks of a stored report, which may be older than 0.4."""
    checks = []
    for part in IMPLIED:
        name = part
        old_name = OLD_PARTS.get(part)
        if old_name and old_name in stored:
            name = old_name
        for check in stored[name]:
            checks.append(Check.from_dict(check, part))
    return checks


def _stored_facts(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a stored report, which may be older than 0.4, under today's names."""
    facts = dict(stored["facts"])
    for old_name, name in OLD_FACTS.items():
        if old_name in facts:
            facts[name] = facts.pop(old_name)
    return facts
