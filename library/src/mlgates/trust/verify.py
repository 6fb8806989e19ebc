"""Verify who signed a model: an OpenSSF signature beside its folder, made by somebody in `keys/`.

Who is trusted are the public keys and the identities of CI workflows in `keys/`.

This is checked before a model is unpickled, because loading a pickle runs whatever code its maker
put into it: see `trust.champion`.
"""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlgates.errors import ProjectError
from mlgates.files import read_yaml
from mlgates.layout import KEYS
from mlgates.project import Project

# Who certifies identities. With this file the library asks no server.
SIGSTORE = KEYS / "sigstore.json"
BEGIN = "To sign the champion: uv run mlops sign, then uv run mlops follow"
UNSIGNED = f"keys/ is empty, so unsigned models are accepted. {BEGIN}"
PUBLIC_KEY = ".pub"
IDENTITY_SUFFIXES = (".yaml", ".yml")  # a file that names who signs in CI without a key
MAX_CHARACTERS = 300  # of the library's own message


class Identity(BaseModel):
    """The content of a file in `keys/` that names who signs in CI without a key."""

    # Another name in the file may be a misspelled condition, so it is refused.
    model_config = ConfigDict(extra="forbid", strict=True)

    identity: str = Field(min_length=1)
    issuer: str = Field(min_length=1)


def trusted_keys(project: Project) -> list[Path]:
    """The public keys and identities that the team trusts.

    As long as there are none, models need not be signed.
    """
    return _files(project, (PUBLIC_KEY, *IDENTITY_SUFFIXES))


def identities(project: Project) -> list[Path]:
    """The identities among `keys`: they sign in CI without a key."""
    return _files(project, IDENTITY_SUFFIXES)


def _files(project: Project, suffixes: Sequence[str]) -> list[Path]:
    """The files in `keys/` with one of these suffixes."""
    return [path for path in sorted((project.root / KEYS).glob("*")) if path.suffix in suffixes]


def signature(folder: Path) -> Path:
    """Where a model's signature lies."""
    return folder.with_name(f"{folder.name}.sig")


def require_signature(project: Project, folder: Path, beside: Path | None = None) -> Path:
    """The folder of a model, once a trusted key or identity is known to have signed all its bytes.

    `beside` is the signature's file if it does not lie at its place yet.
    Raises: ProjectError `serving.signature`.
    """
    if not trusted_keys(project):
        return folder
    path = beside or signature(folder)
    model = folder.name[:8]
    if not path.exists() or not path.stat().st_size:
        raise ProjectError(f"serving.signature: the model {model} is not signed.", BEGIN)

    signer = "a key"
    suffixes: Sequence[str] = (PUBLIC_KEY,)
    # A signature by an identity carries its certificate; it cannot be verified by a key.
    if b'"certificate"' in path.read_bytes():
        signer = "an identity"
        suffixes = IDENTITY_SUFFIXES

    problems = []
    for key in _files(project, suffixes):
        try:
            _verifier(project, key).verify(folder, path)
        except Exception as error:  # the library raises whatever a damaged file leads to
            problems += _problems(error, key, model)
        else:
            return folder
    message = " ".join(problems)
    if not message:
        message = f"the model {model} is signed by {signer} that is not in keys/."
    raise ProjectError(
        f"serving.signature: {message}",
        f"The files in keys/ decide who is trusted; a commit changes them. {BEGIN}",
    )


def _problems(error: Exception, key: Path, model: str) -> list[str]:
    """Why a key or identity did not verify the signature: one sentence.

    No sentence if the signature is by another key: that is no problem, because one of the other
    trusted keys may have made it.
    """
    kind = type(error).__name__
    reason = shorten(str(error), MAX_CHARACTERS, placeholder=" ...")
    if reason.startswith("Signature mismatch"):
        return [f"{key.name} signed another model than {model}."]
    if key.suffix in IDENTITY_SUFFIXES:
        start = f"{key.name} does not verify the signature of the model {model}"
        return [f"{start}: {reason or kind}."]
    if reason.startswith("Key mismatch"):
        return []
    return [f"the signature of the model {model} or {key.name} is damaged ({kind})."]


def _verifier(project: Project, key: Path) -> Any:
    """What verifies signatures by a key, or by the identity that a file names.

    Raises: ValueError if that file is not what it must be.
    """
    from model_signing import verifying

    if key.suffix == PUBLIC_KEY:
        return verifying.Config().use_elliptic_key_verifier(public_key=key)
    try:
        trusted = Identity.model_validate(read_yaml(key))
    except ValidationError:
        message = "it must name an identity and its issuer, and nothing else"
        raise ValueError(message) from None
    return verifying.Config().use_sigstore_verifier(
        identity=trusted.identity,
        oidc_issuer=trusted.issuer,
        trust_config=project.root / SIGSTORE,
    )
