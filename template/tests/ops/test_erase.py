"""Somebody asks to be forgotten, on a tiny project: afterwards no file outside of git holds a byte of the id."""

import importlib
import shutil
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).parent))
from test_registry import OPS, clone, commit, environment, git, repro, run, says, status  # noqa: F401

erase, purge, record, promote, follow, cycle, mirror = (
    importlib.import_module(f"{OPS}.registry.{name}")
    for name in ("erase", "purge", "record", "promote", "follow", "cycle", "mirror")
)
tombstones, contracts = (importlib.import_module(f"{OPS}.{name}") for name in ("tombstones", "contract"))
ingest, log, online = (
    importlib.import_module(f"{OPS}.{name}") for name in ("pipeline.ingest", "serving.log", "serving.online")
)

ADA, BOB = "Xq9ZunmistakableAda", "Kj7VanotherBob"
SCHEMA = """
from datetime import datetime
from pydantic import BaseModel
from OPS.contract import Contract, Lookup

class Request(BaseModel):
    customer: str
    order: int
    asked: datetime

class Visits(BaseModel):
    visits: float | None

class Outcome(BaseModel):
    late: bool

looks = [Lookup(Visits, on="customer", at="asked", time="seen", max_age="9d")]
contract = Contract(Request, Outcome, lookups=looks, key=["customer", "order"], time="asked")
"""
DATA = f"""
import pandas as pd

def read(period):
    people = ["{ADA}" if period != "4" else "dee", "{BOB}", "eve", "fay", "gil"]
    order = [int(period) if period != "2" else -2, 2, 3, 4, 5]
    asked = pd.to_datetime(f"2025-01-0{{period}}") + pd.to_timedelta(range(5), "h")
    return pd.DataFrame({{"customer": people, "order": order, "asked": asked, "late": asked.hour % 2 == 0}})

def lookup(name, period):
    rows = read(period)
    return pd.DataFrame({{"customer": rows["customer"], "seen": rows["asked"], "visits": 1.0}})
"""
COMMON = """
import json, sys
from pathlib import Path
sys.path.insert(0, ".")
import pandas as pd
import data, schema
from OPS import lookups, project
from OPS.pipeline import gate, ingest, periods as on_disk
root = Path.cwd()
until = project.cycle(root)["until"]
periods = [str(number + 1) for number in range(int(until))]
"""
STAGES = {
    "take.py": """
ingest.ingest(root, data, schema.contract, periods)
""",
    "check.py": """
for period in periods:
    rows, folder = on_disk.read(root, "raw", period), on_disk.folder(root, "checked", period)
    bad = rows["order"] < 0
    quarantined = pd.DataFrame({"row": rows.index[bad], "rule": "made up", "value": rows["customer"][bad]})
    with project.whole(folder) as fresh:
        on_disk.write(rows[~bad], fresh / "rows.parquet")
        on_disk.write(quarantined, fresh / "rows.quarantine.parquet")
        on_disk.write(on_disk.read(root, "raw", period, "visits"), fresh / "visits.parquet")
""",
    "train.py": """
with project.whole(root / "models/candidate") as folder:
    folder.mkdir(parents=True)
    rows = pd.concat([on_disk.read(root, "checked", period) for period in periods[-3:-1]])
    on_disk.write(rows, folder / "reference.parquet")
    for name, text in {"MLmodel": "flavors: {}", "features.json": '{"columns": {}}'}.items():
        (folder / name).write_text(text)
    (folder / "model.pkl").write_text(f"{len(rows)} rows of {periods}")
on_disk.write(on_disk.read(root, "checked", periods[-1]), root / "data/evaluation.parquet")
facts = {"periods": {"train": periods[-3:-1], "evaluation": periods[-1:]}, "rows": {"fitted": len(rows)}}
project.write_json(root / "reports/train.json", facts | {"features": ["x"]})
""",
    "judge.py": """
opponent = project.cycle(root)["champion"]
found = {m: {"value": 0.0, "interval": [0.0, 0.01]} for m in ("log_loss", "average_precision")}
names = ["baseline.simple"] + (["champion"] if opponent else [])
project.write_json(root / "reports/metrics.json", {
    "rows": 900, "finite": True, "task": "binary", "slices": [], "holdout": {"rows": 0}, "opponent": opponent,
    "model": project.digest(root / "models/candidate"), "periods": {"train": periods[-3:-1], "evaluation": [until]},
    "values": {m: found for m in ("candidate", *names)}, "differences": {m: found for m in names},
})
project.write_json(root / "reports/validate.json", {"title": "validate", "facts": {}, "drift": [], "checks": [
    {"name": "data.rows", "verdict": "ok"}]})
ablated = {"rows": 900, "measured": "2025-01-01", "unit": 1, "features": {}}
project.write_json(root / "reports/tuning.json", {"trials": []})
project.write_json(root / f"reports/features/{until}.json", ablated | {"period": until, "before": []})
project.write_json(root / "reports/age.json", {"ages": [], "otherwise": 1})  # an equal model may replace the champion
gate.main()
""",
}
LEAVE = """
import os
sys.stdout.flush()
os._exit(0)  # pyarrow's threads, just started, may abort so short a process at its end
"""
FILES = {
    **{name: (COMMON + text + LEAVE).replace("OPS", OPS) for name, text in STAGES.items()},
    "schema.py": SCHEMA.replace("OPS", OPS),
    "data.py": DATA,
    "erased.csv": ",".join(tombstones.HEADER) + "\n",
    "params.yaml": "gate: {}\n",
    "cycle.yaml": "until: '3'\nchampion: null\nrelease: null\nage: 0\n",
    ".gitignore": "/models\n/data/\n/reports/gate.html\n/var\n__pycache__\n",
    ".dvc/config": "[core]\n    remote = here\n    analytics = false\n['remote \"here\"']\n    url = ../../remote\n",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    "dvc.yaml": """
stages:
  ingest:
    cmd: python take.py
    params: [cycle.yaml: [until]]
    deps: [erased.csv, data.py]
    outs: [data/raw: {persist: true}]
  validate: {cmd: python check.py, deps: [data/raw], outs: [data/checked: {persist: true}]}
  train:
    cmd: python train.py
    deps: [data/checked, schema.py]
    outs: [models/candidate, data/evaluation.parquet, reports/train.json: {cache: false}]
  gate:
    cmd: python judge.py
    params: [cycle.yaml: [champion, age]]
    deps: [models/candidate]
    outs:
      - reports/metrics.json: {cache: false}
      - reports/validate.json: {cache: false}
      - reports/gate.json: {cache: false}
artifacts:
  tiny: {path: models/candidate, type: model}
""",
}


