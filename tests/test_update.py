"""What an update may never do.

It may not lose a team's line, bring back what the team deleted, or leave the project behind.

Tried from each release, and from the first commit of this layout, to the work tree; and from the
work tree to a next version that is made up here, so that there is something to update also on the
day of a release.
"""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from .projects import FIRST, NOW, ROOT, ROWS, commit, copy, git, paths, questions, releases, update

CONFIG = yaml.safe_load((ROOT / "copier.yml").read_text())
SEEDS = CONFIG["_skip_if_exists"]
LATER = ["/erased.csv"]  # seeds that an update brings where they are absent
RELEASES = list(releases())
NEXT = "v1000.0.0"  # the version that is made up here
LINE = "# a line of the team's"
RESERVED = [
    "pipelines/own/dvc.yaml",
    ".github/workflows/team-nightly.yml",
    "tests/test_own.py",
    "src/late_flights/own.py",
    "src/late_flights/.gitignore",
]
each_release = pytest.mark.parametrize("release", RELEASES)
each_update = pytest.mark.parametrize(
    ("old", "new"), [*((release, NOW) for release in RELEASES), (NOW, NEXT)]
)
# What the next version changes: (path, what is replaced, by what).
CHANGES = [
    ("template/docs/runbook.md", "| first day |", "| the very first day |"),
    ("template/src/{{ package }}/pipeline/gate.py", '"""The verdict', '"""The gate\'s verdict'),
    (
        "template/src/{{ package }}/features.py.jinja",
        '"""',
        '"""Changed in the template only. ',
    ),  # a seed
    ("template/params.yaml", "# Yours.", "# Still yours."),  # a seed
    (
        "template/pyproject.toml.jinja",
        "    # team entries below",
        '    "tabulate>=0.9",\n    # team entries below',
    ),
    ("template/ruff.toml", "    # team entries below", '    "E731",\n    # team entries below'),
    ("template/dvc.yaml.jinja", "desc: the verdict;", "desc: the final verdict;"),
]
NEW_FILE = "template/docs/added.md"


def is_seed(path: str) -> bool:
    """Whether a path is the team's from the first copy on."""
    for seed in SEEDS:
        same_depth = path.count("/") == seed.count("/") - 1  # `*` of fnmatch also matches `/`
        if fnmatch(f"/{path}", seed) and ("**" in seed or same_depth):
            return True
    return False


@pytest.fixture(scope="module")
def versions(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with all its releases, the work tree, and a next version."""
    folder = tmp_path_factory.mktemp("next") / "copier-mlops"
    git(template.parent, "clone", "--quiet", str(template), str(folder))
    git(folder, "checkout", "--quiet", NOW)
    for name, old, new in CHANGES:
        path = folder / name
        assert old in path.read_text(), (name, old)
        path.write_text(path.read_text().replace(old, new, 1))
    (folder / NEW_FILE).write_text("# Added by the next version\n")
    commit(folder, "The next version")
    git(folder, "tag", NEXT)
    return folder


def test_there_is_a_version_to_update_from() -> None:
    assert FIRST in RELEASES, (
        "the first commit of the layout was not found: "
        "the history is not whole (git fetch --unshallow)"
    )


@each_update
def test_update_keeps_every_line_of_the_teams(
    versions: Path, tmp_path: Path, old: str, new: str
) -> None:
    folder = copy(versions, tmp_path / "late-flights", tag=old)
    not_edited = (".copier-answers.yml", "docs/runbook.md")
    edited = [path for path in paths(folder) if path not in not_edited]
    for path in edited:
        (folder / path).write_text(f"{(folder / path).read_text()}{LINE}\n")
    for path in RESERVED:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(LINE)
    (folder / "docs" / "runbook.md").unlink()
    of_the_team = [*(path for path in edited if is_seed(path)), *RESERVED]
    before = {path: (folder / path).read_bytes() for path in of_the_team}
    commit(folder, "The team's")

    update(folder, new)

    assert [path for path in edited if LINE not in (folder / path).read_text()] == []
    for path, content in before.items():
        assert (folder / path).read_bytes() == content, path
    assert not (folder / "docs" / "runbook.md").exists()


@each_update
def test_an_unedited_project_becomes_a_fresh_copy(
    versions: Path, row: str, tmp_path: Path, old: str, new: str
) -> None:
    updated = copy(versions, tmp_path / "old" / "late-flights", ROWS[row], tag=old)
    fresh = copy(versions, tmp_path / "new" / "late-flights", ROWS[row], tag=new)
    update(updated, new)
    assert all((updated / seed.removeprefix("/")).exists() for seed in LATER)
    plumbing = [path for path in paths(fresh) if not is_seed(path)]
    assert [path for path in paths(updated) if not is_seed(path)] == plumbing
    for path in plumbing:
        assert (updated / path).read_bytes() == (fresh / path).read_bytes(), path


def test_the_next_version_arrives_beside_what_the_team_wrote(
    versions: Path, tmp_path: Path
) -> None:
    folder = copy(versions, tmp_path / "late-flights")
    wiring = folder / "src/late_flights/pipeline/gate.py"
    wiring.write_text(wiring.read_text() + f"{LINE}\n")
    project = folder / "pyproject.toml"
    marker = "# team entries below\n"
    text = project.read_text()
    project.write_text(text.replace(marker, f'{marker}    "polars>=1",\n', 1))
    features = (folder / "src/late_flights/features.py").read_bytes()
    commit(folder, "The team's")
    update(folder, NEXT)
    assert git(folder, "diff", "--name-only", "--diff-filter=U") == ""  # no conflict
    assert wiring.read_text().startswith('"""The gate\'s verdict')
    assert wiring.read_text().endswith(f"{LINE}\n")
    assert '"tabulate>=0.9",' in project.read_text() and '"polars>=1",' in project.read_text()
    assert (folder / "docs/added.md").exists()
    assert (folder / "src/late_flights/features.py").read_bytes() == features


