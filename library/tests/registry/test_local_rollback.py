"""`mlops rollback --now`: at once and without git.

It is recorded later, unless others decided otherwise meanwhile.
"""

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clones import Clone, refusal
from mlgates import Project
from mlgates.errors import ProjectError
from mlgates.files import read_json, write_json
from mlgates.registry import deploy, local_rollback, releases
from mlgates.registry.git import git
from mlgates.registry.local_rollback import now, pending, record_pending_rollback
from mlgates.registry.promote import promote, rollback
from mlgates.registry.status import status


@pytest.mark.usefixtures("no_mlflow")
def test_rollback_now_needs_no_git_and_is_recorded_later(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise ProjectError("Nobody knows you.")

    project = reigning.project
    pointer = reigning.root / "var/champion.json"
    assert "knows no release before v1.0.0" in refusal(now, project, "complaints")
    reigning.retrain(0.2, close="2")
    promote(project)
    for part in (".git", ".dvc"):
        (reigning.root / part).rename(reigning.around / f"away{part}")
    assert "needs a reason" in refusal(now, project, "")
    before = reigning.root / "var/models" / read_json(pointer)["before"]["fingerprint"]
    (before / "strange.txt").touch()
    assert "v1.0.0 is not here, or not whole" in refusal(now, project, "complaints")
    (before / "strange.txt").unlink()
    now(project, "complaints")
    switched = read_json(pointer)
    assert switched["release"] == "v1.0.0"
    assert "already" in refusal(now, project, "once more")

    for part in (".git", ".dvc"):
        (reigning.around / f"away{part}").rename(reigning.root / part)
    reigning.git("remote", "set-url", "origin", "../nowhere.git")
    assert "stays at v1.0.0" in deploy.follow(project)
    assert "rolled" in status(project)[0].text
    assert "cannot be reached" in refusal(rollback, project, reason="x")
    assert read_json(pointer) == switched

    reigning.git("remote", "set-url", "origin", "../origin.git")
    with monkeypatch.context() as patched:
        patched.setattr(local_rollback, "write", nobody)
        message = refusal(rollback, project, reason="x")
    assert "does not know it yet. Nobody knows you." in message
    assert read_json(pointer) == switched
    assert "Recorded" in deploy.follow(project)
    held = releases.champion(project, "champion")
    assert held is not None
    assert (held.to, held.number) == ("v1.0.0", 3)
    assert "complaints" in held.why
    assert "rolled" not in status(project)[0].text.partition("because")[2]
    assert "pending" not in read_json(pointer)


RECORDED_AT = datetime(2025, 1, 1, tzinfo=UTC)
VERSIONS = ("v1.0.0", "v2.0.0", "v3.0.0")


def rolled_back(root: Path, champions: list[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    """A machine that was rolled back from v2.0.0 to v1.0.0, with these champions in its record."""
    artifact = "artifacts:\n  tiny: {path: models/candidate, type: model}\n"
    (root / "dvc.yaml").write_text(artifact)
    git(root, "init", "--quiet")
    git(root, "config", "user.name", "Ada")
    git(root, "config", "user.email", "ada@example.org")
    with monkeypatch.context() as patched:
        patched.setenv("GIT_COMMITTER_DATE", RECORDED_AT.isoformat())
        for version in VERSIONS:
            git(root, "commit", "--quiet", "--allow-empty", "-m", version)
            note = json.dumps({"fingerprint": version, "digest": "d", "verdict": "ok"})
            git(root, "tag", "-a", "-m", note, f"tiny@{version}")
        for number, version in enumerate(champions, 1):
            note = json.dumps({"to": version})
            git(root, "tag", "-a", "-m", note, f"tiny#champion#{number}", f"tiny@{version}^{{}}")
    pending_note = {
        "alias": "champion",
        "from": "v2.0.0",
        "to": "v1.0.0",
        "since": RECORDED_AT.isoformat(),
        "told": "Ada rolled",
        "by": "Ada",
        "at": "noon",
    }
    write_json(root / "var/champion.json", {"pending": pending_note})
    return Project(root, "tiny")


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("champions", "message", "recorded"),
    [
        (["v1.0.0", "v2.0.0"], "Recorded: Ada rolled", True),
        # whoever recorded it was killed before they could note that
        (["v1.0.0", "v2.0.0", "v1.0.0"], "Recorded: Ada rolled", False),
        (
            ["v1.0.0", "v2.0.0", "v3.0.0"],
            "champion is v3.0.0 by now, so this is not recorded: Ada rolled",
            False,
        ),
        ([], "Nobody is champion by now, so this is not recorded: Ada rolled", False),
    ],
)
def test_what_others_decided_since_a_rollback_stays(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    champions: list[str],
    message: str,
    recorded: bool,
) -> None:
    project = rolled_back(tmp_path, champions, monkeypatch)
    assert record_pending_rollback(project) == f"{message}\n"
    assignments = releases.read(project).assignments
    expected = [*champions, "v1.0.0"] if recorded else champions
    assert [assignment.to for assignment in assignments] == expected
    if recorded:
        ref = f"refs/tags/{assignments[-1].tag}"
        annotation = git(tmp_path, "for-each-ref", "--format=%(subject)", ref)
        assert json.loads(annotation)["switched"] == {"by": "Ada", "at": "noon"}
    assert pending(project) == {}
    assert record_pending_rollback(project) == ""


@pytest.mark.usefixtures("nobody")
def test_a_rollback_to_a_release_that_the_record_lost_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = rolled_back(tmp_path, ["v1.0.0", "v2.0.0"], monkeypatch)
    git(tmp_path, "tag", "--delete", "tiny#champion#1")
    message = record_pending_rollback(project)
    assert message.startswith("Ada rolled The record does not know it yet.")
    assert "does not say any more that v1.0.0 was champion" in message
    assert pending(project)


@pytest.mark.usefixtures("nobody")
def test_a_rollback_is_signed_by_whoever_can_be_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("nobody")

    project = Project(tmp_path, "tiny")
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    assert local_rollback._who(project) == "ada"
    monkeypatch.setattr(getpass, "getuser", nameless)
    assert local_rollback._who(project) == "somebody"
