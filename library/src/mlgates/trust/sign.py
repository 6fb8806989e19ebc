"""`mlops sign`: begin to sign, or sign what is champion again, after a key was lost.

From the day that a public key is committed, models must be signed. `--keyless IDENTITY` trusts a CI workflow, too.
"""

from mlgates.errors import ProjectError
from mlgates.layout import KEYS
from mlgates.project import Project
from mlgates.registry import deploy
from mlgates.registry.git import changes
from mlgates.registry.releases import read, settle, write
from mlgates.trust import keys, verify


def sign(project: Project, keyless: str = "", issuer: str = "") -> str:
    """`sign_again`, after trusting the identity of a CI workflow, if one is given, as `issuer` tells it (GitHub)."""
    trusted = ""
    if keyless:
        path = keys.trust(project, keyless, issuer or keys.GITHUB).relative_to(project.root)
        trusted = f"{path} trusts it, {verify.SIGSTORE} says who certifies it: let somebody review and merge both.\n"
    return trusted + sign_again(project)


def sign_again(project: Project) -> str:
    """Make a key if there is none; once it is committed, sign what holds an alias and nobody trusted has signed.

    Raises: ProjectError as `promote` does; what was signed until then stays.
    """
    public = keys.make(project)[0].relative_to(project.root)
    if changes(project.root, str(KEYS)):
        return f"{public} is your public key: commit it, then run this again, to sign what holds an alias."
    settle(project)
    told = [f"{public} is your public key, and committed."]
    for alias in project.settings().promote.path:
        known = read(project)
        if (held := known.holder(alias)) is None:
            continue
        try:
            deploy.vouched(project, deploy.fetch(project, held.release), held)
        except ProjectError:
            signed = keys.sign(project, deploy.usable(project, held.release))
            write(
                project,
                known,
                held.release,
                alias,
                f"signed anew; before: {held.why}",
                signed,
                **held.again,
            )
            told.append(
                f"{held.release.tag} is {alias} as before, and signed by you. Run: uv run mlops follow"
            )
    return "\n".join(told)
