"""Promises about the stages from ingest to gate: what each reads, writes and prints."""

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from mlgates import model_folder
from mlgates.data import partitions
from mlgates.faults.constraints import breaking
from mlgates.features import plan
from mlgates.files import digest, read_json, write_text
from mlgates.gate import rules
from mlgates.layout import (
    BASELINES,
    CANDIDATE,
    CARD,
    CYCLE,
    EVALUATION,
    FEATURES,
    GATE,
    GATE_PAGE,
    MANIFEST,
    METRICS,
    PICTURES,
    STALENESS,
    SUITE,
    TRAINING,
    TUNING,
    VALIDATION,
)
from mlgates.project import Project
from mlgates.rehearsal import PERIODS, Rehearsal
from mlgates.testing.trials import error_message, remove, run_quietly, set_parameter
from mlgates.verdict import Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

PLANTED = Check("gate.planted", Verdict.FAIL, evidence="planted by a promise")


# ingest


def ingest_closes_each_period_as_data_py_gives_it(rehearsal: Rehearsal) -> None:
    """Rows and look-ups are on disk as the manifest says, and no period is read twice."""
    project = rehearsal.after("ingest")
    manifest = read_json(project.root / MANIFEST)
    assert list(manifest) == sorted(PERIODS), (
        "reports/manifest.json does not hold the closed periods"
    )
    for period, tables in rehearsal.periods.items():
        for name, delivered in tables.items():
            content = partitions.content_hash(partitions.read(project, "raw", period, name))
            assert content == partitions.content_hash(delivered), (
                f"data/raw does not hold {name} of {period} as data.py delivered it"
            )
            assert manifest[period][name] == {"rows": len(delivered), "sha256": content}

    printed = rehearsal.performance("ingest").printed
    assert "3 periods" in printed and "3 new" in printed, (
        "ingest does not say how many periods it read"
    )

    with rehearsal.copy("ingest") as copied:
        reads = list(rehearsal.read_calls)
        _run_stage(copied, "ingest")
        assert rehearsal.read_calls == reads, "ingest read a closed period again"
        _set_cycle_until(copied, PERIODS[1])
        _run_stage(copied, "ingest")
        assert list(read_json(copied.root / MANIFEST)) == sorted(PERIODS[:2]), (
            "the manifest keeps periods after the last closed one"
        )


def an_error_in_data_py_names_the_period(rehearsal: Rehearsal) -> None:
    """What data.py raises becomes a message with the period in it."""

    def failing_read(period: str) -> "pd.DataFrame":
        raise ValueError("the disk is full")

    with rehearsal.copy("ingest") as copied:
        (partitions.folder(copied, "raw", PERIODS[1]) / "rows.parquet").unlink()
        data = ModuleType("data")
        vars(data).update(vars(copied.data))
        data.read = failing_read  # type: ignore[attr-defined]
        message = error_message(lambda: copied.stage("ingest").main(copied.having(data=data)))
        assert PERIODS[1] in message and "the disk is full" in message, (
            f"the message about a failing data.py lacks the period or the reason: {message}"
        )


# validate


def validate_keeps_or_quarantines_every_row(rehearsal: Rehearsal) -> None:
    """In every period, rows read are rows kept and rows in quarantine, and the report says so."""
    project = rehearsal.after("validate")
    manifest = read_json(project.root / MANIFEST)
    report = Report.from_dict(read_json(project.root / VALIDATION))
    assert report.checks, "reports/validate.json holds no check"
    assert read_json(project.root / SUITE), "reports/suite.json is empty"

    for period in PERIODS:
        kept = len(partitions.read(project, "checked", period))
        quarantine = partitions.read(project, "checked", period, "rows.quarantine")
        quarantined = quarantine["row"].nunique()  # a row has a line for each rule that it breaks
        assert kept + quarantined == manifest[period][partitions.ROWS]["rows"], (
            f"validate lost rows of {period}"
        )
        assert report.facts["rows"][period]["kept"] == kept

    performance = rehearsal.performance("validate")
    assert "verdict: " in performance.printed, "validate does not print its report"
    assert "Calculating" not in performance.error_output, (
        "validate draws progress bars, which fill the log of a CI run"
    )


