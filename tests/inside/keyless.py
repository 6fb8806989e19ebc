"""CI signs without a key, on the tiny project of the library's tests, with a stand-in for Sigstore beside this file."""

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
    with standing_in(WORKFLOW) as found:
        yield found


@pytest.fixture
def runner(ada: Clone, standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A CI run with a candidate to promote, no key, and a token to ask for; ct.yml on main is all that is trusted."""
    (ada.root / "keys").mkdir()
    (ada.root / verify.SIGSTORE).write_text(json.dumps(standin.trust_config()))
    assert keys.trust(ada.project, IDENTITY).name == "ct.yaml"
    ada.commit("ct.yml signs")
    monkeypatch.setattr(
        dvc_storage, "lasting", lambda project: True
    )  # the remote is a folder of the tests
    for name, value in {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{standin.url}/token?version=1",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": BEARER,
        keys.SETTING: "",  # as GitHub gives a secret that there is not
    }.items():
        monkeypatch.setenv(name, value)
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
    held = releases.read(bob.project).holder("champion")
    signed = json.loads(releases.signature(bob.project, held))
    assert {"certificate", "tlogEntries"} <= signed["verificationMaterial"].keys()
    assert held.release.version == "v1.0.0" == read_json(bob.root / "var/champion.json")["release"]
    print("signature", len(json.dumps(signed)), "bytes")


def test_another_workflow_is_refused_before_and_after_it_is_recorded(
    runner: Clone, standin: StandIn, service: Callable[..., Clone], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = WORKFLOW.replace("main", "mine")
    standin.workflow = other
    told = refusal(promote, runner.project)
    assert told.startswith("serving.signature: ct.yaml does not vouch for the model")
    assert WORKFLOW in told and other in told
    assert runner.champion() is None
    with monkeypatch.context() as patched:
        patched.setattr(keys, "signed", lambda *_: None)  # whoever may push tags need not be honest
        patched.setattr(verify, "signed", lambda project, folder, beside=None: folder)
        promote(runner.project)
    assert runner.champion() == "v1.0.0"
    told = refusal(follow, service().project)
    assert told.startswith("serving.signature") and other in told


def _other(key: str, text: str) -> str:
    """A bundle in which one character of a value is another one."""
    first, middle, last = text.partition(f'"{key}":')
    at = re.search("[1-8b-yB-Y](?=[0-9a-zA-Z])", last)
    assert middle and at
    return first + middle + last[: at.start()] + chr(ord(at[0]) + 1) + last[at.end() :]


def test_each_damage_is_told(
    runner: Clone, standin: StandIn, service: Callable[..., Clone]
) -> None:
    promote(runner.project)
    bob = service()
    follow(bob.project)
    folder = (
        bob.root / "var/models" / releases.read(bob.project).holder("champion").release.fingerprint
    )
    beside, identity, config = (
        verify.signature(folder),
        bob.root / "keys/ct.yaml",
        bob.root / verify.SIGSTORE,
    )

    def told_if(path: Path, change: Callable[[str], str]) -> str:
        before = path.read_text()
        path.write_text(change(before))
        assert path.read_text() != before
        told: str = refusal(verify.signed, bob.project, folder)
        path.write_text(before)
        assert verify.signed(bob.project, folder) == folder and told.startswith(
            "serving.signature: "
        )
        return told

    assert "ct.yaml signed another model" in told_if(
        folder / "model.txt", lambda text: text.replace("0.1", "0.2")
    )
    for key, said in {
        "sig": "DSSE",
        "rootHash": "invalid root hash",
        "signedEntryTimestamp": "promise",
    }.items():
        assert said in told_if(beside, partial(_other, key))
    assert "failed to load bundle" in told_if(beside, lambda text: text[:-9])
    assert "does not match (got 'https://token" in told_if(
        identity, lambda text: text.replace("https://token", "x")
    )
    for wrong in ("issuer: ''", "isuer: x", f"issuer: {GITHUB}\nmore: 1", "- "):
        written = f"identity: {IDENTITY}\n{wrong}"
        assert "ct.yaml" in told_if(identity, partial(re.sub, "(?s).+", written))
    assert "does not vouch" in told_if(
        config, lambda text: text.replace("trustedRoot", "trustedrot")
    )
    stranger = StandIn(WORKFLOW, url=standin.url).trust_config()
    assert "does not vouch" in told_if(config, lambda text: json.dumps(stranger))
    config.unlink()
    assert "sigstore.json" in refusal(verify.signed, bob.project, folder)


def test_a_run_with_neither_key_nor_token_is_told_both_ways(
    runner: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    told = refusal(promote, runner.project)
    assert "no key to sign with (GitHub: missing or inconclusive OIDC token permissions" in told
    assert keys.SETTING in told and "--keyless" in told
    monkeypatch.delenv("GITHUB_ACTIONS")
    told = refusal(promote, runner.project)
    assert told.startswith("This run has no key to sign with.") and "--keyless" in told
    assert runner.champion() is None


def test_a_sigstore_that_is_away_leaves_the_record_as_it_was(
    runner: Clone, standin: StandIn
) -> None:
    (runner.root / verify.SIGSTORE).write_text(
        json.dumps(StandIn(WORKFLOW, url="http://127.0.0.1:9").trust_config())
    )
    runner.commit("Sigstore elsewhere")
    told = refusal(promote, runner.project)
    assert told.startswith("Sigstore did not sign: ")
    assert runner.champion() is None


def test_a_key_comes_before_an_identity(runner: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.SETTING, str(runner.around / "ada.pem"))
    assert "ada.pub was made" in refusal(promote, runner.project)
    runner.commit("my key")
    promote(runner.project)
    held = releases.read(runner.project).holder("champion")
    assert held and held.release and "publicKey" in releases.signature(runner.project, held)
    private = Path(os.environ[keys.SETTING])
    monkeypatch.setenv(keys.SETTING, "")
    keys.place(runner.project).parent.mkdir(parents=True)
    private.rename(keys.place(runner.project))  # a runner of the team's own
    folder = fetch(runner.project, held.release)
    assert "publicKey" in keys.sign(runner.project, folder)
    keys.place(runner.project).unlink()
    assert "certificate" in keys.sign(runner.project, folder)
