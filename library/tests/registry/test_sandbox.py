"""Throw-away clones: whatever is done there, nothing of the team's changes."""

import hashlib
import os
from pathlib import Path

import pytest

from clones import Clone
from mlgates import Project
from mlgates.errors import ProjectError
from mlgates.files import read_json
from mlgates.registry import deploy
from mlgates.registry.git import git
from mlgates.registry.promote import promote
from mlgates.registry.sandbox import _trust_own_key, cloned, scratch
from mlgates.trust import keys, verify


def hashed(folder: Path) -> dict[str, str]:
    """The mode and a hash of every file, without what readers touch.

    That is DVC's temporary files and git's index.
    """
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
    before = hashed(reigning.around)
    settings = dict(os.environ)
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


def test_a_throw_away_clone_signs_with_a_key_of_its_own(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keys.SETTING, str(reigning.around / "ada.pem"))
    keys.make(reigning.project)
    reigning.commit("my key")
    (reigning.around / "ada.pem").unlink()
    with scratch(reigning.project) as project:
        keys.require_trusted_key(project)
        assert len(verify.trusted_keys(project)) == 2
        assert Clone(project).git("status", "--porcelain") == ""
    assert not (reigning.around / "ada.pem").exists()


@pytest.fixture
def in_subfolder(tmp_path: Path) -> Project:
    """A project in a folder of a repository."""
    repository = tmp_path / "repository"
    (repository / "here/keys").mkdir(parents=True)
    (repository / "here/dvc.yaml").write_text("stages: {}\n")
    git(repository, "init", "--quiet", "--initial-branch=main")
    git(repository, "config", "user.name", "ada")
    git(repository, "config", "user.email", "ada@example.org")
    git(repository, "add", "-A")
    git(repository, "commit", "--quiet", "-m", "first")
    git(repository, "tag", "first")
    return Project(repository / "here", "tiny")


@pytest.mark.parametrize("commit", ["", "HEAD"])
def test_a_project_in_a_subfolder_is_cloned_with_it(in_subfolder: Project, commit: str) -> None:
    with cloned(in_subfolder, commit) as (work, base):
        assert (work.root / "dvc.yaml").exists()
        assert work.root.is_relative_to(base)
        assert os.environ["MLOPS_ROOT"] == str(work.root)


def test_the_key_of_a_clone_is_not_committed_in_a_subfolder_either(
    in_subfolder: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cloned(in_subfolder) as (work, base):
        monkeypatch.setenv(keys.SETTING, "")
        _trust_own_key(work, base)
        assert len(verify.trusted_keys(work)) == 1
        assert git(work.root, "status", "--porcelain") == ""


@pytest.mark.parametrize("commit", ["", "HEAD"])
def test_what_a_clone_pushes_does_not_reach_the_team(in_subfolder: Project, commit: str) -> None:
    before = git(in_subfolder.root, "for-each-ref")
    with cloned(in_subfolder, commit) as (work, _):
        git(work.root, "commit", "--quiet", "--allow-empty", "-m", "played")
        git(work.root, "tag", "--force", "first")
        refs = ["HEAD:refs/heads/played", "refs/tags/first"]
        git(work.root, "push", "--quiet", "--force", "origin", *refs)
    assert git(in_subfolder.root, "for-each-ref") == before


def test_a_clone_is_gone_after_an_error_too(in_subfolder: Project) -> None:
    settings = dict(os.environ)
    places = []

    def stopped() -> None:
        with cloned(in_subfolder) as (_, base):
            places.append(base)
            raise ProjectError("stop here")

    with pytest.raises(ProjectError, match="stop here"):
        stopped()
    assert not places[0].exists()
    assert dict(os.environ) == settings