def validate_stops_the_run_on_schema_skew(rehearsal: Rehearsal) -> None:
    """When a period has lost a column, the stage ends with an error, and its report says why."""
    column = next(iter(rehearsal.contract.request_columns))
    with rehearsal.copy("ingest") as copied:
        path = partitions.folder(copied, "raw", PERIODS[2]) / "rows.parquet"
        rows = partitions.read(copied, "raw", PERIODS[2])
        partitions.write(rows.drop(columns=column), path)
        remove(copied, VALIDATION)
        message = error_message(lambda: copied.stage("validate").main(copied))
        assert "data.columns" in message, (
            f"the message about a missing column does not name the check: {message}"
        )
        report = Report.from_dict(read_json(copied.root / VALIDATION))
        assert report["data.columns"].verdict is Verdict.FAIL


def validate_puts_a_bad_row_into_quarantine_by_rule_and_value(rehearsal: Rehearsal) -> None:
    """What Great Expectations finds is named by row, column, rule and value."""
    import pandas as pd

    from mlgates.data.table_checks import check_table

    planted = breaking(rehearsal.contract)
    assert planted, (
        "schema.py forbids no value of any request column, so no row could ever be found bad"
    )
    column, value, rule = planted

    bad_rows = [3, 5]
    rows = rehearsal.periods[PERIODS[0]][partitions.ROWS].copy()
    values = rows[column.name].to_numpy(dtype=object).copy()
    values[bad_rows] = value
    rows[column.name] = pd.Series(values).infer_objects()

    limits = rehearsal.project.settings().validate
    check = rehearsal.original.stage("validate").check
    _, kept, quarantine = check_table(rows, rehearsal.contract, limits, check)
    is_planted = (quarantine["column"] == column.name) & (quarantine["rule"] == rule)
    quarantined = set(quarantine[is_planted]["row"])
    assert set(bad_rows) <= quarantined, (
        f"{column.name}={value!r} is not in quarantine for the rule {rule}"
    )
    assert len(kept) <= len(rows) - len(bad_rows)


# train


def train_reports_on_the_model_that_it_wrote(rehearsal: Rehearsal) -> None:
    """The digest is the folder's, rows and periods are those of the split, and the models load."""
    project = rehearsal.after("train")
    trained = read_json(project.root / TRAINING)
    assert trained["model"] == digest(project.root / CANDIDATE), (
        "reports/train.json is about another model"
    )
    if rehearsal.contract.time:  # otherwise rows are split by key, and all periods are in use
        assert trained["periods"] == {"train": list(PERIODS[:2]), "evaluation": list(PERIODS[2:])}

    scorer = model_folder.load(project.root / CANDIDATE, project.contract)
    features = plan(project.features, project.contract)
    assert list(scorer.plan.names) == trained["features"] == list(features.names)
    assert trained["rows"]["evaluation"] == partitions.row_count(project.root / EVALUATION)
    assert trained["rows"]["fitted"] == trained["rows"]["train"] > 0

    baselines = sorted(path.name for path in (project.root / BASELINES).iterdir())
    assert baselines == ["simple", "trivial"], f"models/baselines holds {baselines}"

    printed = rehearsal.performance("train").printed
    assert f"{trained['rows']['fitted']:,}" in printed, (
        "train does not say on how many rows the model was fitted"
    )


def train_thins_more_rows_than_max_rows(rehearsal: Rehearsal) -> None:
    """No more rows are fitted than `train.max_rows`."""
    max_rows = 400
    with rehearsal.copy("train") as copied:
        set_parameter(copied, "train", "max_rows", max_rows)
        _run_stage(copied, "train")
        rows = read_json(copied.root / TRAINING)["rows"]
        assert rows["fitted"] == max_rows < rows["train"], "train does not keep to train.max_rows"


# studies


