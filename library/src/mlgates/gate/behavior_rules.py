"""From what conduct and age measured to checks: what else a candidate must be, and how old a champion may get."""

from collections.abc import Iterator, Mapping
from typing import Any

from mlgates.limits import compared, effects
from mlgates.verdict import Check, Effect, at_most

KINDS = ("calibration", "noise", "lookup", "churn", "milliseconds", "megabytes", "memory", "repeatable")


def oldest(curve: Mapping[str, Any], margin: float) -> tuple[int, str]:
    """How many periods old a model's data may be, and why: the last age before one that surely loses the margin."""
    if not curve["ages"]:
        told = "no curve could be measured: none of the periods that it trained on is trained on now"
        return curve["otherwise"], told
    known, limit = curve["ages"][0]["age"], -margin * curve["unit"]
    for entry in curve["ages"]:
        high = entry["difference"]["interval"][1]
        if high is not None and high < limit:
            lost = -entry["difference"]["value"]
            return known, f"a model {entry['age']} periods old loses {lost:.4f}, surely {-high:.4f}"
        known = entry["age"]
    return known, f"at least: no loss was shown, and no model older than {known} periods was measured"


def judge(measured: Mapping[str, Any], curve: Mapping[str, Any], limits: Mapping[str, Any]) -> Iterator[Check]:
    """`gate.<kind>` for each of KINDS that was measured.

    `limits` is the section `gate` of the parameters.
    Raises: ProjectError if its `conduct_vetoes` names another kind.
    """
    effect = effects(limits, "conduct_vetoes", KINDS)
    if curve.get("repeatable") is not None:
        told = "largest difference between two fits with the same seed"
        more: dict[str, Any] = {"required": False, "evidence": told, "effect": effect["repeatable"]}
        yield at_most("gate.repeatable", curve["repeatable"], 0.0, curve["rows"], **more)
    if found := measured.get("conduct"):
        yield from _conducted(found, limits, effect)


def _conducted(
    found: Mapping[str, Any],
    limits: Mapping[str, Any],
    effect: Mapping[str, Effect],
) -> Iterator[Check]:
    few: dict[str, Any] = {"least": limits["conduct_min_rows"], "required": False}
    rows = found["rows"]
    values = ", ".join(
        f"{name} {entry['value']:.3f}" for name, entry in found["calibration"].items() if entry["value"] is not None
    )
    told = f"calibration error: {values}"
    more = few | {"evidence": told, "effect": effect["calibration"]}
    limit = -limits["max_calibration_error"]
    yield compared("gate.calibration", found["excess"], limit, rows, **more)
    for name, entry in found["changes"].items():
        kind, full = "lookup", f"gate.lookup.{name}"
        if name == "noise":
            kind, full = "noise", "gate.noise.loss"
        limit = -limits[f"max_{kind}_loss"] * found["unit"]
        told = f"{entry['decisions']:.1%} of the decisions change"
        more = few | {"evidence": told, "effect": effect[kind]}
        yield compared(full, entry["difference"], limit, rows, **more)
    if noise := found["changes"].get("noise"):
        more, limit = few | {"effect": effect["noise"]}, limits["max_noise_decisions"]
        yield at_most("gate.noise.decisions", noise["decisions"], limit, rows, **more)
    if churn := found["churn"]:
        told = "differ from the champion's; most: " + ", ".join(
            f"{name} {share:.0%}" for name, share, _ in churn["slices"]
        )
        more = few | {"evidence": told, "effect": effect["churn"]}
        yield at_most("gate.churn", churn["share"], limits["max_churn"], rows, **more)
    for name, kind, value, most in (
        ("gate.milliseconds.1", "milliseconds", "milliseconds_1", "max_milliseconds"),
        ("gate.milliseconds.100", "milliseconds", "milliseconds_100", "max_batch_milliseconds"),
        ("gate.megabytes", "megabytes", "megabytes", "max_megabytes"),
        ("gate.memory", "memory", "memory", "max_memory_megabytes"),
    ):
        more = {"required": False, "effect": effect[kind]}
        yield at_most(name, found["cost"][value], limits[most], 1, **more)
