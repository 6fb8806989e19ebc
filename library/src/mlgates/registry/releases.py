"""The record: git tags in GTO's form, which say what was released and who has each alias.

- `NAME@v1.2.0` is a release.
- `NAME#champion#7` gives it the alias champion, as the 7th assignment.
- `NAME@v1.2.0!` takes a release out again: its data and its model were erased.

A tag's annotation is JSON, and its tagger is the person who acted. Reading takes one git process.
Writing goes through GTO, and one atomic push sends it.
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

from mlgates.dvc_lock import hashed, locked, stages
from mlgates.errors import ProjectError
from mlgates.files import read_yaml
from mlgates.layout import CYCLE, DVC_LOCK, GATE, PIPELINE
from mlgates.project import Project
from mlgates.registry.dvc_storage import exclusively
from mlgates.registry.git import GitError, git, identity, remote
from mlgates.registry.override import Override

CODE_SUFFIXES = {".py", ".yaml", ".toml", ".lock"}

# What git prints of each tag, separated by NUL: its name, the commit that it annotates (empty for a
# tag without annotation), who made it, when, and the first paragraph of the annotation.
FORMAT = (
    "%(refname:strip=2)%00%(*objectname)%00%(taggername)%00%(taggerdate:unix)%00%(contents:subject)"
)

# How often tags are sent again after a refusal. The first may be due to a tag that another clone
# sent between our look and our push; the second look finds it. A further refusal has another cause.
ATTEMPTS = 2

# A clock that is further behind the record than these seconds is a wrong clock. A shorter lag is
# that of two acts in quick succession: waiting is enough.
MAX_CLOCK_LAG = 10


@dataclass(frozen=True)
class Release:
    """A model that was released.

    `fingerprint` is its identity, and `digest` the SHA-256 of its files. `measured` is a hash of
    all numbers and limits that the gate judged. `erased` is a sentence if its data and its model
    are gone for good, so that it cannot be served or reproduced any more; else it is empty.
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
        """The git tag, which is also what people call it."""
        return f"{self.name}@{self.version}"

    @property
    def order(self) -> tuple[int, ...]:
        """The numbers of its version, by which releases are sorted."""
        return tuple(int(part) for part in self.version[1:].split("."))


@dataclass(frozen=True)
class Assignment:
    """An alias went from one version to another. The one with the highest number counts.

    `override` is why the release has the alias although the gate did not pass it.
    """

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
    def terms(self) -> dict[str, Any]:
        """What `write` needs so that the release gets the alias again on the same terms."""
        if self.override is None:
            return {}
        return {"override": asdict(self.override)}

    @property
    def tag(self) -> str:
        """The git tag."""
        return f"{self.release.name}#{self.alias}#{self.number}"


@dataclass(frozen=True)
class Record:
    """All releases in the order of their versions, and all assignments in that of their numbers."""

    name: str
    releases: tuple[Release, ...]
    assignments: tuple[Assignment, ...]

    @property
    def holders(self) -> dict[str, Assignment]:
        """The last assignment of each alias: who has it now."""
        return {entry.alias: entry for entry in self.assignments}

    def holder(self, alias: str) -> Assignment | None:
        """The last assignment of the alias: who has it now."""
        return self.holders.get(alias)

    def aliases(self, release: Release | None) -> list[str]:
        """The aliases that a release has now."""
        return [alias for alias, entry in self.holders.items() if entry.release == release]

    def history(self, release: Release, alias: str | None = None) -> list[Assignment]:
        """When a release got an alias, oldest first; of one alias, or of all of them."""
        history = []
        for entry in self.assignments:
            if entry.release == release and alias in (None, entry.alias):
                history.append(entry)
        return history

    def release_of_model(self, fingerprint: str) -> Release | None:
        """The release of a model, the first one if it was released twice."""
        by_fingerprint = {release.fingerprint: release for release in reversed(self.releases)}
        return by_fingerprint.get(fingerprint)

    def succession(self, alias: str) -> list[Release]:
        """The releases that had the alias, oldest first, without those that were rolled back.

        The last one has it now. A rollback goes to the last but one.
        """
        stack: list[Release] = []
        for entry in self.assignments:
            if entry.alias != alias:
                continue
            if entry.release in stack:  # a rollback takes back it and all that came after it
                del stack[stack.index(entry.release) :]
            stack.append(entry.release)
        return stack