def studies_measure_tuning_features_and_staleness(rehearsal: Rehearsal) -> None:
    """Each of the three reports is about the model's features and the closed periods.

    The stage prints a line about each.
    """
    project = rehearsal.after("studies")
    tuning = read_json(project.root / TUNING)
    if getattr(project.model, "SEARCH", None):
        assert tuning["trials"], "studies tried no other parameters, though model.py has SEARCH"

    ablation = read_json(project.root / FEATURES / f"{PERIODS[-1]}.json")
    assert set(ablation["features"]) == set(read_json(project.root / TRAINING)["features"])

    staleness = read_json(project.root / STALENESS)
    if rehearsal.contract.time:
        assert [entry["age"] for entry in staleness["ages"]] == [1, 2]

    printed = rehearsal.performance("studies").printed
    for study in ("tune: ", "ablate: ", "age: "):
        assert study in printed, f"studies does not print the line {study}..."


# evaluate


def evaluate_measures_the_candidate_on_the_untouched_rows(rehearsal: Rehearsal) -> None:
    """metrics.json is about the candidate, and its numbers are those of the evaluation rows."""
    import pandas as pd

    from mlgates.evaluation import metrics

    project = rehearsal.after("evaluate")
    contract = project.contract
    measured = read_json(project.root / METRICS)
    assert measured["model"] == read_json(project.root / TRAINING)["model"], (
        "metrics.json is about another model"
    )

    rows = pd.read_parquet(project.root / EVALUATION)
    assert measured["rows"] == len(rows)
    scorer = model_folder.load(project.root / CANDIDATE, contract)
    scores = scorer.score(scorer.matrix(contract.arrays(rows)))
    for name, metric in metrics.metrics_of(contract.task).items():
        value = metrics.value(metric(contract.target(rows), scores), len(rows))
        stored = measured["values"]["candidate"][name]["value"]
        assert np.isclose(stored, value), (
            f"metrics.json has {name} {stored}, but the rows give {value}"
        )

    assert {"candidate", "baseline.simple", "baseline.trivial"} <= set(measured["values"])
    assert (project.root / PICTURES / "models.svg").exists(), (
        "evaluate drew no picture of the models"
    )
    printed = rehearsal.performance("evaluate").printed
    assert metrics.MAIN[contract.task] in printed, "evaluate does not print the main metric"


# gate


def the_gate_judges_what_was_measured(rehearsal: Rehearsal) -> None:
    """The stored verdict is the one that is computed again, and the documents are of this model."""
    project = rehearsal.after("gate")
    stored = read_json(project.root / GATE)
    decided = rules.without_names(rules.decide(project).to_dict())
    assert rules.without_names(stored) == decided, (
        "reports/gate.json is not what gate.decide gives for the reports"
    )

    model = read_json(project.root / TRAINING)["model"]
    assert stored["facts"]["model"] == model
    card = (project.root / CARD).read_text(encoding="utf-8")
    assert model in card, "the model card names another model"
    page = (project.root / GATE_PAGE).read_text(encoding="utf-8")
    assert "<svg" in page or "data:image/svg" in page, "the gate's page shows no picture"

    printed = rehearsal.performance("gate").printed
    assert "verdict: " in printed, "gate does not print its report"
    assert rules.sentence(Report.from_dict(stored)) in printed, (
        "gate does not say what follows from its verdict"
    )


def the_checks_of_the_team_are_part_of_the_verdict(rehearsal: Rehearsal) -> None:
    """What checks.py returns is judged as every other check is."""
    checks_of_team = rehearsal.after("studies").module("checks").checks
    failing_checks = ModuleType("checks")
    vars(failing_checks)["checks"] = _planted_checks
    with rehearsal.copy("evaluate") as copied:
        _run_stage(copied.having(checks=failing_checks), "gate")
        report = Report.from_dict(read_json(copied.root / GATE))
        assert PLANTED.name in report.stops, (
            "a failing check of checks.py does not stop the promotion"
        )
        assert checks_of_team(read_json(copied.root / METRICS)) is not None


# What these promises share


def _run_stage(project: Project, name: str) -> None:
    """Run a stage without its output."""
    run_quietly(lambda: project.stage(name).main(project))


def _set_cycle_until(project: Project, period: str) -> None:
    """Make another period the last closed one."""
    cycle = yaml.safe_load((project.root / CYCLE).read_text(encoding="utf-8"))
    cycle["until"] = period
    write_text(project.root / CYCLE, yaml.safe_dump(cycle))


def _planted_checks(measured: Mapping[str, Any]) -> list[Check]:
    """The function of a checks.py whose check fails."""
    return [PLANTED]
