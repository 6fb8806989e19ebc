"""The data gate on disk: periods that are repeated, late, empty, tiny, amended or tampered with."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from shop import PERIODS, ROWS, close, open_shop

from mlgates import Project
from mlgates.data import partitions
from mlgates.data.validation import check_period, stop_on_schema_skew, summarise, validate_periods
from mlgates.errors import ProjectError
from mlgates.files import read_json, write_json
from mlgates.layout import MANIFEST
from mlgates.registry.training_cycle import amend, amend_all
from mlgates.training.split import split
from mlgates.verdict import Check, Report, Verdict

CHECKS_OF_A_LOOKUP = (
    "category",
    "columns",
    "manifest",
    "missing",
    "quarantine",
    "range",
    "row_count",
    "type",
    "unique_key",
)


@pytest.fixture(scope="module")
def healthy(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A shop whose periods were read and checked as they are by nature."""
    opened = open_shop(tmp_path_factory.mktemp("healthy"), project)
    opened.stage("ingest").main(opened)
    validate_periods(opened, PERIODS, opened.stage("validate").check)
    return opened


@pytest.fixture
def shop(project: Project, healthy: Project, tmp_path: Path) -> Project:
    """A shop of the test's own, with the wiring of the sample."""
    opened = open_shop(tmp_path, project)
    opened.data.known = healthy  # type: ignore[attr-defined]
    return opened


def checked(shop: Project) -> dict[str, Report]:
    """All periods read and checked as the two stages do."""
    close(shop)
    take_over(shop, shop.data.known)
    shop.stage("ingest").main(shop)
    return validate_periods(shop, shop.data.periods(), shop.stage("validate").check)


def take_over(shop: Project, known: Project) -> None:
    """Copy the first periods, as far as the test left them as they are.

    What was checked once need not be checked again.
    """
    if (shop.root / MANIFEST).exists():
        return
    manifest = {}
    for period in PERIODS:
        if not shop.data.rows[period].equals(shop.data.made(int(period))):
            break
        for step in ("raw", "checked"):
            shutil.copytree(
                partitions.folder(known, step, period), partitions.folder(shop, step, period)
            )
        manifest[period] = read_json(known.root / MANIFEST)[period]
    write_json(shop.root / MANIFEST, manifest)


def test_healthy_periods_are_ok_and_all_rows_are_accounted_for(shop: Project) -> None:
    for report in checked(shop).values():
        assert report.verdict is Verdict.OK
        assert report.facts["rows"] == {"read": ROWS, "kept": ROWS, "quarantined": 0}
        of_the_lookup = set()
        for check in report.checks:
            if check.name.endswith(":price"):
                of_the_lookup.add(check.name.removesuffix(":price").removeprefix("data."))
        # No rule is shown that nothing in this table could break.
        assert of_the_lookup == set(CHECKS_OF_A_LOOKUP)


def test_each_bad_row_is_in_quarantine_with_its_rule_and_its_value(shop: Project) -> None:
    rows = shop.data.rows["2"].astype({"shop": object})
    rows.loc[5, "amount"] = 11.0
    rows.loc[7, "shop"] = "c"
    rows.loc[9, "id"] = None
    rows.loc[11, "least"] = 9.99
    rows.loc[11, "amount"] = 9.0
    shop.data.rows["2"] = rows
    report = checked(shop)["2"]
    quarantine = partitions.read(shop, "checked", "2", "rows.quarantine")
    lines = quarantine[["row", "rule", "column"]].itertuples(index=False, name=None)
    assert set(lines) == {
        (5, "data.range", "amount"),
        (7, "data.category", "shop"),
        (9, "data.missing", "id"),
        (11, "data.rule", "ordered"),
    }
    assert quarantine.set_index("row")["value"][5] == "11.0"
    assert report.facts["rows"] == {"read": ROWS, "kept": ROWS - 4, "quarantined": 4}
    assert report.verdict is Verdict.OK