def artifact(project: Project) -> tuple[str, str]:
    """Name and path of the model: the first entry under `artifacts:` in dvc.yaml.

    Raises: ProjectError if there is none.
    """
    pipeline = read_yaml(project.root / PIPELINE) or {}
    artifacts = pipeline.get("artifacts")
    if not artifacts:
        raise ProjectError(
            "dvc.yaml names no artifact.", "Bring it back: git checkout HEAD -- dvc.yaml"
        )
    name, entry = next(iter(artifacts.items()))
    return name, entry["path"]


def show(project: Project, commit: str, path: str | Path) -> str:
    """A file as it was at a commit, empty if it was not there."""
    return git(project.root, "show", f"{commit}:./{Path(path).as_posix()}", check=False)


def show_json(project: Project, commit: str, path: str | Path) -> dict[str, Any]:
    """A report as it was at a commit, empty if it was not there."""
    return dict(json.loads(show(project, commit, path) or "{}"))


def read(project: Project) -> Record:
    """The record as this clone has it; `settle` brings what others wrote.

    Raises: ProjectError if the last assignment of an alias names a release whose tag was deleted or
    moved.
    """
    name, _ = artifact(project)
    version_tags, alias_tags = _read_tags(project, name)
    releases = _releases_by_commit(project, name, version_tags)
    in_order = sorted(releases.values(), key=lambda release: release.order)
    assignments = _assignments(name, alias_tags, releases)
    return Record(name, tuple(in_order), tuple(assignments))


@dataclass(frozen=True)
class _Tag:
    """A tag of the record, its name taken apart.

    A tag with a version is a release, or (`erases`) takes one out again. The others have an alias
    and a number. `note` is what the tag's annotation says.
    """

    commit: str
    who: str
    when: datetime
    note: dict[str, Any]
    version: str
    erases: bool
    alias: str
    number: int


def _read_tags(project: Project, name: str) -> tuple[list[_Tag], list[_Tag]]:
    """The tags of the record with a version and those with an alias, in the order of their names.

    Tags without an annotation are passed over, and tags with another form of name.
    """
    pattern = re.compile(
        rf"{re.escape(name)}"
        r"(?:@(?P<version>v\d+\.\d+\.\d+)(?P<erases>!?)|#(?P<alias>[\w-]+)#(?P<number>\d+))"
    )
    printed = git(project.root, "for-each-ref", f"--format={FORMAT}", *_patterns(name))
    version_tags = []
    alias_tags = []
    for line in printed.splitlines():
        full_name, commit, who, seconds, subject = line.split("\0")
        match = pattern.fullmatch(full_name)
        if not match or not commit:
            continue
        parts = match.groupdict(default="")
        tag = _Tag(
            commit=commit,
            who=who,
            when=datetime.fromtimestamp(int(seconds), UTC),
            note=_note(subject),
            version=parts["version"],
            erases=bool(parts["erases"]),
            alias=parts["alias"],
            number=int(parts["number"] or 0),
        )
        if tag.alias:
            alias_tags.append(tag)
        else:
            version_tags.append(tag)
    return version_tags, alias_tags


def _patterns(name: str) -> tuple[str, str]:
    """What git's commands match the tags of the record by."""
    return f"refs/tags/{name}@*", f"refs/tags/{name}#*"


def _note(subject: str) -> dict[str, Any]:
    """What an annotation says. If it is no JSON, a person wrote it, and it is the reason why."""
    try:
        content = json.loads(subject)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        content = {"why": subject}
    defaults = {
        "digest": "",
        "verdict": "",
        "why": "",
        "measured": "",
        "from": None,
        "to": "",
        "override": None,
    }
    return {**defaults, **content}


def _releases_by_commit(project: Project, name: str, tags: list[_Tag]) -> dict[str, Release]:
    """The releases by the commit that they tag."""
    releases: dict[str, Release] = {}
    for tag in tags:  # by name, so `NAME@v1.0.0` comes before `NAME@v1.0.0!`
        if not tag.erases:
            releases[tag.commit] = _release(project, name, tag)
        elif tag.commit in releases:
            day = f"{tag.when:%Y-%m-%d}"
            message = f"{name}@{tag.version} was erased on {day} by {tag.who}: {tag.note['why']}"
            releases[tag.commit] = replace(releases[tag.commit], erased=message)
    return releases


