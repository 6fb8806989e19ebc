"""Compare served predictions and labels with the data that the champion was trained on.

Run it with `uv run mlops monitor`.
"""

from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Snapshot
from evidently.presets import DataDriftPreset

from mlgates import Project, monitoring

from .pipeline.validate import check


def distributions(compared: monitoring.Comparison) -> Snapshot:
    """Evidently's report on the distribution of each column, which the monitor's page shows.

    Numbers are compared by the Wasserstein distance, in standard deviations of the reference.
    Words are compared by the Jensen-Shannon distance. Both are sizes of an effect: a p-value
    would call any difference between many rows a drift.
    """
    definition = DataDefinition(
        numerical_columns=compared.numbers,
        categorical_columns=compared.categories,
    )
    reference = Dataset.from_pandas(compared.reference, data_definition=definition)
    current = Dataset.from_pandas(compared.current, data_definition=definition)
    drift = DataDriftPreset(
        columns=compared.columns,
        num_method="wasserstein",
        cat_method="jensenshannon",
        per_column_threshold=compared.limits,
    )
    report = Report([drift], include_tests=True)
    return report.run(current, reference)


def main(project: Project, since: float | None = None) -> monitoring.Watched:
    """Judge the predictions since a time, and write the verdict to var/monitor/.

    `since` is in Unix seconds. Without it, the last 90 days are judged.
    """
    report = monitoring.watch_champion(project, distributions, check, since)
    monitoring.write(project, report)
    return report
