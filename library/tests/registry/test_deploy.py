"""`mlops follow`: a machine takes the recorded champion, from git and the DVC remote alone."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from clones import Clone, refusal
from mlgates import Project
from mlgates.files import digest, read_json, write_json
from mlgates.registry import deploy
from mlgates.registry.promote import promote
from mlgates.registry.releases import Release
from mlgates.trust import keys
from mlgates.trust.sign import sign


def test_a_fresh_clone_follows_with_nothing_pulled(reigning: Clone) -> None:
    bob = reigning.clone("bob", "--depth", "1")
    assert "v1.0.0" in deploy.follow(bob.project)
    assert (bob.root / "var/online.db").exists()
    pointer = bob.root / "var/champion.json"
    assert read_json(pointer) == read_json(reigning.root / "var/champion.json")
    model = bob.root / "var/models" / read_json(pointer)["fingerprint"]
    (model / "strange.txt").touch()
    assert "v1.0.0" in deploy.follow(bob.project)
    assert not (model / "strange.txt").exists()


def test_a_model_that_lies_here_whole_is_not_fetched(reigning: Clone) -> None:
    bob = reigning.clone("bob", "--depth", "1")
    (reigning.around / "remote").rename(reigning.around / "gone")
    assert "neither here nor in the DVC remote" in refusal(deploy.follow, bob.project)
    assert not (bob.root / "var/champion.json").exists()
    shutil.rmtree(reigning.root / ".dvc/cache")
    assert "v1.0.0" in deploy.follow(reigning.project)


@pytest.mark.usefixtures("no_mlflow")
def test_a_champion_to_beat_that_is_not_signed_stops_no_service(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keys.SETTING, str(reigning.around / "home/ada.pem"))
    reigning.retrain(0.2, close="2")
    promote(reigning.project)
    sign(reigning.project)
    reigning.commit("my key")
    assert "signed by you" in sign(reigning.project)
    bob = reigning.clone("bob")
    message = deploy.follow(bob.project)
    assert "before" not in read_json(bob.root / "var/champion.json")
    assert "v1.1.0, champion since" in message
    assert "is not signed" in message
    assert "mlops close 2" in message


@pytest.mark.parametrize(
    ("until", "checked", "expected"),
    [
        ("'2'", False, ["1", "2", "3"]),
        ("'2'", True, ["3"]),
        ("null", True, ["1", "2", "3"]),
    ],
)
def test_look_ups_of_open_periods_come_from_data_py(
    tmp_path: Path, until: str, checked: bool, expected: list[str]
) -> None:
    data = ModuleType("data")
    data.periods = lambda: ["1", "2", "3"]  # type: ignore[attr-defined]
    cycle = f"until: {until}\nchampion: null\nrelease: null\nage: 0\n"
    (tmp_path / "cycle.yaml").write_text(cycle)
    if checked:
        (tmp_path / "data/checked/period=1").mkdir(parents=True)
    assert deploy.open_periods(Project(tmp_path, "tiny", {"data": data})) == expected


def test_a_model_that_reads_what_is_barred_by_now_is_not_usable(empty: Project) -> None:
    folder = empty.root / "var/models/f"
    write_json(folder / "features.json", {"columns": [empty.contract.outcome.name]})
    when = datetime(2025, 1, 1, tzinfo=UTC)
    release = Release("tiny", "v1.0.0", "f", digest(folder), "", "ok", "", "Ada", when)
    message = refusal(deploy.fetch_servable, empty, release)
    assert "features.forbidden: the stored model reads" in message