def _release(project: Project, name: str, tag: _Tag) -> Release:
    note = tag.note
    if "fingerprint" not in note:
        note = {**note, **_read_from_commit(project, tag.commit)}
    return Release(
        name=name,
        version=tag.version,
        fingerprint=note["fingerprint"],
        digest=note["digest"],
        commit=tag.commit,
        verdict=note["verdict"],
        why=note["why"],
        who=tag.who,
        when=tag.when,
        measured=note["measured"],
    )


def _read_from_commit(project: Project, commit: str) -> dict[str, Any]:
    """What the annotation would hold of a release that was made with bare `gto register`.

    What the commit lacks is empty.
    """
    fingerprint, measured = identifiers(show(project, commit, DVC_LOCK))
    gate = show_json(project, commit, GATE)
    return {
        "fingerprint": fingerprint,
        "measured": measured,
        "digest": gate.get("facts", {}).get("model", ""),
        "verdict": gate.get("verdict", ""),
    }


def identifiers(lock_text: str) -> tuple[str, str]:
    """The model's fingerprint and the hash of all that the gate judged, by a dvc.lock.

    An identifier is empty if its stage has not run.
    """
    entries = stages(lock_text)
    fingerprint = hashed(lock_text, "train") if "train" in entries else ""
    measured = hashed(lock_text, "gate") if "gate" in entries else ""
    return fingerprint, measured


def _assignments(name: str, tags: list[_Tag], releases: dict[str, Release]) -> list[Assignment]:
    """The assignments by number, oldest first.

    Raises: ProjectError if the last one of an alias is of a commit that is no release.
    """
    assignments = []
    lost: dict[str, str] = {}  # by alias, the last assignment if its release is not there
    for tag in sorted(tags, key=lambda tag: tag.number):
        release = releases.get(tag.commit)
        if release is None:
            wanted = tag.note["to"] or tag.commit[:8]
            lost[tag.alias] = f"{name}#{tag.alias}#{tag.number} names {wanted}"
            continue
        lost.pop(tag.alias, None)  # the alias has moved on, so the former loss does no harm
        assignments.append(_assignment(tag, release))

    if lost:
        first, *_ = lost.values()
        raise ProjectError(
            f"A release's tag was deleted or moved: {first}, which is not where it was.",
            "Bring it back: git fetch --tags, or git push --tags from a clone that has it",
        )
    return assignments


def _assignment(tag: _Tag, release: Release) -> Assignment:
    override = None
    if tag.note["override"]:
        override = Override(**tag.note["override"])
    return Assignment(
        alias=tag.alias,
        release=release,
        number=tag.number,
        from_=tag.note["from"],
        to=release.version,
        who=tag.who,
        when=tag.when,
        why=tag.note["why"],
        override=override,
    )


def signature(project: Project, entry: Assignment) -> str:
    """The signature of the model that was made with an assignment; empty if there is none.

    It is the annotation's body. `read` leaves it out, as it reads one line of each tag.
    """
    return git(project.root, "for-each-ref", "--format=%(contents:body)", f"refs/tags/{entry.tag}")


def champion(project: Project, alias: str = "") -> Assignment | None:
    """Who has the alias now, by default the last one on the path of promotion."""
    return read(project).holder(alias or project.settings().promote.path[-1])


def next_version(project: Project, previous: Release | None) -> str:
    """The version of the candidate.

    The first is v1.0.0. Then the major number goes up if the contract changed, the minor one if
    code, the command or parameters changed, and the patch number if only data changed.
    """
    if previous is None:
        return "v1.0.0"
    old = _training_inputs(show(project, previous.commit, DVC_LOCK))
    new = _training_inputs(locked(project))
    changed = set()  # names of files
    for path in old.keys() | new.keys():
        if old.get(path) != new.get(path):
            changed.add(PurePosixPath(path).name)

    major, minor, patch = previous.order
    if "schema.py" in changed:
        return f"v{major + 1}.0.0"
    changed.discard(CYCLE.name)  # closing a period changes it, and means other data alone
    suffixes = {PurePosixPath(name).suffix for name in changed}
    if suffixes & CODE_SUFFIXES:
        return f"v{major}.{minor + 1}.0"
    return f"v{major}.{minor}.{patch + 1}"


