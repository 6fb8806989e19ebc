"""Races, kills and forgeries of the record.

On the tiny project of the library's tests (library/tests/support).
"""

import multiprocessing
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from importlib import import_module

import pytest
from clones import Clone, refusal

from mlgates.errors import ProjectError
from mlgates.files import read_json
from mlgates.lineage.check_record import check_record
from mlgates.lineage.reproduce import metrics, reproduce
from mlgates.lineage.trace import trace
from mlgates.registry import mlflow_client, mlflow_registry, releases, training_cycle
from mlgates.registry.deploy import fetch, follow
from mlgates.registry.local_rollback import now
from mlgates.registry.promote import promote, rollback
from mlgates.registry.status import status

NAME = "tiny"
CHAMPION = "mlgates.trust.champion"
RACES = 20
WHOLE = 3  # of them with all that promote does
FORKED = multiprocessing.get_context("fork")  # what is imported and patched here is so there, too


def attempt(clone: Clone, why: str) -> str:
    """Release the commit that is checked out, as promote does once it believes the gate."""
    releases.exchange_tags(clone.project)
    record = releases.read(clone.project)
    major, minor, patch = record.releases[-1].order
    version = f"v{major}.{minor}.{patch + 1}"
    fingerprint = why.encode().hex().ljust(64, "0")
    commit = clone.git("rev-parse", "HEAD")
    release = releases.Release(
        NAME, version, fingerprint, "digest", commit, "ok", why, "", datetime.now(UTC)
    )
    releases.write(clone.project, record, release, "champion", why)
    return ""


def together(calls: Sequence[Callable[[], object]]) -> list[str]:
    """Run all at the same moment, each in a process of its own.

    Returns the error message of each, or "" if it had none.
    """
    start = FORKED.Barrier(len(calls))
    messages = FORKED.SimpleQueue()

    def run(number: int) -> None:
        start.wait()
        try:
            calls[number]()
            messages.put((number, ""))
        except ProjectError as error:
            messages.put((number, str(error)))
        except BaseException as error:
            messages.put((number, f"{error!r}"))

    processes = [FORKED.Process(target=run, args=(number,)) for number in range(len(calls))]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    in_order = sorted(messages.get() for _ in calls)
    return [message for _, message in in_order]


