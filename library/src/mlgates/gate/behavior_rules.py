"""From what evaluate and studies measured to checks: what else a candidate must be, and how old a champion may get."""

from collections.abc import Iterator, Mapping
from typing import Any

from mlgates.limits import compared, effects
from mlgates.settings import GateSettings
from mlgates.verdict import Check, Effect, at_most

KINDS = (
    "calibration_error",
    "robustness",
    "missing_lookup",
    "changed_decisions",
    "latency",
    "model_size",
    "memory",
    "repeatable",
)
NOISE = "noise"  # of the changes that evaluate measured, this one is no look-up


def oldest(curve: Mapping[str, Any], margin: float) -> tuple[int, str]:
    """How many periods old a model's data may be, and why: the last age before one that surely loses the margin."""
    if not curve["ages"]:
        told = (
            "no curve could be measured: none of the periods that it trained on is trained on now"
        )
        return curve["otherwise"], told
    known, limit = curve["ages"][0]["age"], -margin * curve["unit"]
    for entry in curve["ages"]:
        high = entry["difference"]["interval"][1]
        if high is not None and high < limit:
            lost = -entry["difference"]["value"]
            return known, f"a model {entry['age']} periods old loses {lost:.4f}, surely {-high:.4f}"
        known = entry["age"]
    return (
        known,
        f"at least: no loss was shown, and no model older than {known} periods was measured",
    )


def judge(
    measured: Mapping[str, Any], curve: Mapping[str, Any], limits: GateSettings
) -> Iterator[Check]:
    """`gate.<kind>` for each of KINDS that was measured.

    `limits` is the section `gate` of the parameters.
    Raises: ProjectError if its `behavior_blocking` names another kind.
    """
    effect = effects(limits.behavior_blocking, "gate.behavior_blocking", KINDS)
    if curve.get("repeatable") is not None:
        told = "largest difference between two fits with the same seed"
        more: dict[str, Any] = {"required": False, "evidence": told, "effect": effect["repeatable"]}
        yield at_most("gate.repeatable", curve["repeatable"], 0.0, curve["rows"], **more)
    if found := measured.get("behavior"):
        yield from _behavior(found, limits, effect)


def _behavior(
    found: Mapping[str, Any],
    limits: GateSettings,
    effect: Mapping[str, Effect],
) -> Iterator[Check]:
    few: dict[str, Any] = {"min_rows": limits.behavior_min_rows, "required": False}
    rows = found["rows"]

    errors = []
    for name, entry in found["calibration_error"].items():
        if entry["value"] is not None:
            errors.append(f"{name} {entry['value']:.3f}")
    more = few | {
        "evidence": f"calibration error: {', '.join(errors)}",
        "effect": effect["calibration_error"],
    }
    yield compared(
        "gate.calibration_error", found["excess"], -limits.max_calibration_error, rows, **more
    )

    for name, entry in found["changes"].items():
        told = f"{entry['decisions']:.1%} of the decisions change"
        if name == NOISE:
            full, kind, most = "gate.robustness.loss", "robustness", limits.max_noise_loss
        else:
            full, kind, most = (
                f"gate.missing_lookup.{name}",
                "missing_lookup",
                limits.max_lookup_loss,
            )
        more = few | {"evidence": told, "effect": effect[kind]}
        yield compared(full, entry["difference"], -most * found["unit"], rows, **more)

    if noise := found["changes"].get(NOISE):
        more = few | {"effect": effect["robustness"]}
        yield at_most(
            "gate.robustness.decisions",
            noise["decisions"],
            limits.max_noise_decisions,
            rows,
            **more,
        )

    if changed := found["changed_decisions"]:
        slices = ", ".join(f"{name} {share:.0%}" for name, share, _ in changed["slices"])
        more = few | {
            "evidence": f"differ from the champion's; most: {slices}",
            "effect": effect["changed_decisions"],
        }
        yield at_most(
            "gate.changed_decisions", changed["share"], limits.max_changed_decisions, rows, **more
        )

    for name, kind, value, most in (
        ("gate.latency.1", "latency", "milliseconds_1", limits.max_latency_ms),
        ("gate.latency.100", "latency", "milliseconds_100", limits.max_batch_latency_ms),
        ("gate.model_size", "model_size", "megabytes", limits.max_model_size_mb),
        ("gate.memory", "memory", "memory", limits.max_memory_mb),
    ):
        more = {"required": False, "effect": effect[kind]}
        yield at_most(name, found["cost"][value], most, 1, **more)
