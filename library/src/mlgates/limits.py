"""What the families of checks share: a difference against its limit, and the names that a parameter may hold."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mlgates.errors import ProjectError, nearest
from mlgates.verdict import Check, Effect, not_below


def interval(found: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of a measured value; None where it could not be measured."""
    low, high = found["interval"]
    return None if low is None or high is None else (low, high)


def compared(
    name: str, difference: Mapping[str, Any], limit: float, rows: int, *, evidence: str, **more: Any
) -> Check:
    """A measured difference against its lower limit; one that is no number says so."""
    if difference["value"] is None:
        evidence = f"not measured, for the metric is not a number: {evidence}"
    return not_below(
        name, difference["value"], interval(difference), limit, rows, evidence=evidence, **more
    )


def expect(name: object, known: Collection[str], told: str) -> None:
    """Raises: ProjectError that names the nearest known one if a parameter names something else."""
    if name not in known:
        raise ProjectError(f"params.yaml: {told}", nearest(str(name), known))


def effects(
    named: Iterable[str],
    parameter: str,
    kinds: Iterable[str],
    effect: Effect = Effect.BLOCK,
) -> dict[str, Effect]:
    """What a failed check of each kind does: `effect` if the parameter's list `named` has the kind, else advice.

    Raises: ProjectError if the parameter names another kind.
    """
    found = dict.fromkeys(kinds, Effect.WARN)
    for kind in named:
        expect(kind, found, f"{parameter} names {kind!r}.")
        found[kind] = effect
    return found
