"""The checks of a period as a whole: enough rows, none changed, none lost, none erased."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlgates.data import partitions
from mlgates.data.tombstones import Tombstones
from mlgates.layout import ERASED
from mlgates.settings import ValidateSettings
from mlgates.verdict import Check, Report, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd


def check_min_rows(rows: int, limits: ValidateSettings) -> Check:
    """`data.min_rows`: too few rows to say anything are not a pass."""
    verdict = Verdict.INCONCLUSIVE
    if rows >= limits.min_rows:
        verdict = Verdict.OK
    return Check("data.min_rows", verdict, rows, limits.min_rows, rows=rows)


def check_manifest(
    folder: Path, name: str, read: "pd.DataFrame", closed: Mapping[str, Any], table: Report
) -> list[Check]:
    """`data.manifest` and `data.row_count` of one table.

    The first: what is read is what the period was closed with. The second: each row that the period
    was closed with is either kept or in quarantine. `closed` is the table's entry in the manifest,
    `table` the report of `check_table`, and `folder` holds what that check left.
    """
    import pandas as pd

    path = folder / f"{name}.quarantine.parquet"
    quarantined = pd.read_parquet(path, columns=["row"])["row"].nunique()
    kept = partitions.row_count(folder / f"{name}.parquet")
    closed_rows = closed.get("rows", 0)
    evidence = (
        f"{len(read):,} rows read, {closed_rows:,} closed, {kept:,} kept,"
        f" {quarantined:,} in quarantine"
    )

    is_changed = closed.get("sha256") != partitions.content_hash(read)
    lost = 0
    # A table with other columns or types is refused as a whole, and has no facts: no row is lost.
    if table.facts:
        lost = abs(closed_rows - kept - quarantined)

    suffix = "" if name == partitions.ROWS else f":{name}"
    manifest = at_most(
        f"data.manifest{suffix}",
        int(is_changed),
        0,
        len(read),
        min_rows=0,
        evidence=evidence if is_changed else "",
    )
    row_count = at_most(
        f"data.row_count{suffix}", lost, 0, len(read), min_rows=0, evidence=evidence
    )
    return [manifest, row_count]


def check_erased(tombstones: Tombstones, tables: Sequence[Path | IO[bytes]]) -> Check:
    """`data.erased`: no Parquet table holds a row that was erased."""
    count = sum(map(tombstones.has_erased_rows, tables))
    evidence = ""
    if count:
        evidence = (
            f"Tables with rows that {ERASED} lists: {count}. Run: uv run dvc repro --force ingest"
        )
    return at_most("data.erased", count, 0, len(tables), min_rows=0, evidence=evidence)
