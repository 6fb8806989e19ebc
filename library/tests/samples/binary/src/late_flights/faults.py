"""Your own faults, which `uv run mlops prove` plants beside the template's.

This file is yours: an update does not touch it. A fault names the check that must catch it:

from mlgates.faults import Bench, fault
from mlgates.verdict import Report

@fault("what goes wrong", caught_by="gate.NAME_OF_YOUR_CHECK", row="Model 1")
def broken(bench: Bench) -> Report: ...

`row` is the row of Google's ML Test Score that the fault proves.
"""
