"""The team's own checks: none."""

from collections.abc import Mapping
from typing import Any

from mlgates.verdict import Check


def checks(measured: Mapping[str, Any]) -> list[Check]:
    """Nothing beside the gate's own."""
    return []
