"""git as a process: one small function, and what git refuses said in one sentence."""

import re
from pathlib import Path

from mlgates import tools
from mlgates.errors import ProjectError

UNREACHABLE = re.compile(
    "(?i)could not read from remote|not appear to be a git rep|unable to access|could not resolve"
)
# git goes on without a ref that a crash left half written. The record must not: a tag would be
# missing from it, and with it a release.
BROKEN_REF = re.compile(r"ignoring broken ref (\S+)")
# The first line of git's messages that says why: an error, or a ref that a push could not update.
REASON = re.compile(r"^(?:fatal: |error: | ! (?=\[))(.+)", re.MULTILINE)

COMMIT = "git add -A && git commit -m TEXT"
MAX_NAMES = 3  # that a message lists


class GitError(ProjectError):
    """git refused."""


def git(root: Path, *words: str, check: bool = True) -> str:
    """Run git in `root` and return what it printed; without `check` a refusal is an empty answer.

    Raises: GitError with one sentence and a remedy. Without `check` too, if there is no repository,
    the remote cannot be reached or a ref is damaged.
    """
    environment = tools.settings()
    environment["LC_ALL"] = "C.UTF-8"  # what is searched for in its messages is English
    ended = tools.ended(["git", "-C", str(root), *words], environment)
    errors = ended.stderr.strip()

    broken = BROKEN_REF.search(errors)
    if broken:
        raise GitError(
            f"{broken[1]} is damaged.", f"Delete .git/{broken[1]}, then run: uv run mlops follow"
        )
    if ended.code == 0:
        return ended.stdout.rstrip("\n")
    if "not a git repository" in errors:
        raise GitError(f"{root.name} is not a git repository.", f"Run: git init && {COMMIT}")
    if UNREACHABLE.search(errors):
        raise GitError(
            f"The git remote cannot be reached: {_reason(errors)}",
            "Check: git remote -v, then git fetch",
        )
    if check:
        raise GitError(f"git {words[0]} failed: {_reason(errors)}")
    return ""


def _reason(errors: str) -> str:
    """The line of git's messages that says why it refused."""
    reason = REASON.search(errors)
    if reason:
        return reason[1].strip()
    _, _, last_line = errors.rpartition("\n")
    return last_line or "no reason given"


def head(root: Path) -> str:
    """The commit that is checked out. Raises: GitError before the first commit."""
    commit = git(root, "rev-parse", "--quiet", "--verify", "HEAD", check=False)
    if not commit:
        raise GitError("There is no commit yet.", f"Run: {COMMIT}")
    return commit


def changes(root: Path, path: str = ".") -> list[str]:
    """The files below `path` that are not committed."""
    lines = git(root, "status", "--porcelain", "--", path).splitlines()
    return [line[3:] for line in lines]  # after two letters of state and a space


def first_names(names: list[str]) -> str:
    """The first names, and whether there are more."""
    shown = ", ".join(names[:MAX_NAMES])
    return f"{shown}, ..." if len(names) > MAX_NAMES else shown


def unpushed(root: Path) -> str:
    """How many commits the upstream of the branch lacks, as a sentence without its full stop.

    Empty if it has them all, or if the branch has no upstream.
    """
    words = ["rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}"]
    upstream = git(root, *words, check=False)
    if not upstream:
        return ""
    count = int(git(root, "rev-list", "--count", f"{upstream}..HEAD"))
    return f"{upstream} lacks {count} of your commits" if count else ""


def remote(root: Path) -> str:
    """The name of the remote that keeps the record: origin, else the first of the others.

    Empty if there is no remote: then this repository keeps the record.
    """
    names = git(root, "remote").splitlines()
    if "origin" in names:
        return "origin"
    return next(iter(names), "")


def identity(root: Path) -> tuple[str, str]:
    """Name and address of who acts. Raises: GitError if git does not know them."""
    # Without useConfigOnly git makes an identity up, from the names of user and machine.
    identifier = git(
        root, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT", check=False
    )
    parts = re.match("(.+) <(.+)>", identifier)
    if not parts:
        raise GitError(
            "git does not know who you are, and the record must name who acts.",
            "Run: git config user.name 'YOUR NAME' && git config user.email YOU@EXAMPLE.ORG",
        )
    return parts[1], parts[2]
