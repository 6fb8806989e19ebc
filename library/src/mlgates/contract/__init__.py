"""The contract: what a row is. What reads, checks, serves or documents data is derived from it."""

from mlgates.contract.arrays import Arrays, is_missing, to_array
from mlgates.contract.columns import About, Column, Lookup, columns_of
from mlgates.contract.model import Contract, reads
from mlgates.contract.request import rule_of

__all__ = [
    "About",
    "Arrays",
    "Column",
    "Contract",
    "Lookup",
    "columns_of",
    "is_missing",
    "reads",
    "rule_of",
    "to_array",
]