def _training_inputs(lock_text: str) -> dict[str, Any]:
    """What train read, by path: hashes of files, and parameters.

    The command of train stands for dvc.yaml.
    """
    entry = stages(lock_text)["train"]
    inputs = {PIPELINE.name: entry["cmd"]}
    for dependency in entry.get("deps", []):
        inputs[dependency["path"]] = dependency.get("md5") or dependency.get("hash")
    inputs.update(entry.get("params", {}))
    return inputs


def exchange_tags(project: Project) -> None:
    """Let this clone and the remote have the same tags of the record.

    Tags that only this clone has are sent, all or none; those that only the remote has are fetched.

    Raises: GitError if the remote cannot be reached. ProjectError if it refuses the tags, or if
    somebody else took the same number before us.
    """
    remote_name = remote(project.root)
    name, _ = artifact(project)
    if not remote_name:
        return
    refusal: GitError | None = None
    for _ in range(ATTEMPTS):
        unsent = _take_tags_of_others(project, remote_name, name)
        if not unsent:
            return
        try:
            git(project.root, "push", "--atomic", remote_name, *unsent)
        except GitError as error:
            refusal = error
        else:
            return
    raise ProjectError(
        f"{remote_name} does not take the tags. {refusal}",
        "Ask who may push tags. Nothing was recorded.",
    )


def _take_tags_of_others(project: Project, remote_name: str, name: str) -> list[str]:
    """Fetch the tags that only the remote has; returns the refs of those that only this clone has.

    Raises: ProjectError if the remote has another tag under a name of ours. Then the tags of this
    clone that the remote lacks are deleted.
    """
    theirs = _remote_tags(project, remote_name, name)
    ours = _tags(project, name)
    unsent = sorted(ours.keys() - theirs.keys())
    not_theirs = dict(ours.items() - theirs.items())  # unsent, or another tag of the same name
    lost = sorted(not_theirs.keys() - set(unsent))
    if lost:
        # The unsent ones go too: a release and its assignment are recorded together or not at all.
        _delete_tags(project, [*lost, *unsent])
        _fetch_tags(project, remote_name, name)
        raise _taken_by_another(read(project), lost)
    if theirs.keys() - ours.keys():
        _fetch_tags(project, remote_name, name)
    return unsent


def settle_if_reachable(project: Project) -> str:
    """`settle`, but where the remote cannot be reached the record stays what this clone has.

    Returns a sentence about that, to be added to another message; empty if all went well.
    """
    try:
        exchange_tags(project)
    except GitError as error:
        return f"\n{error}\n  Until then the record is what this machine has of it."
    return ""


def _remote_tags(project: Project, remote_name: str, name: str) -> dict[str, str]:
    """The tags of the record on the remote: the id of the tag by its ref."""
    return _ids_by_ref(
        git(project.root, "ls-remote", "--tags", "--refs", remote_name, *_patterns(name))
    )


def _tags(project: Project, name: str) -> dict[str, str]:
    """The tags of the record in this clone: the id of the tag by its ref."""
    layout = "--format=%(objectname)%09%(refname)"
    return _ids_by_ref(git(project.root, "for-each-ref", layout, *_patterns(name)))


def _ids_by_ref(printed: str) -> dict[str, str]:
    ids = {}
    for line in printed.splitlines():
        identifier, ref = line.split("\t")
        ids[ref] = identifier
    return ids


def _fetch_tags(project: Project, remote_name: str, name: str) -> None:
    """Fetch the tags of the record. A shallow clone stays shallow: it gets no history with them."""
    words = ["fetch", "--no-tags", "--force"]
    if git(project.root, "rev-parse", "--is-shallow-repository") == "true":
        words += ["--depth", "1"]
    refspecs = [f"+{pattern}:{pattern}" for pattern in _patterns(name)]
    git(project.root, *words, remote_name, *refspecs)


def _delete_tags(project: Project, refs: list[str]) -> None:
    """Delete tags in this clone."""
    if refs:
        git(project.root, "tag", "--delete", *_short_names(refs))


