"""Planted faults: each is a few lines beside the name of the check that must catch it."""

from mlgates.faults.planting import Bench, Fault, NotApplicable, fault, healthy

__all__ = ["Bench", "Fault", "NotApplicable", "fault", "healthy"]
