"""`python -m PACKAGE.ops.registry.vouch`: begin to sign, or sign what is champion again, after a key was lost.

From the day that a public key is committed, models must be signed. `--keyless IDENTITY` trusts a CI workflow, too.
"""

import argparse
from pathlib import Path

from .. import signing
from ..project import ProjectError, command_line, find_root, params, say
from . import follow, keys
from .git import changes
from .record import read, settle, write


def vouch(root: Path) -> str:
    """Make a key if there is none; once it is committed, sign what holds an alias and nobody trusted has signed.

    Raises: ProjectError as `promote` does; what was signed until then stays.
    """
    public = keys.make(root)[0].relative_to(root)
    if changes(root, str(signing.KEYS)):
        return f"{public} is your public key: commit it, then run this again, to sign what holds an alias."
    settle(root)
    told = [f"{public} is your public key, and committed."]
    for alias in params(root)["promote"]["path"]:
        known = read(root)
        if (held := known.holder(alias)) is None:
            continue
        try:
            follow.vouched(root, follow.fetch(root, held.release), held)
        except ProjectError:
            signed = keys.sign(root, follow.usable(root, held.release))
            write(root, known, held.release, alias, f"signed anew; before: {held.why}", signed, **held.again)
            told.append(f"{held.release.tag} is {alias} as before, and signed by you. Run: uv run mlops follow")
    return "\n".join(told)


def main() -> int:
    """`python -m PACKAGE.ops.registry.vouch [--keyless IDENTITY]`."""
    parser = argparse.ArgumentParser(description="Sign what holds an alias, with your key.")
    workflow = "as https://github.com/OWNER/NAME/.github/workflows/ct.yml@refs/heads/main"
    parser.add_argument("--keyless", metavar="IDENTITY", help=f"trust what CI signs by this name, {workflow}")
    parser.add_argument("--issuer", default=keys.GITHUB, help="who says so of a CI run (default: %(default)s)")
    asked, root = parser.parse_args(), find_root()
    if asked.keyless:
        path = keys.trust(root, asked.keyless, asked.issuer).relative_to(root)
        say(f"{path} trusts it, {signing.SIGSTORE} says who certifies it: let somebody review and merge both.")
    say(vouch(root))
    return 0


if __name__ == "__main__":
    raise SystemExit(command_line(main))
