"""The contract: what a row is. Everything that reads, checks, serves or documents data is derived from it."""

from mlgates.contract.model import (
    About,
    Arrays,
    Column,
    Contract,
    Lookup,
    columns_of,
    gone,
    reads,
    rule_of,
    to_array,
)

__all__ = [
    "About",
    "Arrays",
    "Column",
    "Contract",
    "Lookup",
    "columns_of",
    "gone",
    "reads",
    "rule_of",
    "to_array",
]
