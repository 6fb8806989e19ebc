"""The record, and what follows from it, on a tiny project: a bare origin, a DVC remote, a model of two text files."""

import errno
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gto.exceptions import GTOException

PROJECT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "dvc.yaml").exists())
OPS = f"{next((PROJECT / 'src').glob('*/ops')).parent.name}.ops"
MODULES = (
    *("git", "record", "storage", "follow", "window", "mirror", "promote", "cycle", "status", "scratch"),
    *("keys", "vouch", "now", "override", "trace", "reproduce"),
)
registry: dict[str, Any] = {name: importlib.import_module(f"{OPS}.registry.{name}") for name in MODULES}
record, storage, follow, window, mirror, cycle = (
    registry[name] for name in MODULES if name in ("record", "storage", "follow", "window", "mirror", "cycle")
)
project: Any = importlib.import_module(f"{OPS}.project")
git, promote, rollback = registry["git"].git, registry["promote"].promote, registry["promote"].rollback
scratch = registry["scratch"].scratch
look_up, keys, vouch = registry["follow"].look_up, registry["keys"], registry["vouch"].vouch
now, overriding = registry["now"], registry["override"].overriding
signing: Any = importlib.import_module(f"{OPS}.signing")
verdict: Any = importlib.import_module(f"{OPS}.verdict")
ProjectError, digest, read_json = project.ProjectError, project.digest, project.read_json

NAME = "tiny"
FILES = {
    "dvc.yaml": """
stages:
  train:
    cmd: python train.py
    params: [cycle.yaml: [until], params.yaml: [model]]
    deps: [rows.csv, src/schema.py, train.py]
    outs: [models/candidate]
  gate:
    cmd: python judge.py
    params: [cycle.yaml: [champion], params.yaml: [gate]]
    deps: [models/candidate]
    outs:
      - reports/metrics.json: {cache: false}
      - reports/validate.json: {cache: false}
      - reports/features: {cache: false}
      - reports/age.json: {cache: false}
      - reports/tuning.json: {cache: false}
      - reports/gate.json: {cache: false}
artifacts:
  tiny: {path: models/candidate, type: model}
""",
    "train.py": """
from pathlib import Path
folder = Path("models/candidate")
folder.mkdir(parents=True)
(folder / "MLmodel").write_text("flavors: {}")
(folder / "features.json").write_text('{"columns": {}}')
(folder / "model.txt").write_text(Path("params.yaml").read_text() + Path("rows.csv").read_text())
""",
    "judge.py": """
import json
from pathlib import Path
from OPS import project
from OPS.pipeline import gate
root = Path.cwd()
gain, opponent = project.params(root)["model"]["gain"], project.cycle(root)["champion"]
found = {m: {"value": gain, "interval": [gain - 0.01, gain + 0.01]} for m in ("log_loss", "average_precision")}
names = ["baseline.simple"] + (["champion"] if opponent else [])
project.write_json(root / "reports/metrics.json", {
    "rows": 900, "finite": True, "task": "binary", "slices": [], "holdout": {"rows": 0}, "opponent": opponent,
    "model": project.digest(root / "models/candidate"), "periods": {"train": ["1"], "evaluation": ["2"]},
    "values": {m: found for m in ("candidate", *names)}, "differences": {m: found for m in names},
})
tables = {"rows": {"rows": 900, "sha256": "0"}}
project.write_json(root / "reports/train.json", {"rows": {"fitted": 900}, "features": ["x"]})
project.write_json(root / "reports/manifest.json", {"1": tables, "2": tables})
project.write_json(root / "reports/validate.json", {"title": "validate", "facts": {}, "drift": [], "checks": [
    {"name": "data.rows", "verdict": "ok"}]})
project.write_json(root / "reports/tuning.json", {"trials": []})
project.write_json(root / "reports/features/2.json", {
    "rows": 900, "measured": "2025-01-01", "unit": 1, "before": [], "features": {}})
project.write_json(root / "reports/age.json", {"ages": [], "otherwise": 3})
gate.main()
""",
    "src/schema.py": "ROW = 1\n",
    "rows.csv": "1\n",
    "params.yaml": "model: {gain: 0.1}\ngate: {}\n",
    "cycle.yaml": "# the cycle\nuntil: '2'  # the last period\nchampion: null\nrelease: null\nage: 0\n",
    ".gitignore": "/models\n/reports/gate.html\n/var\n/mlflow.db\n",
    ".dvc/config": "[core]\n    remote = here\n    analytics = false\n['remote \"here\"']\n    url = ../../remote\n",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
}


