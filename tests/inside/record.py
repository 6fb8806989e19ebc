"""Put into a project as tests/ops/test_more_of_the_record.py: races, kills and forgeries on its tiny project."""

import multiprocessing
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
from test_registry import (
    NAME,
    ProjectError,
    ada,
    champion,
    clone,
    commit,
    environment,
    follow,
    git,
    known_periods,
    mirror,
    no_mlflow,
    now,
    promote,
    promoted,
    read_json,
    record,
    registry,
    reigning,
    repro,
    retrain,
    rollback,
    run,
    says,
    status,
    trained,
    window,
)

FIXTURES = (ada, environment, known_periods, no_mlflow, promoted, reigning, trained)

RACES = 20
WHOLE = 3  # of them with all that promote does
FORKED = multiprocessing.get_context("fork")  # what is imported and patched here is so there, too


def attempt(root: Path, why: str) -> str:
    """Release the commit that is checked out, as promote does once it believes the gate."""
    record.settle(root)
    known = record.read(root)
    major, minor, patch = known.releases[-1].order
    made = (
        f"v{major}.{minor}.{patch + 1}",
        why.encode().hex().ljust(64, "0"),
        "digest",
        git(root, "rev-parse", "HEAD"),
    )
    record.write(root, known, record.Release(NAME, *made, "ok", why, "", datetime.now(UTC)), "champion", why)
    return ""


def together(calls: Sequence[Callable[[], object]]) -> list[str]:
    """Run all at the same moment, each in a process of its own; what each of them was told if it lost."""
    start, told = FORKED.Barrier(len(calls)), FORKED.SimpleQueue()

    def one(place: int) -> None:
        start.wait()
        try:
            calls[place]()
            told.put((place, ""))
        except ProjectError as error:
            told.put((place, str(error)))
        except BaseException as error:
            told.put((place, f"{error!r}"))

    processes = [FORKED.Process(target=one, args=(place,)) for place in range(len(calls))]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [text for _, text in sorted(told.get() for _ in calls)]


@pytest.mark.usefixtures("no_mlflow")
def test_of_20_races_nothing_is_lost(reigning: Path) -> None:
    places = [reigning, clone(reigning, "bob", "--depth", "1")]
    for place in places:
        git(place, "switch", "--quiet", "-c", place.name)
    wanted, lost = {"the first"}, 0
    for race in range(RACES):
        whole, reasons = race < WHOLE, [f"{place.name} {race}" for place in places]
        for place, gain in zip(places, (0.2, 0.3), strict=True):
            if whole:
                cycle_closed(place, gain + race)
            git(place, "commit", "--quiet", "--allow-empty", "-am", "race")
            git(place, "push", "--quiet", "-u", "origin", place.name)
        starts = [
            partial(promote, place, reason=why) if whole else partial(attempt, place, why)
            for place, why in zip(places, reasons, strict=True)
        ]
        told = together(starts)
        losers = [number for number, text in enumerate(told) if text]
        lost += len(losers)
        for number in losers:
            assert "was faster: champion is v" in told[number] and len(told[number].splitlines()) == 2, told
            if whole:
                assert "opponent is out of date" in says(promote, places[number])
            else:
                starts[number]()
        wanted |= {why for number, why in enumerate(reasons) if not (whole and number in losers)}
    print(f"{RACES} races, {lost} times somebody lost")
    eve = clone(reigning, "eve", "--depth", "1")
    for place in (*places, eve):
        record.settle(place)
    known = record.read(eve)
    assert {release.why for release in known.releases} == wanted
    assert [entry.number for entry in known.assignments] == list(range(1, len(wanted) + 1))
    tags = [git(place, "for-each-ref", "--format=%(refname) %(objectname)", "refs/tags") for place in (*places, eve)]
    assert len(set(tags)) == 1
    assert lost >= RACES / 2
    for release in known.releases[: WHOLE + 1]:
        if release.digest != "digest":
            follow.fetch(eve, release)


def cycle_closed(place: Path, gain: float) -> None:
    """A candidate that is better than the present champion."""
    registry["cycle"].close(place, "2")
    (place / "params.yaml").write_text(f"model: {{gain: {gain}}}\ngate: {{}}\n")
    repro(place)


STEPS = [
    (module, function, when)
    for module, function in [
        ("storage", "push"),
        ("follow", "fetch"),
        ("gto.api", "register"),
        ("gto.api", "assign"),
        ("record", "settle"),
        ("follow", "write_json"),
        ("mirror", "fill"),
        ("follow", "look_up"),
    ]
    for when in ("before", "after")
]


