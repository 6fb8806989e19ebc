"""Put into a project as tests/ops/test_keyless.py, beside the stand-in for Sigstore: CI signs without a key."""

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from sigstore_standin import BEARER, GITHUB, StandIn, standing_in
from test_registry import (
    ada,
    champion,
    clone,
    commit,
    environment,
    follow,
    known_periods,
    no_mlflow,
    promote,
    read_json,
    record,
    registry,
    says,
    signing,
    storage,
    trained,
)

FIXTURES = (environment, known_periods, no_mlflow, ada, trained)
WORKFLOW = "ada/flights/.github/workflows/ct.yml@refs/heads/main"
IDENTITY = f"https://github.com/{WORKFLOW}"
keys = registry["keys"]
pytestmark = pytest.mark.usefixtures("no_mlflow")


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """The stand-in, whose next token speaks for ct.yml on main."""
    with standing_in(WORKFLOW) as found:
        yield found


@pytest.fixture
def runner(ada: Path, standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CI run with a candidate to promote, no key, and a token to ask for; ct.yml on main is all that is trusted."""
    (ada / "keys").mkdir()
    (ada / signing.SIGSTORE).write_text(json.dumps(standin.trust_config()))
    assert keys.trust(ada, IDENTITY).name == "ct.yaml"
    commit(ada, "ct.yml signs")
    monkeypatch.setattr(storage, "lasting", lambda root: True)  # the remote is a folder of the tests
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
def service(runner: Path, standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`service()` is another machine, which reaches neither the stand-in nor the world."""

    def make(name: str = "bob") -> Path:
        def refused(*_: object) -> None:
            raise AssertionError("verifying asked the network")

        monkeypatch.setattr(socket.socket, "connect", refused)
        monkeypatch.setattr(socket, "getaddrinfo", refused)
        monkeypatch.delenv("CI")
        return Path(clone(runner, name))

    return make


def test_ci_signs_without_a_key_and_a_service_verifies_without_a_network(
    runner: Path, service: Callable[..., Path]
) -> None:
    assert "v1.0.0 is champion now" in promote(runner)
    assert not list((runner / "keys").glob("*.pub"))
    bob = service()
    assert "v1.0.0" in follow.follow(bob)
    held = record.read(bob).holder("champion")
    signed = json.loads(record.signature(bob, held))
    assert {"certificate", "tlogEntries"} <= signed["verificationMaterial"].keys()
    assert held.release.version == "v1.0.0" == read_json(bob / "var/champion.json")["release"]
    print("signature", len(json.dumps(signed)), "bytes")


def test_another_workflow_is_refused_before_and_after_it_is_recorded(
    runner: Path, standin: StandIn, service: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = WORKFLOW.replace("main", "mine")
    standin.workflow = other
    told = says(promote, runner)
    assert told.startswith("serving.signature: ct.yaml does not vouch for the model")
    assert WORKFLOW in told and other in told
    assert champion(runner) is None
    with monkeypatch.context() as patched:
        patched.setattr(keys, "signed", lambda *_: None)  # whoever may push tags need not be honest
        promote_unasked = signing.signed
        patched.setattr(signing, "signed", lambda root, folder, beside=None: folder)
        promote(runner)
        patched.setattr(signing, "signed", promote_unasked)
    assert champion(runner) == "v1.0.0"
    told = says(follow.follow, service())
    assert told.startswith("serving.signature") and other in told


def _other(key: str, text: str) -> str:
    """A bundle in which one character of a value is another one."""
    first, middle, last = text.partition(f'"{key}":')
    at = re.search("[1-8b-yB-Y](?=[0-9a-zA-Z])", last)
    assert middle and at
    return first + middle + last[: at.start()] + chr(ord(at[0]) + 1) + last[at.end() :]


def test_each_damage_is_told(runner: Path, standin: StandIn, service: Callable[..., Path]) -> None:
    promote(runner)
    bob = service()
    follow.follow(bob)
    folder = bob / "var/models" / record.read(bob).holder("champion").release.fingerprint
    beside, identity, config = signing.signature(folder), bob / "keys/ct.yaml", bob / signing.SIGSTORE

    def told_if(path: Path, change: Callable[[str], str]) -> str:
        before = path.read_text()
        path.write_text(change(before))
        assert path.read_text() != before
        told: str = says(signing.signed, bob, folder)
        path.write_text(before)
        assert signing.signed(bob, folder) == folder and told.startswith("serving.signature: ")
        return told

    assert "ct.yaml signed another model" in told_if(folder / "model.txt", lambda text: text.replace("0.1", "0.2"))
    for key, said in {"sig": "DSSE", "rootHash": "invalid root hash", "signedEntryTimestamp": "promise"}.items():
        assert said in told_if(beside, partial(_other, key))
    assert "failed to load bundle" in told_if(beside, lambda text: text[:-9])
    assert "does not match (got 'https://token" in told_if(identity, lambda text: text.replace("https://token", "x"))
    for wrong in ("issuer: ''", "isuer: x", f"issuer: {GITHUB}\nmore: 1", "- "):
        written = f"identity: {IDENTITY}\n{wrong}"
        assert "ct.yaml" in told_if(identity, partial(re.sub, "(?s).+", written))
    assert "does not vouch" in told_if(config, lambda text: text.replace("trustedRoot", "trustedrot"))
    stranger = StandIn(WORKFLOW, url=standin.url).trust_config()
    assert "does not vouch" in told_if(config, lambda text: json.dumps(stranger))
    config.unlink()
    assert "sigstore.json" in says(signing.signed, bob, folder)


def test_a_run_with_neither_key_nor_token_is_told_both_ways(runner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    told = says(promote, runner)
    assert "no key to sign with (GitHub: missing or insufficient OIDC token permissions" in told
    assert keys.SETTING in told and "--keyless" in told
    monkeypatch.delenv("GITHUB_ACTIONS")
    told = says(promote, runner)
    assert told.startswith("This run has no key to sign with.") and "--keyless" in told
    assert champion(runner) is None


def test_a_sigstore_that_is_away_leaves_the_record_as_it_was(runner: Path, standin: StandIn) -> None:
    (runner / signing.SIGSTORE).write_text(json.dumps(StandIn(WORKFLOW, url="http://127.0.0.1:9").trust_config()))
    commit(runner, "Sigstore elsewhere")
    told = says(promote, runner)
    assert told.startswith("Sigstore did not sign: ")
    assert champion(runner) is None


def test_a_key_comes_before_an_identity(runner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.SETTING, str(runner.parent / "ada.pem"))
    assert "ada.pub was made" in says(promote, runner)
    commit(runner, "my key")
    promote(runner)
    assert "publicKey" in record.signature(runner, record.read(runner).holder("champion"))
    private = Path(os.environ[keys.SETTING])
    monkeypatch.setenv(keys.SETTING, "")
    keys.place(runner).parent.mkdir(parents=True)
    private.rename(keys.place(runner))  # a runner of the team's own
    folder = follow.fetch(runner, record.read(runner).releases[0])
    assert "publicKey" in keys.sign(runner, folder)
    keys.place(runner).unlink()
    assert "certificate" in keys.sign(runner, folder)
