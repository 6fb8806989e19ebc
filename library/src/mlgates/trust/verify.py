"""Who vouches for a model: an OpenSSF signature beside its folder, by a key or identity that the team has in `keys/`.

It is asked before a model is unpickled, for a pickle runs whatever its maker wants: see `trust.champion`.
"""

from pathlib import Path
from textwrap import shorten
from typing import Any

from mlgates.errors import ProjectError
from mlgates.files import read_yaml
from mlgates.layout import KEYS
from mlgates.project import Project

SIGSTORE = (
    KEYS / "sigstore.json"
)  # who certifies identities; given a file, the library does not ask the network
BEGIN = "To sign what is champion: uv run mlops sign, then uv run mlops follow"
UNSIGNED = f"Unsigned models are accepted, for keys/ holds no key. {BEGIN}"
IDENTITY = (".yaml", ".yml")


def keys(project: Project) -> list[Path]:
    """The public keys and identities that the team trusts; as long as there is none, nothing need be signed."""
    return sorted(
        path for path in (project.root / KEYS).glob("*") if path.suffix in (".pub", *IDENTITY)
    )


def signature(folder: Path) -> Path:
    """Where a model's signature lies."""
    return folder.with_name(f"{folder.name}.sig")


def signed(project: Project, folder: Path, beside: Path | None = None) -> Path:
    """The folder of a model, once a trusted key or identity vouches for all of its bytes.

    `beside` is the signature if it does not lie at its place yet. Raises: ProjectError `serving.signature`.
    """
    if not (trusted := keys(project)):
        return folder
    beside, model = beside or signature(folder), folder.name[:8]
    if not beside.exists() or not beside.stat().st_size:
        raise ProjectError(f"serving.signature: nobody signed the model {model}.", BEGIN)
    keyless, told = b'"certificate"' in beside.read_bytes(), []
    for key in trusted:
        if keyless is not (key.suffix in IDENTITY):
            continue
        try:
            _verifier(project, key).verify(folder, beside)
        except Exception as error:  # the library raises whatever a damaged file leads to
            why = shorten(str(error), 300, placeholder=" ...")
            if why.startswith("Signature mismatch"):
                told.append(f"{key.name} signed another model than {model}.")
            elif keyless:
                told.append(
                    f"{key.name} does not vouch for the model {model}: {why or type(error).__name__}."
                )
            elif not why.startswith("Key mismatch"):
                told.append(
                    f"the signature of the model {model} or {key.name} is damaged ({type(error).__name__})."
                )
        else:
            return folder
    why = (
        " ".join(told)
        or f"the model {model} is signed by {'somebody' if keyless else 'a key'} that is not in keys/."
    )
    raise ProjectError(
        f"serving.signature: {why}", f"Whom to trust is decided in keys/, by a commit. {BEGIN}"
    )


def _verifier(project: Project, key: Path) -> Any:
    from model_signing import verifying

    if key.suffix not in IDENTITY:
        return verifying.Config().use_elliptic_key_verifier(public_key=key)
    match read_yaml(key):
        case {"identity": str(identity), "issuer": str(issuer), **rest} if (
            identity and issuer and not rest
        ):
            named = {"identity": identity, "oidc_issuer": issuer}
            return verifying.Config().use_sigstore_verifier(
                **named, trust_config=project.root / SIGSTORE
            )
    raise ValueError("it must name an identity and its issuer, and nothing else")
