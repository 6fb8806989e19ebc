"""From what evaluate measured of slices and groups to checks: the more are looked at, the surer each must be."""

from collections.abc import Iterator, Mapping
from datetime import date
from statistics import NormalDist
from typing import Any

from ..project import ProjectError, nearest
from ..verdict import Check, Verdict, at_most, not_below
from .measured import unit

ERROR = 0.05  # of all intervals of a family together, so that many slices veto a sound candidate no more than one
RATES = ("selection", "true_positive", "false_positive", "calibration", "bias", "absolute_error")
LIMITS = ("margin", "floor")


def surely(entry: Mapping[str, Any], looked_at: int) -> tuple[float, float] | None:
    """The interval of one of so many values that are looked at together (Bonferroni, by the normal quantile)."""
    if entry["value"] is None or entry["error"] is None:
        return None
    far = NormalDist().inv_cdf(1 - ERROR / 2 / max(1, looked_at)) * entry["error"]
    return entry["value"] - far, entry["value"] + far


def slices(measured: Mapping[str, Any], metric: str, limits: Mapping[str, Any]) -> list[Check]:
    """`gate.slice.*` against the champion, `gate.floor.*` against the trivial baseline, for each slice.

    `limits` is the section `gate` of the parameters. Raises: ProjectError for limits of a slice that does not exist.
    """
    parts, own = {f"{part['column']}={part['value']}": part for part in measured["slices"]}, limits.get("slices", {})
    for name, given in own.items():
        if name not in parts:
            raise ProjectError(f"params.yaml: gate.slices names {name!r}, which is no slice.", nearest(name, parts))
        for limit in {*given} - {*LIMITS}:
            raise ProjectError(f"params.yaml: gate.slices has {limit!r} of {name}.", nearest(str(limit), LIMITS))
    least, task = limits["slice_min_rows"], measured["task"]
    judged = sum(part["rows"] >= least for part in parts.values())
    more = {"least": least, "required": False}
    whole = measured["differences"].get("baseline.trivial", {}).get(metric, {}).get("value")
    checks = []
    for name, part in parts.items():
        mine = own.get(name, {})
        if "difference" in part:
            each, old = part["difference"][metric], part["champion"][metric]["value"]
            limit = -mine.get("margin", limits["slice_margin"]) * unit(task, old)
            args = (each["value"], surely(each, judged), limit, part["rows"])
            told = f"{_short(part['candidate'][metric]['value'])} (champion: {_short(old)})"
            checks.append(not_below(f"gate.slice.{name}", *args, **more, evidence=told))
        if "floor" in part:
            each = part["floor"][metric]
            asked = mine.get("floor", limits["slice_floor"]) * max(0.0, whole or 0.0)
            spared = limits["margin"] * unit(task, part["candidate"][metric]["value"])
            args = (each["value"], surely(each, judged), asked - spared, part["rows"])
            told = f"{_short(part['candidate'][metric]['value'])}, better than a constant"
            checks.append(not_below(f"gate.floor.{name}", *args, **more, evidence=told))
    return checks


def _short(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


def groups(measured: Mapping[str, Any], limits: Mapping[str, Any], today: str) -> Iterator[tuple[str, Check]]:
    """Checks of protected groups, each after its kind: a rate, `proxy` or `waiver`.

    Raises: ProjectError for an unknown kind in `group_vetoes`.
    """
    found = measured.get("groups") or {"rates": [], "proxies": {}, "waived": {}}
    for kind in {*limits.get("group_vetoes", ())} - {*RATES, "proxy"}:
        raise ProjectError(f"params.yaml: gate.group_vetoes names {kind!r}.", nearest(str(kind), [*RATES, "proxy"]))
    judged = sum(entry["rows"] >= limits["slice_min_rows"] for entry in found["rates"])
    for entry in found["rates"]:
        kind = entry["rate"].partition(".")[0]
        name, limit = f"gate.group.{entry['column']}={entry['value']}.{entry['rate']}", limits["group_margin"]
        told = f"{_short(entry['group'])} (the rest: {_short(entry['rest'])})"
        yield kind, _alike(name, entry, limit * entry["unit"], surely(entry["gap"], judged), limits, told)
    for column, proxy in found["proxies"].items():
        known = {feature: value for feature, value in proxy["features"].items() if value is not None}
        near = {name: value for name, value in known.items() if value > limits["proxy_limit"]}
        named = ", ".join(f"{name} {near[name]:.3f}" for name in sorted(near, key=lambda name: -near[name]))
        told = f"ROC AUC of the group from the features; {named or 'no feature alone'} above the limit"
        values = [value for value in (proxy["all"], *known.values()) if value is not None]
        most, settings = max(values, default=None), {"least": limits["slice_min_rows"], "required": False}
        limit = limits["proxy_limit"]
        yield "proxy", at_most(f"gate.proxy.{column}", most, limit, proxy["rows"], evidence=told, **settings)
    for column, until in found["waived"].items():
        verdict = Verdict.OK if date.fromisoformat(today) <= date.fromisoformat(until) else Verdict.FAIL
        told = f"protected, and waived in schema.py until {until}"
        yield "waiver", Check(f"gate.waiver.{column}", verdict, until, today, evidence=told)


def _alike(
    name: str,
    entry: Mapping[str, Any],
    limit: float,
    interval: tuple[float, float] | None,
    limits: Mapping[str, Any],
    told: str,
) -> Check:
    """`ok` if the difference surely lies within the limit, on whichever side, `fail` if surely beyond."""
    verdict, rows = Verdict.INSUFFICIENT, entry["rows"]
    if interval and rows >= limits["slice_min_rows"]:
        low, high = interval
        verdict = Verdict.OK if -limit <= low and high <= limit else verdict
        verdict = Verdict.FAIL if low > limit or high < -limit else verdict
    return Check(name, verdict, entry["gap"]["value"], limit, interval, rows, required=False, evidence=told)
