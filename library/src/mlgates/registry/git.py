"""git as a process: one small function, and what git cannot do said in one sentence."""

import re
from pathlib import Path

from mlgates import tools
from mlgates.errors import ProjectError

UNREACHABLE = re.compile(
    "(?i)could not read from remote|not appear to be a git rep|unable to access|could not resolve"
)
COMMIT = "git add -A && git commit -m TEXT"


class GitError(ProjectError):
    """git refused."""


def git(root: Path, *words: str, check: bool = True) -> str:
    """Run git in `root` and return what it printed; without `check` a refusal is an empty answer.

    Raises: GitError with one sentence and a remedy.
    """
    settings = tools.settings() | {
        "LC_ALL": "C.UTF-8"
    }  # what is searched for in its messages is English
    done = tools.ended(["git", "-C", str(root), *words], settings)
    said = done.said.strip()
    if broken := re.search(
        r"ignoring broken ref (\S+)", said
    ):  # git passes over what a crash left half written
        raise GitError(
            f"{broken[1]} is damaged.", f"Delete .git/{broken[1]}, then run: uv run mlops follow"
        )
    if done.code == 0:
        return done.printed.rstrip("\n")
    if "not a git repository" in said:
        raise GitError(f"{root.name} is not a git repository.", f"Run: git init && {COMMIT}")
    if UNREACHABLE.search(said):
        raise GitError(
            f"The git remote cannot be reached: {_reason(said)}",
            "Check: git remote -v, then git fetch",
        )
    if check:
        raise GitError(f"git {words[0]} failed: {_reason(said)}")
    return ""


def _reason(said: str) -> str:
    told = re.search(r"^(?:fatal: |error: | ! (?=\[))(.+)", said, re.MULTILINE)
    return told[1].strip() if told else said.rpartition("\n")[2] or "no reason given"


def head(root: Path) -> str:
    """The commit that is checked out. Raises: GitError before the first commit."""
    commit = git(root, "rev-parse", "--quiet", "--verify", "HEAD", check=False)
    if not commit:
        raise GitError("There is no commit yet.", f"Run: {COMMIT}")
    return commit


def changes(root: Path, path: str = ".") -> list[str]:
    """The files below `path` that are not committed."""
    return [line[3:] for line in git(root, "status", "--porcelain", "--", path).splitlines()]


def few(names: list[str]) -> str:
    """The first names, and whether there are more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def unpushed(root: Path) -> str:
    """How many commits the upstream of the branch lacks, as a sentence; empty if none, or without an upstream."""
    upstream = git(
        root, "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}", check=False
    )
    ahead = int(git(root, "rev-list", "--count", f"{upstream}..HEAD")) if upstream else 0
    return f"{upstream} lacks {ahead} of your commits" if ahead else ""


def remote(root: Path) -> str:
    """The remote that keeps the record: origin, else the only one, else "" (then this repository keeps it)."""
    names = git(root, "remote").splitlines()
    return "origin" if "origin" in names else names[0] if names else ""


def identity(root: Path) -> tuple[str, str]:
    """Name and address of who acts. Raises: GitError if git does not know them."""
    known = git(root, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT", check=False)
    if not (who := re.match("(.+) <(.+)>", known)):
        remedy = "Run: git config user.name 'YOUR NAME' && git config user.email YOU@EXAMPLE.ORG"
        raise GitError("git does not know who you are, and the record must.", remedy)
    return who[1], who[2]
