"""Join look-up tables as of the moment of the decision: the past only, and not too old."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlgates.contract import Contract, Lookup

if TYPE_CHECKING:
    import pandas as pd

# Columns of the join itself. No column of a contract is called so: the name of a pydantic field
# cannot begin with an underscore.
DECIDED_AT = "__at"
KNOWN_AT = "__known"
PLACE = "__place"


def join(
    rows: "pd.DataFrame", contract: Contract, tables: Mapping[str, "pd.DataFrame"]
) -> "pd.DataFrame":
    """`rows` with the columns of every look-up, in the order of `rows`.

    A value that was not known yet, or was too old, is missing.
    """
    for look in contract.lookups:
        fields = list(contract.from_source(look.name))
        rows = join_one(rows, look, fields, tables[look.name])
    return rows


def join_one(
    rows: "pd.DataFrame", look: Lookup, fields: list[str], table: "pd.DataFrame"
) -> "pd.DataFrame":
    """`rows` with the fields of one look-up: for each row those of the newest table row by then."""
    import pandas as pd

    # merge_asof wants both sides sorted by time, in the same unit of time. `PLACE` brings the rows
    # back into their own order afterwards.
    decisions = pd.DataFrame({key: rows[key].to_numpy() for key in look.keys})
    decisions[DECIDED_AT] = rows[look.at].to_numpy(dtype="datetime64[us]")
    decisions[PLACE] = range(len(rows))
    decisions = decisions.sort_values(DECIDED_AT, kind="stable")

    known = table[[*look.keys, look.time, *fields]]
    known = known.assign(**{KNOWN_AT: table[look.time].to_numpy(dtype="datetime64[us]")})
    known = known.drop(columns=look.time).sort_values(KNOWN_AT, kind="stable")

    matched = pd.merge_asof(
        decisions,
        known,
        left_on=DECIDED_AT,
        right_on=KNOWN_AT,
        by=look.keys,
        tolerance=pd.Timedelta(seconds=look.max_seconds),
    )
    matched = matched.sort_values(PLACE)
    return rows.assign(**{field: matched[field].to_numpy() for field in fields})
