"""What is edited in a released commit after the release is found, by the check of that part."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from clones import Clone
from mlgates.lineage.check_record import check_record
from mlgates.registry import releases
from mlgates.verdict import Report, Verdict


def verdicts(clone: Clone, **changed: str) -> dict[str, Verdict]:
    """The verdict of each check on the first release, with other fields than the recorded ones."""
    release = replace(releases.read(clone.project).releases[0], **changed)
    return {check.name: check.verdict for check in check_record(clone.project, release)}


def edited(clone: Clone, path: str, edit: Callable[[str], str]) -> dict[str, Verdict]:
    """The verdicts for a commit in which a file was edited."""
    file = clone.root / path
    before = file.read_text()
    file.write_text(edit(before))
    assert file.read_text() != before
    clone.commit()
    return verdicts(clone, commit=clone.git("rev-parse", "HEAD"))


def only(check: str) -> dict[str, Verdict]:
    """All checks are ok but this one, which fails."""
    names = ("model", "measured", "files", "verdict", "digest")
    return {**{f"record.{name}": Verdict.OK for name in names}, check: Verdict.FAIL}


def test_a_release_that_nobody_touched_is_ok(reigning: Clone) -> None:
    assert set(verdicts(reigning).values()) == {Verdict.OK}


@pytest.mark.parametrize(
    ("stage", "check"), [("train", "record.model"), ("gate", "record.measured")]
)
def test_an_edited_entry_of_dvc_lock_is_found(reigning: Clone, stage: str, check: str) -> None:
    module = {"train": "tiny.train", "gate": "tiny.judge"}[stage]

    def edit(lock: str) -> str:
        return lock.replace(f"cmd: python -m {module}", f"cmd: python -m {module} --other")

    assert edited(reigning, "dvc.lock", edit) == only(check)


def test_an_edited_report_is_found(reigning: Clone) -> None:
    def edit(report: str) -> str:
        return report.replace("0.1", "0.9", 1)

    assert edited(reigning, "reports/metrics.json", edit) == only("record.files")


@pytest.mark.parametrize(
    ("field", "check"), [("verdict", "record.verdict"), ("digest", "record.digest")]
)
def test_an_annotation_that_says_something_else_is_found(
    reigning: Clone, field: str, check: str
) -> None:
    assert verdicts(reigning, **{field: "fail"}) == only(check)


def test_what_the_tag_does_not_name_is_inconclusive_and_not_required(reigning: Clone) -> None:
    release = replace(releases.read(reigning.project).releases[0], measured="")
    check = Report("record", check_record(reigning.project, release))["record.measured"]
    assert check.verdict is Verdict.INCONCLUSIVE
    assert not check.required


@pytest.mark.parametrize("lock", ["", '{"stages": {"train": {"cmd": "train"}}}'])
def test_a_stage_that_dvc_lock_lacks_fails_its_check(reigning: Clone, lock: str) -> None:
    found = edited(reigning, "dvc.lock", lambda _: lock)
    assert found["record.model"] is Verdict.FAIL
    assert found["record.measured"] is Verdict.FAIL


def test_a_commit_without_reports_is_inconclusive(reigning: Clone) -> None:
    lock = json.dumps({"stages": {"train": {"cmd": "train"}, "gate": {"cmd": "gate"}}})
    found = edited(reigning, "dvc.lock", lambda _: lock)
    assert found["record.files"] is Verdict.INCONCLUSIVE
    assert "record.verdict" not in found
