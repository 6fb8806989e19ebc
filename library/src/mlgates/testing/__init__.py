"""What the template promises of every project, whatever its contract is about.

A promise is a function that looks at a rehearsal of the project: its stages have run on a few of
its own rows, in a folder of their own. It ends with an AssertionError that names what is wrong.
Promises do not depend on each other. tests/test_project.py of a project runs them all.

Those about the stages and those about the service and the monitor need different tools, whose
imports take half of the time. So they are two lists, which tests/test_project.py runs side by side,
each with a rehearsal of its own.
"""

from collections.abc import Callable

from mlgates.rehearsal import Rehearsal
from mlgates.testing import declarations, monitor, pipeline, service, tracking

Promise = Callable[[Rehearsal], None]

STAGE_PROMISES: list[Promise] = [
    declarations.the_four_files_fit_together,
    declarations.the_results_are_those_of_the_library,
    declarations.each_stage_names_the_code_that_it_uses,
    declarations.each_stage_writes_what_dvc_yaml_says,
    pipeline.ingest_closes_each_period_as_data_py_gives_it,
    pipeline.an_error_in_data_py_names_the_period,
    pipeline.validate_keeps_or_quarantines_every_row,
    pipeline.validate_stops_the_run_on_schema_skew,
    pipeline.validate_puts_a_bad_row_into_quarantine_by_rule_and_value,
    pipeline.train_reports_on_the_model_that_it_wrote,
    pipeline.train_thins_more_rows_than_max_rows,
    pipeline.studies_measure_tuning_features_and_staleness,
    pipeline.evaluate_measures_the_candidate_on_the_untouched_rows,
    pipeline.the_gate_judges_what_was_measured,
    pipeline.the_checks_of_the_team_are_part_of_the_verdict,
    tracking.track_logs_the_model_to_mlflow_once,
]
SERVICE_PROMISES: list[Promise] = [
    service.the_service_answers_as_the_predictor_does,
    service.each_worker_of_the_service_writes_a_log_of_its_own,
    service.the_service_is_not_ready_without_a_champion,
    service.the_service_says_what_it_is_and_keeps_its_limits,
    monitor.the_monitor_finds_no_drift_in_the_reference,
    monitor.the_monitor_finds_drift_and_skew,
    monitor.the_monitor_compares_each_column_as_what_it_is,
    monitor.the_monitor_looks_at_the_time_that_it_is_asked_about,
]
PROMISES = [*STAGE_PROMISES, *SERVICE_PROMISES]

__all__ = ["PROMISES", "SERVICE_PROMISES", "STAGE_PROMISES", "Promise", "Rehearsal"]
