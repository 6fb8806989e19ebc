"""Checks of slices and of protected groups.

Where many slices are looked at, some look bad by chance. So the more of them are judged together,
the wider the interval of each one is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from statistics import NormalDist
from typing import Any

from mlgates.evaluation.metrics import margin_unit
from mlgates.limits import effects, expect
from mlgates.reports import number
from mlgates.settings import GateSettings, SliceLimits
from mlgates.verdict import Check, Effect, Verdict, at_most, not_below

# The chance that any of the intervals of a family misses. It is one number for all slices together,
# so that many slices stop a sound candidate no more often than one does.
FAMILY_ERROR = 0.05

KINDS = (
    "selection",
    "true_positive",
    "false_positive",
    "group_calibration",
    "bias",
    "absolute_error",
    "proxy",
)


def adjusted_interval(entry: Mapping[str, Any], judged: int) -> tuple[float, float] | None:
    """The interval of one value out of `judged` values that are judged together.

    Bonferroni's correction, by the normal quantile and the standard error of the value. None if the
    value could not be measured.
    """
    value = entry["value"]
    standard_error = entry["error"]
    if value is None or standard_error is None:
        return None
    error_of_each = FAMILY_ERROR / 2 / max(1, judged)  # by 2: an interval has two ends
    half_width = NormalDist().inv_cdf(1 - error_of_each) * standard_error
    return value - half_width, value + half_width


@dataclass(frozen=True)
class _SliceFamily:
    """What the checks of all slices have in common."""

    metric: str
    task: str
    limits: GateSettings
    judged: int  # the number of slices that have enough rows
    baseline_gain: float  # of the candidate over the trivial baseline, on all rows; at least 0


def slices(measured: Mapping[str, Any], metric: str, limits: GateSettings) -> list[Check]:
    """For each slice `gate.slice.*` against the champion, `gate.slice_floor.*` against a baseline.

    `measured` is what evaluate wrote, `metric` the one that decides, `limits` the section `gate` of
    the parameters. Without a champion there are the checks against the trivial baseline alone.

    Raises: ProjectError for limits of a slice that does not exist.
    """
    entries = {f"{entry['column']}={entry['value']}": entry for entry in measured["slices"]}
    for name in limits.slices:
        expect(name, entries, f"gate.slices names {name!r}, which is no slice.")

    baseline = measured["differences"].get("baseline.trivial", {})
    gain = baseline.get(metric, {}).get("value") or 0.0
    family = _SliceFamily(
        metric,
        measured["task"],
        limits,
        judged=_with_enough_rows(entries.values(), limits),
        baseline_gain=max(0.0, gain),
    )
    checks = []
    for name, entry in entries.items():
        if "difference" in entry:
            checks.append(_champion_check(name, entry, family))
        if "floor" in entry:
            checks.append(_baseline_check(name, entry, family))
    return checks


def _with_enough_rows(entries: Iterable[Mapping[str, Any]], limits: GateSettings) -> int:
    """How many of the slices or rates are judged at all; the others do not widen the intervals."""
    return sum(entry["rows"] >= limits.slice_min_rows for entry in entries)


def _champion_check(name: str, entry: Mapping[str, Any], family: _SliceFamily) -> Check:
    """`gate.slice.<name>`: the slice may not lose more than a margin against the champion."""
    margin = family.limits.slices.get(name, SliceLimits()).margin
    if margin is None:
        margin = family.limits.slice_margin

    candidate = entry["candidate"][family.metric]["value"]
    champion = entry["champion"][family.metric]["value"]
    difference = entry["difference"][family.metric]
    return not_below(
        f"gate.slice.{name}",
        difference["value"],
        adjusted_interval(difference, family.judged),
        -margin * margin_unit(family.task, champion),
        entry["rows"],
        min_rows=family.limits.slice_min_rows,
        required=False,
        evidence=f"{_shown(candidate)} (champion: {_shown(champion)})",
    )


def _baseline_check(name: str, entry: Mapping[str, Any], family: _SliceFamily) -> Check:
    """`gate.slice_floor.<name>`: the slice must keep a share of the gain over the trivial baseline.

    By default the share is 0: the slice may then be worse than the baseline by the gate's margin.
    """
    share = family.limits.slices.get(name, SliceLimits()).floor
    if share is None:
        share = family.limits.slice_floor

    candidate = entry["candidate"][family.metric]["value"]
    difference = entry["floor"][family.metric]
    margin = family.limits.margin * margin_unit(family.task, candidate)
    return not_below(
        f"gate.slice_floor.{name}",
        difference["value"],
        adjusted_interval(difference, family.judged),
        share * family.baseline_gain - margin,
        entry["rows"],
        min_rows=family.limits.slice_min_rows,
        required=False,
        evidence=f"{_shown(candidate)}, compared with the trivial baseline",
    )


def groups(measured: Mapping[str, Any], limits: GateSettings, today: str) -> Iterator[Check]:
    """Checks of protected groups: `gate.fairness.*`, `gate.proxy.*` and `gate.waiver.*`.

    `measured` is what evaluate wrote, `limits` the section `gate` of the parameters, `today` the
    day (ISO) that waivers are compared with.

    Raises: ProjectError if `fairness_blocking` names none of KINDS.
    """
    effect_of = effects(limits.fairness_blocking, "gate.fairness_blocking", KINDS)
    group_data = measured.get("groups")
    if not group_data:
        return
    yield from _fairness_checks(group_data["rates"], limits, effect_of)
    for column, proxy in group_data["proxies"].items():
        yield _proxy_check(column, proxy, limits, effect_of["proxy"])
    for column, last_day in group_data["waived"].items():
        yield _waiver_check(column, last_day, today)


def _fairness_checks(
    rates: list[Mapping[str, Any]], limits: GateSettings, effect_of: Mapping[str, Effect]
) -> Iterator[Check]:
    """`gate.fairness.<column>=<value>.<rate>`: a group's rate against that of all other rows."""
    judged = _with_enough_rows(rates, limits)
    for entry in rates:
        limit = limits.fairness_margin * entry["unit"]
        gap_interval = adjusted_interval(entry["gap"], judged)
        verdict = Verdict.INCONCLUSIVE
        if entry["rows"] >= limits.slice_min_rows:
            verdict = _within(gap_interval, limit)
        kind = entry["rate"].partition(".")[0]  # with several classes the rate is KIND.CLASS
        yield Check(
            f"gate.fairness.{entry['column']}={entry['value']}.{entry['rate']}",
            verdict,
            entry["gap"]["value"],
            limit,
            gap_interval,
            entry["rows"],
            required=False,
            evidence=f"{_shown(entry['group'])} (the rest: {_shown(entry['rest'])})",
            effect=effect_of[kind],
        )


