"""A signature is verified by the keys and identities that the team trusts, and by nothing else."""

from pathlib import Path

import pytest

from clones import Clone, refusal
from mlgates import Project
from mlgates.registry import deploy, releases
from mlgates.trust import keys, verify

IDENTITY = "https://github.com/ada/flights/.github/workflows/ct.yml@refs/heads/main"
BY_AN_IDENTITY = '{"certificate": "forged"}'


@pytest.fixture
def signed(reigning: Clone, monkeypatch: pytest.MonkeyPatch) -> tuple[Project, Path]:
    """A project that trusts Ada's key and the workflow ct.yml, and its model, signed by Ada."""
    project = reigning.project
    monkeypatch.setenv(keys.SETTING, str(reigning.around / "ada.pem"))
    keys.make(project)
    keys.trust(project, IDENTITY)
    folder = deploy.fetch(project, releases.read(project).releases[0])
    verify.signature(folder).write_text(keys.sign(project, folder))
    return project, folder


def test_a_trusted_key_verifies_what_it_signed(signed: tuple[Project, Path]) -> None:
    project, folder = signed
    assert verify.require_signature(project, folder) == folder
    (folder / "more.txt").write_text("another byte")
    assert "ada.pub signed another model" in refusal(verify.require_signature, project, folder)


def test_a_key_that_is_not_in_keys_is_not_trusted(signed: tuple[Project, Path]) -> None:
    project, folder = signed
    (project.root / "keys/ada.pub").unlink()
    assert "a key that is not in keys/" in refusal(verify.require_signature, project, folder)


def test_a_damaged_signature_is_refused(signed: tuple[Project, Path]) -> None:
    project, folder = signed
    signature = verify.signature(folder)
    signature.write_text(signature.read_text()[:-9])
    assert "ada.pub is damaged" in refusal(verify.require_signature, project, folder)
    signature.write_text("")
    assert "is not signed" in refusal(verify.require_signature, project, folder)
    signature.unlink()
    assert "is not signed" in refusal(verify.require_signature, project, folder)


def test_an_identity_that_did_not_sign_verifies_nothing(signed: tuple[Project, Path]) -> None:
    project, folder = signed
    verify.signature(folder).write_text(BY_AN_IDENTITY)
    message = refusal(verify.require_signature, project, folder)
    assert "ct.yaml does not verify the signature" in message
    (project.root / "keys/ct.yaml").unlink()
    assert "an identity that is not in keys/" in refusal(verify.require_signature, project, folder)


@pytest.mark.parametrize(
    "content",
    [
        f"identity: {IDENTITY}\nissuer: ''\n",
        f"identity: {IDENTITY}\n",
        f"identity: {IDENTITY}\nissuer: 7\n",
        f"identity: {IDENTITY}\nissuer: https://a.org\nbranch: main\n",
        "- no names\n",
    ],
)
def test_an_identity_is_trusted_only_with_its_issuer_and_nothing_else(
    signed: tuple[Project, Path], content: str
) -> None:
    project, folder = signed
    (project.root / "keys/ct.yaml").unlink()
    (project.root / "keys/ct.yml").write_text(content)
    verify.signature(folder).write_text(BY_AN_IDENTITY)
    assert "an identity and its issuer" in refusal(verify.require_signature, project, folder)


def test_without_trusted_keys_a_model_need_not_be_signed(signed: tuple[Project, Path]) -> None:
    project, folder = signed
    for path in verify.trusted_keys(project):
        path.unlink()
    verify.signature(folder).unlink()
    assert verify.require_signature(project, folder) == folder
