"""What Copier writes.

For every choice the right files: legal, parsable, clean, and from any name or title.
"""

import ast
import itertools
import json
import keyword
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import copier
import pytest
import yaml

from .projects import LIBRARY, ROOT, ROWS, Project, git, paths, questions

QUESTIONS = questions((ROOT / "copier.yml").read_text())
ASKED = {name: body for name, body in QUESTIONS.items() if body.get("ask") is not False}
THE_FOUR = ("schema", "data", "features", "model")
PARSERS: dict[str, Callable[[str], object]] = {
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
    ".json": json.loads,
}


def test_at_most_8_questions_each_with_a_default_and_a_reason() -> None:
    assert len(ASKED) <= 8
    assert all("default" in body and body.get("help") for body in QUESTIONS.values())


def test_the_rows_hold_every_two_choices_together() -> None:
    choices = {}
    for name, body in ASKED.items():
        if "choices" in body:
            choices[name] = list(body["choices"].values())
    for first, second in itertools.combinations(choices, 2):
        in_rows = {(row[first], row[second]) for row in ROWS.values()}
        for pair in itertools.product(choices[first], choices[second]):
            assert pair in in_rows, (first, second, pair)


def test_a_row_has_the_committed_list_of_files(rendered: Path, row: str) -> None:
    listed = ROOT / "tests" / "files" / f"{row}.txt"
    found = "".join(f"{path}\n" for path in paths(rendered))
    if not listed.exists():
        listed.write_text(found)
        pytest.fail(f"{listed.name} was missing and is written now: read it, and commit it.")
    assert listed.read_text() == found, (
        f"If this is meant, delete {listed.name} and run the test twice."
    )


def test_git_ignores_nothing_that_is_rendered(rendered: Path) -> None:
    assert git(rendered, "ls-files", "-z").rstrip("\0").split("\0") == paths(rendered)


def test_no_jinja_is_left_over(rendered: Path) -> None:
    left = re.compile(rf"(?<!\$){{{{-? *({'|'.join(QUESTIONS)}|_copier_\w+)\b|{{%-? ")
    assert not [
        path for path in paths(rendered) if left.search((rendered / path).read_text() + path)
    ]


def test_names_are_legal_on_windows(rendered: Path) -> None:
    illegal = re.compile(
        r'[<>:"|?*\\]|[. ](/|$)|(^|/)(con|prn|aux|nul|com\d|lpt\d)(\.|/|$)', re.IGNORECASE
    )
    assert not [path for path in paths(rendered) if illegal.search(path)]


def test_what_can_be_parsed_parses(rendered: Path) -> None:
    for path in paths(rendered):
        PARSERS.get(Path(path).suffix, str)((rendered / path).read_text(encoding="utf-8"))


def test_the_copy_is_linted_and_formatted(rendered: Path) -> None:
    for words in (["check"], ["format", "--check"]):
        subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--no-cache", "."], cwd=rendered, check=True
        )


def test_the_copy_is_typed(rendered: Path, programs: Path) -> None:
    Project(rendered, programs).run("mypy", "--cache-dir", str(ROOT / ".cache" / "mypy"))


def test_what_our_scripts_import_from_the_library_is_there(project: Callable[..., Project]) -> None:
    lines = set()
    for folder in ("tests", "benchmarks", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            lines.update(re.findall(r"from mlgates[.\w]* import [\w, ]+", text))
    assert len(lines) > 20
    project().run("python", "-c", "\n".join(sorted(lines)))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("late-flights", "late-flights"),
        ("2048-game", "game"),
        ("My Проект", "my"),
        ("Проект", "my-model"),
        ("class", "class-model"),
        ("numpy", "numpy-model"),
        ("Scikit_Learn", "scikit-learn-model"),
        ("--a..b__", "a-b"),
    ],
)
def test_the_default_name_fits_any_folder(
    template: Path, tmp_path: Path, folder: str, name: str
) -> None:
    copier.run_copy(str(template), tmp_path / folder, defaults=True, quiet=True)
    answers = yaml.safe_load((tmp_path / folder / ".copier-answers.yml").read_text())
    assert answers["project"] == name
    assert (tmp_path / folder / "src" / name.replace("-", "_") / "schema.py").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("class", "already uses. Try 'class-model'"),
        ("test", "already uses. Try 'test-model'"),
        ("mlops", "already uses. Try 'mlops-model'"),
        ("Late Flights", "is not kebab-case: .* Try 'late-flights'"),
        ("2048", "is not kebab-case: .* Try 'my-model'"),
        ("late_flights", "is not kebab-case: .* Try 'late-flights'"),
        ("../up", "is not kebab-case: .* Try 'up'"),
    ],
)
def test_a_bad_name_is_refused_with_one_that_would_do(
    template: Path, tmp_path: Path, name: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        copier.run_copy(
            str(template), tmp_path / "x", data={"project": name}, defaults=True, quiet=True
        )
    assert not (tmp_path / "x").exists()


def test_no_name_of_python_or_of_a_dependency_is_accepted(project: Callable[..., Project]) -> None:
    listing = (
        "from importlib.metadata import packages_distributions as p; "
        "print(*p(), *sum(p().values(), []))"
    )
    listed = project().run("python", "-c", listing).lower().split()
    installed = {re.sub("[-_.]+", "_", name) for name in listed}
    used = installed | sys.stdlib_module_names | set(keyword.kwlist)
    taken = set((ROOT / "hooks" / "taken.txt").read_text().split())
    assert {name for name in used if re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", name)} <= taken
    assert not [name for name in taken if name.endswith("_model")]  # a default must not be refused


@pytest.mark.parametrize(
    "title", ["Поздние рейсы", '"C:\\temp" {{ 7 * 7 }} #1', "遅延便 🛫", "'yes': no"]
)
def test_a_title_is_any_line_of_text(template: Path, tmp_path: Path, title: str) -> None:
    copier.run_copy(str(template), tmp_path / "x", data={"title": title}, defaults=True, quiet=True)
    assert (tmp_path / "x" / "README.md").read_text().startswith(f"# {title}\n")
    pyproject = tomllib.loads((tmp_path / "x" / "pyproject.toml").read_text())
    assert pyproject["project"]["description"] == title


def test_the_command_copies_without_trust_and_names_the_next_one(
    template: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "copier", "copy", "--defaults", str(template), "late-flights"]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert "cd late-flights && uv run mlops up" in done.stdout + done.stderr


def test_no_column_of_the_sample_is_named_outside_of_the_four_files(rendered: Path) -> None:
    columns = re.compile(
        r"\b(carrier|scheduled|visibility|wind_speed|wind|humid|precip|arr_delay)\b"
    )
    wiring = [path for path in rendered.glob("src/**/*.py") if path.stem not in THE_FOUR]
    places = [
        *wiring,
        rendered / "dvc.yaml",
        *rendered.glob(".github/**/*.yml"),
        *(LIBRARY / "src").rglob("*.py"),
    ]
    assert len(wiring) > 10
    assert not [path for path in places if columns.search(path.read_text())]
