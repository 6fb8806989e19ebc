"""Where the private key may lie, when one is made, and who may sign."""

from pathlib import Path

import pytest

from clones import Clone, refusal
from mlgates.registry import deploy, releases
from mlgates.trust import keys, verify


def test_a_key_is_never_made_where_it_would_be_lost_or_found(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keys.SETTING, str(reigning.root / "signing.pem"))
    assert "must not lie in the repository" in refusal(keys.make, reigning.project)
    monkeypatch.delenv(keys.SETTING)
    monkeypatch.setenv("CI", "true")
    assert keys.SETTING in refusal(keys.make, reigning.project)
    assert not verify.trusted_keys(reigning.project)


def test_a_key_in_the_environment_itself_signs_from_the_projects_folder(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret of CI holds the key and not its path; `mlops promote` runs at the project's root."""
    project = reigning.project
    private = reigning.around / "ada.pem"
    monkeypatch.setenv(keys.SETTING, str(private))
    keys.make(project)
    folder = deploy.fetch(project, releases.read(project).releases[0])

    monkeypatch.setenv(keys.SETTING, private.read_text())
    monkeypatch.chdir(project.root)
    verify.signature(folder).write_text(keys.sign(project, folder))
    assert verify.require_signature(project, folder) == folder


def test_public_keys_of_people_with_one_name_have_files_of_their_own(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for number in range(3):
        monkeypatch.setenv(keys.SETTING, str(reigning.around / f"{number}.pem"))
        path, is_new = keys.make(reigning.project, "Ada L.")
        assert is_new
        names.append(path.name)
    assert names == ["ada-l.pub", "ada-l-2.pub", "ada-l-3.pub"]
    assert keys.make(reigning.project, "Ada L.") == (path, False)


def test_a_file_that_is_no_private_key_is_refused_in_a_sentence(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(reigning.around / "signing.pem")
    path.write_text("no key")
    monkeypatch.setenv(keys.SETTING, str(path))
    assert refusal(keys.make, reigning.project).startswith("The signing key cannot be read: ")


def test_a_ci_run_without_key_and_token_is_shown_both_ways_to_sign(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.trust(reigning.project, "https://github.com/ada/flights/.github/workflows/ct.yml@main")
    for name, value in {keys.SETTING: "", "CI": "true", "GITHUB_ACTIONS": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", raising=False)
    message = refusal(keys.require_trusted_key, reigning.project)
    assert "no key to sign with (GitHub: missing" in message
    assert keys.SETTING in message
    assert "--keyless" in message
