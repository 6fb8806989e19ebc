"""From what evaluate measured of slices and groups to checks: the more are looked at, the surer each must be."""

import math
from collections.abc import Iterator, Mapping
from datetime import date
from statistics import NormalDist
from typing import Any

from mlgates.evaluation.metrics import unit
from mlgates.limits import effects, expect
from mlgates.reports import number
from mlgates.settings import GateSettings, SliceLimits
from mlgates.verdict import Check, Verdict, at_most, not_below

ERROR = 0.05  # of all intervals of a family together, so that many slices veto a sound candidate no more than one
KINDS = (
    "selection",
    "true_positive",
    "false_positive",
    "group_calibration",
    "bias",
    "absolute_error",
    "proxy",
)


def surely(entry: Mapping[str, Any], looked_at: int) -> tuple[float, float] | None:
    """The interval of one of so many values that are looked at together (Bonferroni, by the normal quantile)."""
    if entry["value"] is None or entry["error"] is None:
        return None
    far = NormalDist().inv_cdf(1 - ERROR / 2 / max(1, looked_at)) * entry["error"]
    return entry["value"] - far, entry["value"] + far


def slices(measured: Mapping[str, Any], metric: str, limits: GateSettings) -> list[Check]:
    """`gate.slice.*` against the champion, `gate.slice_floor.*` against the trivial baseline, for each slice.

    `limits` is the section `gate` of the parameters. Raises: ProjectError for limits of a slice that does not exist.
    """
    parts, own = (
        {f"{part['column']}={part['value']}": part for part in measured["slices"]},
        limits.slices,
    )
    for name in own:
        expect(name, parts, f"gate.slices names {name!r}, which is no slice.")
    least, task = limits.slice_min_rows, measured["task"]
    judged = sum(part["rows"] >= least for part in parts.values())
    whole = measured["differences"].get("baseline.trivial", {}).get(metric, {}).get("value")
    checks: list[Check] = []

    def check(kind: str, each: Mapping[str, Any], limit: float, told: str) -> None:
        told = f"{number(new) or '?'}{told}"
        more: dict[str, Any] = {"min_rows": least, "required": False}
        args = (each["value"], surely(each, judged), limit, part["rows"])
        checks.append(not_below(f"{kind}.{name}", *args, evidence=told, **more))

    for name, part in parts.items():
        mine, new = own.get(name, SliceLimits()), part["candidate"][metric]["value"]
        if "difference" in part:
            old = part["champion"][metric]["value"]
            margin = limits.slice_margin if mine.margin is None else mine.margin
            limit = -margin * unit(task, old)
            check(
                "gate.slice",
                part["difference"][metric],
                limit,
                f" (champion: {number(old) or '?'})",
            )
        if "floor" in part:
            floor = limits.slice_floor if mine.floor is None else mine.floor
            asked = floor * max(0.0, whole or 0.0)
            limit = asked - limits.margin * unit(task, new)
            check("gate.slice_floor", part["floor"][metric], limit, ", better than a constant")
    return checks


def groups(measured: Mapping[str, Any], limits: GateSettings, today: str) -> Iterator[Check]:
    """Checks of protected groups, of the kinds in KINDS, and of the groups that schema.py waives.

    Raises: ProjectError if `fairness_blocking` names another kind.
    """
    effect = effects(limits.fairness_blocking, "gate.fairness_blocking", KINDS)
    found, least = (
        measured.get("groups") or {"rates": [], "proxies": {}, "waived": {}},
        limits.slice_min_rows,
    )
    judged = sum(entry["rows"] >= least for entry in found["rates"])
    for entry in found["rates"]:
        limit, sure, rows = (
            limits.fairness_margin * entry["unit"],
            surely(entry["gap"], judged),
            entry["rows"],
        )
        verdict = _alike(sure, limit) if rows >= least else Verdict.INCONCLUSIVE
        told = f"{number(entry['group']) or '?'} (the rest: {number(entry['rest']) or '?'})"
        name = f"gate.fairness.{entry['column']}={entry['value']}.{entry['rate']}"
        kind = entry["rate"].partition(".")[0]  # of several classes it is measured as KIND.CLASS
        more: dict[str, Any] = {"required": False, "evidence": told, "effect": effect[kind]}
        yield Check(name, verdict, entry["gap"]["value"], limit, sure, rows, **more)
    for column, proxy in found["proxies"].items():
        known = {
            feature: value for feature, value in proxy["features"].items() if value is not None
        }
        near = {name: value for name, value in known.items() if value > limits.proxy_limit}
        named = ", ".join(
            f"{name} {near[name]:.3f}" for name in sorted(near, key=lambda name: -near[name])
        )
        told = (
            f"ROC AUC of the group from the features; {named or 'no feature alone'} above the limit"
        )
        values = [value for value in (proxy["all"], *known.values()) if value is not None]
        more = {"min_rows": least, "required": False, "evidence": told, "effect": effect["proxy"]}
        most = max(values, default=None)
        yield at_most(f"gate.proxy.{column}", most, limits.proxy_limit, proxy["rows"], **more)
    for column, until in found["waived"].items():
        verdict = (
            Verdict.OK if date.fromisoformat(today) <= date.fromisoformat(until) else Verdict.FAIL
        )
        told = f"protected, and waived in schema.py until {until}"
        yield Check(f"gate.waiver.{column}", verdict, until, today, evidence=told)


def _alike(interval: tuple[float, float] | None, limit: float) -> Verdict:
    """`ok` if a difference surely lies within the limit, on whichever side, `fail` if surely beyond."""
    low, high = interval or (-math.inf, math.inf)
    if low > limit or high < -limit:
        return Verdict.FAIL
    return Verdict.OK if -limit <= low and high <= limit else Verdict.INCONCLUSIVE