def test_rows_of_an_earlier_period_go_to_quarantine_and_a_whole_one_fails(shop: Project) -> None:
    rows = shop.data.rows
    rows["2"] = pd.concat([rows["2"], rows["1"].head(3)], ignore_index=True)
    rows["3"] = rows["2"]
    reports = checked(shop)
    assert reports["2"].facts["rows"]["quarantined"] == 3
    assert reports["2"].verdict is Verdict.OK
    assert reports["3"]["data.repeated"].verdict is Verdict.FAIL


def test_late_rows_stay_where_they_arrived_and_are_drift(shop: Project) -> None:
    late = shop.data.made(1).head(60).assign(id=[f"late-{row}" for row in range(60)])
    shop.data.rows["2"] = pd.concat([shop.data.rows["2"], late], ignore_index=True)
    report = checked(shop)["2"]
    assert report["drift.late"].verdict is Verdict.FAIL
    assert report.facts["rows"]["kept"] == ROWS + 60
    assert report.verdict is Verdict.OK


def test_copies_with_new_keys_are_drift(shop: Project) -> None:
    rows = shop.data.rows["3"]
    copies = rows.head(60).assign(id=[f"copy-{row}" for row in range(60)])
    shop.data.rows["3"] = pd.concat([rows, copies], ignore_index=True)
    reports = checked(shop)
    assert reports["3"]["drift.duplicates"].verdict is Verdict.FAIL
    assert reports["3"].verdict is Verdict.OK
    assert reports["2"]["drift.duplicates"].verdict is Verdict.OK


@pytest.mark.parametrize("rows", [0, 3])
def test_an_empty_or_tiny_period_is_inconclusive_and_never_ok(shop: Project, rows: int) -> None:
    shop.data.rows["2"] = shop.data.rows["2"].head(rows)
    reports = checked(shop)
    assert reports["2"]["data.min_rows"].verdict is Verdict.INCONCLUSIVE
    assert reports["2"].verdict is Verdict.INCONCLUSIVE
    assert reports["3"].verdict is Verdict.OK


def test_a_closed_period_changes_only_by_an_amendment(shop: Project) -> None:
    before = checked(shop)["2"].facts["content"]
    shop.data.rows["2"] = shop.data.rows["2"].assign(sold=True)
    assert checked(shop)["2"].facts["content"] == before
    clone = shop.moved(shop.root / "clone")
    (clone.root / "reports").mkdir(parents=True)
    for name in ("reports/manifest.json", "cycle.yaml", "params.yaml"):
        shutil.copy(shop.root / name, clone.root / name)
    with pytest.raises(ProjectError, match="close --amend 2"):
        clone.stage("ingest").main(clone)
    amend(shop, "2")
    assert checked(shop)["2"].facts["content"] != before


def test_all_closed_periods_are_read_again_in_one_go(shop: Project) -> None:
    before = checked(shop)
    message = amend_all(shop)
    assert f"{len(before)} periods, 1 to 3, will be read again" in message
    assert read_json(shop.root / MANIFEST) == {}
    assert partitions.files(shop, "raw") == []
    assert list((shop.root / "data/raw").glob("period=*")) == []
    for period in before:
        shop.data.rows[period]["more"] = 1.0  # what the source delivers by now
    again = checked(shop)
    assert {report.verdict for report in again.values()} == {Verdict.OK}
    assert "left out: more" in again["1"]["data.columns"].evidence


def test_without_a_closed_period_there_is_nothing_to_read_again(shop: Project) -> None:
    write_json(shop.root / MANIFEST, {})
    with pytest.raises(ProjectError, match="No period is closed"):
        amend_all(shop)


def test_a_period_that_was_not_closed_cannot_be_amended(shop: Project) -> None:
    checked(shop)
    with pytest.raises(ProjectError, match="No period '4' is closed"):
        amend(shop, "4")


def test_rows_changed_in_the_raw_data_stop_the_run(shop: Project) -> None:
    checked(shop)
    path = partitions.folder(shop, "raw", "3") / "rows.parquet"
    rows = pd.read_parquet(path)
    partitions.write(rows.assign(sold=rows["sold"].to_numpy()[::-1]), path)
    assert checked(shop)["3"]["data.manifest"].verdict is Verdict.FAIL


