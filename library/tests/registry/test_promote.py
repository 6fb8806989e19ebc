"""What promote demands, what it writes, and that a rollback undoes it.

What was killed half-way is completed by the next call.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from types import ModuleType

import pandas as pd
import pytest
from gto import api

from clones import Clone, refusal
from mlgates.errors import ProjectError
from mlgates.files import digest, read_json, write_json
from mlgates.gate import rules
from mlgates.registry import deploy, dvc_storage, mlflow_registry, releases
from mlgates.registry import promote as module
from mlgates.registry.override import Override
from mlgates.registry.promote import promote, rollback
from mlgates.registry.releases import Assignment, Record, Release
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict

GRACE = Override("Grace", "2999-01-01", "season")


def test_what_is_promoted_is_what_git_and_dvc_say(reigning: Clone) -> None:
    written = read_json(reigning.root / "var/champion.json")
    model = reigning.root / "var/models" / written["fingerprint"]
    assert digest(model) == written["digest"] == digest(reigning.root / "models/candidate")
    assert written["report"]["verdict"] == "ok"
    with closing(sqlite3.connect(reigning.root / "var/online.db")) as store:
        assert store.execute("SELECT count(*) FROM tariff").fetchone() == (10,)
    reigning.run("dvc", "artifacts", "get", ".", "tiny", "--stage", "champion", "-o", "got")
    assert digest(reigning.root / "got") == written["digest"]
    assert reigning.git("ls-remote", "--tags", "--refs", "origin").count("refs/tags/") == 2


@pytest.mark.usefixtures("no_mlflow")
def test_rollback_goes_back_one_by_one_and_gto_agrees(reigning: Clone) -> None:
    project = reigning.project
    pointer = reigning.root / "var/champion.json"
    for gain, close in ((0.2, "2"), (0.3, "3")):
        reigning.retrain(gain, close=close)
        promote(project)
    assert reigning.champion() == "v1.2.0"
    assert "--reason" in refusal(rollback, project, "champion", " ")
    assert "no alias 'champoin'" in refusal(rollback, project, "champoin", "it was worse")
    rollback(project, reason="it was worse")
    assert "was champion before" in refusal(promote, project)
    promote(project, "champion", "the cause was elsewhere")
    for expected in ("v1.1.0", "v1.0.0"):
        rollback(project, "champion", "it was worse")
        assert reigning.champion() == read_json(pointer)["release"] == expected
    assert "nothing to go back to" in refusal(rollback, project, "champion", "again")
    history = json.loads(reigning.run("gto", "history", "--json"))
    versions = [entry["version"] for entry in history if entry["event"] == "assignment"]
    assert sorted(versions) == ["v1.0.0"] * 2 + ["v1.1.0"] * 3 + ["v1.2.0"] * 2
    reigning.run("dvc", "artifacts", "get", ".", "tiny", "--stage", "champion", "-o", "got")
    assert digest(reigning.root / "got") == read_json(pointer)["digest"]


@pytest.mark.usefixtures("no_mlflow")
def test_a_rollback_goes_to_a_release_that_is_named(reigning: Clone) -> None:
    project = reigning.project
    for gain, close in ((0.2, "2"), (0.3, "3")):
        reigning.retrain(gain, close=close)
        promote(project)
    assert "v1.2.0 is champion already" in refusal(rollback, project, None, "bad", "v1.2.0")
    assert "Did you mean 'v1.0.0'" in refusal(rollback, project, None, "bad", "v1.0.9")
    assert "tiny@v1.0.0 is champion again, instead of v1.2.0" in rollback(
        project, None, "both were bad", "tiny@v1.0.0"
    )
    assert reigning.champion() == "v1.0.0"
    assert read_json(reigning.root / "var/champion.json")["release"] == "v1.0.0"
    # The releases in between were taken back with it.
    assert "first champion" in refusal(rollback, project, None, "worse")


def test_an_erased_release_is_no_goal_of_a_rollback(reigning: Clone) -> None:
    project = reigning.project
    reigning.retrain(0.2, close="2")
    promote(project)
    first = releases.read(project).releases[0]
    releases.erase(project, [first], "it was trained on erased rows")
    assert "trained on erased rows" in refusal(rollback, project, None, "worse", "v1.0.0")
    assert reigning.champion() == "v1.1.0"


@pytest.mark.usefixtures("no_mlflow")
def test_a_rollback_passes_over_what_was_erased(reigning: Clone) -> None:
    for number, version in ((2, "v2.0.0"), (3, "v3.0.0")):
        reigning.git("commit", "--quiet", "--allow-empty", "-m", version)
        note = json.dumps({"fingerprint": version, "to": version})
        reigning.git("tag", "-a", "-m", note, f"tiny@{version}")
        reigning.git("tag", "-a", "-m", note, f"tiny#champion#{number}")
    second = releases.read(reigning.project).releases[1]
    releases.erase(reigning.project, [second], "it was trained on erased rows")
    message = rollback(reigning.project, reason="it is worse")
    assert "tiny@v1.0.0 is champion again, instead of v3.0.0" in message
    assert reigning.champion() == "v1.0.0"


def test_everything_that_promote_demands(ada: Clone) -> None:
    project = ada.project
    (ada.root / "note.txt").write_text("x")
    assert "Not committed: note.txt" in refusal(promote, project)
    ada.git("add", "-A")
    ada.git("commit", "--quiet", "-m", "note")
    assert "Run: git push" in refusal(promote, project)
    (ada.root / "params.yaml").write_text("model: {gain: 0.11}\ngate: {}\n")
    ada.commit()
    assert "dvc.lock does not agree with the tree: train must run" in refusal(promote, project)
    assert ada.champion() is None
    assert "Nobody is champion yet." in refusal(deploy.follow, project)
    nothing = "Nobody is champion yet: there is nothing to go back to"
    assert nothing in refusal(rollback, project, reason="it is worse")
    ada.retrain(0.12)
    assert "no alias 'champoin'" in refusal(promote, project, "champoin")
    ada.git("config", "--unset", "user.name")
    assert "git does not know who you are" in refusal(promote, project)
    assert not (ada.around / "remote").exists()
    ada.git("config", "user.name", "Ada")
    ada.git("remote", "set-url", "origin", "../nowhere.git")
    assert "remote cannot be reached" in refusal(promote, project)
    assert not ada.git("tag")


def test_a_model_that_the_gate_blocks_is_not_promoted_even_if_its_report_is_edited(
    ada: Clone,
) -> None:
    ada.retrain(-0.2)
    with pytest.raises(ProjectError, match=r"The gate says fail: gate\.baseline\.simple") as caught:
        promote(ada.project)
    assert caught.value.code == 3
    report = json.loads((ada.root / "reports/gate.json").read_text())
    assert "gate.model_card" in {check["name"] for check in report["checks"]}
    for check in report["checks"]:
        check["verdict"] = "ok"
    (ada.root / "reports/gate.json").write_text(json.dumps(report))
    ada.accept()
    assert "not what the gate says" in refusal(promote, ada.project)
    assert not ada.git("tag")


def test_a_staleness_curve_edited_by_hand_is_caught(ada: Clone) -> None:
    (ada.root / "reports/age.json").write_text('{"ages": [], "otherwise": 99}')
    ada.commit()
    assert "dvc.lock does not agree" in refusal(promote, ada.project)
    ada.accept()
    assert "not what the gate says" in refusal(promote, ada.project)
    assert not ada.git("tag")


def test_a_changed_or_absent_model_is_not_promoted(ada: Clone) -> None:
    model = ada.root / "models/candidate/model.txt"
    text = model.read_text()
    model.chmod(0o644)
    model.write_text(text + "x")
    assert "dvc.lock does not agree" in refusal(promote, ada.project)
    ada.accept()
    other = "gate.digest: models/candidate is not the model that the gate judged"
    assert other in refusal(promote, ada.project)
    assert not ada.git("tag")
    shutil.rmtree(ada.root / "models")
    assert "uv run dvc pull models/candidate" in refusal(promote, ada.project)


def test_a_model_that_the_remote_cannot_get_is_not_promoted(ada: Clone) -> None:
    shutil.rmtree(ada.root / ".dvc/cache")
    shutil.rmtree(ada.around / "remote", ignore_errors=True)
    assert "neither in the DVC cache nor in its remote" in refusal(promote, ada.project)
    assert not ada.git("tag")


@pytest.mark.usefixtures("no_mlflow")
def test_a_hosted_runner_does_not_keep_the_only_copy_of_a_model(
    ada: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "DVC remote is a folder of this runner" in refusal(promote, ada.project)
    assert not ada.git("tag")
    monkeypatch.setenv("RUNNER_ENVIRONMENT", "self-hosted")
    assert "v1.0.0 is champion now" in promote(ada.project)
    shutil.rmtree(ada.around / "remote")
    assert "v1.0.0 is champion since" in promote(ada.project)
    bob = ada.clone("bob")
    dvc_storage.get(bob.project, "HEAD", "models/candidate", ada.around / "got")
    assert digest(ada.around / "got") == digest(ada.root / "models/candidate")


@pytest.mark.parametrize(
    ("found", "override", "required", "message", "code"),
    [
        (Verdict.OK, None, True, "", 0),
        (Verdict.FAIL, None, False, "The gate says fail: gate.improvement.", 3),
        (Verdict.INCONCLUSIVE, None, True, "The gate says inconclusive: gate.improvement.", 4),
        (Verdict.INCONCLUSIVE, None, False, "The gate says inconclusive: gate.improvement.", 4),
        (Verdict.FAIL, GRACE, True, "", 0),
        (Verdict.INCONCLUSIVE, GRACE, True, "", 0),
        (Verdict.OK, GRACE, True, "nothing to override", 1),
    ],
)
def test_only_ok_or_an_override_lets_a_model_pass(
    ada: Clone,
    monkeypatch: pytest.MonkeyPatch,
    found: Verdict,
    override: Override | None,
    required: bool,
    message: str,
    code: int,
) -> None:
    facts = {"model": digest(ada.root / "models/candidate")}
    report = Report("gate", [Check("gate.improvement", found, required=required)], facts)
    write_json(ada.root / "reports/gate.json", report.to_dict())
    monkeypatch.setattr(rules, "decide", lambda project: report)
    if not message:
        assert module._accepted_report(ada.project, override) is report
        return
    with pytest.raises(ProjectError) as caught:
        module._accepted_report(ada.project, override)
    assert message in str(caught.value)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("champion", "compared_with", "message"),
    [
        (None, None, ""),
        ("a", "a", ""),
        ("b", "a", ""),  # it is champion itself: what it was compared with was champion before
        ("a", None, "compared with no champion. v1.0.0 is champion now, by Ada."),
        (
            "a",
            "c" * 64,
            "cccccccc, which is not champion any more. v1.0.0 is champion now, by Ada.",
        ),
        (None, "c" * 64, "cccccccc, which is not champion any more. There is no champion now."),
    ],
)
def test_a_model_replaces_only_the_champion_that_it_was_compared_with(
    trained: Clone, champion: str | None, compared_with: str | None, message: str
) -> None:
    when = datetime(2025, 1, 1, tzinfo=UTC)
    first = Release("tiny", "v1.0.0", "a", "d", "", "ok", "", "Ada", when)
    second = replace(first, version="v2.0.0", fingerprint="b")
    assignments = []
    for release in (first, second):
        if release.fingerprint == champion:
            version = release.version
            assignments.append(Assignment("champion", release, 1, None, version, "Ada", when, ""))
    record = Record("tiny", (first, second), tuple(assignments))
    report = Report("gate", facts={"champion": compared_with})
    arguments = (trained.project, record, second, report, "champion")
    if message:
        assert message in refusal(module._require_same_champion, *arguments)
    else:
        module._require_same_champion(*arguments)


def test_a_champion_of_before_is_not_the_one_to_be_beaten(reigning: Clone) -> None:
    reigning.retrain(0.2)
    message = refusal(promote, reigning.project)
    assert "compared with no champion. v1.0.0 is champion now, by Ada" in message
    assert "uv run mlops close 2" in message


@pytest.mark.usefixtures("no_mlflow")
def test_aliases_are_passed_in_order(ada: Clone) -> None:
    path = "promote: {path: [staging, champion]}"
    (ada.root / "params.yaml").write_text(f"model: {{gain: 0.10}}\ngate: {{}}\n{path}\n")
    ada.repro()
    ada.commit()
    assert "comes after staging" in refusal(promote, ada.project, "champion")
    promote(ada.project)
    assert ada.champion() is None
    assert not (ada.root / "var/champion.json").exists()
    promote(ada.project)
    assert ada.champion() == "v1.0.0"
    assert "is champion since" in promote(ada.project)
    numbers = [entry.number for entry in releases.read(ada.project).assignments]
    assert numbers == [1, 2]


def test_a_protected_remote_leaves_nothing_half_written(ada: Clone) -> None:
    hook = ada.around / "origin.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho tags are protected >&2\nexit 1\n")
    hook.chmod(0o755)
    assert refusal(promote, ada.project).startswith("origin does not take the tags")
    assert not ada.git("tag")


STEPS = [
    (dvc_storage, "push"),
    (deploy, "fetch"),
    (api, "assign"),
    (releases, "exchange_tags"),
    (deploy, "serve"),
    (champion, "put_in_service"),
    (mlflow_registry, "fill"),
    (deploy, "refresh_online_store"),
]


@pytest.mark.usefixtures("no_mlflow")
@pytest.mark.parametrize(("where", "step"), STEPS, ids=lambda part: getattr(part, "__name__", part))
def test_a_killed_promote_is_completed_by_the_next_one(
    ada: Clone, where: ModuleType, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(where, step, killed)
        with pytest.raises(KilledError):
            promote(ada.project)
    promote(ada.project)
    assert ada.champion() == read_json(ada.root / "var/champion.json")["release"] == "v1.0.0"
    sent = ada.git("ls-remote", "--tags", "--refs", "origin").splitlines()
    assert len(sent) == len(ada.git("tag").splitlines()) == 2


def test_a_promotion_succeeds_although_mlflow_and_the_look_ups_fail(
    ada: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str, period: str) -> pd.DataFrame:
        raise OSError("the warehouse cannot be reached")

    def unreachable(*_: object) -> None:
        raise ProjectError("MLflow cannot be reached.")

    data = ModuleType("data")
    data.periods = ada.project.data.periods  # type: ignore[attr-defined]
    data.lookup = broken  # type: ignore[attr-defined]
    monkeypatch.setattr(mlflow_registry, "fill", unreachable)
    message = promote(ada.project.having(data=data))
    assert "MLflow does not show it yet" in message
    assert "OSError: the warehouse cannot be reached" in message
    assert ada.champion() == read_json(ada.root / "var/champion.json")["release"] == "v1.0.0"
