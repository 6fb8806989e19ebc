"""Check each closed period with Great Expectations.

Bad rows go to quarantine. Schema skew stops the run.
"""

import great_expectations as gx
import pandas as pd
from great_expectations.core import ExpectationSuiteValidationResult

from mlgates import Project, data
from mlgates.reports import terminal


def check(table: pd.DataFrame, suite: gx.ExpectationSuite) -> ExpectationSuiteValidationResult:
    """Find every row of a table that breaks an expectation.

    The suite follows from schema.py. reports/suite.json holds it.
    """
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("periods")
    asset = source.add_dataframe_asset("rows")
    whole_table = asset.add_batch_definition_whole_dataframe("everything")
    batch = whole_table.get_batch(batch_parameters={"dataframe": table})
    # COMPLETE lists every row that breaks an expectation, not only some examples.
    result_format = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
    return batch.validate(suite, result_format=result_format)


def main(project: Project) -> None:
    """Check the periods that changed.

    Written are the rows that are kept, the quarantine, the report and the data sheet.
    """
    periods = data.closed_periods(project)
    data.write_suite(project)
    reports = data.validate_periods(project, periods, check)
    report = data.write_report(project, reports)
    print(terminal(report))
    data.stop_on_schema_skew(report)
