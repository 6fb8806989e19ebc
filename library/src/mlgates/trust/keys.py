"""Sign a model with the key of the acting person, or with the identity of a CI run.

The private key is made on first use and stays outside of the repository. Its public half goes to
`keys/`. A CI run that has no key signs with its identity (Sigstore), if the team trusts that.
"""

import json
import os
import re
from pathlib import Path, PurePosixPath
from textwrap import shorten
from typing import TYPE_CHECKING

import yaml

from mlgates.errors import ProjectError
from mlgates.files import atomic, temporary_folder, write_json, write_text
from mlgates.layout import KEYS
from mlgates.model_folder import IGNORED
from mlgates.project import Project
from mlgates.registry.git import identity
from mlgates.trust.verify import (
    IDENTITY_SUFFIXES,
    MAX_CHARACTERS,
    PUBLIC_KEY,
    SIGSTORE,
    identities,
    require_signature,
    trusted_keys,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from model_signing import signing

SETTING = "MLOPS_SIGNING_KEY"  # the private key itself (a secret of CI), or the path of its file
GITHUB = "https://token.actions.githubusercontent.com"
NO_KEY = "This run has no key to sign with"
EITHER = (
    f"Make a key for it at home, commit its public half, and store it as the secret {SETTING}."
    " Or trust its identity: uv run mlops sign --keyless IDENTITY"
)
HANDBOOK = f"See {SETTING} in docs/handbook.md"


def private_key_path(project: Project) -> Path:
    """The file of the private key. Raises: ProjectError if it is inside the repository."""
    setting = os.environ.get(SETTING)
    if setting:
        path = Path(setting)
    else:
        folder = project.package.replace("_", "-")
        path = Path.home() / ".config" / folder / "signing.pem"
    if path.resolve().is_relative_to(project.root.resolve()):
        raise ProjectError(
            "The private key must not lie in the repository.", f"Name another place: {SETTING}"
        )
    return path


def _key_in_environment() -> str:
    """The private key, if the environment holds the key itself and not its path."""
    setting = os.environ.get(SETTING, "")
    return setting if setting.startswith("-----BEGIN") else ""


def _is_ci_without_key() -> bool:
    """Whether this is a CI run to which no key was given."""
    return bool(os.environ.get("CI")) and not os.environ.get(SETTING)


def _private(project: Project) -> "EllipticCurvePrivateKey":
    """The private key, made if there is none.

    Raises: ProjectError as `_private_file`, or if the key is damaged.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    content = _key_in_environment().encode() or _private_file(project).read_bytes()
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise ProjectError(f"The signing key cannot be read: {error}", HANDBOOK) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ProjectError("The signing key must be of an elliptic curve.", HANDBOOK)
    return key


def _private_file(project: Project) -> Path:
    """The file of the private key, made if it does not exist.

    Raises: ProjectError as `place`, or if there is no key and this is a CI run: its machine is
    thrown away, and a new key with it.
    """
    path = private_key_path(project)
    if path.exists():
        return path
    if _is_ci_without_key():
        raise ProjectError(f"{NO_KEY}.", EITHER)
    _write_private(path)
    return path


def _write_private(path: Path) -> None:
    """Make a private key that only this user can read."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    content = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic(path) as temporary:
        # The file has its mode from the start: at no moment can others read it.
        descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)


