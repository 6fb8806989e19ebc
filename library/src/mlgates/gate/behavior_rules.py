"""Checks of what a candidate is like beyond its metrics, and how old a champion may get.

Calibration, robustness, missing look-ups, changed decisions and cost were measured by the stage
evaluate; the staleness curve and the repeatability of the fit by the stage studies.
"""

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
NOISE = "noise"  # the one entry of the measured `changes` that is not the name of a look-up


def max_age(curve: Mapping[str, Any], margin: float) -> tuple[int, str]:
    """How many periods old the data of a model may be, and the reason for the report.

    It is the last measured age before one at which a model loses more than the margin, with 95 %
    confidence. `curve` is the staleness curve: `ages` from the youngest on, each with its paired
    `difference` to the youngest one.
    """
    if not curve["ages"]:
        reason = "no staleness curve was measured;"
        reason += " at this age, a model shares no training period with a new one"
        return curve["otherwise"], reason

    # tests/goldens hold the two reasons below. In other words they would count as other results,
    # so change them together with the number `gate` of mlgates.results.
    limit = -margin * curve["unit"]
    max_age = curve["ages"][0]["age"]
    for entry in curve["ages"]:
        loss = -entry["difference"]["value"]
        upper_bound = entry["difference"]["interval"][1]
        if upper_bound is not None and upper_bound < limit:
            reason = f"a model {entry['age']} periods old loses {loss:.4f}"
            reason += f", surely {-upper_bound:.4f}"
            return max_age, reason
        max_age = entry["age"]
    reason = "at least: no loss was shown, "
    reason += f"and no model older than {max_age} periods was measured"
    return max_age, reason


def judge(
    measured: Mapping[str, Any], curve: Mapping[str, Any], limits: GateSettings
) -> Iterator[Check]:
    """`gate.<kind>` for each of KINDS that was measured.

    `measured` is what evaluate wrote, `curve` the staleness curve with the repeatability of the fit
    (empty if there is none), `limits` the section `gate` of the parameters.

    Raises: ProjectError if its `behavior_blocking` names another kind.
    """
    effect_of = effects(limits.behavior_blocking, "gate.behavior_blocking", KINDS)

    if curve.get("repeatable") is not None:
        yield at_most(
            "gate.repeatable",
            curve["repeatable"],
            0.0,
            curve["rows"],
            required=False,
            evidence="largest difference between two fits with the same seed",
            effect=effect_of["repeatable"],
        )

    behavior = measured.get("behavior")
    if behavior:
        yield _calibration_check(behavior, limits, effect_of)
        yield from _changed_input_checks(behavior, limits, effect_of)
        if behavior["changed_decisions"]:
            yield _changed_decisions_check(behavior, limits, effect_of)
        yield from _cost_checks(behavior["cost"], limits, effect_of)


def _calibration_check(
    behavior: Mapping[str, Any], limits: GateSettings, effect_of: Mapping[str, Effect]
) -> Check:
    """`gate.calibration_error`: how much worse than the worst of champion and baselines.

    Drift puts off the calibration of all models, so it is no fault of the candidate.
    """
    errors = []
    for model, entry in behavior["calibration_error"].items():
        if entry["value"] is not None:
            errors.append(f"{model} {entry['value']:.3f}")
    return compared(
        "gate.calibration_error",
        behavior["excess"],
        -limits.max_calibration_error,
        behavior["rows"],
        min_rows=limits.behavior_min_rows,
        required=False,
        evidence=f"calibration error: {', '.join(errors)}",
        effect=effect_of["calibration_error"],
    )


def _changed_input_checks(
    behavior: Mapping[str, Any], limits: GateSettings, effect_of: Mapping[str, Effect]
) -> Iterator[Check]:
    """What is lost when the input is worse: `gate.robustness.*` and `gate.missing_lookup.*`.

    `gate.robustness.loss` and `.decisions` are about noise on the numbers of the request,
    `gate.missing_lookup.<look-up>` about a look-up that finds nothing.
    """
    for name, entry in behavior["changes"].items():
        if name == NOISE:
            check_name = "gate.robustness.loss"
            kind = "robustness"
            max_loss = limits.max_noise_loss
        else:
            check_name = f"gate.missing_lookup.{name}"
            kind = "missing_lookup"
            max_loss = limits.max_lookup_loss
        yield compared(
            check_name,
            entry["difference"],
            -max_loss * behavior["unit"],
            behavior["rows"],
            min_rows=limits.behavior_min_rows,
            required=False,
            evidence=f"{entry['decisions']:.1%} of the decisions change",
            effect=effect_of[kind],
        )

    if NOISE in behavior["changes"]:
        yield at_most(
            "gate.robustness.decisions",
            behavior["changes"][NOISE]["decisions"],
            limits.max_noise_decisions,
            behavior["rows"],
            min_rows=limits.behavior_min_rows,
            required=False,
            effect=effect_of["robustness"],
        )


def _changed_decisions_check(
    behavior: Mapping[str, Any], limits: GateSettings, effect_of: Mapping[str, Effect]
) -> Check:
    """`gate.changed_decisions`: the share of decisions that differ from the champion's."""
    changed = behavior["changed_decisions"]
    evidence = "share of decisions that differ from the champion's"
    if changed["slices"]:
        slices = [f"{name} ({share:.0%})" for name, share, _ in changed["slices"]]
        evidence += f"; most in {', '.join(slices)}"
    return at_most(
        "gate.changed_decisions",
        changed["share"],
        limits.max_changed_decisions,
        behavior["rows"],
        min_rows=limits.behavior_min_rows,
        required=False,
        evidence=evidence,
        effect=effect_of["changed_decisions"],
    )


def _cost_checks(
    cost: Mapping[str, float], limits: GateSettings, effect_of: Mapping[str, Effect]
) -> Iterator[Check]:
    """`gate.latency.*`, `gate.model_size`, `gate.memory`: what the model costs on this machine."""
    budgets = [
        ("gate.latency.1", "latency", cost["milliseconds_1"], limits.max_latency_ms),
        ("gate.latency.100", "latency", cost["milliseconds_100"], limits.max_batch_latency_ms),
        ("gate.model_size", "model_size", cost["megabytes"], limits.max_model_size_mb),
        ("gate.memory", "memory", cost["memory"], limits.max_memory_mb),
    ]
    for check_name, kind, value, budget in budgets:
        # It was measured once, whatever the number of rows: it is never inconclusive.
        yield at_most(check_name, value, budget, 1, required=False, effect=effect_of[kind])
