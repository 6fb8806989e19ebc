"""From the first key on, whom the team trusts must sign; before, nobody needs to."""

from dataclasses import replace

import pytest

from clones import Clone, refusal
from mlgates.registry import deploy, releases
from mlgates.registry.promote import promote
from mlgates.trust import keys, verify
from mlgates.trust.sign import sign


@pytest.mark.usefixtures("no_mlflow")
def test_from_the_first_key_on_whom_the_team_trusts_must_sign(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, private = reigning.project, reigning.around / "home/ada.pem"
    monkeypatch.setenv(keys.SETTING, str(private))
    assert verify.UNSIGNED in promote(project)
    assert not private.exists()
    unassigned = replace(releases.read(project), assignments=())
    (release,) = unassigned.releases
    assert deploy.bring(project, unassigned, release).exists()
    assert "keys/ada.pub is your public key: commit it" in sign(project)
    assert private.stat().st_mode & 0o777 == 0o600
    assert keys.make(project) == (reigning.root / "keys/ada.pub", False)

    reigning.commit("my key")
    assert "nobody signed" in refusal(deploy.follow, project)
    assert "nobody signed" in refusal(deploy.bring, project, unassigned, release)
    assert "signed by you" in sign(project)
    assert "signed by you" not in sign(project)
    assert "is champion since" in promote(project)

    bob = reigning.clone("bob")
    assert "v1.0.0" in deploy.follow(bob.project)
    monkeypatch.setenv(keys.SETTING, str(bob.around / "bob.pem"))
    assert "keys/bob.pub was made" in refusal(promote, bob.project)
    assert "Not committed: keys" in refusal(promote, bob.project)
    record, served = releases.read(bob.project), (reigning.root / "var/champion.json").read_text()
    (release,) = record.releases
    signed = keys.sign(bob.project, deploy.fetch(bob.project, release))
    releases.write(bob.project, record, release, "champion", "he trusts himself", signed=signed)
    assert "a key that is not in keys/" in refusal(deploy.follow, project)
    assert (reigning.root / "var/champion.json").read_text() == served
    monkeypatch.setenv(keys.SETTING, private.read_text())
    assert "signed by you" in sign(project)
    assert "v1.0.0" in deploy.follow(project)


def test_an_identity_is_trusted_offline_and_only_with_its_issuer(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sigstore.models import ClientTrustConfig

    project = reigning.project
    identity = "https://github.com/ada/flights/.github/workflows/ct.yml@refs/heads/main"
    monkeypatch.setenv(keys.SETTING, str(reigning.around / "ada.pem"))
    assert "keys/ct.yaml trusts it, keys/sigstore.json says who" in sign(project, keyless=identity)
    trusted = ClientTrustConfig.from_json((reigning.root / verify.SIGSTORE).read_text())
    assert trusted.trusted_root.get_fulcio_certs()
    assert verify.keys(project) == [reigning.root / "keys/ada.pub", reigning.root / "keys/ct.yaml"]

    folder = deploy.fetch(project, releases.read(project).releases[0])
    signature = verify.signature(folder)
    signature.write_text(keys.sign(project, folder))
    assert verify.signed(project, folder) == folder
    (reigning.root / "keys/ada.pub").unlink()
    assert "a key that is not in keys/" in refusal(verify.signed, project, folder)
    signature.write_text('{"certificate": "forged"}')
    assert "ct.yaml does not vouch" in refusal(verify.signed, project, folder)
    (reigning.root / "keys/ct.yaml").unlink()
    (reigning.root / "keys/ct.yml").write_text(f"identity: {identity}\nissuer: ''\n")
    signature.write_text('{"certificate": "forged"}')
    assert "an identity and its issuer" in refusal(verify.signed, project, folder)

    for name, value in {keys.SETTING: "", "CI": "true", "GITHUB_ACTIONS": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", raising=False)
    message = refusal(keys.ready, project)
    assert "no key to sign with (GitHub: missing" in message
    assert keys.SETTING in message
    assert "--keyless" in message
