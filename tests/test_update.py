"""What an update may never do: lose a team's line, bring back what it deleted, or leave the project behind."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from .projects import NOW, ROOT, ROWS, commit, copy, git, paths, questions, releases, update

CONFIG = yaml.safe_load((ROOT / "copier.yml").read_text())
SEEDS = CONFIG["_skip_if_exists"]
LATER = ["/erased.csv"]  # seeds since 0.2.0: an update brings them where they are absent
RELEASES = list(releases())
LINE = "# a line of the team's"
RESERVED = [
    "pipelines/own/dvc.yaml",
    ".github/workflows/team-nightly.yml",
    "tests/test_own.py",
    "src/late_flights/custom/gate.py",
    "src/late_flights/.gitignore",
]
each_release = pytest.mark.parametrize("release", RELEASES)


def is_seed(path: str) -> bool:
    """Whether a path is the team's from the first copy on."""
    return any(fnmatch(f"/{path}", seed) and ("**" in seed or path.count("/") == seed.count("/") - 1) for seed in SEEDS)


@each_release
def test_update_keeps_every_line_of_the_teams(template: Path, tmp_path: Path, release: str) -> None:
    folder = copy(template, tmp_path / "late-flights", tag=release)
    edited = [path for path in paths(folder) if path not in (".copier-answers.yml", "docs/runbook.md")]
    for path in edited:
        (folder / path).write_text(f"{(folder / path).read_text()}{LINE}\n")
    for path in RESERVED:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(LINE)
    (folder / "docs" / "runbook.md").unlink()
    seeds = {path: (folder / path).read_bytes() for path in [*edited, *RESERVED] if is_seed(path) or path in RESERVED}
    commit(folder, "The team's")

    update(folder)

    assert [path for path in edited if LINE not in (folder / path).read_text()] == []
    assert {path: (folder / path).read_bytes() for path in seeds} == seeds
    assert not (folder / "docs" / "runbook.md").exists()


@each_release
def test_an_unedited_project_becomes_a_fresh_copy(template: Path, row: str, tmp_path: Path, release: str) -> None:
    old = copy(template, tmp_path / "old" / "late-flights", ROWS[row], tag=release)
    new = copy(template, tmp_path / "new" / "late-flights", ROWS[row])
    update(old)
    assert all((old / seed.removeprefix("/")).exists() for seed in LATER)
    plumbing = [path for path in paths(new) if not is_seed(path)]
    assert [path for path in paths(old) if not is_seed(path)] == plumbing
    assert [path for path in plumbing if (old / path).read_bytes() != (new / path).read_bytes()] == []


def test_workflows_go_and_come_with_the_answer(template: Path, tmp_path: Path) -> None:
    folder = copy(template, tmp_path / "late-flights")
    before = paths(folder)
    update(folder, ci="none")
    commit(folder, "No CI")
    assert {path.split("/")[0] for path in set(before) - set(paths(folder))} == {".github"}
    update(folder, ci="github")
    assert paths(folder) == before


def test_mine_is_never_touched(template: Path, tmp_path: Path) -> None:
    folder = copy(template, tmp_path / "late-flights")
    answers = folder / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace("mine: []", "mine: [ruff.toml]"))
    (folder / "ruff.toml").write_text(LINE)
    commit(folder, "Ours")
    update(folder)
    assert (folder / "ruff.toml").read_text() == LINE


def test_the_two_lists_of_seeds_agree() -> None:
    (on_update,) = [entry for entry in CONFIG["_exclude"] if "'update'" in entry]
    assert re.findall("^(/.+)$", on_update, re.MULTILINE) == [seed for seed in SEEDS if seed not in LATER]
    assert not [seed for seed in SEEDS if "{" in seed]  # rendered before there are answers


@each_release
def test_a_path_once_shipped_is_there_or_retired(template: Path, release: str) -> None:
    def shipped(tag: str) -> set[str]:
        names = git(template, "ls-tree", "-r", "-z", "--name-only", tag, "template/").rstrip("\0").split("\0")
        return {re.sub(r"\{\{.*?\}\}", "*", name.removeprefix("template").removesuffix(".jinja")) for name in names}

    assert shipped(release) - shipped(NOW) <= set(CONFIG["_exclude"][-1].splitlines())


@each_release
def test_stages_read_no_section_of_parameters_that_an_old_project_lacks(template: Path, release: str) -> None:
    stages = git(template, "show", f"{NOW}:template/dvc.yaml.jinja")
    tracked = {name for found in re.findall(r"- params\.yaml: \[(.+)\]", stages) for name in found.split(", ")}
    assert tracked and tracked <= set(yaml.safe_load(git(template, "show", f"{release}:template/params.yaml")))


@each_release
def test_a_seed_stays_a_seed(template: Path, release: str) -> None:
    assert set(yaml.safe_load(git(template, "show", f"{release}:copier.yml"))["_skip_if_exists"]) <= set(SEEDS)


@each_release
def test_no_question_or_choice_is_ever_removed(template: Path, release: str) -> None:
    before, now = (questions(git(template, "show", f"{tag}:copier.yml")) for tag in (release, NOW))
    assert before.keys() <= now.keys()
    for name, body in before.items():
        assert set(body.get("choices", {}).values()) <= set(now[name].get("choices", {}).values())
