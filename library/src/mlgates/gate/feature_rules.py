"""From what ablate measured to checks: a feature must earn its place, and may cost no more than it gains."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from mlgates.limits import effects, interval
from mlgates.settings import GateSettings, waiver
from mlgates.verdict import Check, Effect, Verdict, at_most

KINDS = ("gain", "cost")
POINT = 0.01  # of a metric between 0 and 1, or of an error


def judge(history: Sequence[Mapping[str, Any]], limits: GateSettings) -> list[Check]:
    """`gate.feature_gain.<feature>` and `gate.feature_cost.<feature>` of the last of some ablation reports.

    `history` is those reports, oldest first; `limits` is the section `gate` of the parameters. A waiver holds for what
    was measured until its day.
    Raises: ProjectError for a waiver that names no feature or no day, or if `feature_blocking` names another kind.
    """
    effect = effects(limits.feature_blocking, "gate.feature_blocking", KINDS)
    if not history:
        return []
    last = history[-1]
    waivers = dict(
        waiver(written, last["features"], "params.yaml: gate.waive", "feature")
        for written in limits.waive
    )
    today = date.fromisoformat(last["measured"])
    gains, costs = _gains(history, limits, effect["gain"]), _costs(last, limits, effect["cost"])
    checks = []
    for feature, check in [*gains, *costs]:
        until = waivers.get(feature, date.min)
        if check.verdict is Verdict.FAIL and until >= today:
            told = f"waived until {until}: {check.evidence}"
            check = replace(check, verdict=Verdict.INCONCLUSIVE, evidence=told)
        checks.append(check)
    return checks


def _gains(
    history: Sequence[Mapping[str, Any]], limits: GateSettings, effect: Effect
) -> Iterator[tuple[str, Check]]:
    """Each feature with its check `gate.feature_gain`."""
    last, periods = history[-1], limits.feature_periods
    for name, entry in last["features"].items():
        verdict, evidence = Verdict.OK, ""
        if not _judged(last, name, limits):
            verdict, evidence = (
                Verdict.INCONCLUSIVE,
                f"{limits.feature_min_rows:,} rows with outcomes needed",
            )
        elif running := _running(name, history, limits):
            verdict = Verdict.FAIL if running >= periods else Verdict.INCONCLUSIVE
            evidence = f"no gain shown, {running} of {periods} periods running"
        value, sure, rows = entry["gain"]["value"], interval(entry["gain"]), last["rows"]
        more: dict[str, Any] = {"required": False, "evidence": evidence, "effect": effect}
        yield name, Check(f"gate.feature_gain.{name}", verdict, value, 0.0, sure, rows, **more)


def _judged(report: Mapping[str, Any], name: str, limits: GateSettings) -> bool:
    """Whether a period has the rows and the numbers to say anything about a feature."""
    known = report["features"]
    return (
        name in known
        and interval(known[name]["gain"]) is not None
        and report["rows"] >= limits.feature_min_rows
    )


def _running(name: str, history: Sequence[Mapping[str, Any]], limits: GateSettings) -> int:
    """How many of the newest periods in a row showed no gain of just this feature, above the margin."""
    running, now = 0, history[-1]["features"][name]
    for report in reversed(history):
        if not _judged(report, name, limits):
            break
        entry = report["features"][name]
        gain, least = entry["gain"], limits.feature_margin * report["unit"]
        gained = gain["interval"][0] > 0 and gain["value"] >= least
        if gained or entry.get("definition") != now.get("definition"):
            break
        running += 1
    return running


def _costs(
    last: Mapping[str, Any],
    limits: GateSettings,
    effect: Effect,
) -> Iterator[tuple[str, Check]]:
    """Each feature with its check `gate.feature_cost`.

    A feature has the benefit of the doubt: what it may cost follows from the upper end of its gain.
    """
    for name, entry in last["features"].items():
        cost = (
            max(entry["microseconds"], entry["batch_microseconds"]) + entry["lookup_microseconds"]
        )
        gain = max(0.0, entry["gain"]["interval"][1] or 0.0)
        points = gain / (last["unit"] or 1.0) / POINT
        free = limits.feature_microseconds
        least = 0 if cost <= free or _judged(last, name, limits) else last["rows"] + 1
        read = ", ".join([*entry["reads"], *(f"look-up {look}" for look in entry["lookups"])])
        evidence = f"microseconds for a row; gains at most {points:.2g} points; {entry['bytes']:,} bytes; reads {read}"
        limit = free + points * limits.microseconds_per_point
        more: dict[str, Any] = {"min_rows": least, "required": False, "evidence": evidence}
        yield (
            name,
            at_most(f"gate.feature_cost.{name}", cost, limit, last["rows"], effect=effect, **more),
        )
