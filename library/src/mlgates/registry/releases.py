"""The record: git tags in GTO's form. `NAME@v1.2.0` is a release, `NAME#champion#7` gives it an alias, as the 7th.

`NAME@v1.2.0!` takes a release out again: its data and its model were erased.

The annotation is JSON, the tagger is who. Reading takes one git process; writing goes through GTO and one atomic push.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from mlgates.dvc_lock import fingerprint, locked, measured, stages
from mlgates.errors import ProjectError
from mlgates.files import read_yaml
from mlgates.layout import CYCLE, DVC_LOCK, GATE, PIPELINE
from mlgates.project import Project
from mlgates.registry.dvc_storage import alone
from mlgates.registry.git import GitError, git, identity, remote
from mlgates.registry.override import Override

CODE = {".py", ".yaml", ".toml", ".lock"}
FORMAT = (
    "%(refname:strip=2)%00%(*objectname)%00%(taggername)%00%(taggerdate:unix)%00%(contents:subject)"
)


@dataclass(frozen=True)
class Release:
    """A model that was released: `fingerprint` is its identity, `digest` vouches for its bytes.

    `measured` vouches for all numbers and limits that the gate judged.
    `erased` is a sentence if its data and its model are gone for good: nobody can serve or reproduce it any more.
    """

    name: str
    version: str
    fingerprint: str
    digest: str
    commit: str
    verdict: str
    why: str
    who: str
    when: datetime
    erased: str = ""
    measured: str = ""

    @property
    def tag(self) -> str:
        """The git tag, which is also how people call it."""
        return f"{self.name}@{self.version}"

    @property
    def order(self) -> tuple[int, ...]:
        """Its place among all releases."""
        return tuple(int(part) for part in self.version[1:].split("."))


@dataclass(frozen=True)
class Assignment:
    """An alias went from one version to another; the highest number counts. `override` is why despite the gate."""

    alias: str
    release: Release
    number: int
    from_: str | None
    to: str
    who: str
    when: datetime
    why: str
    override: Override | None = None

    @property
    def again(self) -> dict[str, Any]:
        """What `write` needs for the release to have the alias again, as it had it here."""
        return {"override": asdict(self.override)} if self.override else {}

    @property
    def tag(self) -> str:
        """The git tag."""
        return f"{self.release.name}#{self.alias}#{self.number}"


@dataclass(frozen=True)
class Record:
    """All releases by version and all assignments by number."""

    name: str
    releases: tuple[Release, ...]
    assignments: tuple[Assignment, ...]

    @property
    def holders(self) -> dict[str, Assignment]:
        """Who has each alias now."""
        return {entry.alias: entry for entry in self.assignments}

    def holder(self, alias: str) -> Assignment | None:
        """Who has the alias now."""
        return self.holders.get(alias)

    def aliases(self, release: Release | None) -> list[str]:
        """The aliases that a release has now."""
        return [alias for alias, held in self.holders.items() if held.release == release]

    def history(self, release: Release, alias: str | None = None) -> list[Assignment]:
        """When a release got an alias, any or just this one, oldest first."""
        return [
            entry
            for entry in self.assignments
            if entry.release == release and alias in (None, entry.alias)
        ]

    def of(self, fingerprint: str) -> Release | None:
        """The release of a model."""
        return next(
            (release for release in self.releases if release.fingerprint == fingerprint), None
        )

    def standing(self, alias: str) -> list[Release]:
        """Who had the alias, oldest first, without those taken back; a rollback goes to the last but one."""
        stack: list[Release] = []
        for entry in self.assignments:
            if entry.alias == alias:
                place = stack.index(entry.release) if entry.release in stack else len(stack)
                stack = [*stack[:place], entry.release]
        return stack


def artifact(project: Project) -> tuple[str, str]:
    """Name and path of the model: the first entry under `artifacts:` in dvc.yaml."""
    named = (read_yaml(project.root / PIPELINE) or {}).get("artifacts") or {}
    if not named:
        raise ProjectError(
            "dvc.yaml names no artifact.", "Bring it back: git checkout HEAD -- dvc.yaml"
        )
    name, entry = next(iter(named.items()))
    return name, entry["path"]


def show(project: Project, commit: str, path: str | Path) -> str:
    """A file as it was at a commit, empty if it was not there."""
    return git(project.root, "show", f"{commit}:./{Path(path).as_posix()}", check=False)


def show_json(project: Project, commit: str, path: str | Path) -> dict[str, Any]:
    """A report as it was at a commit, empty if it was not there."""
    return dict(json.loads(show(project, commit, path) or "{}"))


def read(project: Project) -> Record:
    """The record as this repository knows it; `settle` brings what others wrote.

    Raises: ProjectError if the last assignment of an alias names a release whose tag was deleted or moved.
    """
    name, _ = artifact(project)
    pattern = re.compile(
        rf"{re.escape(name)}(?:@(?P<version>v\d+\.\d+\.\d+)(?P<gone>!?)|#(?P<alias>[\w-]+)#(?P<number>\d+))"
    )
    releases: dict[str, Release] = {}
    assigned = []
    for line in git(
        project.root, "for-each-ref", f"--format={FORMAT}", *_patterns(name)
    ).splitlines():
        tag, commit, who, seconds, subject = line.split("\0")
        if not (found := pattern.fullmatch(tag)) or not commit:
            continue
        note, when = _note(subject), datetime.fromtimestamp(int(seconds), UTC)
        if found["gone"]:
            told = (
                f"{name}@{found['version']} was erased on {when:%Y-%m-%d} by {who}: {note['why']}"
            )
            releases |= (
                {commit: replace(releases[commit], erased=told)} if commit in releases else {}
            )
        elif found["version"]:
            if "fingerprint" not in note:
                note |= _by_hand(project, commit)
            made = (
                note["fingerprint"],
                note["digest"],
                commit,
                note["verdict"],
                note["why"],
                who,
                when,
            )
            releases[commit] = Release(name, found["version"], *made, measured=note["measured"])
        else:
            assigned.append((int(found["number"]), found["alias"], commit, who, when, note))
    assignments, lost = [], {}
    for number, alias, commit, who, when, note in sorted(assigned, key=lambda entry: entry[0]):
        lost[alias] = (
            ""
            if commit in releases
            else f"{name}#{alias}#{number} names {note['to'] or commit[:8]}"
        )
        if release := releases.get(commit):
            given = Override(**note["override"]) if note["override"] else None
            moved = (note["from"], release.version, who, when, note["why"], given)
            assignments.append(Assignment(alias, release, number, *moved))
    if told := next(filter(None, lost.values()), ""):
        remedy = "Bring it back: git fetch --tags, or git push --tags from a clone that has it"
        raise ProjectError(
            f"A release's tag was deleted or moved: {told}, which is not where it was.", remedy
        )
    return Record(
        name,
        tuple(sorted(releases.values(), key=lambda release: release.order)),
        tuple(assignments),
    )


def _patterns(name: str) -> tuple[str, str]:
    return f"refs/tags/{name}@*", f"refs/tags/{name}#*"


def _note(subject: str) -> dict[str, Any]:
    try:
        note = json.loads(subject)
    except ValueError:
        note = None
    known = note if isinstance(note, dict) else {"why": subject}
    empty = {
        "digest": "",
        "verdict": "",
        "why": "",
        "measured": "",
        "from": None,
        "to": "",
        "override": None,
    }
    return {**empty, **known}


def _by_hand(project: Project, commit: str) -> dict[str, Any]:
    """What the annotation would hold, for a release made with bare `gto register`; empty where the commit lacks it."""
    lock, gate = show(project, commit, DVC_LOCK), show_json(project, commit, GATE)
    ran = stages(lock)
    return {
        "fingerprint": fingerprint(lock) if "train" in ran else "",
        "measured": measured(lock) if "gate" in ran else "",
        "digest": gate.get("facts", {}).get("model", ""),
        "verdict": gate.get("verdict", ""),
    }


def signature(project: Project, entry: Assignment) -> str:
    """What the acting person signed with an assignment: the annotation's body, read for one tag at a time."""
    return git(project.root, "for-each-ref", "--format=%(contents:body)", f"refs/tags/{entry.tag}")


