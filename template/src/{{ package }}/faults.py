"""Faults of your own: what `uv run mlops prove` plants beside the template's, and which check must catch it.

from mlgates.faults import Bench, fault

@fault("what goes wrong", caught_by="gate.NAME_OF_YOUR_CHECK", row="Model 1")
def broken(bench: Bench) -> Report: ...
"""
