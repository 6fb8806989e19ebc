"""Your own checks for the gate.

This file is yours: an update does not touch it.
"""

from collections.abc import Mapping
from typing import Any

from mlgates.verdict import Check


def checks(measured: Mapping[str, Any]) -> list[Check]:
    """Your checks of what was measured, which is the content of reports/metrics.json.

    They are judged like every other check: one that fails blocks the promotion.
    """
    return []