def champion(project: Project, alias: str = "") -> Assignment | None:
    """Who has the alias now, by default the last one on the path of promotion."""
    return read(project).holder(alias or project.settings().promote.path[-1])


def next_version(project: Project, previous: Release | None) -> str:
    """First v1.0.0; then major: the contract changed, minor: code, command or parameters, patch: data alone."""
    if previous is None:
        return "v1.0.0"
    old, new = _made_of(show(project, previous.commit, DVC_LOCK)), _made_of(locked(project))
    changed = {
        PurePosixPath(part) for part in old.keys() | new.keys() if old.get(part) != new.get(part)
    }
    major, minor, patch = previous.order
    if any(part.name == "schema.py" for part in changed):
        return f"v{major + 1}.0.0"
    if any(part.suffix in CODE and part.name != CYCLE.name for part in changed):
        return f"v{major}.{minor + 1}.0"
    return f"v{major}.{minor}.{patch + 1}"


def _made_of(lock_text: str) -> dict[str, Any]:
    entry = stages(lock_text)["train"]
    deps = {dep["path"]: dep.get("md5") or dep.get("hash") for dep in entry.get("deps", [])}
    return {PIPELINE.name: entry["cmd"], **deps, **entry.get("params", {})}


def settle(project: Project) -> None:
    """Make local tags and the remote's agree: send what only we have (all or nothing), take what only it has.

    Raises: GitError if the remote cannot be reached, ProjectError if somebody else took the same number before us.
    """
    where, (name, _) = remote(project.root), artifact(project)
    if not where:
        return
    refused: GitError | None = None
    for _ in range(2):
        theirs = _parsed(
            git(project.root, "ls-remote", "--tags", "--refs", where, *_patterns(name))
        )
        ours = _tags(project, name)
        lost = [ref for ref in ours if theirs.get(ref, ours[ref]) != ours[ref]]
        unsent = [ref for ref in ours if ref not in theirs]
        if lost:
            _forget(project, [*lost, *unsent])
        if lost or theirs.keys() - ours.keys():
            depth = (
                ["--depth", "1"]
                if git(project.root, "rev-parse", "--is-shallow-repository") == "true"
                else []
            )
            git(
                project.root,
                "fetch",
                "--no-tags",
                "--force",
                *depth,
                where,
                *(f"+{part}:{part}" for part in _patterns(name)),
            )
        if lost:
            raise _slower(read(project), lost)
        if not unsent:
            return
        try:
            git(project.root, "push", "--atomic", where, *unsent)
        except GitError as error:
            refused = error
        else:
            return
    raise ProjectError(
        f"{where} does not take the tags. {refused}", "Ask who may push tags; nothing was recorded."
    )


