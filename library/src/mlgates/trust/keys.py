"""The key of whoever acts: made on first use and kept outside of the repository; its public half goes to `keys/`.

A CI run that has no key signs with its identity (Sigstore), where the team trusts that.
"""

import json
import os
import re
from pathlib import Path, PurePosixPath
from textwrap import shorten
from typing import TYPE_CHECKING

import yaml

from mlgates.errors import ProjectError
from mlgates.files import temporary_folder, whole, write_json, write_text
from mlgates.layout import KEYS
from mlgates.model_folder import IGNORED
from mlgates.project import Project
from mlgates.registry.git import identity
from mlgates.trust.verify import IDENTITY, SIGSTORE, keys, signed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

SETTING = "MLOPS_SIGNING_KEY"  # the private key itself (a secret of CI), or where it lies
GITHUB = "https://token.actions.githubusercontent.com"
NO_KEY = "This run has no key to sign with"

EITHER = (
    f"Make a key for it at home, commit its public half, and store it as the secret {SETTING}; or trust its identity: "
    "uv run mlops sign --keyless IDENTITY"
)


def place(project: Project) -> Path:
    """Where the private key lies. Raises: ProjectError if that is inside of the repository."""
    given = os.environ.get(SETTING)
    path = (
        Path(given)
        if given
        else Path.home() / ".config" / project.package.replace("_", "-") / "signing.pem"
    )
    if path.resolve().is_relative_to(project.root.resolve()):
        raise ProjectError(
            "The private key must not lie in the repository.", f"Name another place: {SETTING}"
        )
    return path


def _given() -> str:
    """The private key, where the environment holds it itself."""
    given = os.environ.get(SETTING, "")
    return given if given.startswith("-----BEGIN") else ""


def _private(project: Project) -> "EllipticCurvePrivateKey":
    """The private key, made if there is none. Raises: ProjectError if it is damaged, or if this is a CI run."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not _given() and not place(project).exists():
        if os.environ.get("CI") and not os.environ.get(SETTING):
            raise ProjectError(f"{NO_KEY}.", EITHER)
        kinds = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        made = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, *kinds
        )
        place(project).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (
            whole(place(project)) as temporary,
            open(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file,
        ):
            file.write(made)
    content = _given().encode() or place(project).read_bytes()
    try:
        found = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise ProjectError(
            f"The signing key cannot be read: {error}", f"See {SETTING} in docs/handbook.md"
        ) from None
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise ProjectError(
            "The signing key must be of an elliptic curve.", f"See {SETTING} in docs/handbook.md"
        )
    return found


def make(project: Project, who: str = "") -> tuple[Path, bool]:
    """The public half of the acting person's key in `keys/`, and whether it was put there just now.

    It is named after `who`, by default after whom git knows.
    """
    from cryptography.hazmat.primitives import serialization

    kinds = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public = _private(project).public_key().public_bytes(*kinds).decode()
    for path in keys(project):
        if path.read_text(encoding="utf-8").strip() == public.strip():
            return path, False
    slug = re.sub("[^a-z0-9]+", "-", (who or identity(project.root)[0]).lower()).strip("-") or "key"
    names = (
        project.root / KEYS / f"{slug}{number}.pub"
        for number in ("", *(f"-{n}" for n in range(2, 1000)))
    )
    path = next(name for name in names if not name.exists())
    write_text(path, public)
    return path, True


def trust(project: Project, identity: str, issuer: str = GITHUB) -> Path:
    """`keys/NAME.yaml`, by which the team trusts what CI signs as `identity`; named after the workflow.

    `keys/sigstore.json` becomes a copy of what the installed sigstore knows about the public one, unless it exists.
    """
    from sigstore._internal.tuf import DEFAULT_TUF_URL
    from sigstore._utils import read_embedded
    from sigstore.models import ClientTrustConfig

    if not (project.root / SIGSTORE).exists():
        parts = {"trustedRoot": "trusted_root.json", "signingConfig": "signing_config.v0.2.json"}
        known = {
            key: json.loads(read_embedded(name, DEFAULT_TUF_URL)) for key, name in parts.items()
        }
        kind = ClientTrustConfig.ClientTrustConfigType.CONFIG_0_1.value
        write_json(project.root / SIGSTORE, {"mediaType": kind, **known})
    path = project.root / KEYS / f"{PurePosixPath(identity.partition('@')[0]).stem}{IDENTITY[0]}"
    write_text(path, yaml.safe_dump({"identity": identity, "issuer": issuer}))
    return path


def _token(project: Project) -> str:
    """What proves to Sigstore which CI run this is; empty elsewhere, with a key, or if no identity is trusted.

    It is good for minutes, and an upload may take longer: whoever needs it asks for a new one.
    Raises: ProjectError if CI does not give it.
    """
    keyless = os.environ.get("CI") and any(path.suffix in IDENTITY for path in keys(project))
    if not keyless or os.environ.get(SETTING) or place(project).exists():
        return ""
    from sigstore.oidc import IdentityError, detect_credential

    try:
        return detect_credential() or ""
    except IdentityError as error:
        raise ProjectError(f"{NO_KEY} ({error}).", EITHER) from None


def ready(project: Project) -> None:
    """Raises: ProjectError if models are signed here and the acting person's key is not a trusted one yet."""
    if keys(project) and not _token(project):
        path, new = make(project)
        if new:
            told = f"Nobody trusts your signing key yet: {path.relative_to(project.root)} was made, its public half."
            raise ProjectError(
                told, f"Run: git add {KEYS} && git commit -m TEXT, and let somebody review it"
            )


def sign(project: Project, folder: Path) -> str:
    """The signature of a model folder by whoever acts; empty while the team trusts nobody.

    Raises: ProjectError as `ready`, or if Sigstore does not sign, or signs as somebody who is not trusted.
    """
    if not keys(project):
        return ""
    if not (token := _token(project)):
        ready(project)
    from model_signing import hashing, signing

    how = hashing.Config().set_ignored_paths(paths=IGNORED, ignore_git_paths=False)
    with temporary_folder() as temporary:
        key, written = place(project), temporary / "model.sig"
        if _given():
            key = temporary / "key.pem"
            write_text(key, _given())
        config = signing.Config().set_hashing_config(how)
        if not token:
            config.use_elliptic_key_signer(private_key=key).sign(folder, written)
            return written.read_text(encoding="utf-8")
        try:
            config.use_sigstore_signer(
                identity_token=token, trust_config=project.root / SIGSTORE
            ).sign(folder, written)
        except (
            Exception
        ) as error:  # the library raises whatever its three servers or a damaged file lead to
            told = shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")
            raise ProjectError(
                f"Sigstore did not sign: {told}", f"Try again, or look at {SIGSTORE}"
            ) from error
        signed(project, folder, written)  # by whom the team trusts, before it is recorded
        return written.read_text(encoding="utf-8")