def test_workflows_go_and_come_with_the_answer(template: Path, tmp_path: Path) -> None:
    folder = copy(template, tmp_path / "late-flights")
    before = paths(folder)
    update(folder, ci="none")
    commit(folder, "No CI")
    assert {path.split("/")[0] for path in set(before) - set(paths(folder))} == {".github"}
    update(folder, ci="github")
    assert paths(folder) == before


def test_mine_is_never_touched(versions: Path, tmp_path: Path) -> None:
    folder = copy(versions, tmp_path / "late-flights")
    answers = folder / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace("mine: []", "mine: [ruff.toml]"))
    (folder / "ruff.toml").write_text(LINE)
    commit(folder, "Ours")
    update(folder, NEXT)
    assert (folder / "ruff.toml").read_text() == LINE


def test_the_two_lists_of_seeds_agree() -> None:
    (on_update,) = [entry for entry in CONFIG["_exclude"] if "'update'" in entry]
    assert re.findall("^(/.+)$", on_update, re.MULTILINE) == [
        seed for seed in SEEDS if seed not in LATER
    ]
    assert not [seed for seed in SEEDS if "{" in seed]  # rendered before there are answers


@each_release
def test_a_path_once_shipped_is_there_or_retired(template: Path, release: str) -> None:
    def shipped(tag: str) -> set[str]:
        listing = git(template, "ls-tree", "-r", "-z", "--name-only", tag, "template/")
        patterns = set()
        for name in listing.rstrip("\0").split("\0"):
            path = name.removeprefix("template").removesuffix(".jinja")
            patterns.add(re.sub(r"\{\{.*?\}\}", "*", path))
        return patterns

    assert shipped(release) - shipped(NOW) <= set(CONFIG["_exclude"][-1].splitlines())


@each_release
def test_stages_read_no_section_of_parameters_that_an_old_project_lacks(
    template: Path, release: str
) -> None:
    stages = git(template, "show", f"{NOW}:template/dvc.yaml.jinja")
    tracked = set()
    for names in re.findall(r"- params\.yaml: \[(.+)\]", stages):
        tracked.update(names.split(", "))
    params = yaml.safe_load(git(template, "show", f"{release}:template/params.yaml"))
    assert tracked
    assert tracked <= set(params)


@each_release
def test_a_seed_stays_a_seed(template: Path, release: str) -> None:
    config = yaml.safe_load(git(template, "show", f"{release}:copier.yml"))
    assert set(config["_skip_if_exists"]) <= set(SEEDS)


@each_release
def test_no_question_or_choice_is_ever_removed(template: Path, release: str) -> None:
    before = questions(git(template, "show", f"{release}:copier.yml"))
    now = questions(git(template, "show", f"{NOW}:copier.yml"))
    assert before.keys() <= now.keys()
    for name, body in before.items():
        assert set(body.get("choices", {}).values()) <= set(now[name].get("choices", {}).values())