def killed(monkeypatch: pytest.MonkeyPatch, step: tuple[str, str, str], call: Callable[[], object]) -> None:
    """Run something in a process that dies at a step, at once: no `finally`, no `except`."""
    name, function, when = step
    module = registry.get(name) or import_module(name)
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
    ada: Path, step: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(monkeypatch, step, lambda: promote(ada, reason="first"))
    if git(ada, "tag", "--list", f"{NAME}#*"):
        follow.follow(ada)
        assert champion(clone(ada, "eve")) == "v1.0.0"
    assert "v1.0.0 is champion" in promote(ada, reason="first")
    assert champion(ada) == read_json(ada / "var/champion.json")["release"] == "v1.0.0"
    assert len(git(ada, "ls-remote", "--tags", "--refs", "origin").splitlines()) == len(git(ada, "tag").split()) == 2
    assert "v1.0.0" in follow.follow(clone(ada, "bob", "--depth", "1"))


@pytest.mark.usefixtures("no_mlflow")
@pytest.mark.parametrize(
    "step", [("now", "write", "before"), ("now", "write", "after"), ("now", "write_json", "before")]
)
def test_a_follow_killed_while_it_records_a_rollback_is_ended_by_the_next(
    reigning: Path, step: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    retrain(reigning, 0.2, close="2")
    promote(reigning)
    now.now(reigning, "complaints")
    killed(monkeypatch, step, lambda: follow.follow(reigning))
    assert read_json(reigning / "var/champion.json")["release"] == "v1.0.0"
    assert "Recorded" in rollback(reigning, reason="the same")
    assert champion(reigning) == read_json(reigning / "var/champion.json")["release"] == "v1.0.0"
    assert len(record.read(reigning).assignments) == 3


@pytest.mark.usefixtures("no_mlflow")
def test_a_rollback_now_yields_to_what_others_decided_since(reigning: Path) -> None:
    bob = clone(reigning, "bob")
    retrain(reigning, 0.2, close="2")
    promote(reigning)
    now.now(reigning, "complaints")
    git(bob, "pull", "--quiet")
    run(bob, "dvc", "pull", "--quiet")
    retrain(bob, 0.3, close="3")
    promote(bob)
    assert "champion is v1.2.0 by now" in follow.follow(reigning)
    assert read_json(reigning / "var/champion.json")["release"] == "v1.2.0"


def forged(root: Path, name: str) -> None:
    """Somebody writes a better number into a committed report."""
    path = root / "reports" / name
    path.write_text(path.read_text().replace('"value": 0.1', '"value": 0.9', 1).replace("0.1,", "0.9,", 1))


def test_what_is_forged_is_caught_by_name(ada: Path) -> None:
    for name, stage in (("metrics.json", "gate"), ("gate.json", "gate")):
        forged(ada, name)
        assert f"Not committed: reports/{name}" in says(promote, ada)
        commit(ada)
        assert f"does not agree with the tree: {stage} must run" in says(promote, ada)
        git(ada, "revert", "--no-edit", "HEAD")
    lock = ada / "dvc.lock"
    lock.write_text(lock.read_text().replace("gain: 0.1", "gain: 0.2"))
    commit(ada)
    assert "does not agree with the tree: train must run" in says(promote, ada)
    git(ada, "revert", "--no-edit", "HEAD")
    forged(ada, "gate.json")
    run(ada, "dvc", "commit", "--force", "--quiet")
    commit(ada)
    assert "reports/gate.json is not what the gate says" in says(promote, ada)
    assert not git(ada, "tag")


def red(root: Path) -> list[str]:
    """What trace says of the first release besides ok."""
    return [
        check.name for check in registry["trace"].vouched(root, record.read(root).releases[0]) if check.verdict != "ok"
    ]


def test_a_record_that_was_forged_is_caught_by_name(reigning: Path) -> None:
    assert red(reigning) == []
    assert registry["trace"].trace(reigning, "v1.0.0")[1] == "ok"
    note, tag = git(reigning, "for-each-ref", "--format=%(contents:subject)", f"refs/tags/{NAME}@*"), f"{NAME}@v1.0.0"
    measured = record.read(reigning).releases[0].measured
    for old, new, caught in (
        (measured, "f" * 64, "record.measured"),
        ('"verdict": "ok"', '"verdict": "fail"', "record.verdict"),
    ):
        git(reigning, "tag", "--force", "-a", "-m", note.replace(old, new), tag, f"{tag}^{{}}")
        assert red(reigning) == [caught]
    forged(reigning, "metrics.json")
    commit(reigning)
    git(reigning, "tag", "--force", "-a", "-m", note, tag)
    assert "deleted or moved: tiny#champion#1 names v1.0.0" in says(record.read, reigning)
    git(reigning, "tag", "--force", "-a", "-m", note, f"{NAME}#champion#1")
    assert red(reigning) == ["record.files"]
    text, verdict = registry["trace"].trace(reigning, "v1.0.0")
    assert "reports/metrics.json" in text and verdict == "fail"


@pytest.mark.usefixtures("no_mlflow")
def test_a_deleted_version_is_said_in_a_sentence(reigning: Path) -> None:
    retrain(reigning, 0.2, close="2")
    promote(reigning)
    git(reigning, "tag", "--delete", f"{NAME}@v1.1.0")
    assert "tag was deleted or moved: tiny#champion#2 names v1.1.0" in says(status, reigning)
    assert "v1.1.0" in follow.follow(reigning)
    git(reigning, "push", "--quiet", "--delete", "origin", f"refs/tags/{NAME}@v1.1.0")
    git(reigning, "tag", "--delete", f"{NAME}@v1.1.0")
    for verb in (status, promote, follow.follow):
        assert "tag was deleted" in says(verb, reigning)
    git(reigning, "tag", "-a", "-m", "{half", f"{NAME}@v1.1.0", f"{NAME}#champion#2^{{}}")
    assert record.read(reigning).releases[1].why == "{half"


def test_a_deleted_mlflow_version_is_made_again(reigning: Path) -> None:
    mirror.mirror(reigning)
    store = window.open_store(reigning)
    store.delete_model_version(NAME, "1")
    assert "1 versions added, 1 aliases set" in mirror.mirror(reigning)


def test_a_locked_registry_is_said_in_a_sentence(reigning: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.mirror(reigning)
    real = sqlite3.connect
    with closing(real(reigning / "mlflow.db", isolation_level=None)) as held:
        held.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", lambda path, **more: real(path, **more | {"timeout": 0.2}))
        assert "mlflow.db cannot be read: database is locked" in says(mirror.mirror, reigning)


def test_a_truncated_model_is_not_served(reigning: Path) -> None:
    before = (reigning / "var/champion.json").read_bytes()
    for folder in (".dvc/cache", "var/models", "models"):
        shutil.rmtree(reigning / folder)
    for path in (reigning.parent / "remote").rglob("*"):
        if path.is_file() and path.suffix != ".dir" and path.stat().st_size > 5:
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1])
    told = says(follow.follow, reigning)
    assert "is not the recorded model" in told or "neither here nor in the DVC remote" in told
    assert (reigning / "var/champion.json").read_bytes() == before
    assert "not here, or not whole" in says(now.now, reigning, "x") or "knows no release before" in says(
        now.now, reigning, "x"
    )
    (reigning / "var/champion.json").write_bytes(before[:50])
    assert "champion.json is damaged" in says(now.now, reigning, "x")


