"""Stage train: the model says how many rows of which periods it has seen, and keeps them."""

import pandas as pd

from bakery import stage
from mlgates import Project, data
from mlgates.data import partitions
from mlgates.files import atomic, write_json


def main(project: Project) -> None:
    """Write the model folder, the rows to evaluate on, and reports/train.json."""
    periods = data.closed_periods(project)
    fitted, evaluated = periods[-3:-1], periods[-1]
    rows = pd.concat([partitions.read(project, "checked", period) for period in fitted])
    with atomic(project.root / "models/candidate") as folder:
        folder.mkdir(parents=True)
        partitions.write(rows, folder / "reference.parquet")
        (folder / "MLmodel").write_text("flavors: {}")
        (folder / "features.json").write_text('{"columns": {}}')
        write_json(folder / "contract.json", project.contract.as_data())
        (folder / "model.pkl").write_text(f"{len(rows)} rows of {periods}")
    unseen = partitions.read(project, "checked", evaluated)
    partitions.write(unseen, project.root / "data/evaluation.parquet")
    report = {
        "periods": {"train": fitted, "evaluation": [evaluated]},
        "rows": {"fitted": len(rows)},
        "features": ["x"],
    }
    write_json(project.root / "reports/train.json", report)


if __name__ == "__main__":
    stage.run(main)