def freshen(project: Project) -> str:
    """`settle`, but with the remote away the record is what is known here; returns that as a sentence, else nothing."""
    try:
        settle(project)
    except GitError as error:
        return f"\n{error}\n  Until then the record is what is known here."
    return ""


def _parsed(text: str) -> dict[str, str]:
    return {ref: tag for tag, ref in (line.split("\t") for line in text.splitlines())}


def _tags(project: Project, name: str) -> dict[str, str]:
    return _parsed(
        git(project.root, "for-each-ref", "--format=%(objectname)%09%(refname)", *_patterns(name))
    )


def _forget(project: Project, refs: Iterable[str]) -> None:
    if refs := list(refs):
        git(project.root, "tag", "--delete", *(ref.removeprefix("refs/tags/") for ref in refs))


def _slower(record: Record, lost: list[str]) -> ProjectError:
    entries = [entry for entry in record.assignments if f"refs/tags/{entry.tag}" in lost]
    told = [
        f"{e.who} was faster: {e.alias} is {e.to} since {e.when:%Y-%m-%d %H:%M} UTC ({e.tag})."
        for e in entries
    ]
    others = f"Somebody was faster: {', '.join(ref.removeprefix('refs/tags/') for ref in lost)} exists already."
    remedy = "Nothing of yours was recorded. Look: uv run mlops status; then try again."
    return ProjectError(told[0] if told else others, remedy)