def _short_names(refs: list[str]) -> list[str]:
    return [ref.removeprefix("refs/tags/") for ref in refs]


def _taken_by_another(record: Record, lost: list[str]) -> ProjectError:
    """The error that says who took the number before us; `record` already has what they wrote."""
    message = f"Somebody was faster: {', '.join(_short_names(lost))} exists already."
    for entry in record.assignments:
        if f"refs/tags/{entry.tag}" in lost:
            since = f"{entry.when:%Y-%m-%d %H:%M} UTC"
            message = f"{entry.who} was faster: {entry.alias} is {entry.to} since {since}"
            message += f" ({entry.tag})."
            break
    remedy = "Nothing of yours was recorded. Run: uv run mlops status, then try again."
    return ProjectError(message, remedy)


@contextmanager
def _sending_new_tags(project: Project, name: str, what: str) -> Iterator[dict[str, str]]:
    """Send the tags that the block makes with GTO; yields their author, as GTO's arguments.

    `what` is what is recorded, for the message. Raises: ProjectError if a tag cannot be made or
    sent; then none of them is left.
    """
    author, address = identity(project.root)
    with exclusively(project, "record"):
        before = _tags(project, name)
        created: dict[str, str] = {}
        try:
            try:
                yield {"author": author, "author_email": address}
            finally:
                # Asked before `settle` fetches the tags of others, which must not be deleted.
                created = dict(_tags(project, name).items() - before.items())
            exchange_tags(project)
        except Exception as error:  # git's library below GTO raises its own, e.g. for a full disk
            still_there = dict(created.items() & _tags(project, name).items())
            _delete_tags(project, list(still_there))
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

    `signed` is a signature of the model, which is kept with the assignment. So is `more`: the
    verdict of the day, an override, who switched a machine before.

    Raises: ProjectError if somebody was faster, or if git or GTO refuse. Nothing is recorded then.
    """
    from gto import api

    _wait_until_later(record)
    root = str(project.root)
    note = {
        "fingerprint": release.fingerprint,
        "digest": release.digest,
        "verdict": release.verdict,
        "why": why,
        "measured": release.measured,
    }
    before = record.holder(alias)
    move = {**note, "from": before.to if before else None, "to": release.version, **more}
    annotation = _line(move)
    if signed:
        annotation += f"\n\n{signed}"

    with _sending_new_tags(project, release.name, f"{release.tag} as {alias}") as author:
        if release not in record.releases:
            name, commit, version = release.name, release.commit, release.version
            api.register(root, name, commit, version, _line(note), **author)
        api.assign(
            root,
            release.name,
            alias,
            version=release.version,
            message=annotation,
            force=True,
            **author,
        )


def erase(project: Project, releases: Iterable[Release], why: str) -> None:
    """Take releases out of the record, for good, and send that.

    Raises: ProjectError if it cannot be sent. Nothing is recorded then.
    """
    from gto import api

    message = _line({"why": why})
    try:
        name, _ = artifact(project)
        with _sending_new_tags(project, name, "it") as author:
            for release in releases:
                api.deregister(
                    str(project.root),
                    release.name,
                    version=release.version,
                    message=message,
                    simple=True,
                    **author,
                )
    except ProjectError as error:
        raise ProjectError(
            f"The erasure cannot be recorded, so nothing was purged. {error}"
        ) from error


def _line(note: dict[str, Any]) -> str:
    """A note as one line: a tag's subject, which `read` takes, ends with the first paragraph."""
    return json.dumps(note, ensure_ascii=False, sort_keys=True)


def _wait_until_later(record: Record) -> None:
    """Wait until the clock shows a later second than the record's last entry.

    GTO and DVC order tags by their second. Raises: ProjectError if the clock is too far behind.
    """
    entries: list[Release | Assignment] = [*record.releases, *record.assignments]
    times = [entry.when.timestamp() for entry in entries]
    behind = max(times, default=0) + 1 - time.time()
    if behind > MAX_CLOCK_LAG:
        raise ProjectError(
            f"This machine's clock is {behind:.0f} s behind the record's last entry.",
            "Set the clock.",
        )
    time.sleep(max(0.0, behind))
