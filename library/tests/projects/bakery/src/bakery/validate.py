"""Stage validate: an order below zero goes to quarantine."""

import pandas as pd

from bakery import stage
from mlgates import Project, data
from mlgates.data import partitions
from mlgates.files import atomic


def main(project: Project) -> None:
    """Write what is kept and the quarantine of each closed period."""
    for period in data.closed_periods(project):
        rows = partitions.read(project, "raw", period)
        visits = partitions.read(project, "raw", period, "visits")
        bad = rows["order"] < 0
        quarantined = pd.DataFrame(
            {"row": rows.index[bad], "rule": "made up", "value": rows["customer"][bad]}
        )
        with atomic(partitions.folder(project, "checked", period)) as fresh:
            partitions.write(rows[~bad], fresh / "rows.parquet")
            partitions.write(quarantined, fresh / "rows.quarantine.parquet")
            partitions.write(visits, fresh / "visits.parquet")


if __name__ == "__main__":
    stage.run(main)