def make(project: Project, who: str = "") -> tuple[Path, bool]:
    """The public half of the acting person's key in `keys/`, and whether it was just put there.

    The file is named after `who`, by default after the name that git knows.
    """
    from cryptography.hazmat.primitives import serialization

    public = (
        _private(project)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    for path in trusted_keys(project):
        if path.read_text(encoding="utf-8").strip() == public.strip():
            return path, False

    name = who or identity(project.root)[0]
    slug = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "key"
    path = _free_path(project.root / KEYS, slug)
    write_text(path, public)
    return path, True


def _free_path(folder: Path, slug: str) -> Path:
    """The first of SLUG.pub, SLUG-2.pub, SLUG-3.pub ... that does not exist yet."""
    path = folder / f"{slug}{PUBLIC_KEY}"
    number = 2
    while path.exists():
        path = folder / f"{slug}-{number}{PUBLIC_KEY}"
        number += 1
    return path


def trust(project: Project, identity: str, issuer: str = GITHUB) -> Path:
    """Write `keys/NAME.yaml`, by which the team trusts what CI signs as `identity`.

    It is named after the workflow. `keys/sigstore.json` is written too unless it exists: a copy of
    what the installed sigstore knows about the public Sigstore.
    """
    if not (project.root / SIGSTORE).exists():
        _write_public_sigstore(project)
    workflow = PurePosixPath(identity.partition("@")[0]).stem
    path = project.root / KEYS / f"{workflow}{IDENTITY_SUFFIXES[0]}"
    write_text(path, yaml.safe_dump({"identity": identity, "issuer": issuer}))
    return path


def _write_public_sigstore(project: Project) -> None:
    """Write `keys/sigstore.json`: the keys and addresses of the public Sigstore."""
    from sigstore._internal.tuf import DEFAULT_TUF_URL
    from sigstore._utils import read_embedded
    from sigstore.models import ClientTrustConfig

    content = {"mediaType": ClientTrustConfig.ClientTrustConfigType.CONFIG_0_1.value}
    files = {"trustedRoot": "trusted_root.json", "signingConfig": "signing_config.v0.2.json"}
    for part, name in files.items():
        content[part] = json.loads(read_embedded(name, DEFAULT_TUF_URL))
    write_json(project.root / SIGSTORE, content)


def _token(project: Project) -> str:
    """A token that proves to Sigstore which CI run this is.

    Empty outside of CI, if there is a key, or if the team trusts no identity. It is valid for
    minutes, and an upload may take longer, so whoever needs it asks for a new one.
    Raises: ProjectError if CI does not give it.
    """
    if not _is_ci_without_key():
        return ""
    if not identities(project) or private_key_path(project).exists():
        return ""
    from sigstore.oidc import IdentityError, detect_credential

    try:
        return detect_credential() or ""
    except IdentityError as error:
        raise ProjectError(f"{NO_KEY} ({error}).", EITHER) from None


def require_trusted_key(project: Project) -> None:
    """Check that the acting person can sign, if the team signs its models.

    Raises: ProjectError if the person's key is not trusted yet.
    """
    if trusted_keys(project) and not _token(project):
        _check_own_key(project)


def _check_own_key(project: Project) -> None:
    """Raises: ProjectError if the public half of the acting person's key was not in `keys/` yet."""
    path, is_new = make(project)
    if is_new:
        raise ProjectError(
            "Your signing key is not trusted yet."
            f" {path.relative_to(project.root)} was made, which is its public half.",
            f"Run: git add {KEYS} && git commit -m TEXT, and ask for a review",
        )


def sign(project: Project, folder: Path) -> str:
    """The signature of a model folder by the acting person; empty while `keys/` is empty.

    Raises: ProjectError as `require_trusted_key`, if Sigstore does not sign, or if it signs as an
    identity that is not trusted.
    """
    if not trusted_keys(project):
        return ""
    token = _token(project)
    with temporary_folder() as temporary:
        signature = temporary / "model.sig"
        if token:
            _sign_by_identity(project, folder, token, signature)
            # The identity must be a trusted one, before the signature is recorded.
            require_signature(project, folder, signature)
        else:
            _check_own_key(project)
            _sign_by_key(project, folder, signature)
        return signature.read_text(encoding="utf-8")


def _sign_by_key(project: Project, folder: Path, signature: Path) -> None:
    """Write the signature with the private key."""
    content = _key_in_environment()
    if content:  # the library reads a key from a file only
        key = signature.with_name("key.pem")
        write_text(key, content)
    else:
        key = private_key_path(project)
    _signing().use_elliptic_key_signer(private_key=key).sign(folder, signature)


def _sign_by_identity(project: Project, folder: Path, token: str, signature: Path) -> None:
    """Write the signature with the identity of a CI run. Raises: ProjectError with the reason."""
    try:
        signer = _signing().use_sigstore_signer(
            identity_token=token, trust_config=project.root / SIGSTORE
        )
        signer.sign(folder, signature)
    except Exception as error:  # whatever Sigstore's three servers or a damaged file lead to
        text = f"{type(error).__name__}: {error}"
        reason = shorten(text, MAX_CHARACTERS, placeholder=" ...")
        raise ProjectError(
            f"Sigstore did not sign: {reason}", f"Try again, or look at {SIGSTORE}"
        ) from error


def _signing() -> "signing.Config":
    """The library's signer for model folders, without the file that MLflow drops into them."""
    from model_signing import hashing, signing

    hashes = hashing.Config().set_ignored_paths(paths=IGNORED, ignore_git_paths=False)
    return signing.Config().set_hashing_config(hashes)
