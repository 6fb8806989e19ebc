"""A place to play in: whatever is done there, nothing of the team's changes."""

import hashlib
import os
from pathlib import Path

import pytest

from clones import Clone
from mlgates.files import read_json
from mlgates.registry import deploy
from mlgates.registry.promote import promote
from mlgates.registry.sandbox import scratch
from mlgates.trust import keys, verify


def hashed(folder: Path) -> dict[str, str]:
    """Every file with its mode and bytes; what readers touch (DVC's temporary files, git's index) is left out."""
    files = {}
    for path in folder.rglob("*"):
        name = path.as_posix()
        if path.is_file() and "/.dvc/tmp/" not in name and "/.git/index" not in name:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            files[name] = f"{path.stat().st_mode} {content}"
    return files


def test_scratch_leaves_no_trace(reigning: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    (reigning.root / "mlflow.db").write_text("the team's")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    before, settings = hashed(reigning.around), dict(os.environ)
    with scratch(reigning.project) as project:
        copy = Clone(project)
        assert os.environ["MLOPS_ROOT"] == str(copy.root)
        assert "v1.0.0" in deploy.follow(project)
        copy.retrain(0.4, close="3")
        promote(project)
        assert copy.champion() == "v1.1.0"
        assert read_json(copy.root / "var/champion.json")["release"] == "v1.1.0"
        assert (copy.root / "mlflow.db").exists()
    assert not copy.root.exists()
    assert dict(os.environ) == settings
    assert hashed(reigning.around) == before


def test_a_play_signs_with_a_key_of_its_own(reigning: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.SETTING, str(reigning.around / "ada.pem"))
    keys.make(reigning.project)
    reigning.commit("my key")
    (reigning.around / "ada.pem").unlink()
    with scratch(reigning.project) as project:
        keys.ready(project)
        assert len(verify.keys(project)) == 2
        assert Clone(project).git("status", "--porcelain") == ""
    assert not (reigning.around / "ada.pem").exists()
