"""Periods on disk: read once, checked once, bad rows in quarantine, later changes detected.

The wiring files `ingest.py` and `validate.py` of a project use what is listed here.
"""

from mlgates.data.expectations import Table, suite, write_suite
from mlgates.data.ingest import absent_periods, close_period, reading, write_manifest
from mlgates.data.partitions import ROWS, closed_periods
from mlgates.data.validation import stop_on_schema_skew, validate_periods, write_report

__all__ = [
    "ROWS",
    "Table",
    "absent_periods",
    "close_period",
    "closed_periods",
    "reading",
    "stop_on_schema_skew",
    "suite",
    "validate_periods",
    "write_manifest",
    "write_report",
    "write_suite",
]
