"""`mlops sign`: begin to sign models, or sign the champion again after a key was lost.

Once a public key is committed, models must be signed. `--keyless IDENTITY` makes the team trust
what a CI workflow signs.
"""

from mlgates.errors import ProjectError
from mlgates.layout import KEYS
from mlgates.project import Project
from mlgates.registry import deploy
from mlgates.registry.git import changes
from mlgates.registry.releases import Assignment, Record, exchange_tags, read, write
from mlgates.trust import keys, verify


def sign(project: Project, keyless: str = "", issuer: str = "") -> str:
    """`sign_again`; before that, trust a CI workflow if its identity is given (`keyless`).

    `issuer` is who confirms the identity, by default GitHub. Returns what was done.
    """
    message = ""
    if keyless:
        path = keys.trust(project, keyless, issuer or keys.GITHUB).relative_to(project.root)
        message = (
            f"{path} trusts it, {verify.SIGSTORE} says who certifies it."
            " Ask for a review of both, and merge them.\n"
        )
    return message + sign_again(project)


def sign_again(project: Project) -> str:
    """Sign each model that has an alias and that nobody whom the team trusts has signed.

    A key is made if there is none. It must be committed first. Returns what was done.
    Raises: ProjectError as `promote` does; what was signed until then stays.
    """
    public = keys.make(project)[0].relative_to(project.root)
    if changes(project.root, str(KEYS)):
        return (
            f"{public} is your public key: commit it, then run this again,"
            " to sign the models that have an alias."
        )
    exchange_tags(project)
    lines = [f"{public} is your public key, and committed."]
    for alias in project.settings().promote.path:
        record = read(project)  # again each time: the line below may have written to it
        held = record.holder(alias)
        if held and not _is_signed(project, held):
            lines.append(_signed(project, record, held))
    return "\n".join(lines)


def _is_signed(project: Project, held: Assignment) -> bool:
    """Whether somebody whom the team trusts signed the model that has an alias."""
    try:
        deploy.with_signature(project, deploy.fetch(project, held.release), held)
    except ProjectError:
        return False
    return True


def _signed(project: Project, record: Record, held: Assignment) -> str:
    """Sign the model that has an alias, and record that with the alias; returns a sentence."""
    signature = keys.sign(project, deploy.fetch_servable(project, held.release))
    reason = f"signed anew; before: {held.why}"
    write(project, record, held.release, held.alias, reason, signature, **held.terms)
    return (
        f"{held.release.tag} is {held.alias} as before, and signed by you. Run: uv run mlops follow"
    )
