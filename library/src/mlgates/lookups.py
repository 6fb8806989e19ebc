"""Join look-up tables as of the moment of the decision: the past only, and not too old."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlgates.contract import Contract, Lookup

if TYPE_CHECKING:
    import pandas as pd


def join(
    rows: "pd.DataFrame", contract: Contract, tables: Mapping[str, "pd.DataFrame"]
) -> "pd.DataFrame":
    """`rows` with the columns of every look-up, in the order of `rows`; what is unknown or too old is missing."""
    for look in contract.lookups:
        rows = join_one(rows, look, list(contract.from_source(look.name)), tables[look.name])
    return rows


def join_one(
    rows: "pd.DataFrame", look: Lookup, fields: list[str], table: "pd.DataFrame"
) -> "pd.DataFrame":
    """`rows` with the fields of one look-up."""
    import pandas as pd

    asked = pd.DataFrame({key: rows[key].to_numpy() for key in look.keys})
    asked["__at"] = rows[look.at].to_numpy(dtype="datetime64[us]")
    asked["__place"] = range(len(rows))
    known = table[[*look.keys, look.time, *fields]].assign(
        __known=table[look.time].to_numpy(dtype="datetime64[us]")
    )
    found = pd.merge_asof(
        asked.sort_values("__at", kind="stable"),
        known.drop(columns=look.time).sort_values("__known", kind="stable"),
        left_on="__at",
        right_on="__known",
        by=look.keys,
        tolerance=pd.Timedelta(seconds=look.max_seconds),
    ).sort_values("__place")
    return rows.assign(**{field: found[field].to_numpy() for field in fields})