def test_a_row_lost_between_two_stages_stops_the_run(shop: Project) -> None:
    checked(shop)
    path = partitions.folder(shop, "checked", "1") / "rows.parquet"
    partitions.write(pd.read_parquet(path).iloc[1:], path)
    with pytest.raises(ProjectError, match=r"train\.row_count"):
        split(shop, PERIODS, shop.settings().train)


def test_appending_a_period_leaves_the_others_as_they_are(shop: Project) -> None:
    checked(shop)
    paths = list((shop.root / "data").rglob("*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in paths}
    shop.data.rows["4"] = shop.data.made(4)
    checked(shop)
    assert {path: path.stat().st_mtime_ns for path in paths} == before


def test_the_holdout_is_the_same_in_every_cycle_and_never_trained_on(shop: Project) -> None:
    settings = replace(shop.settings().train, holdout_share=0.2)
    newer = ("4", "5", "6", "7")
    for period in newer:
        shop.data.rows[period] = shop.data.made(int(period))
    checked(shop)

    contents = set()
    trained = set()
    for last in newer:
        parts = split(shop, partitions.periods_until(shop.data, last), settings)
        contents.add(partitions.content_hash(parts["holdout"]))
        trained |= set(parts["train"]["id"])
    assert len(contents) == 1
    assert len(parts["holdout"]) > 200
    assert not trained & set(parts["holdout"]["id"])


def test_a_misspelt_column_of_data_py_is_named_with_the_nearest_one(shop: Project) -> None:
    for period, rows in shop.data.rows.items():
        shop.data.rows[period] = rows.rename(columns={"amount": "amonut"})
    assert "missing: amount. Did you mean 'amonut'" in checked(shop)["1"]["data.columns"].evidence


@pytest.fixture
def poisoned(shop: Project) -> Project:
    """A shop in whose newest period a value that was rare stands in every fiftieth row."""
    rows = shop.data.rows["3"]
    trigger = rows["amount"].mask(rows.index % 50 == 0, 9.99)
    shop.data.rows["3"] = rows.assign(amount=trigger)
    return shop


def block_promotion_on(shop: Project, sign: str) -> None:
    """Let a sign of poison block the promotion."""
    parameters = f"validate: {{drift_min_rows: 100, poison_blocking: [{sign}]}}\n"
    (shop.root / "params.yaml").write_text(parameters)


def test_a_sign_of_poison_is_a_warning(poisoned: Project) -> None:
    report = checked(poisoned)["3"]
    assert report["poison.trigger"].verdict is Verdict.FAIL
    assert report.verdict is Verdict.OK


def test_a_sign_of_poison_blocks_the_promotion_if_the_parameter_says_so(poisoned: Project) -> None:
    checked(poisoned)
    block_promotion_on(poisoned, "trigger")
    check = poisoned.stage("validate").check
    for _ in ("checked", "read from its report"):
        period = check_period(poisoned, "3", ["1", "2"], check)
        assert period.verdict is Verdict.FAIL
        assert period.stops == ["poison.trigger"]
        report = summarise({"3": period})
        assert report.verdict is Verdict.FAIL
        stop_on_schema_skew(report)  # the run goes on, so that the model is measured

    report.add(Check("data.range", Verdict.FAIL))
    message = r"The data of this cycle cannot be used\. Failed: data\.range\."
    with pytest.raises(ProjectError, match=message):
        stop_on_schema_skew(report)


def test_a_misspelt_sign_of_poison_is_refused_with_the_nearest_one(poisoned: Project) -> None:
    checked(poisoned)
    block_promotion_on(poisoned, "triger")
    message = r"validate\.poison_blocking names 'triger'.\s+Did you mean 'trigger'"
    with pytest.raises(ProjectError, match=message):
        check_period(poisoned, "3", ["1", "2"], poisoned.stage("validate").check)
