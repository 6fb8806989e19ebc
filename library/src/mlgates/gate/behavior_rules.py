"""From what conduct and age measured to checks: what else a candidate must be, and how old a champion may get."""

from collections.abc import Iterator, Mapping
from typing import Any

from mlgates.limits import compared
from mlgates.verdict import Check, at_most

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
    """`gate.<kind>` for each of KINDS that was measured; `limits` is the section `gate` of the parameters."""
    if curve.get("repeatable") is not None:
        told = "largest difference between two fits with the same seed"
        yield at_most("gate.repeatable", curve["repeatable"], 0.0, curve["rows"], required=False, evidence=told)
    if found := measured.get("conduct"):
        yield from _conducted(found, limits)


def _conducted(found: Mapping[str, Any], limits: Mapping[str, Any]) -> Iterator[Check]:
    few: dict[str, Any] = {"least": limits["conduct_min_rows"], "required": False}
    rows = found["rows"]
    values = ", ".join(
        f"{name} {entry['value']:.3f}" for name, entry in found["calibration"].items() if entry["value"] is not None
    )
    told = f"calibration error: {values}"
    yield compared("gate.calibration", found["excess"], -limits["max_calibration_error"], rows, evidence=told, **few)
    for name, entry in found["changes"].items():
        full = "gate.noise.loss" if name == "noise" else f"gate.lookup.{name}"
        limit = -limits["max_noise_loss" if name == "noise" else "max_lookup_loss"] * found["unit"]
        told = f"{entry['decisions']:.1%} of the decisions change"
        yield compared(full, entry["difference"], limit, rows, evidence=told, **few)
    if noise := found["changes"].get("noise"):
        yield at_most("gate.noise.decisions", noise["decisions"], limits["max_noise_decisions"], rows, **few)
    if churn := found["churn"]:
        told = "differ from the champion's; most: " + ", ".join(
            f"{name} {share:.0%}" for name, share, _ in churn["slices"]
        )
        yield at_most("gate.churn", churn["share"], limits["max_churn"], rows, evidence=told, **few)
    for name, (value, limit) in {
        "gate.milliseconds.1": ("milliseconds_1", "max_milliseconds"),
        "gate.milliseconds.100": ("milliseconds_100", "max_batch_milliseconds"),
        "gate.megabytes": ("megabytes", "max_megabytes"),
        "gate.memory": ("memory", "max_memory_megabytes"),
    }.items():
        yield at_most(name, found["cost"][value], limits[limit], 1, required=False)
