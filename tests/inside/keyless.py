"""CI signs without a key.

On the tiny project of the library's tests, with a stand-in for Sigstore beside this file.
"""

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from clones import Clone, refusal
from sigstore_standin import BEARER, GITHUB, StandIn, standing_in

from mlgates.files import read_json
from mlgates.registry import dvc_storage, releases
from mlgates.registry.deploy import fetch, follow
from mlgates.registry.promote import promote
from mlgates.trust import keys, verify

WORKFLOW = "ada/flights/.github/workflows/ct.yml@refs/heads/main"
IDENTITY = f"https://github.com/{WORKFLOW}"
pytestmark = pytest.mark.usefixtures("no_mlflow")


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """The stand-in, whose next token speaks for ct.yml on main."""
    with standing_in(WORKFLOW) as started:
        yield started


@pytest.fixture
def runner(ada: Clone, standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A CI run with a candidate to promote, no key, and a token to ask for.

    ct.yml on main is all that is trusted.
    """
    (ada.root / "keys").mkdir()
    (ada.root / verify.SIGSTORE).write_text(json.dumps(standin.trust_config()))
    assert keys.trust(ada.project, IDENTITY).name == "ct.yaml"
    ada.commit("ct.yml signs")
    # The remote is a folder of the tests, and would not be taken for one that lasts.
    monkeypatch.setattr(dvc_storage, "has_lasting_remote", lambda project: True)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{standin.url}/token?version=1")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", BEARER)
    monkeypatch.setenv(keys.SETTING, "")  # as GitHub gives a secret that does not exist
    return ada


@pytest.fixture
def service(
    runner: Clone, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Clone]:
    """`service()` is another machine, which reaches neither the stand-in nor the world."""

    def make(name: str = "bob") -> Clone:
        def refused(*_: object) -> None:
            raise AssertionError("verifying asked the network")

        monkeypatch.setattr(socket.socket, "connect", refused)
        monkeypatch.setattr(socket, "getaddrinfo", refused)
        monkeypatch.delenv("CI")
        return runner.clone(name)

    return make


def test_ci_signs_without_a_key_and_a_service_verifies_without_a_network(
    runner: Clone, service: Callable[..., Clone]
) -> None:
    assert "v1.0.0 is champion now" in promote(runner.project)
    assert not list((runner.root / "keys").glob("*.pub"))
    bob = service()
    assert "v1.0.0" in follow(bob.project)
    assignment = releases.read(bob.project).holder("champion")
    signed = json.loads(releases.signature(bob.project, assignment))
    assert {"certificate", "tlogEntries"} <= signed["verificationMaterial"].keys()
    assert assignment.release.version == "v1.0.0"
    assert read_json(bob.root / "var/champion.json")["release"] == "v1.0.0"
    print("signature", len(json.dumps(signed)), "bytes")


def test_another_workflow_is_refused_before_and_after_it_is_recorded(
    runner: Clone, standin: StandIn, service: Callable[..., Clone], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = WORKFLOW.replace("main", "mine")
    standin.workflow = other
    message = refusal(promote, runner.project)
    assert message.startswith(
        "serving.signature: ct.yaml does not verify the signature of the model"
    )
    assert WORKFLOW in message and other in message
    assert runner.champion() is None
    with monkeypatch.context() as patched:
        # Who may push tags need not be honest.
        patched.setattr(keys, "require_signature", lambda *_: None)
        patched.setattr(verify, "require_signature", lambda project, folder, beside=None: folder)
        promote(runner.project)
    assert runner.champion() == "v1.0.0"
    message = refusal(follow, service().project)
    assert message.startswith("serving.signature") and other in message


def _other(key: str, text: str) -> str:
    """A bundle in which one character of a value is another one."""
    before, name, value = text.partition(f'"{key}":')
    found = re.search("[1-8b-yB-Y](?=[0-9a-zA-Z])", value)
    assert name and found
    other = chr(ord(found[0]) + 1)
    return before + name + value[: found.start()] + other + value[found.end() :]


def test_each_damage_is_told(
    runner: Clone, standin: StandIn, service: Callable[..., Clone]
) -> None:
    promote(runner.project)
    bob = service()
    follow(bob.project)
    champion = releases.read(bob.project).holder("champion").release
    folder = bob.root / "var/models" / champion.fingerprint
    signature = verify.signature(folder)
    identity = bob.root / "keys/ct.yaml"
    config = bob.root / verify.SIGSTORE

    def message_if(path: Path, change: Callable[[str], str]) -> str:
        """How a damaged file is refused; the file is put back, and verifies again."""
        before = path.read_text()
        path.write_text(change(before))
        assert path.read_text() != before
        message: str = refusal(verify.require_signature, bob.project, folder)
        path.write_text(before)
        assert verify.require_signature(bob.project, folder) == folder
        assert message.startswith("serving.signature: ")
        return message

    message = message_if(folder / "model.txt", lambda text: text.replace("0.1", "0.2"))
    assert "ct.yaml signed another model" in message

    assert "DSSE" in message_if(signature, partial(_other, "sig"))
    assert "invalid root hash" in message_if(signature, partial(_other, "rootHash"))
    assert "promise" in message_if(signature, partial(_other, "signedEntryTimestamp"))
    assert "failed to load bundle" in message_if(signature, lambda text: text[:-9])

    message = message_if(identity, lambda text: text.replace("https://token", "x"))
    assert "does not match (got 'https://token" in message
    for wrong in ("issuer: ''", "isuer: x", f"issuer: {GITHUB}\nmore: 1", "- "):
        written = f"identity: {IDENTITY}\n{wrong}"
        assert "ct.yaml" in message_if(identity, partial(re.sub, "(?s).+", written))

    message = message_if(config, lambda text: text.replace("trustedRoot", "trustedrot"))
    assert "does not verify the signature" in message
    stranger = StandIn(WORKFLOW, url=standin.url).trust_config()
    message = message_if(config, lambda text: json.dumps(stranger))
    assert "does not verify the signature" in message
    config.unlink()
    assert "sigstore.json" in refusal(verify.require_signature, bob.project, folder)


def test_a_run_with_neither_key_nor_token_is_told_both_ways(
    runner: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    message = refusal(promote, runner.project)
    assert "no key to sign with (GitHub: missing or insufficient OIDC token permissions" in message
    assert keys.SETTING in message and "--keyless" in message
    monkeypatch.delenv("GITHUB_ACTIONS")
    message = refusal(promote, runner.project)
    assert message.startswith("This run has no key to sign with.") and "--keyless" in message
    assert runner.champion() is None


def test_a_sigstore_that_is_away_leaves_the_record_as_it_was(
    runner: Clone, standin: StandIn
) -> None:
    unreachable = StandIn(WORKFLOW, url="http://127.0.0.1:9").trust_config()
    (runner.root / verify.SIGSTORE).write_text(json.dumps(unreachable))
    runner.commit("Sigstore elsewhere")
    message = refusal(promote, runner.project)
    assert message.startswith("Sigstore did not sign: ")
    assert runner.champion() is None


def test_a_key_comes_before_an_identity(runner: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.SETTING, str(runner.around / "ada.pem"))
    assert "ada.pub was made" in refusal(promote, runner.project)
    runner.commit("my key")
    promote(runner.project)
    assignment = releases.read(runner.project).holder("champion")
    assert assignment and assignment.release
    assert "publicKey" in releases.signature(runner.project, assignment)
    private = Path(os.environ[keys.SETTING])
    monkeypatch.setenv(keys.SETTING, "")
    keys.private_key_path(runner.project).parent.mkdir(parents=True)
    private.rename(keys.private_key_path(runner.project))  # a runner of the team's own
    folder = fetch(runner.project, assignment.release)
    assert "publicKey" in keys.sign(runner.project, folder)
    keys.private_key_path(runner.project).unlink()
    assert "certificate" in keys.sign(runner.project, folder)
