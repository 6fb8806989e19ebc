"""From the first key on, somebody whom the team trusts must sign; before that nobody needs to."""

from dataclasses import replace
from pathlib import Path

import pytest

from clones import Clone, refusal
from mlgates.registry import deploy, releases
from mlgates.registry.promote import promote
from mlgates.registry.releases import Record
from mlgates.trust import keys, verify
from mlgates.trust.sign import sign

IDENTITY = "https://github.com/ada/flights/.github/workflows/ct.yml@refs/heads/main"


@pytest.fixture
def private(reigning: Clone, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Ada's private key will lie."""
    path = reigning.around / "home/ada.pem"
    monkeypatch.setenv(keys.SETTING, str(path))
    return path


@pytest.fixture
def signing(reigning: Clone, private: Path) -> Clone:
    """A team whose champion Ada has signed; hers is the only trusted key."""
    sign(reigning.project)
    reigning.commit("my key")
    sign(reigning.project)
    return reigning


def never_assigned(record: Record) -> Record:
    """The record as if no release had ever had an alias, so that there is no signature either."""
    return replace(record, assignments=())


@pytest.mark.usefixtures("no_mlflow")
def test_without_a_key_nothing_is_signed_and_the_user_is_shown_how(
    reigning: Clone, private: Path
) -> None:
    project = reigning.project
    assert verify.UNSIGNED in promote(project)
    assert not private.exists()
    record = never_assigned(releases.read(project))
    (release,) = record.releases
    assert deploy.fetch_signed(project, record, release).exists()


@pytest.mark.usefixtures("no_mlflow")
def test_from_the_first_key_on_the_champion_must_be_signed(reigning: Clone, private: Path) -> None:
    project = reigning.project
    assert "keys/ada.pub is your public key: commit it" in sign(project)
    assert private.stat().st_mode & 0o777 == 0o600
    assert keys.make(project) == (reigning.root / "keys/ada.pub", False)

    reigning.commit("my key")
    assert "is not signed" in refusal(deploy.follow, project)
    record = never_assigned(releases.read(project))
    (release,) = record.releases
    assert "is not signed" in refusal(deploy.fetch_signed, project, record, release)
    assert "signed by you" in sign(project)
    assert "signed by you" not in sign(project)
    assert "is champion since" in promote(project)


@pytest.mark.usefixtures("no_mlflow")
def test_somebody_whose_key_is_not_merged_can_follow_but_not_promote(
    signing: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = signing.clone("bob")
    assert "v1.0.0" in deploy.follow(bob.project)
    monkeypatch.setenv(keys.SETTING, str(bob.around / "bob.pem"))
    assert "keys/bob.pub was made" in refusal(promote, bob.project)
    assert "Not committed: keys" in refusal(promote, bob.project)


@pytest.mark.usefixtures("no_mlflow")
def test_a_model_that_somebody_else_signed_is_not_served_until_it_is_signed_again(
    signing: Clone, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = signing.project
    deploy.follow(project)
    served = (signing.root / "var/champion.json").read_text()
    bob = signing.clone("bob")
    monkeypatch.setenv(keys.SETTING, str(bob.around / "bob.pem"))
    keys.make(bob.project)  # on his machine alone: the team has not merged it

    record = releases.read(bob.project)
    (release,) = record.releases
    signature = keys.sign(bob.project, deploy.fetch(bob.project, release))
    releases.write(bob.project, record, release, "champion", "he trusts himself", signed=signature)
    assert "a key that is not in keys/" in refusal(deploy.follow, project)
    assert (signing.root / "var/champion.json").read_text() == served

    monkeypatch.setenv(keys.SETTING, private.read_text())
    assert "signed by you" in sign(project)
    assert "v1.0.0" in deploy.follow(project)


@pytest.mark.usefixtures("private")
def test_an_identity_is_trusted_by_two_files_that_need_no_network(reigning: Clone) -> None:
    from sigstore.models import ClientTrustConfig

    project = reigning.project
    message = sign(project, keyless=IDENTITY)
    assert "keys/ct.yaml trusts it, keys/sigstore.json says who" in message
    trusted = ClientTrustConfig.from_json((reigning.root / verify.SIGSTORE).read_text())
    assert trusted.trusted_root.get_fulcio_certs()
    assert verify.trusted_keys(project) == [
        reigning.root / "keys/ada.pub",
        reigning.root / "keys/ct.yaml",
    ]
