"""`mlops rollback --now`: at once, with git away; recorded later, unless others decided meanwhile."""

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
from mlgates.registry.local_rollback import caught_up, now, pending
from mlgates.registry.promote import promote, rollback
from mlgates.registry.status import status


@pytest.mark.usefixtures("no_mlflow")
def test_rollback_now_needs_no_git_and_is_recorded_later(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise ProjectError("Nobody knows you.")

    project, pointer = reigning.project, reigning.root / "var/champion.json"
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
    assert "rolled" in status(project)[0]
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
    assert "rolled" not in status(project)[0].partition("because")[2]
    assert "pending" not in read_json(pointer)


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("passed", "message", "recorded"),
    [
        (["v1.0.0", "v2.0.0"], "Recorded: Ada rolled", True),
        # whoever recorded it was killed before they could note that
        (["v1.0.0", "v2.0.0", "v1.0.0"], "Recorded: Ada rolled", False),
        (["v1.0.0", "v2.0.0", "v3.0.0"], "champion is v3.0.0 by now: Ada rolled", False),
        ([], "champion is nobody by now: Ada rolled", False),
    ],
)
def test_what_others_decided_since_a_rollback_stays(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    passed: list[str],
    message: str,
    recorded: bool,
) -> None:
    when = datetime(2025, 1, 1, tzinfo=UTC)
    project = Project(tmp_path, "tiny")
    artifact = "artifacts:\n  tiny: {path: models/candidate, type: model}\n"
    (tmp_path / "dvc.yaml").write_text(artifact)
    monkeypatch.setenv("GIT_COMMITTER_DATE", when.isoformat())
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "Ada")
    git(tmp_path, "config", "user.email", "ada@example.org")
    for version in ("v1.0.0", "v2.0.0", "v3.0.0"):
        git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", version)
        note = json.dumps({"fingerprint": version, "digest": "d", "verdict": "ok"})
        git(tmp_path, "tag", "-a", "-m", note, f"tiny@{version}")
    for number, version in enumerate(passed, 1):
        note = json.dumps({"to": version})
        git(tmp_path, "tag", "-a", "-m", note, f"tiny#champion#{number}", f"tiny@{version}^{{}}")
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    note_here = {
        "alias": "champion",
        "from": "v2.0.0",
        "to": "v1.0.0",
        "since": when.isoformat(),
        "told": "Ada rolled",
        "by": "Ada",
        "at": "noon",
    }
    write_json(tmp_path / "var/champion.json", {"pending": note_here})

    assert caught_up(project) == f"{message}\n"
    moves = releases.read(project).assignments
    assert [move.to for move in moves] == passed + ["v1.0.0"] * recorded
    if recorded:
        annotation = git(
            tmp_path, "for-each-ref", "--format=%(subject)", f"refs/tags/{moves[-1].tag}"
        )
        assert json.loads(annotation)["switched"] == {"by": "Ada", "at": "noon"}
    assert pending(project) == {}
    assert caught_up(project) == ""


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
