"""The record: what is read from tags, and what happens when two write at once or one is killed."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from gto import api
from gto.exceptions import GTOException

from clones import Clone, refusal
from mlgates import Project, dvc_lock
from mlgates.files import digest, read_json
from mlgates.registry import deploy, dvc_storage, releases
from mlgates.registry.promote import promote
from mlgates.registry.releases import Assignment, Record, Release
from mlgates.registry.status import status


def test_the_version_says_what_changed(reigning: Clone) -> None:
    first = releases.read(reigning.project).releases[-1]
    for name, expected in (
        ("rows.csv", "v1.0.1"),
        ("src/tiny/train.py", "v1.1.0"),
        ("src/tiny/schema.py", "v2.0.0"),
    ):
        path = reigning.root / name
        path.write_text(path.read_text() + "\n")
        reigning.repro("train")
        assert releases.next_version(reigning.project, first) == expected
    assert releases.next_version(reigning.project, None) == "v1.0.0"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("until: '2'", "until: '3'", "v1.0.1"),
        ("gain: 0.1", "gain: 0.2", "v1.1.0"),
        ("tool.mlgates.results.training: 1", "tool.mlgates.results.training: 2", "v1.1.0"),
        ("python -m tiny.train", "python -O -m tiny.train", "v1.1.0"),
    ],
)
def test_the_version_says_which_line_of_dvc_lock_changed(
    reigning: Clone, old: str, new: str, expected: str
) -> None:
    first = releases.read(reigning.project).releases[-1]
    path = reigning.root / "dvc.lock"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert releases.next_version(reigning.project, first) == expected


def test_tags_made_by_hand_are_read(ada: Clone) -> None:
    commit = ada.git("rev-parse", "HEAD")
    ada.git("tag", "tiny@v0.9.0")  # without annotation, so nobody made it
    ada.git("tag", "-a", "-m", "nightly", "tiny@nightly")
    ada.git("tag", "-a", "-m", '["why"]', "tiny@v1.0.0")
    ada.git("tag", "-a", "-m", "{half", "tiny#champion#10")
    ada.git("tag", "-a", "-m", "{half", "tiny#champion#9")
    record = releases.read(ada.project)
    (release,) = record.releases
    assert (release.version, release.commit, release.why) == ("v1.0.0", commit, '["why"]')
    lock = dvc_lock.locked(ada.project)
    assert release.fingerprint == dvc_lock.fingerprint(lock)
    assert release.measured == dvc_lock.measured(lock)
    assert release.digest == digest(ada.root / "models/candidate")
    assert release.digest == read_json(ada.root / "reports/gate.json")["facts"]["model"]
    assert release.verdict == "ok"
    held = record.holder("champion")
    assert held is not None
    assert (held.number, held.why) == (10, "{half")
    assert record.release_of_model(release.fingerprint) == release
    assert record.release_of_model("x") is None
    assert record.aliases(release) == ["champion"]
    assert record.aliases(None) == []
    assert record.succession("champion") == [release]
    for alias, expected in (("champion", [9, 10]), (None, [9, 10]), ("staging", [])):
        assert [entry.number for entry in record.history(release, alias)] == expected
    assert not record.history(replace(release, version="v2.0.0"))
    message = refusal(deploy.fetch, ada.project, replace(release, digest=""))
    assert "models/candidate of tiny@v1.0.0 cannot be verified" in message
    assert "it was registered by hand" in message
    message = refusal(deploy.fetch, ada.project, replace(release, digest="f" * 64))
    assert f"is not the recorded model ({release.digest[:8]}, not ffffffff)" in message


def test_a_lost_tag_is_named_until_a_later_one_counts(ada: Clone) -> None:
    commit = ada.git("rev-parse", "HEAD")
    ada.git("tag", "-a", "-m", "x", "tiny@v1.0.0")
    ada.git("tag", "-a", "-m", "x", "tiny#champion#10")
    ada.git("commit", "--quiet", "--allow-empty", "-m", "later")
    ada.git("tag", "-a", "-m", '{"to": "v2.0.0"}', "tiny#staging#11")
    message = refusal(releases.read, ada.project)
    assert "tag was deleted or moved: tiny#staging#11 names v2.0.0" in message
    ada.git("tag", "-a", "-m", "x", "tiny#staging#12", commit)
    assert [*releases.read(ada.project).holders] == ["champion", "staging"]


def test_without_an_artifact_or_a_run_there_is_no_release(ada: Clone) -> None:
    (ada.root / "dvc.yaml").write_text("stages: {}\n")
    assert "dvc.yaml names no artifact" in refusal(releases.read, ada.project)
    assert "dvc.lock has no entry of train yet" in refusal(dvc_lock.fingerprint, "")


def test_a_tag_that_a_crash_left_half_written_is_not_passed_over(reigning: Clone) -> None:
    name = "refs/tags/tiny#champion#1"
    (reigning.root / ".git" / name).write_text("")
    remedy = f"{name} is damaged.\n  Delete .git/{name}, then run: uv run mlops follow"
    for verb in (status, promote, deploy.follow):
        assert remedy in refusal(verb, reigning.project)
    (reigning.root / ".git" / name).unlink()
    assert "v1.0.0" in deploy.follow(reigning.project)


def test_a_clock_that_is_behind_waits_or_is_an_error(
    ada: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "time", lambda: 1_000.0)

    def released(*seconds: float) -> Record:
        entries = []
        for second in seconds:
            when = datetime.fromtimestamp(second, UTC)
            entries.append(Release("tiny", "v1.0.0", "f", "d", "", "ok", "", "Ada", when))
        return Record("tiny", tuple(entries), ())

    for times in ((), (990.0,), (990.0, 1_002.0, 1.0)):
        releases._wait_until_later(released(*times))
    assert slept == [0.0, 0.0, 3.0]
    (release,) = released(1_001.0).releases
    assigned = Assignment("a", release, 1, None, "", "", release.when, "")
    releases._wait_until_later(Record("tiny", (), (assigned,)))
    assert slept[3:] == [2.0]
    message = refusal(releases.write, ada.project, released(1_060.0), release, "champion", "")
    assert "clock is 61 s behind" in message


@pytest.mark.usefixtures("no_mlflow")
def test_of_two_who_promote_at_once_one_learns_who_was_faster(
    ada: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    dvc_storage.push(ada.project, "models/candidate")
    bob = ada.clone("bob", "--depth", "1")
    bob.run("dvc", "pull", "--quiet")
    settle = releases.exchange_tags

    def meanwhile(project: Project) -> None:
        if project.root == bob.root and bob.git("tag") and not ada.git("tag"):
            promote(ada.project)
        settle(project)

    monkeypatch.setattr(releases, "exchange_tags", meanwhile)
    assert "Ada was faster: champion is v1.0.0" in refusal(promote, bob.project)
    assert bob.git("for-each-ref", "refs/tags") == ada.git("for-each-ref", "refs/tags")
    assert "is champion since" in promote(bob.project)
    assert read_json(bob.root / "var/champion.json") == read_json(ada.root / "var/champion.json")


def test_what_a_killed_promote_left_gives_way_to_who_was_faster(ada: Clone) -> None:
    bob, eve = ada.clone("bob"), ada.clone("eve")
    for machine, version in ((bob, "v1.0.0"), (ada, "v2.0.0")):
        for name in (f"tiny@{version}", "tiny#champion#1"):
            machine.git("tag", "-a", "-m", json.dumps({"to": version}), name)
    bob.git("push", "--quiet", "--tags", "origin")
    assert "Bob was faster: champion is v1.0.0" in refusal(releases.exchange_tags, ada.project)
    assert releases.settle_if_reachable(ada.project) == ""
    assert releases.settle_if_reachable(eve.project) == ""
    expected = ["tiny#champion#1", "tiny@v1.0.0"]
    assert ada.git("tag").split() == eve.git("tag").split() == expected
    assert ada.git("rev-parse", "--is-shallow-repository") == "false"
    eve.git("remote", "set-url", "origin", "../nowhere.git")
    assert "cannot be reached" in releases.settle_if_reachable(eve.project)


@pytest.mark.parametrize("kind", [GTOException, OSError])
def test_what_cannot_be_recorded_leaves_no_tag(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def refuses(*_: object, **__: object) -> None:
        reigning.git("tag", "-a", "-m", "half", "tiny@v9.0.0")
        raise kind("it has its reasons")

    record = releases.read(reigning.project)
    tags = reigning.git("tag")
    (release,) = record.releases
    with monkeypatch.context() as patched:
        patched.setattr(api, "assign", refuses)
        message = refusal(releases.write, reigning.project, record, release, "champion", "again")
    assert message == "GTO does not take tiny@v1.0.0 as champion: it has its reasons"
    assert reigning.git("tag") == tags
    reigning.git("remote", "set-url", "origin", "../nowhere.git")
    message = refusal(releases.erase, reigning.project, record.releases, "erased rows")
    assert "so nothing was purged" in message
    assert reigning.git("tag") == tags