class Request(BaseModel):
    """What SCHEMA says, for this process."""

    customer: str
    order: int
    asked: datetime


class Visits(BaseModel):
    """A look-up by customer."""

    visits: float | None


class Outcome(BaseModel):
    """Known later."""

    late: bool


LOOKS = [contracts.Lookup(Visits, on="customer", at="asked", time="seen", max_age="9d")]
CONTRACT = contracts.Contract(Request, Outcome, lookups=LOOKS, key=["customer", "order"], time="asked")


@pytest.fixture(scope="module", autouse=True)
def tiny(environment: None) -> Iterator[None]:  # noqa: F811
    """The contract and the periods are the tiny project's; MLflow is left out."""
    with pytest.MonkeyPatch.context() as patched:
        for module in (erase, follow, importlib.import_module(f"{OPS}.project")):
            patched.setattr(module, "yours", lambda: SimpleNamespace(contract=CONTRACT))
        patched.setattr(cycle, "periods", lambda: ["1", "2", "3", "4"])
        patched.setattr(follow, "look_up", lambda root: None)
        patched.setattr(mirror, "fill", lambda *_: "")
        yield


@pytest.fixture(scope="module")
def released(tiny: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with v1.0.0 as champion, and answers in its logs."""
    base = tmp_path_factory.mktemp("released")
    git(base, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git(base, "init", "--quiet", "--initial-branch=main", "ada")
    for name, text in FILES.items():
        (base / "ada" / name).parent.mkdir(parents=True, exist_ok=True)
        (base / "ada" / name).write_text(text)
    git(base / "ada", "remote", "add", "origin", "../origin.git")
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org")):
        git(base / "ada", "config", key, value)
    repro(base / "ada")
    commit(base / "ada", "first")
    promote.promote(base / "ada", reason="the first")
    answered(base / "ada")
    return base


@pytest.fixture(scope="module")
def retrained(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after ADA was erased, and v1.0.1, trained without her, became champion."""
    base = Path(shutil.copytree(released, tmp_path_factory.mktemp("retrained") / "all"))
    root = base / "ada"
    erase.erase(root, [ADA], column="customer", reason="her wish")
    commit(root, "Erase")
    cycle.close(root, "3")
    commit(root, "Close")
    repro(root)
    commit(root, "Retrain")
    promote.promote(root, reason="without her")
    return base


@pytest.fixture
def root(released: Path, tmp_path: Path) -> Path:
    """A copy to change, before anybody was erased."""
    return Path(shutil.copytree(released, tmp_path / "all")) / "ada"


@pytest.fixture
def clean(retrained: Path, tmp_path: Path) -> Path:
    """A copy to change, in which only old versions still hold ADA."""
    return Path(shutil.copytree(retrained, tmp_path / "clean")) / "ada"


def answered(root: Path) -> None:
    """Answers, outcomes and an online store as the service and its verbs write them."""
    namespace: dict[str, Any] = {}
    exec(DATA, namespace)
    rows = namespace["read"]("1")
    cells = importlib.import_module(f"{OPS}.serving.tables").cells
    columns = {name: cells(column, CONTRACT.arrays(rows)[name]) for name, column in CONTRACT.request_columns.items()}
    given = {log.ID: log.new_ids(len(rows)), "at": [1.0] * len(rows), **columns}
    log.PredictionLog(root / log.FOLDER / "1.db").append(given, log.types(CONTRACT, []))
    log.record(root, rows)
    online.build(root / online.STORE, CONTRACT, {"visits": [namespace["lookup"]("visits", "1")]})


def traces(root: Path, word: str = ADA, below: str = "") -> list[str]:
    """The files of the project, its cache and its remote that hold a word; git's and the source itself left out."""
    skipped = (root / ".git", root / "data.py", root / "__pycache__", root.parent / "origin.git")
    files = (path for path in sorted((root.parent / below).rglob("*")) if path.is_file())
    searched = (path for path in files if not any(path.is_relative_to(part) for part in skipped))
    return [str(path.relative_to(root.parent)) for path in searched if word.encode() in path.read_bytes()]


def test_after_a_purge_no_byte_is_left_and_all_others_are_still_there(root: Path, clean: Path) -> None:
    before, after = " ".join(traces(root)), " ".join(traces(clean))
    places = ["cache/", "remote/", "data/raw", "data/checked", "evaluation", "predictions", "online.db", "outcomes.db"]
    assert [place for place in places if place in before] == places
    assert [place for place in places if place in after] == ["cache/", "remote/"]  # in old versions
    told = erase.erase(clean, [], purges=True)
    assert "erased in the record: tiny@v1.0.0" in told
    assert traces(clean) == []
    assert len(traces(clean, BOB)) > 10
    for folder in (".dvc/cache", "data", "models"):
        shutil.rmtree(clean / folder)
    run(clean, "dvc", "pull", "--quiet")
    assert not git(clean, "status", "--porcelain")
    assert len(pd.read_parquet(clean / "data/checked/period=1/rows.parquet")) == 4
    assert "erased in the record: no release" in erase.erase(clean, [], purges=True)


def test_an_erased_release_is_said_to_be_erased(clean: Path) -> None:
    erase.erase(clean, [], purges=True)
    told = "tiny@v1.0.0 was erased on"
    assert told in says(promote.rollback, clean, reason="it is worse")
    assert told in says(follow.fetch, clean, record.read(clean).releases[0])
    followed = follow.follow(clean)
    assert "v1.0.1" in followed and told in followed
    assert "deregistration" in run(clean, "gto", "history", "--json")
    bob = clone(clean, "bob")
    first = record.read(bob).releases[0]
    assert first.erased
    (bob / "var/models" / first.fingerprint).mkdir(parents=True)
    (bob / "var/models" / f"{first.fingerprint}.sig").touch()
    assert "v1.0.1" in follow.follow(bob)
    assert not [*(bob / "var/models").glob(f"{first.fingerprint}*")]


def test_what_is_in_service_is_retrained_first(root: Path) -> None:
    assert "retrain" in erase.erase(root, [ADA], column="customer")
    assert "Not committed: erased.csv" in says(erase.erase, root, [], purges=True)
    commit(root, "Erase")
    assert "ingest must run" in says(erase.erase, root, [], purges=True)
    assert "uv run mlops close 3" in status(root)
    repro(root)
    commit(root, "Retrain")
    kept = traces(root)
    told = says(erase.erase, root, [], purges=True)
    assert "tiny@v1.0.0 is champion and was trained on erased rows, to judge by its data; nothing was purged" in told
    assert traces(root) == kept and not git(root, "tag", "--list", "*!")
    cycle.close(root, "3")
    assert f"age: {cycle.OVERDUE}" in (root / "cycle.yaml").read_text()  # an equal model may replace it


def test_a_release_that_only_lies_beside_erased_rows_stays(clean: Path) -> None:
    cycle.close(clean, "4")  # dee is in period 4 alone, where models are measured but not trained
    commit(clean, "Close")
    repro(clean)
    commit(clean, "Train")
    promote.promote(clean)
    told = erase.erase(clean, ["dee"], column="customer")
    assert "v1.0.0 was trained" in told and "v1.0.2 was trained" not in told
    repro(clean)
    commit(clean, "Erase")
    assert len(traces(clean, "dee")) > 3
    assert "erased in the record: tiny@v1.0.0" in erase.erase(clean, [], purges=True)  # for ADA's sake
    assert traces(clean, "dee") == traces(clean) == []
    shutil.rmtree(clean / ".dvc/cache")
    shutil.rmtree(clean / "var/models")
    assert "v1.0.2" in follow.follow(clean)


def test_dvc_repro_forgets_in_everything_that_it_makes(root: Path) -> None:
    erase.erase(root, [ADA], column="customer")
    repro(root)
    assert traces(root, below="ada/data") == traces(root, below="ada/models") == []
    quarantine = pd.read_parquet(root / "data/checked/period=2/rows.quarantine.parquet")
    assert quarantine.empty
    (root / "cycle.yaml").write_text((root / "cycle.yaml").read_text().replace("'3'", "'4'"))
    shutil.rmtree(root / "data/raw/period=1")  # delivered again
    repro(root, "ingest", "validate")
    assert traces(root, below="ada/data") == []


def test_nothing_found_is_nothing_written(root: Path) -> None:
    before = (root / "erased.csv").read_bytes(), git(root, "status", "--porcelain")
    assert "Nothing was found for customer = nobody" in says(erase.erase, root, ["nobody"], column="customer")
    assert "no column 'custmer'" in says(erase.erase, root, [ADA], column="custmer")
    assert "is not customer, order" in says(erase.erase, root, [ADA])
    assert "names no key" in says(erase._columns, replace(CONTRACT, key=[]), None)
    assert "Nothing was ever erased" in says(erase.erase, root, [])
    assert ((root / "erased.csv").read_bytes(), git(root, "status", "--porcelain")) == before
    shutil.rmtree(root / "data")
    assert "uv run dvc pull" in says(erase.erase, root, ["nobody"], column="customer")


def test_ids_are_keys_values_or_lines_of_a_file(root: Path, tmp_path: Path) -> None:
    told = erase.erase(root, [f"{ADA},1", f"{BOB},99"])
    assert "1 tombstones" in told and f"Not found: {BOB},99" in told
    pd.DataFrame({"order": [2, 3], "customer": [BOB, "eve"]}).to_csv(tmp_path / "ids.csv")
    shutil.copy(tmp_path / "ids.csv", root)
    assert "where git would keep it" in says(erase.erase, root, [], root / "ids.csv")
    assert "2 tombstones" in erase.erase(root, [], tmp_path / "ids.csv")
    assert "0 tombstones written to erased.csv, 2 were there already" in erase.erase(root, [], tmp_path / "ids.csv")
    (first, *_), text = tombstones.read(root, CONTRACT).entries, (root / "erased.csv").read_text()
    assert (first.columns, first.periods) == (("customer", "order"), ("1",))
    assert ADA not in text and BOB not in text
    repro(root, "ingest")
    assert pd.read_parquet(root / "data/raw/period=1/rows.parquet")["customer"].tolist() == ["fay", "gil"]


def test_logs_are_wiped_while_the_service_writes_them(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = sqlite3.connect(root / log.FOLDER / "1.db", isolation_level=None)
    service.execute("PRAGMA journal_mode = WAL")
    service.execute(f"INSERT INTO predictions ({log.ID}, customer) VALUES ('x', '{ADA}')")
    assert "4 rows taken out" in erase.erase(root, [ADA], column="customer")
    assert traces(root, below="ada/var/predictions") == []
    service.execute(f"INSERT INTO predictions ({log.ID}, customer) VALUES ('y', 'hal')")
    assert service.execute("SELECT count(*) FROM predictions").fetchone() == (5,)
    monkeypatch.setattr(
        erase, "_opened", lambda path: closing(sqlite3.connect(path, timeout=0.1, isolation_level=None))
    )
    service.execute("BEGIN")
    service.execute("SELECT * FROM predictions").fetchone()
    assert "1.db still holds what was erased" in says(erase.erase, root, [BOB], column="customer")
    service.execute("COMMIT")
    assert "rows taken out" in erase.erase(root, [])
    assert traces(root, BOB, "ada/var/predictions") == []
    service.execute(f"INSERT INTO predictions ({log.ID}, customer) VALUES ('z', 'asked once')")
    assert "1 tombstones" in erase.erase(root, ["asked once"], column="customer")


KILLED = ["records.erase", "Objects.delete", "Objects.delete later", "shutil.rmtree", "_forget_runs"]


@pytest.mark.parametrize("step", KILLED)
def test_a_killed_purge_is_ended_by_the_next_one(clean: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(BaseException):
        pass

    owner, _, name = step.removesuffix(" later").rpartition(".")
    place: Any = {"": purge, "records": record, "Objects": purge.Objects, "shutil": purge.shutil}[owner]
    real, left = getattr(place, name), [7 if step.endswith("later") else 0]

    def killed(*given: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KilledError
        return real(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(place, name, killed)
        with pytest.raises(KilledError):
            erase.erase(clean, [], purges=True)
    erase.erase(clean, [], purges=True)
    assert traces(clean) == []
    assert git(clean, "ls-remote", "--tags", "--refs", "origin").count("tiny@v1.0.0!") == 1


def test_a_remote_that_is_away_stops_a_purge_and_only_blurs_the_list(clean: Path) -> None:
    kept = traces(clean)
    (clean.parent / "remote").rename(clean.parent / "gone")
    assert "remote here is not there" in says(erase.erase, clean, [], purges=True)
    assert "to judge by its periods" in erase.erase(clean, [])
    (clean.parent / "gone").rename(clean.parent / "remote")
    git(clean, "remote", "set-url", "origin", "../nowhere.git")
    assert "remote cannot be reached" in says(erase.erase, clean, [], purges=True)
    assert traces(clean) == kept and not git(clean, "tag", "--list", "*!")


def test_without_a_cache_the_remote_is_purged(clean: Path) -> None:
    shutil.rmtree(clean / ".dvc/cache")
    assert "to judge by its data" in erase.erase(clean, [])
    erase.erase(clean, [], purges=True)
    assert traces(clean) == []


def test_two_at_once_both_write(root: Path) -> None:
    threads = [
        threading.Thread(target=erase.erase, args=(root, [person]), kwargs={"column": "customer"})
        for person in (ADA, BOB, "eve")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tombstones.read(root, CONTRACT).entries) == 3


def test_a_value_is_spelled_the_same_wherever_it_comes_from(tmp_path: Path) -> None:
    moment = datetime(2025, 1, 1, 5, 15)
    frame = pd.DataFrame({"customer": ["a", None], "order": [7, 8], "asked": [moment, pd.NaT]})
    frame.to_parquet(tmp_path / "rows.parquet")
    (part,) = tombstones.parts(tmp_path / "rows.parquet", ["customer", "order", "asked"])
    spelled = [("a", "7.0", "2025-01-01T05:15:00"), ("", "8.0", "")]
    assert tombstones.texts(CONTRACT, frame, ["customer", "order", "asked"]) == spelled
    assert tombstones.texts(CONTRACT, part, ["customer", "order", "asked"]) == spelled
    typed = {"customer": "a", "order": "7", "asked": "2025-01-01 05:15"}
    assert tuple(tombstones.text(CONTRACT, *cell) for cell in typed.items()) == spelled[0]
    stone = tombstones.Tombstone("2025-01-01", ("customer", "asked"), ("1", "2"), "0f", "hash", 'why, "why"')
    assert tombstones.parsed(tombstones.written([stone])) == (stone,)
    (tmp_path / "erased.csv").write_text("half a li")
    assert "erased.csv is damaged" in says(tombstones.read, tmp_path, CONTRACT)


def test_the_online_store_is_built_without_erased_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {}
    exec(DATA, namespace)
    team = SimpleNamespace(contract=CONTRACT, data=SimpleNamespace(**namespace))
    monkeypatch.setattr(importlib.import_module(f"{OPS}.project"), "yours", lambda: team)
    hashed = tombstones.hashed((ADA,), "0f")
    stone = tombstones.Tombstone("2025-01-01", ("customer",), (), "0f", hashed, "")
    (tmp_path / "erased.csv").write_text(tombstones.written([stone]))
    online.refresh(tmp_path, ["1"])
    with sqlite3.connect(tmp_path / online.STORE) as database:
        assert database.execute("SELECT count(*) FROM visits").fetchone() == (4,)
    assert ADA.encode() not in (tmp_path / online.STORE).read_bytes()