@pytest.mark.usefixtures("no_mlflow")
def test_of_20_races_nothing_is_lost(reigning: Clone) -> None:
    clones = [reigning, reigning.clone("bob", "--depth", "1")]
    for clone in clones:
        clone.git("switch", "--quiet", "-c", clone.root.name)
    recorded = {"the first"}  # the reasons that must be in the record at the end
    lost = 0
    for race in range(RACES):
        whole = race < WHOLE
        reasons = [f"{clone.root.name} {race}" for clone in clones]
        for clone, gain in zip(clones, (0.2, 0.3), strict=True):
            if whole:
                cycle_closed(clone, gain + race)
            clone.git("commit", "--quiet", "--allow-empty", "-am", "race")
            clone.git("push", "--quiet", "-u", "origin", clone.root.name)

        starts: list[Callable[[], object]] = []
        for clone, why in zip(clones, reasons, strict=True):
            if whole:
                starts.append(partial(promote, clone.project, reason=why))
            else:
                starts.append(partial(attempt, clone, why))
        messages = together(starts)
        for number, message in enumerate(messages):
            if not message:
                recorded.add(reasons[number])
                continue
            lost += 1
            assert "was faster: champion is v" in message, messages
            assert len(message.splitlines()) == 2, messages
            if whole:  # the candidate was compared with a champion of before
                assert "is not champion any more" in refusal(promote, clones[number].project)
            else:  # the second attempt is recorded
                starts[number]()
                recorded.add(reasons[number])
    print(f"{RACES} races, {lost} times somebody lost")

    eve = reigning.clone("eve", "--depth", "1")
    for clone in (*clones, eve):
        releases.exchange_tags(clone.project)
    record = releases.read(eve.project)
    assert {release.why for release in record.releases} == recorded
    assert [entry.number for entry in record.assignments] == list(range(1, len(recorded) + 1))
    tags = set()
    for clone in (*clones, eve):
        tags.add(clone.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/tags"))
    assert len(tags) == 1
    assert lost >= RACES / 2
    for release in record.releases[: WHOLE + 1]:
        if release.digest != "digest":
            fetch(eve.project, release)


def cycle_closed(place: Clone, gain: float) -> None:
    """A candidate that is better than the present champion."""
    training_cycle.close(place.project, "2")
    (place.root / "params.yaml").write_text(f"model: {{gain: {gain}}}\ngate: {{}}\n")
    place.repro()


FUNCTIONS = [  # in the order in which promote calls them
    ("mlgates.registry.dvc_storage", "push"),
    ("mlgates.registry.deploy", "fetch"),
    ("gto.api", "register"),
    ("gto.api", "assign"),
    ("mlgates.registry.releases", "exchange_tags"),
    (CHAMPION, "put_in_service"),
    ("mlgates.registry.mlflow_registry", "fill"),
    ("mlgates.registry.deploy", "refresh_online_store"),
]
STEPS = []
for _module, _function in FUNCTIONS:
    STEPS.append((_module, _function, "before"))
    STEPS.append((_module, _function, "after"))


def killed(
    monkeypatch: pytest.MonkeyPatch, step: tuple[str, str, str], call: Callable[[], object]
) -> None:
    """Run something in a process that dies at a step, at once: no `finally`, no `except`."""
    name, function, when = step
    module = import_module(name)
    real = getattr(module, function)

    def dies(*arguments: object, **named: object) -> None:
        if when == "after":
            real(*arguments, **named)
        os._exit(9)

    with monkeypatch.context() as patched:
        patched.setattr(module, function, dies)
        process = FORKED.Process(target=call)
        process.start()
        process.join()
    assert process.exitcode == 9


@pytest.mark.usefixtures("no_mlflow")
@pytest.mark.parametrize("step", STEPS, ids=".".join)
def test_a_promote_killed_at_a_step_is_ended_by_the_next_verb(
    ada: Clone, step: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(monkeypatch, step, lambda: promote(ada.project, reason="first"))
    pointer = ada.root / "var/champion.json"
    if ada.git("tag", "--list", f"{NAME}#*"):
        follow(ada.project)
        assert ada.clone("eve").champion() == "v1.0.0"
    assert "v1.0.0 is champion" in promote(ada.project, reason="first")
    assert ada.champion() == read_json(pointer)["release"] == "v1.0.0"
    assert len(ada.git("ls-remote", "--tags", "--refs", "origin").splitlines()) == 2
    assert len(ada.git("tag").split()) == 2
    assert "v1.0.0" in follow(ada.clone("bob", "--depth", "1").project)


ROLLBACK = "mlgates.registry.local_rollback"


@pytest.mark.usefixtures("no_mlflow")
@pytest.mark.parametrize(
    "step",
    [
        (ROLLBACK, "write", "before"),
        (ROLLBACK, "write", "after"),
        (CHAMPION, "put_in_service", "before"),
    ],
)
def test_a_follow_killed_while_it_records_a_rollback_is_ended_by_the_next(
    reigning: Clone, step: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, pointer = reigning.project, reigning.root / "var/champion.json"
    reigning.retrain(0.2, close="2")
    promote(project)
    now(project, "complaints")
    killed(monkeypatch, step, lambda: follow(project))
    assert read_json(pointer)["release"] == "v1.0.0"
    assert "Recorded" in rollback(project, reason="the same")
    assert reigning.champion() == read_json(pointer)["release"] == "v1.0.0"
    assert len(releases.read(project).assignments) == 3


@pytest.mark.usefixtures("no_mlflow")
def test_a_rollback_now_yields_to_what_others_decided_since(reigning: Clone) -> None:
    bob = reigning.clone("bob")
    reigning.retrain(0.2, close="2")
    promote(reigning.project)
    now(reigning.project, "complaints")
    bob.git("pull", "--quiet")
    bob.run("dvc", "pull", "--quiet")
    bob.retrain(0.3, close="3")
    promote(bob.project)
    assert "champion is v1.2.0 by now" in follow(reigning.project)
    assert read_json(reigning.root / "var/champion.json")["release"] == "v1.2.0"


def forged(clone: Clone, name: str) -> None:
    """Somebody writes a better number into a committed report."""
    path = clone.root / "reports" / name
    text = path.read_text().replace('"value": 0.1', '"value": 0.9', 1)
    path.write_text(text.replace("0.1,", "0.9,", 1))


def test_what_is_forged_is_caught_by_name(ada: Clone) -> None:
    for name in ("metrics.json", "gate.json"):
        forged(ada, name)
        assert f"Not committed: reports/{name}" in refusal(promote, ada.project)
        ada.commit()
        assert "does not agree with the tree: gate must run" in refusal(promote, ada.project)
        ada.git("revert", "--no-edit", "HEAD")
    lock = ada.root / "dvc.lock"
    lock.write_text(lock.read_text().replace("gain: 0.1", "gain: 0.2"))
    ada.commit()
    assert "does not agree with the tree: train must run" in refusal(promote, ada.project)
    ada.git("revert", "--no-edit", "HEAD")
    forged(ada, "gate.json")
    ada.run("dvc", "commit", "--force", "--quiet")
    ada.commit()
    assert "reports/gate.json is not what the gate says" in refusal(promote, ada.project)
    assert not ada.git("tag")


def red(clone: Clone) -> list[str]:
    """What trace says of the first release besides ok."""
    first = releases.read(clone.project).releases[0]
    return [check.name for check in check_record(clone.project, first) if check.verdict != "ok"]


def test_a_record_that_was_forged_is_caught_by_name(reigning: Clone) -> None:
    project, tag = reigning.project, f"{NAME}@v1.0.0"
    assert red(reigning) == []
    assert trace(project, "v1.0.0")[1] == "ok"
    note = reigning.git("for-each-ref", "--format=%(contents:subject)", f"refs/tags/{NAME}@*")
    measured = releases.read(project).releases[0].measured
    for old, new, caught in (
        (measured, "f" * 64, "record.measured"),
        ('"verdict": "ok"', '"verdict": "fail"', "record.verdict"),
    ):
        reigning.git("tag", "--force", "-a", "-m", note.replace(old, new), tag, f"{tag}^{{}}")
        assert red(reigning) == [caught]
    forged(reigning, "metrics.json")
    reigning.commit()
    reigning.git("tag", "--force", "-a", "-m", note, tag)
    assert "deleted or moved: tiny#champion#1 names v1.0.0" in refusal(releases.read, project)
    reigning.git("tag", "--force", "-a", "-m", note, f"{NAME}#champion#1")
    assert red(reigning) == ["record.files"]
    table, verdict = trace(project, "v1.0.0")
    text = table.text()
    assert "reports/metrics.json" in text and verdict == "fail"


@pytest.mark.usefixtures("no_mlflow")
def test_a_deleted_version_is_said_in_a_sentence(reigning: Clone) -> None:
    project = reigning.project
    reigning.retrain(0.2, close="2")
    promote(project)
    reigning.git("tag", "--delete", f"{NAME}@v1.1.0")
    assert "tag was deleted or moved: tiny#champion#2 names v1.1.0" in refusal(status, project)
    assert "v1.1.0" in follow(project)
    reigning.git("push", "--quiet", "--delete", "origin", f"refs/tags/{NAME}@v1.1.0")
    reigning.git("tag", "--delete", f"{NAME}@v1.1.0")
    for verb in (status, promote, follow):
        assert "tag was deleted" in refusal(verb, project)
    reigning.git("tag", "-a", "-m", "{half", f"{NAME}@v1.1.0", f"{NAME}#champion#2^{{}}")
    assert releases.read(project).releases[1].why == "{half"


def test_a_deleted_mlflow_version_is_made_again(reigning: Clone) -> None:
    mlflow_registry.mirror(reigning.project)
    store = mlflow_client.open_store(reigning.project)
    store.delete_model_version(NAME, "1")
    assert "1 versions added, 1 aliases set" in mlflow_registry.mirror(reigning.project)


def test_a_locked_registry_is_said_in_a_sentence(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = mlflow_registry.mirror
    mirror(reigning.project)
    real = sqlite3.connect
    with closing(real(reigning.root / "mlflow.db", isolation_level=None)) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(
            sqlite3, "connect", lambda path, **options: real(path, **options | {"timeout": 0.2})
        )
        assert "mlflow.db cannot be read: database is locked" in refusal(mirror, reigning.project)


def test_a_truncated_model_is_not_served(reigning: Clone) -> None:
    project, pointer = reigning.project, reigning.root / "var/champion.json"
    before = pointer.read_bytes()
    for folder in (".dvc/cache", "var/models", "models"):
        shutil.rmtree(reigning.root / folder)
    for path in (reigning.around / "remote").rglob("*"):
        if path.is_file() and path.suffix != ".dir" and path.stat().st_size > 5:
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1])
    message = refusal(follow, project)
    assert "is not the recorded model" in message or "neither here nor in the DVC remote" in message
    assert pointer.read_bytes() == before
    message = refusal(now, project, "x")
    assert "not here, or not whole" in message or "knows no release before" in message
    pointer.write_bytes(before[:50])
    assert "champion.json is damaged" in refusal(now, project, "x")


def test_speed_may_differ_and_nothing_else() -> None:
    cost: dict[str, object] = {"milliseconds_1": 1, "megabytes": 2}
    then: dict[str, object] = {
        "values": {"a": 1.0},
        "slices": [{"b": None}],
        "cost": cost,
        "seconds": {"gain": 1.0},
    }
    assert (
        metrics({"m": then}, {"m": then | {"cost": cost | {"milliseconds_1": 2}}}).verdict == "ok"
    )
    wrong: dict[str, object] = {
        "values": {"a": 1.1},
        "slices": [],
        "cost": {"megabytes": 3},
        "seconds": {"gain": 2.0},
    }
    for name, value in wrong.items():
        assert metrics({"m": then}, {"m": then | {name: value}}).verdict == "fail"
    assert metrics({"m": then}, {}).verdict == "fail"


def test_an_erased_release_cannot_be_reproduced_and_says_why(reigning: Clone) -> None:
    project = reigning.project
    releases.erase(project, releases.read(project).releases, "it was trained on erased rows")
    report = reproduce(project, "v1.0.0")
    assert report.exit_code == 4
    assert "was erased on" in report["reproduce.data"].evidence
    assert "no release 'v9.0.0'" in refusal(reproduce, project, "v9.0.0")
