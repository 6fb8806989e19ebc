"""What `mlops trace` says of a release, a period, a prediction, and of an unknown name."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from clones import Clone, refusal
from mlgates.layout import PREDICTIONS
from mlgates.lineage.trace import find_release, trace, used_parameters
from mlgates.registry import releases
from mlgates.registry.promote import promote
from mlgates.registry.releases import Release
from mlgates.verdict import Verdict


def log_prediction(clone: Clone, name: str, release: str, fingerprint: str) -> None:
    """Write one row to the prediction log of this machine, as the service does."""
    path = clone.root / PREDICTIONS / "1.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        columns = "prediction_id TEXT, at REAL, release TEXT, fingerprint TEXT"
        database.execute(f"CREATE TABLE IF NOT EXISTS predictions ({columns})")
        row = (name, 1_700_000_000.0, release, fingerprint)
        database.execute("INSERT INTO predictions VALUES (?, ?, ?, ?)", row)


def first_release(clone: Clone) -> Release:
    """The release v1.0.0."""
    return releases.read(clone.project).releases[0]


def test_a_default_that_only_the_report_of_training_names_is_a_parameter(reigning: Clone) -> None:
    """dvc.lock has what the team set; a default of the library stands in reports/train.json."""
    first = releases.read(reigning.project).releases[-1]
    path = reigning.root / "reports/train.json"
    trained = json.loads(path.read_text())
    trained["params"] = {"train": {"holdout": 0.25}}
    path.write_text(json.dumps(trained))
    reigning.commit()
    second = replace(first, commit=reigning.git("rev-parse", "HEAD"))

    before = used_parameters(reigning.project, first)
    after = used_parameters(reigning.project, second)
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    assert "model.gain" in before
    assert changed == ["train.holdout"]
    assert after["train.holdout"] == 0.25


def test_a_release_is_found_by_version_tag_and_beginning_of_its_fingerprint(
    reigning: Clone,
) -> None:
    record = releases.read(reigning.project)
    (release,) = record.releases
    for name in ("v1.0.0", "tiny@v1.0.0", release.fingerprint, release.fingerprint[:4]):
        assert find_release(record, name) == release
    for name in ("v1.0", release.fingerprint[:3], "none", ""):
        assert find_release(record, name) is None


def test_a_release_is_traced_to_what_made_it_and_what_it_served(reigning: Clone) -> None:
    release = first_release(reigning)
    log_prediction(reigning, "p1", "v1.0.0", release.fingerprint)
    table, verdict = trace(reigning.project, "v1.0.0")
    text = table.text()
    assert verdict is Verdict.OK
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert release.fingerprint in rows["model"]
    assert "trained on 1; evaluated on 2" in rows["data"]
    assert "model.gain 0.1" in rows["parameters"]
    assert release.measured[:8] in rows["numbers"]
    assert "by Ada: the first" in rows["tiny#champion#1"]
    assert "champion" in rows["alias now"]
    assert "1 rows, 2023-11-14 22:13 to 2023-11-14 22:13 UTC" in rows["served here"]


def test_what_was_edited_since_stands_below_the_release(reigning: Clone) -> None:
    path = reigning.root / "reports/metrics.json"
    path.write_text(path.read_text().replace("0.1", "0.9", 1))
    reigning.commit()
    note = reigning.git("for-each-ref", "--format=%(contents:subject)", "refs/tags/tiny@*")
    reigning.git("tag", "--force", "-a", "-m", note, "tiny@v1.0.0")
    reigning.git("tag", "--force", "-a", "-m", note, "tiny#champion#1")
    table, verdict = trace(reigning.project, "v1.0.0")
    text = table.text()
    assert verdict is Verdict.FAIL
    assert "fail: 1 is not 0  reports/metrics.json" in text


@pytest.mark.usefixtures("no_mlflow")
def test_a_period_is_traced_to_the_releases_that_saw_it(reigning: Clone) -> None:
    reigning.retrain(0.2, close="2")
    promote(reigning.project)
    table, verdict = trace(reigning.project, "2")
    text = table.text()
    first, second = text.splitlines()[1:]
    assert verdict is Verdict.OK
    assert "evaluated, champion against v1.1.0" in first
    assert "rows 0 (900)" in first
    assert "tiny@v1.1.0  evaluated " in second
    assert second.endswith("champion")
    every, _ = trace(reigning.project)
    assert [line.split()[0] for line in every.text().splitlines()] == ["tiny", "v1.1.0", "v1.0.0"]
    text = " ".join(trace(reigning.project, "v1.1.0")[0].text().split())
    assert "model.gain 0.1 -> 0.2" in text


def test_a_prediction_is_traced_to_its_release(reigning: Clone) -> None:
    log_prediction(reigning, "p1", "v1.0.0", first_release(reigning).fingerprint)
    table, verdict = trace(reigning.project, "p1")
    text = table.text()
    assert verdict is Verdict.OK
    assert text.startswith("tiny@v1.0.0")
    assert "p1, made 2023-11-14 22:13:20 UTC by v1.0.0" in text.splitlines()[1]


def test_a_prediction_of_an_unknown_model_is_refused(reigning: Clone) -> None:
    log_prediction(reigning, "p1", "v9.0.0", "feedbeef")
    message = refusal(trace, reigning.project, "p1")
    assert "The record does not have its model feedbeef." in message
    assert "git fetch --tags" in message


def test_an_unknown_name_is_refused_with_the_nearest_one(reigning: Clone) -> None:
    message = refusal(trace, reigning.project, "v1.0.9")
    assert "'v1.0.9' is not a release, a period of a release or a prediction" in message
    assert "Did you mean 'v1.0.0'?" in message


def test_before_the_first_release_the_remedy_is_the_status(ada: Clone) -> None:
    assert "Nothing was released yet" in refusal(trace, ada.project, "v1.0.0")


def test_a_damaged_log_is_named_and_one_without_answers_is_passed_over(reigning: Clone) -> None:
    path = reigning.root / PREDICTIONS / "1.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    sqlite3.connect(path).close()
    path.write_bytes(b"")
    assert "no row in this machine's log" in trace(reigning.project, "v1.0.0")[0].text()
    path.write_bytes(b"no database" * 100)
    message = refusal(trace, reigning.project, "v1.0.0")
    assert message.startswith("1.db of the prediction log cannot be read: ")