def test_speed_may_differ_and_nothing_else() -> None:
    metrics = import_module(registry["record"].__name__.replace("record", "reproduce")).metrics
    cost: dict[str, object] = {"milliseconds_1": 1, "megabytes": 2}
    then: dict[str, object] = {"values": {"a": 1.0}, "slices": [{"b": None}], "cost": cost, "seconds": {"gain": 1.0}}
    assert metrics({"m": then}, {"m": then | {"cost": cost | {"milliseconds_1": 2}}}).verdict == "ok"
    wrong: dict[str, object] = {"values": {"a": 1.1}, "slices": [], "cost": {"megabytes": 3}, "seconds": {"gain": 2.0}}
    for other in ({name: value} for name, value in wrong.items()):
        assert metrics({"m": then}, {"m": then | other}).verdict == "fail"
    assert metrics({"m": then}, {}).verdict == "fail"


def test_an_erased_release_cannot_be_reproduced_and_says_why(reigning: Path) -> None:
    reproduce = import_module(registry["record"].__name__.replace("record", "reproduce")).reproduce
    record.erase(reigning, record.read(reigning).releases, "it was trained on erased rows")
    report = reproduce(reigning, "v1.0.0")
    assert report.exit_code == 4
    assert "was erased on" in report["reproduce.data"].evidence
    assert "no release 'v9.0.0'" in says(reproduce, reigning, "v9.0.0")
