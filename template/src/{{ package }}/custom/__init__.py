"""Yours: own checks and faults, picked up where they are present.

`gate.py` with `checks(measured) -> list[Check]` adds checks to the gate, `faults.py` adds planted faults to prove.
"""