@contextmanager
def _sent(project: Project, name: str, what: str) -> Iterator[dict[str, str]]:
    """Send the tags that the block makes by GTO; yields who makes them, as GTO wants to know it.

    Raises: ProjectError if one of them cannot be made or sent; then none of them is left.
    """
    who = dict(zip(("author", "author_email"), identity(project.root), strict=True))
    with alone(project, "record"):
        before = _tags(project, name).items()
        try:
            try:
                yield who
            finally:
                made = _tags(project, name).items() - before
            settle(project)
        except (
            Exception
        ) as error:  # git's library below GTO raises its own, such as for a full disk
            _forget(project, (ref for ref, _ in _tags(project, name).items() & made))
            if isinstance(error, ProjectError):
                raise
            raise ProjectError(f"GTO does not take {what}: {error.__cause__ or error}") from error


def write(
    project: Project,
    record: Record,
    release: Release,
    alias: str,
    why: str,
    signed: str = "",
    **more: Any,
) -> None:
    """Tag the release, unless the record has it, and assign the alias; then send both or neither.

    `signed` is a signature of the model. It is kept with the assignment, as `more` is: the verdict of the day, an
    override, who switched a machine before.

    Raises: ProjectError if somebody was faster, or git or GTO refuse; nothing is recorded then.
    """
    from gto import api

    _after(record)
    note = {
        "fingerprint": release.fingerprint,
        "digest": release.digest,
        "verdict": release.verdict,
        "why": why,
    }
    note["measured"] = release.measured
    held = record.holder(alias)
    moved = {**note, "from": held.to if held else None, "to": release.version, **more}
    told = "\n\n".join(filter(None, [_line(moved), signed]))
    with _sent(project, release.name, f"{release.tag} as {alias}") as who:
        if release not in record.releases:
            api.register(
                str(project.root), release.name, release.commit, release.version, _line(note), **who
            )
        api.assign(
            str(project.root),
            release.name,
            alias,
            version=release.version,
            message=told,
            force=True,
            **who,
        )


def erase(project: Project, releases: Iterable[Release], why: str) -> None:
    """Take releases out of the record, for good, and send that.

    Raises: ProjectError if it cannot be sent; nothing is recorded then.
    """
    from gto import api

    try:
        with _sent(project, artifact(project)[0], "it") as who:
            for release in releases:
                note = _line({"why": why})
                api.deregister(
                    str(project.root),
                    release.name,
                    version=release.version,
                    message=note,
                    simple=True,
                    **who,
                )
    except ProjectError as error:
        raise ProjectError(
            f"The erasure cannot be recorded, so nothing was purged. {error}"
        ) from error


def _line(note: dict[str, Any]) -> str:
    return json.dumps(note, ensure_ascii=False, sort_keys=True)


def _after(record: Record) -> None:
    """GTO and DVC order tags by their second: wait until it is later than that of the last one."""
    times = [release.when for release in record.releases] + [
        entry.when for entry in record.assignments
    ]
    behind = max((when.timestamp() for when in times), default=0) + 1 - time.time()
    if behind > 10:
        raise ProjectError(
            f"This machine's clock is {behind:.0f} s behind the record's last entry.",
            "Set the clock.",
        )
    time.sleep(max(0.0, behind))
