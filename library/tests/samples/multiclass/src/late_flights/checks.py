"""Checks of your own for the gate: what they return is judged like every other check. Yours: an update merges it."""

from collections.abc import Mapping
from typing import Any

from mlgates.verdict import Check


def checks(measured: Mapping[str, Any]) -> list[Check]:
    """Your checks on what was measured (reports/metrics.json); a check that fails stops the promotion."""
    return []
