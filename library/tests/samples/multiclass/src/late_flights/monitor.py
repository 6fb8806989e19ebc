"""Compare what was served, and what came true, with what the champion was trained on: `uv run mlops monitor`."""

from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Snapshot
from evidently.presets import DataDriftPreset

from mlgates import Project, monitoring

from .pipeline.validate import check


def distributions(compared: monitoring.Comparison) -> Snapshot:
    """Evidently's report on the distribution of each column, which the monitor's page shows.

    Numbers: Wasserstein distance in standard deviations of the reference; words: Jensen-Shannon distance. Both are
    sizes of an effect. A p-value would call any difference of many rows a drift.
    """
    definition = DataDefinition(numerical_columns=compared.numbers, categorical_columns=compared.categories)
    reference = Dataset.from_pandas(compared.reference, data_definition=definition)
    current = Dataset.from_pandas(compared.current, data_definition=definition)
    drift = DataDriftPreset(
        columns=compared.columns,
        num_method="wasserstein",
        cat_method="jensenshannon",
        per_column_threshold=compared.limits,
    )
    return Report([drift], include_tests=True).run(current, reference)


def main(project: Project, since: float | None = None) -> monitoring.Watched:
    """The verdict on the predictions since a time (unix seconds; 90 days ago), written to var/monitor/."""
    report = monitoring.watch_champion(project, distributions, check, since)
    monitoring.write(project, report)
    return report