def _within(interval: tuple[float, float] | None, limit: float) -> Verdict:
    """`ok` if all of the interval is within -limit to limit, `fail` if none of it is."""
    if interval is None:
        return Verdict.INCONCLUSIVE
    low, high = interval
    if -limit <= low <= high <= limit:
        return Verdict.OK
    if low > limit or high < -limit:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def _proxy_check(
    column: str, proxy: Mapping[str, Any], limits: GateSettings, effect: Effect
) -> Check:
    """`gate.proxy.<column>`: how well the features predict a protected group.

    The value is the highest ROC AUC, of all features together or of any feature alone.
    """
    auc_of = {name: auc for name, auc in proxy["features"].items() if auc is not None}
    all_aucs = list(auc_of.values())
    if proxy["all"] is not None:
        all_aucs.append(proxy["all"])

    proxies = []
    for name, auc in sorted(auc_of.items(), key=lambda item: -item[1]):
        if auc > limits.proxy_limit:
            proxies.append(f"{name} {auc:.3f}")
    single = "no single feature is above the limit"
    if proxies:
        single = f"single features above the limit: {', '.join(proxies)}"
    return at_most(
        f"gate.proxy.{column}",
        max(all_aucs, default=None),
        limits.proxy_limit,
        proxy["rows"],
        min_rows=limits.slice_min_rows,
        required=False,
        evidence=f"ROC AUC with which the features predict the group; {single}",
        effect=effect,
    )


def _waiver_check(column: str, last_day: str, today: str) -> Check:
    """`gate.waiver.<column>`: features may read a protected column until the waiver's last day."""
    is_over = date.fromisoformat(today) > date.fromisoformat(last_day)
    return Check(
        f"gate.waiver.{column}",
        Verdict.FAIL if is_over else Verdict.OK,
        last_day,
        today,
        evidence=f"a protected column that features may read until {last_day} (see schema.py)",
    )


def _shown(value: float | None) -> str:
    """A value as text, "?" if it could not be measured."""
    return number(value) or "?"
