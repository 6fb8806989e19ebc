"""Check each closed period with Great Expectations; bad rows go to quarantine, schema skew stops the run."""

import great_expectations as gx
import pandas as pd
from great_expectations.core import ExpectationSuiteValidationResult

from mlgates import Project, data
from mlgates.reports import terminal


def check(table: pd.DataFrame, suite: gx.ExpectationSuite) -> ExpectationSuiteValidationResult:
    """Every row of a table that breaks an expectation; the suite follows from schema.py (reports/suite.json)."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("periods")
    everything = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("everything")
    batch = everything.get_batch(batch_parameters={"dataframe": table})
    return batch.validate(suite, result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False})


def main(project: Project) -> None:
    """Check the periods that changed, and write what is kept, the quarantine, the report and the data sheet."""
    periods = data.closed_periods(project)
    data.write_suite(project)
    reports = data.validate_periods(project, periods, check)
    report = data.write_report(project, reports)
    print(terminal(report))
    data.stop_on_schema_skew(report)
