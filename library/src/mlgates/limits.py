"""What all families of checks share: a difference against its limit, and names in parameters."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mlgates.errors import ProjectError, nearest
from mlgates.verdict import Check, Effect, not_below


def interval(found: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of a measured value; None if it could not be measured."""
    low, high = found["interval"]
    if low is None or high is None:
        return None
    return low, high


def compared(
    name: str, difference: Mapping[str, Any], limit: float, rows: int, *, evidence: str, **more: Any
) -> Check:
    """A check that a measured difference is not below its limit.

    The evidence of a difference that could not be computed says so. `more` goes to `not_below`.
    """
    value = difference["value"]
    if value is None:
        evidence = f"not measured, because the metric is not a number: {evidence}"
    return not_below(name, value, interval(difference), limit, rows, evidence=evidence, **more)


def expect(name: object, known: Collection[str], message: str) -> None:
    """Check that a parameter names something that is known; `message` says what it named instead.

    Raises: ProjectError with the nearest known name.
    """
    if name not in known:
        raise ProjectError(f"params.yaml: {message}", nearest(str(name), known))


def effects(
    named: Iterable[str],
    parameter: str,
    kinds: Iterable[str],
    effect: Effect = Effect.BLOCK,
) -> dict[str, Effect]:
    """The effect of a failed check, by kind: `effect` if the list `named` has the kind, else WARN.

    `parameter` is the name of that list in params.yaml.
    Raises: ProjectError if the list names something else.
    """
    by_kind = dict.fromkeys(kinds, Effect.WARN)
    for kind in named:
        expect(kind, by_kind, f"{parameter} names {kind!r}.")
        by_kind[kind] = effect
    return by_kind