def run(folder: Path, *words: str) -> str:
    """A command of the environment, as a user would type it."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def repro(folder: Path, *stages: str) -> None:
    """`dvc repro`, without paying for a start of DVC each time."""
    from dvc.repo import Repo

    with chdir(folder), Repo(str(folder)) as repo:
        repo.reproduce(list(stages), single_item=bool(stages))


def accept(folder: Path) -> None:
    """`dvc commit`: whoever edited something by hand lets DVC believe that a stage made it."""
    from dvc.repo import Repo

    with chdir(folder), Repo(str(folder)) as repo:
        for stage in repo.index.stages:
            repo.commit(stage.addressing, force=True)
    commit(folder)


def commit(folder: Path, text: str = "change") -> None:
    """Commit and push everything."""
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", text)
    git(folder, "push", "--quiet", "-u", "origin", "main")


def retrain(folder: Path, gain: float, *, close: str | None = None) -> None:
    """Another candidate, compared with the present champion if the cycle is closed, committed and pushed."""
    if close:
        cycle.close(folder, close)
    (folder / "params.yaml").write_text(f"model: {{gain: {gain}}}\ngate: {{}}\n")
    repro(folder)
    commit(folder)


def clone(of: Path, name: str, *words: str) -> Path:
    """Another machine."""
    git(of.parent, "clone", "--quiet", *words, (of.parent / "origin.git").as_uri(), name)
    for key, value in (("user.name", name.title()), ("user.email", f"{name}@example.org")):
        git(of.parent / name, "config", key, value)
    return of.parent / name


def says(call: object, *arguments: object, **named: object) -> str:
    """The sentence with which something is refused."""
    with pytest.raises(ProjectError) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def status(folder: Path) -> str:
    """What `mlops status` says."""
    return str(registry["status"].status(folder)[0])


def champion(folder: Path) -> str | None:
    """The version that holds the alias."""
    held = record.champion(folder, "champion")
    return held.to if held else None


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody's settings: no MLflow address, an own home, the package importable from anywhere."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("MLFLOW_", "MLOPS_", "GIT_", "DVC_", "GITHUB_"))]:
        del os.environ[name]
    source = str(PROJECT / "src")
    os.environ |= {"PYTHONPATH": source, "HOME": str(tmp_path_factory.mktemp("home")), "DVC_NO_ANALYTICS": "1"}
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before["PATH"]])
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    with pytest.MonkeyPatch.context() as patched:  # the look-ups of the project itself are other tests' matter
        patched.setattr(follow, "look_up", lambda root: (root / "var/online.db").write_text("fresh"))
        yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def trained(environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one candidate, committed and pushed; copied for each test."""
    base = tmp_path_factory.mktemp("made")
    git(base, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git(base, "init", "--quiet", "--initial-branch=main", "ada")
    for name, text in FILES.items():
        (base / "ada" / name).parent.mkdir(parents=True, exist_ok=True)
        (base / "ada" / name).write_text(text.replace("OPS", OPS))
    git(base / "ada", "remote", "add", "origin", "../origin.git")
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org")):
        git(base / "ada", "config", key, value)
    repro(base / "ada")
    commit(base / "ada", "first")
    return base


@pytest.fixture(scope="module")
def promoted(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with v1.0.0 as champion."""
    base = tmp_path_factory.mktemp("promoted") / "all"
    shutil.copytree(trained, base)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mirror, "fill", lambda *_: "")
        promote(base / "ada", reason="the first")
    return base


@pytest.fixture
def ada(trained: Path, tmp_path: Path) -> Path:
    """A project with a candidate and no champion."""
    return Path(shutil.copytree(trained, tmp_path / "all")) / "ada"


@pytest.fixture
def reigning(promoted: Path, tmp_path: Path) -> Path:
    """A project with a champion, and no MLflow yet."""
    return Path(shutil.copytree(promoted, tmp_path / "all")) / "ada"


@pytest.fixture(autouse=True)
def known_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five periods, the contract and data.py of the project itself are not asked."""
    monkeypatch.setattr(cycle, "periods", lambda: ["1", "2", "3", "4", "5"])


@pytest.fixture
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests about something else: MLflow is left out."""
    monkeypatch.setattr(mirror, "fill", lambda *_: "")


def test_what_is_promoted_is_what_git_and_dvc_say(reigning: Path) -> None:
    written = read_json(reigning / "var/champion.json")
    model = reigning / "var/models" / written["fingerprint"]
    assert digest(model) == written["digest"] == digest(reigning / "models/candidate")
    assert written["report"]["verdict"] == "ok"
    assert (reigning / "var/online.db").read_text() == "fresh"
    run(reigning, "dvc", "artifacts", "get", ".", NAME, "--stage", "champion", "-o", "got")
    assert digest(reigning / "got") == written["digest"]
    assert git(reigning, "ls-remote", "--tags", "--refs", "origin").count("refs/tags/") == 2


@pytest.mark.usefixtures("no_mlflow")
def test_rollback_goes_back_one_by_one_and_gto_agrees(reigning: Path) -> None:
    for gain, close in ((0.2, "2"), (0.3, "3")):
        retrain(reigning, gain, close=close)
        promote(reigning)
    assert champion(reigning) == "v1.2.0"
    assert "--reason" in says(rollback, reigning, "champion", " ")
    assert "no alias 'champoin'" in says(rollback, reigning, "champoin", "it was worse")
    rollback(reigning, reason="it was worse")
    assert "was champion before" in says(promote, reigning)
    promote(reigning, "champion", "the cause was elsewhere")
    for expected in ("v1.1.0", "v1.0.0"):
        rollback(reigning, "champion", "it was worse")
        assert champion(reigning) == read_json(reigning / "var/champion.json")["release"] == expected
    assert "nothing to go back to" in says(rollback, reigning, "champion", "again")
    history = json.loads(run(reigning, "gto", "history", "--json"))
    stages = [entry["version"] for entry in history if entry["event"] == "assignment"]
    assert sorted(stages) == ["v1.0.0", "v1.0.0", "v1.1.0", "v1.1.0", "v1.1.0", "v1.2.0", "v1.2.0"]
    run(reigning, "dvc", "artifacts", "get", ".", NAME, "--stage", "champion", "-o", "got")
    assert digest(reigning / "got") == read_json(reigning / "var/champion.json")["digest"]


def test_a_rollback_passes_over_what_was_erased(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, at, gone = registry["promote"], datetime(2025, 1, 1, tzinfo=UTC), ("", "it was erased", "")
    releases = [record.Release(NAME, f"v{n}.0.0", str(n), "d", "", "ok", "", "Ada", at, gone[n]) for n in range(3)]
    moves = [record.Assignment("champion", one, n, None, one.version, "Ada", at, "") for n, one in enumerate(releases)]
    written: list[str] = []
    monkeypatch.setattr(module, "settle", lambda root: written.append("asked the remote first"))
    monkeypatch.setattr(module, "read", lambda root: record.Record(NAME, tuple(releases), tuple(moves)))
    monkeypatch.setattr(follow, "usable", lambda root, release: None)
    monkeypatch.setattr(module, "write", lambda root, known, release, *_, **__: written.append(release.version))
    monkeypatch.setattr(module, "_publish", lambda root, told: told)
    assert "tiny@v0.0.0 is champion again, instead of v2.0.0" in rollback(ada, reason="it is worse")
    assert written == ["asked the remote first", "v0.0.0"]


def test_the_version_says_what_changed(reigning: Path) -> None:
    first = record.read(reigning).releases[-1]
    for name, expected in (("rows.csv", "v1.0.1"), ("train.py", "v1.1.0"), ("src/schema.py", "v2.0.0")):
        (reigning / name).write_text((reigning / name).read_text() + "\n")
        repro(reigning, "train")
        assert record.next_version(reigning, first) == expected
    assert record.next_version(reigning, None) == "v1.0.0"
    git(reigning, "checkout", "--quiet", "--", "dvc.lock")
    lock = (reigning / "dvc.lock").read_text()
    for old, new, expected in (
        ("until: '2'", "until: '3'", "v1.0.1"),
        ("gain: 0.1", "gain: 0.2", "v1.1.0"),
        ("python train.py", "python -O train.py", "v1.1.0"),
    ):
        (reigning / "dvc.lock").write_text(lock.replace(old, new))
        assert record.next_version(reigning, first) == expected


def test_tags_made_by_hand_are_read_and_a_lost_one_is_named(ada: Path) -> None:
    name, commit = f"{NAME}@v1.0.0", git(ada, "rev-parse", "HEAD")
    git(ada, "tag", f"{NAME}@v0.9.0")  # without annotation, so nobody made it
    git(ada, "tag", "-a", "-m", "nightly", f"{NAME}@nightly")
    git(ada, "tag", "-a", "-m", '["why"]', name)
    git(ada, "tag", "-a", "-m", "{half", f"{NAME}#champion#10")
    git(ada, "tag", "-a", "-m", "{half", f"{NAME}#champion#9")
    known = record.read(ada)
    (release,) = known.releases
    gate = read_json(ada / "reports/gate.json")
    assert (release.version, release.commit, release.why) == ("v1.0.0", commit, '["why"]')
    assert release.fingerprint == record.fingerprint(record.locked(ada))
    assert (
        (release.digest, release.verdict) == (gate["facts"]["model"], "ok") == (digest(ada / "models/candidate"), "ok")
    )
    held = known.holder("champion")
    assert (held.number, held.why, known.of(release.fingerprint), known.of("x")) == (10, "{half", release, None)
    assert (known.aliases(release), known.aliases(None), known.standing("champion")) == (["champion"], [], [release])
    numbers = [[entry.number for entry in known.history(release, alias)] for alias in ("champion", None, "staging")]
    assert numbers == [[9, 10], [9, 10], []] and not known.history(replace(release, version="v2.0.0"))
    told = f"is not the recorded model ({release.digest[:8]}, not known: it was registered by hand)"
    assert told in says(follow.fetch, ada, replace(release, digest=""))
    git(ada, "commit", "--quiet", "--allow-empty", "-m", "later")
    git(ada, "tag", "-a", "-m", '{"to": "v2.0.0"}', f"{NAME}#staging#11")
    told = says(record.read, ada)
    assert f"tag was deleted or moved: {NAME}#staging#11 names v2.0.0" in told
    git(ada, "tag", "-a", "-m", "x", f"{NAME}#staging#12", commit)
    assert [*record.read(ada).holders] == ["champion", "staging"]  # what came later counts
    (ada / "dvc.yaml").write_text("stages: {}\n")
    assert "dvc.yaml names no artifact" in says(record.read, ada)
    assert "dvc.lock has no entry of train yet" in says(record.fingerprint, "")
    assert [*record.stages("stages: {tune: {}, gate: {}}")] == ["tune", "gate"]
    assert [*record.stages("stages: {tune: {}, gate: {}, refit: {}}")] == ["gate", "refit"]  # DVC keeps the old entry


def test_a_tag_that_a_crash_left_half_written_is_not_passed_over(reigning: Path) -> None:
    name = f"refs/tags/{NAME}#champion#1"
    (reigning / ".git" / name).write_text("")
    for verb in (status, promote, follow.follow):
        assert f"{name} is damaged.\n  Delete .git/{name}, then run: uv run mlops follow" in says(verb, reigning)
    (reigning / ".git" / name).unlink()
    assert "v1.0.0" in follow.follow(reigning)


def test_a_clock_that_is_behind_waits_or_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(record.time, "sleep", slept.append)
    monkeypatch.setattr(record.time, "time", lambda: 1_000.0)

    def known(*seconds: float) -> Any:
        whens = [datetime.fromtimestamp(at, UTC) for at in seconds]
        releases = tuple(record.Release(NAME, "v1.0.0", "f", "d", "", "ok", "", "Ada", at) for at in whens)
        return record.Record(NAME, releases, ())

    for times in ((), (990.0,), (990.0, 1_002.0, 1.0)):
        record._after(known(*times))
    assert slept == [0.0, 0.0, 3.0]
    record._after(
        record.Record(NAME, (), (record.Assignment("a", None, 1, None, "", "", known(1_001.0).releases[0].when, ""),))
    )
    assert slept[3:] == [2.0]
    assert "clock is 61 s behind" in says(record.write, Path(), known(1_060.0), None, "champion", "")


def test_everything_that_promote_demands(ada: Path) -> None:
    (ada / "note.txt").write_text("x")
    assert "Not committed: note.txt" in says(promote, ada)
    git(ada, "add", "-A")
    git(ada, "commit", "--quiet", "-m", "note")
    assert "Run: git push" in says(promote, ada)
    commit_text = (ada / "params.yaml").read_text()
    (ada / "params.yaml").write_text(commit_text.replace("0.1", "0.11"))
    commit(ada)
    assert "dvc.lock does not agree with the tree: train must run" in says(promote, ada)
    assert champion(ada) is None
    assert "Nobody is champion yet." in says(follow.follow, ada)
    assert "Nobody is champion yet: there is nothing to go back to" in says(rollback, ada, reason="it is worse")
    retrain(ada, 0.12)
    assert "no alias 'champoin'" in says(promote, ada, "champoin")
    git(ada, "config", "--unset", "user.name")
    assert "git does not know who you are" in says(promote, ada)
    assert not (ada.parent / "remote").exists()
    git(ada, "config", "user.name", "Ada")
    git(ada, "remote", "set-url", "origin", "../nowhere.git")
    assert "remote cannot be reached" in says(promote, ada)
    assert not git(ada, "tag")


def test_a_veto_is_a_veto(ada: Path) -> None:
    retrain(ada, -0.2)
    with pytest.raises(ProjectError, match=r"The gate says fail: gate\.baseline\.simple") as caught:
        promote(ada)
    assert caught.value.code == 3
    told = json.loads((ada / "reports/gate.json").read_text())
    assert "gate.card" in {check["name"] for check in told["checks"]}
    for check in told["checks"]:
        check["verdict"] = "ok"
    (ada / "reports/gate.json").write_text(json.dumps(told))
    accept(ada)
    assert "not what the gate says" in says(promote, ada)
    assert not git(ada, "tag")


def test_the_teams_own_check_is_part_of_the_verdict(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = importlib.import_module(f"{OPS}.pipeline.gate")
    own = verdict.Check("own.size", verdict.Verdict.FAIL)
    assert gate.decide(trained / "ada").verdict == "ok"
    monkeypatch.setattr(gate, "custom", lambda name: SimpleNamespace(checks=lambda measured: [own]))
    report = gate.decide(trained / "ada")
    assert report["own.size"] == own and report.verdict == "fail"
    monkeypatch.setattr(gate, "custom", lambda name: SimpleNamespace())
    assert "custom/gate.py: checks() failed: AttributeError" in says(gate.decide, trained / "ada")


def test_a_staleness_curve_edited_by_hand_is_caught(ada: Path) -> None:
    (ada / "reports/age.json").write_text('{"ages": [], "otherwise": 99}')
    commit(ada)
    assert "dvc.lock does not agree" in says(promote, ada)
    accept(ada)
    assert "not what the gate says" in says(promote, ada)
    assert not git(ada, "tag")


def test_a_changed_or_absent_model_is_not_promoted(ada: Path) -> None:
    model = ada / "models/candidate/model.txt"
    text = model.read_text()
    model.chmod(0o644)
    model.write_text(text + "x")
    assert "dvc.lock does not agree" in says(promote, ada)
    accept(ada)
    assert "gate.digest: models/candidate is not the model that the gate judged" in says(promote, ada)
    assert not git(ada, "tag")
    shutil.rmtree(ada / "models")
    assert "uv run dvc pull models/candidate" in says(promote, ada)


def test_a_model_that_the_remote_cannot_get_is_not_promoted(ada: Path) -> None:
    shutil.rmtree(ada / ".dvc/cache")
    shutil.rmtree(ada.parent / "remote", ignore_errors=True)
    assert "neither in the DVC cache nor in its remote" in says(promote, ada)
    assert not git(ada, "tag")


@pytest.mark.usefixtures("no_mlflow")
def test_a_hosted_runner_does_not_keep_the_only_copy_of_a_model(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "DVC remote is a folder of this runner" in says(promote, ada)
    assert not git(ada, "tag")
    monkeypatch.setenv("RUNNER_ENVIRONMENT", "self-hosted")
    assert "v1.0.0 is champion now" in promote(ada)
    shutil.rmtree(ada.parent / "remote")
    assert "v1.0.0 is champion since" in promote(ada)
    assert storage.get(clone(ada, "bob"), "HEAD", "models/candidate", ada.parent / "got") is None


OK, FAIL, INSUFFICIENT = verdict.Verdict.OK, verdict.Verdict.FAIL, verdict.Verdict.INSUFFICIENT
GRACE = registry["override"].Override("Grace", "2999-01-01", "season")


@pytest.mark.parametrize(
    ("found", "override", "required", "told", "code"),
    [
        (OK, None, True, "", 0),
        (FAIL, None, False, "The gate says fail: gate.better.", 3),
        (INSUFFICIENT, None, True, "The gate says insufficient: gate.better.", 4),
        (INSUFFICIENT, None, False, "The gate says insufficient: gate.better.", 4),
        (FAIL, GRACE, True, "", 0),
        (INSUFFICIENT, GRACE, True, "", 0),
        (OK, GRACE, True, "nothing to override", 1),
    ],
)
def test_only_ok_or_an_override_lets_a_model_pass(
    trained: Path, monkeypatch: pytest.MonkeyPatch, found: Any, override: Any, required: bool, told: str, code: int
) -> None:
    module, model = registry["promote"], digest(trained / "ada/models/candidate")
    report = verdict.Report("gate", [verdict.Check("gate.better", found, required=required)], {"model": model})
    monkeypatch.setattr(module.gate, "decide", lambda root: report)
    monkeypatch.setattr(module, "read_json", lambda path: report.to_dict())
    if not told:
        assert module._believed(trained / "ada", override) is report
        return
    with pytest.raises(ProjectError) as caught:
        module._believed(trained / "ada", override)
    assert told in str(caught.value) and caught.value.code == code


@pytest.mark.parametrize(
    ("champion", "opponent", "told"),
    [
        (None, None, ""),
        ("a", "a", ""),
        ("b", "a", ""),  # it is champion itself: what it was compared with was champion before
        ("a", None, "compared with no champion, v1.0.0 is, by Ada."),
        ("a", "c" * 64, "cccccccc is not champion any more, v1.0.0 is, by Ada."),
        (None, "c" * 64, "cccccccc is not champion any more, nobody is."),
    ],
)
def test_a_model_takes_the_place_of_no_other_than_its_opponent(
    tmp_path: Path, champion: str | None, opponent: str | None, told: str
) -> None:
    shutil.copy(PROJECT / "cycle.yaml", tmp_path)
    at = datetime(2025, 1, 1, tzinfo=UTC)
    first, second = (
        record.Release(NAME, f"v{n}.0.0", model, "d", "", "ok", "", "Ada", at) for n, model in enumerate("ab", 1)
    )
    held = [record.Assignment("champion", one, 1, None, one.version, "Ada", at, "") for one in (first, second)]
    known = record.Record(NAME, (first, second), tuple(one for one in held if one.release.fingerprint == champion))
    given = (tmp_path, known, second, verdict.Report("gate", facts={"opponent": opponent}), "champion")
    if told:
        assert told in says(registry["promote"]._against, *given)
    else:
        registry["promote"]._against(*given)


def test_an_opponent_that_is_not_champion_any_more_is_no_opponent(reigning: Path) -> None:
    retrain(reigning, 0.2)
    told = says(promote, reigning)
    assert "compared with no champion, v1.0.0 is, by Ada" in told
    assert "uv run mlops close 2" in told


@pytest.mark.usefixtures("no_mlflow")
def test_aliases_are_passed_in_order(ada: Path) -> None:
    text = "model: {gain: 0.1}\ngate: {}\npromote: {path: [staging, champion]}\n".replace("gain: 0.1", "gain: 0.10")
    (ada / "params.yaml").write_text(text)
    repro(ada)
    commit(ada)
    assert "comes after staging" in says(promote, ada, "champion")
    promote(ada)
    assert (champion(ada), (ada / "var/champion.json").exists()) == (None, False)
    promote(ada)
    assert champion(ada) == "v1.0.0"
    assert "is champion since" in promote(ada)
    assert [entry.number for entry in record.read(ada).assignments] == [1, 2]


@pytest.mark.usefixtures("no_mlflow")
def test_of_two_who_promote_at_once_one_is_told_who_was_faster(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.push(ada, "models/candidate")
    bob = clone(ada, "bob", "--depth", "1")
    run(bob, "dvc", "pull", "--quiet")
    settle = record.settle

    def meanwhile(root: Path) -> None:
        if root == bob and git(bob, "tag") and not git(ada, "tag"):
            promote(ada)
        settle(root)

    monkeypatch.setattr(record, "settle", meanwhile)
    told = says(promote, bob)
    assert "Ada was faster: champion is v1.0.0" in told
    assert git(bob, "for-each-ref", "refs/tags") == git(ada, "for-each-ref", "refs/tags")
    assert "is champion since" in promote(bob)
    assert read_json(bob / "var/champion.json") == read_json(ada / "var/champion.json")


def test_what_a_killed_promote_left_gives_way_to_who_was_faster(ada: Path) -> None:
    bob, eve = clone(ada, "bob"), clone(ada, "eve")
    for folder, version in ((bob, "v1.0.0"), (ada, "v2.0.0")):
        for name in (f"{NAME}@{version}", f"{NAME}#champion#1"):
            git(folder, "tag", "-a", "-m", json.dumps({"to": version}), name)
    git(bob, "push", "--quiet", "--tags", "origin")
    assert "Bob was faster: champion is v1.0.0" in says(record.settle, ada)
    assert (record.freshen(ada), record.freshen(eve)) == ("", "")
    assert git(ada, "tag").split() == git(eve, "tag").split() == [f"{NAME}#champion#1", f"{NAME}@v1.0.0"]
    assert git(ada, "rev-parse", "--is-shallow-repository") == "false"
    git(eve, "remote", "set-url", "origin", "../nowhere.git")
    assert "cannot be reached" in record.freshen(eve)


def test_a_protected_remote_leaves_nothing_half_written(ada: Path) -> None:
    hook = ada.parent / "origin.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho tags are protected >&2\nexit 1\n")
    hook.chmod(0o755)
    assert says(promote, ada).startswith("origin does not take the tags")
    assert not git(ada, "tag")


@pytest.mark.parametrize("kind", [GTOException, OSError])
def test_what_cannot_be_recorded_leaves_no_tag(
    reigning: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    from gto import api

    def refuses(*_: object, **__: object) -> None:
        git(reigning, "tag", "-a", "-m", "half", f"{NAME}@v9.0.0")
        raise kind("it has its reasons")

    known, tags = record.read(reigning), git(reigning, "tag")
    with monkeypatch.context() as patched:
        patched.setattr(api, "assign", refuses)
        told = says(record.write, reigning, known, known.releases[0], "champion", "again")
    assert (told, git(reigning, "tag")) == ("GTO does not take tiny@v1.0.0 as champion: it has its reasons", tags)
    git(reigning, "remote", "set-url", "origin", "../nowhere.git")
    assert "so nothing was purged" in says(record.erase, reigning, known.releases, "erased rows")
    assert git(reigning, "tag") == tags


@pytest.mark.parametrize(("named", "told"), [([], ""), (["var/champion.json"], ": var/champion.json")])
def test_a_full_disk_is_said_in_a_sentence(capsys: pytest.CaptureFixture[str], named: list[str], told: str) -> None:
    def full() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", *named)

    assert project.command_line(full) == 1
    assert capsys.readouterr().err.startswith(f"error: No space left on device{told}.\n  Mend that")
    with pytest.raises(IsADirectoryError):
        project.command_line(lambda: len(Path().read_bytes()))


def test_a_project_in_a_subfolder_is_cloned_with_it(tmp_path: Path) -> None:
    project.write_text(tmp_path / "repository/here/dvc.yaml", "stages: {}\n")
    git(tmp_path / "repository", "init", "--quiet")
    git(tmp_path / "repository", "add", "-A")
    who = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    git(tmp_path / "repository", *who, "commit", "--quiet", "-m", "first")
    with registry["reproduce"].clean(tmp_path / "repository/here", "HEAD") as (work, base):
        assert (work / "dvc.yaml").exists() and work.is_relative_to(base)
        assert os.environ["MLOPS_ROOT"] == str(work)


STEPS = [
    "storage.push",
    "follow.fetch",
    "gto.api.assign",
    "record.settle",
    "follow.serve",
    "follow.write_json",
    "mirror.fill",
    "follow.look_up",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_promote_is_ended_by_the_next_one(ada: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    monkeypatch.setattr(mirror, "fill", lambda *_: "")
    module, _, function = step.rpartition(".")
    with monkeypatch.context() as patched:
        patched.setattr(registry.get(module) or importlib.import_module(module), function, killed)
        with pytest.raises(KilledError):
            promote(ada)
    promote(ada)
    assert champion(ada) == read_json(ada / "var/champion.json")["release"] == "v1.0.0"
    assert (
        len(git(ada, "ls-remote", "--tags", "--refs", "origin").splitlines()) == len(git(ada, "tag").splitlines()) == 2
    )


def test_neither_mlflow_nor_the_look_ups_hold_a_rollback_up(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("the warehouse is away")

    def away(*_: object) -> None:
        raise ProjectError("MLflow is away.")

    monkeypatch.setattr(follow, "look_up", look_up)
    monkeypatch.setattr(follow, "opened", broken)
    monkeypatch.setattr(mirror, "fill", away)
    told = promote(ada)
    assert "MLflow does not show it yet" in told
    assert "OSError: the warehouse is away" in told
    assert champion(ada) == read_json(ada / "var/champion.json")["release"] == "v1.0.0"


def test_a_fresh_clone_follows_with_nothing_pulled(reigning: Path) -> None:
    bob = clone(reigning, "bob", "--depth", "1")
    assert "v1.0.0" in follow.follow(bob)
    assert (bob / "var/online.db").read_text() == "fresh"
    assert read_json(bob / "var/champion.json") == read_json(reigning / "var/champion.json")
    (model,) = (path for path in (bob / "var/models").iterdir() if path.is_dir())
    (model / "strange.txt").touch()
    assert "v1.0.0" in follow.follow(bob)
    assert not (model / "strange.txt").exists()
    shutil.rmtree(bob / "var")
    shutil.rmtree(bob / ".dvc/cache", ignore_errors=True)
    (reigning.parent / "remote").rename(reigning.parent / "gone")
    assert "neither here nor in the DVC remote" in says(follow.follow, bob)
    shutil.rmtree(reigning / ".dvc/cache")
    assert "v1.0.0" in follow.follow(reigning)  # what lies here whole is not fetched
    assert not (bob / "var/champion.json").exists()


@pytest.mark.usefixtures("no_mlflow")
def test_an_opponent_that_nobody_signed_stops_no_service(reigning: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.SETTING, str(reigning.parent / "home/ada.pem"))
    retrain(reigning, 0.2, close="2")
    promote(reigning)
    vouch(reigning)
    commit(reigning, "my key")
    assert "signed by you" in vouch(reigning)
    told = follow.follow(bob := clone(reigning, "bob"))
    assert "before" not in read_json(bob / "var/champion.json")
    assert "v1.1.0, champion since" in told and "nobody signed" in told and "mlops close 2" in told


@pytest.mark.usefixtures("no_mlflow")
def test_from_the_first_key_on_whom_the_team_trusts_must_sign(reigning: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = reigning.parent / "home/ada.pem"
    monkeypatch.setenv(keys.SETTING, str(private))
    assert signing.UNSIGNED in promote(reigning)
    assert not private.exists()
    known = replace(record.read(reigning), assignments=())
    assert follow.bring(reigning, known, known.releases[0]).exists()
    assert "keys/ada.pub is your public key: commit it" in vouch(reigning)
    assert (private.stat().st_mode & 0o777, keys.make(reigning)[1]) == (0o600, False)
    commit(reigning, "my key")
    assert "nobody signed" in says(follow.follow, reigning)
    assert "nobody signed" in says(follow.bring, reigning, known, known.releases[0])
    assert "signed by you" in vouch(reigning)
    assert "signed by you" not in vouch(reigning)
    assert "is champion since" in promote(reigning)
    bob = clone(reigning, "bob")
    assert "v1.0.0" in follow.follow(bob)
    monkeypatch.setenv(keys.SETTING, str(bob.parent / "bob.pem"))
    assert "keys/bob.pub was made" in says(promote, bob)
    assert "Not committed: keys" in says(promote, bob)
    known, served = record.read(bob), (reigning / "var/champion.json").read_text()
    signed = keys.sign(bob, follow.fetch(bob, known.releases[0]))
    record.write(bob, known, known.releases[0], "champion", "he trusts himself", signed=signed)
    assert "a key that is not in keys/" in says(follow.follow, reigning)
    assert (reigning / "var/champion.json").read_text() == served
    monkeypatch.setenv(keys.SETTING, private.read_text())
    assert "signed by you" in vouch(reigning)
    assert "v1.0.0" in follow.follow(reigning)


def test_a_key_is_never_made_where_it_would_be_lost_or_found(reigning: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.SETTING, str(reigning / "signing.pem"))
    assert "must not lie in the repository" in says(keys.make, reigning)
    monkeypatch.delenv(keys.SETTING)
    monkeypatch.setenv("CI", "true")
    assert keys.SETTING in says(keys.make, reigning)
    assert not signing.keys(reigning)


def test_an_identity_is_trusted_offline_and_only_with_its_issuer(
    reigning: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sigstore.models import ClientTrustConfig

    identity = "https://github.com/ada/flights/.github/workflows/ct.yml@refs/heads/main"
    monkeypatch.setenv("MLOPS_ROOT", str(reigning))
    monkeypatch.setenv(keys.SETTING, str(reigning.parent / "ada.pem"))
    monkeypatch.setattr(sys, "argv", ["vouch", "--keyless", identity])
    assert registry["vouch"].main() == 0
    assert "keys/ct.yaml trusts it, keys/sigstore.json says who" in capsys.readouterr().out
    assert ClientTrustConfig.from_json((reigning / signing.SIGSTORE).read_text()).trusted_root.get_fulcio_certs()
    assert signing.keys(reigning) == [reigning / "keys/ada.pub", reigning / "keys/ct.yaml"]
    folder = follow.fetch(reigning, record.read(reigning).releases[0])
    project.write_text(signing.signature(folder), keys.sign(reigning, folder))
    assert signing.signed(reigning, folder) == folder
    (reigning / "keys/ada.pub").unlink()
    assert "a key that is not in keys/" in says(signing.signed, reigning, folder)
    project.write_text(signing.signature(folder), '{"certificate": "forged"}')
    assert "ct.yaml does not vouch" in says(signing.signed, reigning, folder)
    (reigning / "keys/ct.yaml").unlink()
    project.write_text(reigning / "keys/ct.yml", f"identity: {identity}\nissuer: ''\n")
    assert "an identity and its issuer" in says(signing.signed, reigning, folder)
    for name, value in {keys.SETTING: "", "CI": "true", "GITHUB_ACTIONS": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", raising=False)
    told = says(keys.ready, reigning)
    assert "no key to sign with (GitHub: missing" in told and keys.SETTING in told and "--keyless" in told


def test_a_play_signs_with_a_key_of_its_own(reigning: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.SETTING, str(reigning.parent / "ada.pem"))
    keys.make(reigning)
    commit(reigning, "my key")
    (reigning.parent / "ada.pem").unlink()
    with scratch(reigning) as copy:
        keys.ready(copy)
        assert (len(signing.keys(copy)), git(copy, "status", "--porcelain")) == (2, "")
    assert not (reigning.parent / "ada.pem").exists()


def one_run_for_each_model(reigning: Path) -> None:
    store = window.open_store(reigning)
    first = window.upsert_run(
        store, "f" * 64, {"a": 1}, {"m": 0.5}, {"verdict": "fail"}, {"model": reigning / "models/candidate"}
    )
    again = window.upsert_run(
        store, "f" * 64, {"a": 2}, {"m": 0.6}, {"verdict": "ok"}, {"rows.csv": reigning / "rows.csv"}
    )
    found = store.get_run(first)
    assert first == again
    assert (found.data.params, found.data.metrics, found.data.tags["verdict"]) == ({"a": "1"}, {"m": 0.6}, "ok")
    assert window.home(reigning / ".dvc/tmp/exps/tmp1") == reigning


def test_mirror_fills_a_moved_a_deleted_and_a_fresh_store(reigning: Path) -> None:
    def shown(root: Path) -> tuple[list[str], str]:
        store = window.open_store(root)
        versions = sorted(store.search_model_versions(f"name = '{NAME}'"), key=lambda v: int(v.version))
        named = store.get_model_version_by_alias(NAME, "champion")
        files = [entry.path for entry in store.list_artifacts(named.run_id, "model")]
        assert files == ["model/MLmodel", "model/features.json", "model/model.txt"]
        assert str(root.resolve()) in store.get_experiment(store.experiment).artifact_location
        return [version.tags["release"] for version in versions], named.tags["release"]

    assert "1 versions added, 1 aliases set" in mirror.mirror(reigning)
    assert "nothing was to be done" in mirror.mirror(reigning)
    reigning = reigning.rename(reigning.with_name("moved"))
    assert "1 versions added" in mirror.mirror(reigning)
    assert (reigning / "var/aside").exists()
    retrain(reigning, 0.2, close="2")
    promote(reigning)
    expected = (["v1.0.0", "v1.1.0"], "v1.1.0")
    assert shown(reigning) == expected
    store = window.open_store(reigning)
    store.set_registered_model_alias(NAME, "champion", "1")
    assert "Somebody moved champion by hand in MLflow, from v1.1.0 to v1.0.0" in mirror.mirror(reigning)
    assert shown(reigning) == expected
    bob = clone(reigning, "bob")
    assert "2 versions added" in mirror.mirror(bob)
    assert shown(bob) == expected
    one_run_for_each_model(reigning)


@pytest.mark.parametrize("damage", ["not a database", "half made"])
def test_a_damaged_database_is_made_again(reigning: Path, damage: str) -> None:
    if damage == "not a database":
        (reigning / "mlflow.db").write_text(damage * 100)
    if damage == "half made":
        (reigning / "mlflow.db").touch()
    assert "1 versions added, 1 aliases set" in mirror.mirror(reigning)


def test_an_mlflow_server_that_is_away_is_said_in_a_sentence(reigning: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert "MLflow at http://127.0.0.1:9 does not work" in says(mirror.mirror, reigning)
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9"


def test_close_names_the_next_period_and_the_champion(reigning: Path) -> None:
    held = record.champion(reigning, "champion")
    assert held
    assert "cycle goes until 3, against tiny@v1.0.0" in cycle.close(reigning)
    lines = [
        "# the cycle",
        'until: "3"  # the last period',
        f'champion: "{held.release.fingerprint}"',
        'release: "v1.0.0"',
        "age: 1",
    ]
    assert (reigning / "cycle.yaml").read_text().splitlines() == lines
    assert "not committed" in says(cycle.close, reigning)
    commit(reigning)
    assert "no period '9'" in says(cycle.close, reigning, "9")
    assert "2 is closed" in says(cycle.close, reigning, "2")
    cycle.close(reigning, "5")
    commit(reigning)
    assert "There is no period after 5 yet" in says(cycle.close, reigning)


def test_look_ups_of_open_periods_come_from_data_py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "yours", lambda: SimpleNamespace(data=None))
    monkeypatch.setattr(follow, "names", lambda data: ["1", "2", "3"])
    until = {"value": "2"}
    monkeypatch.setattr(follow, "cycle", lambda root: {"until": until["value"]})
    assert follow.opened(tmp_path) == ["1", "2", "3"]
    (tmp_path / "data/checked/period=1").mkdir(parents=True)
    assert follow.opened(tmp_path) == ["3"]
    until["value"] = None
    assert follow.opened(tmp_path) == ["1", "2", "3"]


def test_a_model_that_reads_what_is_barred_by_now_is_not_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_json(tmp_path / "features.json", {"columns": [project.yours().contract.outcome.name]})
    monkeypatch.setattr(follow, "fetch", lambda root, release: tmp_path)
    assert "features.forbidden: the stored model reads" in says(follow.usable, tmp_path, None)


def test_the_first_cycle_takes_as_many_periods_as_training_needs(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train: {periods: 2}\n")
    following = partial(cycle.following, tmp_path, known=["1", "2", "3"])
    assert [following(until) for until in (None, "1", "2", "3", "9")] == ["3", "2", "3", None, None]
    assert cycle.following(tmp_path, None, ["1", "2"]) is None
    assert cycle._set("# a\nb: 1 # why\n", "age", "0") == "# a\nb: 1 # why\nage: 0\n"


@pytest.mark.usefixtures("no_mlflow")
def test_status_says_what_waits(ada: Path) -> None:
    def waiting() -> list[str]:
        return [line.split("  ")[0] for line in status(ada).partition("because\n")[2].splitlines()]

    assert "nobody yet" in status(ada)
    outputs = {"waits": "promote close", "commit": git(ada, "rev-parse", "HEAD"), "period": "2"}
    assert registry["status"].status(ada)[1] == outputs
    assert waiting() == ["uv run mlops promote", "uv run mlops close"]
    promote(ada, reason="the first")
    assert "by Ada: the first" in status(ada)
    assert waiting() == ["uv run mlops close"]
    (ada / "var/champion.json").unlink()
    (ada / "params.yaml").write_text("model: {gain: 0.2}\ngate: {}\n")
    assert waiting() == [
        "uv run dvc repro",
        "git add -A && git commit -m TEXT",
        "uv run mlops follow",
        "uv run mlops close",
    ]
    repro(ada)
    git(ada, "commit", "--quiet", "-a", "-m", "other")
    assert waiting()[:2] == ["git push", "uv run mlops close 2"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("warning: x\nfatal: it is gone \nmore", "it is gone"),
        ("To there\n ! [rejected] tag -> tag (exists)\nerror: failed", "[rejected] tag -> tag (exists)"),
        ("one\nlast", "last"),
        ("", "no reason given"),
    ],
)
def test_what_git_says_is_told_in_a_sentence(said: str, reason: str) -> None:
    assert registry["git"]._reason(said) == reason


def test_git_is_asked_about_this_repository_also_from_a_hook_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    git(tmp_path, "init", "--quiet")
    found = [registry["git"].remote(tmp_path)]
    for name in ("there", "origin", "zebra"):
        git(tmp_path, "remote", "add", name, "../other.git")
        found.append(registry["git"].remote(tmp_path))
    assert found == ["", "there", "origin", "origin"]
    assert "git frobnicate failed: " in says(git, tmp_path, "frobnicate")
    assert git(tmp_path, "frobnicate", check=False) == ""
    assert [registry["git"].few([*names]) for names in ("abc", "abcd")] == ["a, b, c", "a, b, c, ..."]


def test_without_git_there_is_one_sentence(ada: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(ada / ".git")
    assert "not a git repository" in says(promote, ada)
    git(ada, "init", "--quiet")
    assert "There is no commit yet" in says(promote, ada)
    assert "git add -A" in status(ada)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in says(promote, ada)


def hashed(folder: Path) -> dict[str, str]:
    """Every file with its mode and bytes; what readers touch (DVC's temporary files, git's index) is left out."""
    skipped = ("/.dvc/tmp/", "/.git/index")
    files = [
        path for path in folder.rglob("*") if path.is_file() and not any(part in path.as_posix() for part in skipped)
    ]
    return {str(path): f"{path.stat().st_mode} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files}


def test_scratch_leaves_no_trace(reigning: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (reigning / "mlflow.db").write_text("the team's")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    before, settings = hashed(reigning.parent), dict(os.environ)
    with scratch(reigning) as copy:
        assert os.environ["MLOPS_ROOT"] == str(copy)
        assert "v1.0.0" in follow.follow(copy)
        retrain(copy, 0.4, close="3")
        promote(copy)
        assert champion(copy) == "v1.1.0"
        assert read_json(copy / "var/champion.json")["release"] == "v1.1.0"
        assert (copy / "mlflow.db").exists()
    assert not copy.exists()
    assert dict(os.environ) == settings
    assert hashed(reigning.parent) == before


@pytest.mark.usefixtures("no_mlflow")
def test_an_override_needs_a_name_a_day_and_a_reason_and_is_shown(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    today = datetime.now(UTC).date()
    given = overriding("Grace", str(today + timedelta(30)), "the  season starts")
    for wrong in (
        ("", given.until, "x"),
        ("Grace", "soon", "x"),
        ("Grace", str(today), "x"),
        ("Grace", str(today + timedelta(91)), "x"),
        ("Grace", given.until, " "),
    ):
        with pytest.raises(ProjectError) as caught:
            overriding(*wrong)
        assert caught.value.code == 2
    for days, over, word in ((90, -90, "overridden until"), (1, -1, "overridden until")):
        made = overriding("Grace", str(today + timedelta(days)), "x")
        assert (made.days_over, str(made).startswith(word)) == (over, True)
    for days, word in ((0, "overridden until"), (1, "override ended")):
        assert str(replace(made, until=str(today - timedelta(days)))).startswith(word)
    retrain(ada, -0.2)
    assert "fail overridden until" in promote(ada, reason="season", override=given)
    assert read_json(ada / "var/champion.json")["override"]["reason"] == "the season starts"
    assert f"fail overridden until {given.until}, by Grace: the season starts" in status(ada)
    given = overriding("Grace", str(today + timedelta(60)), "it goes on")
    assert f"fail overridden until {given.until}" in promote(ada, reason="longer", override=given)
    monkeypatch.setattr(registry["override"].Override, "days_over", property(lambda self: 2))
    assert "override ended" in status(ada).partition("because")[2]
    cycle.close(ada, "3")
    assert f"v1.0.0 (override ended {given.until}" in (ada / "cycle.yaml").read_text()


@pytest.mark.usefixtures("no_mlflow")
def test_rollback_now_needs_no_git_and_is_recorded_later(reigning: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise ProjectError("Nobody knows you.")

    assert "knows no release before v1.0.0" in says(now.now, reigning, "complaints")
    retrain(reigning, 0.2, close="2")
    promote(reigning)
    for part in (".git", ".dvc"):
        (reigning / part).rename(reigning.parent / f"away{part}")
    assert "needs a reason" in says(now.now, reigning, "")
    first = reigning / "var/models" / read_json(reigning / "var/champion.json")["before"]["fingerprint"]
    (first / "strange.txt").touch()
    assert "v1.0.0 is not here, or not whole" in says(now.now, reigning, "complaints")
    (first / "strange.txt").unlink()
    now.now(reigning, "complaints")
    switched = read_json(reigning / "var/champion.json")
    assert switched["release"] == "v1.0.0"
    assert "already" in says(now.now, reigning, "once more")
    for part in (".git", ".dvc"):
        (reigning.parent / f"away{part}").rename(reigning / part)
    git(reigning, "remote", "set-url", "origin", "../nowhere.git")
    assert "stays at v1.0.0" in follow.follow(reigning)
    assert "rolled" in status(reigning)
    assert "cannot be reached" in says(rollback, reigning, reason="x")
    assert read_json(reigning / "var/champion.json") == switched
    git(reigning, "remote", "set-url", "origin", "../origin.git")
    with monkeypatch.context() as patched:
        patched.setattr(now, "write", nobody)
        assert "does not know it yet. Nobody knows you." in says(rollback, reigning, reason="x")
    assert read_json(reigning / "var/champion.json") == switched
    assert "Recorded" in follow.follow(reigning)
    held = record.champion(reigning, "champion")
    assert held and (held.to, held.number) == ("v1.0.0", 3) and "complaints" in held.why
    assert "rolled" not in status(reigning).partition("because")[2]
    assert "pending" not in read_json(reigning / "var/champion.json")


@pytest.mark.parametrize(
    ("champion", "told", "written"),
    [
        ("v2.0.0", "Recorded: Ada rolled", ["v1.0.0"]),
        ("v1.0.0", "Recorded: Ada rolled", []),  # whoever recorded it was killed before he could note that
        ("v3.0.0", "champion is v3.0.0 by now: Ada rolled", []),
        (None, "champion is nobody by now: Ada rolled", []),
    ],
)
def test_what_others_decided_since_a_rollback_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, champion: str | None, told: str, written: list[str]
) -> None:
    at, made = datetime(2025, 1, 1, tzinfo=UTC), []
    releases = [record.Release(NAME, f"v{n}.0.0", str(n), "d", "", "ok", "", "Ada", at) for n in (1, 2, 3)]
    passed = releases[: int((champion or "v3")[1])] + ([releases[0]] if champion == "v1.0.0" else [])
    moves = [record.Assignment("champion", one, n, None, one.version, "Ada", at, "") for n, one in enumerate(passed)]
    known = record.Record(NAME, tuple(releases), tuple(moves) if champion else ())
    monkeypatch.setattr(now, "settle", lambda root: None)
    monkeypatch.setattr(now, "read", lambda root: known)
    monkeypatch.setattr(now, "signature", lambda root, entry: "signed then")
    monkeypatch.setattr(now, "write", lambda root, known, release, *_, **more: made.append((release.version, more)))
    note = {"alias": "champion", "from": "v2.0.0", "to": "v1.0.0", "since": at.isoformat(), "told": "Ada rolled"}
    project.write_json(tmp_path / "var/champion.json", {"pending": note | {"by": "Ada", "at": "noon"}})
    assert now.caught_up(tmp_path) == f"{told}\n"
    assert made == [(version, {"switched": {"by": "Ada", "at": "noon"}}) for version in written]
    assert now.pending(tmp_path) == {} and now.caught_up(tmp_path) == ""


def test_a_rollback_is_signed_by_whoever_can_be_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(now.getpass, "getuser", lambda: "ada")
    assert now._who(tmp_path) == "ada"
    monkeypatch.setattr(now.getpass, "getuser", lambda: {}["nobody"])
    assert now._who(tmp_path) == "somebody"
