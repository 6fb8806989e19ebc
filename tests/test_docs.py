"""What the docs name is there: each command, option, stage, file and function."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from .projects import DEFAULT, LIBRARY, ROOT, Project

PAGES = [
    *("README.md", "docs/architecture.md", "docs/changing.md", "CHANGELOG.md"),
    *("template/README.md.jinja", "template/docs/runbook.md", "template/docs/handbook.md"),
    *("hooks/after-copy.jinja", "hooks/after-update.jinja"),
]


def text_of(page: str) -> str:
    """A page, of the changelog's table only the right column."""
    text = (ROOT / page).read_text()
    if page == "CHANGELOG.md":
        text = re.sub(r"(?m)^\| [^|]+ \|", "|", text)
    return text


def options() -> dict[str, set[str]]:
    """The options of each verb, from the command's source: they stand in the annotations."""
    code = ast.parse((LIBRARY / "src/mlgates/cli.py").read_text())
    shared = {}  # annotations that several verbs use, by name
    for node in code.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            shared[node.targets[0].id] = texts(node.value)

    verbs = {}
    for node in code.body:
        if not isinstance(node, ast.FunctionDef) or not node.decorator_list:
            continue
        found = texts(node.args)
        for part in ast.walk(node.args):
            if isinstance(part, ast.Name):
                found |= shared.get(part.id, set())
        verbs[node.name.removeprefix("_")] = found
    return verbs


def texts(node: ast.AST) -> set[str]:
    """The words of a piece of code that look like options."""
    constants = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    return {value for value in constants if isinstance(value, str) and value.startswith("--")}


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each `mlops VERB` of a text, with the options behind it."""
    for found in re.finditer(r"(?<![-\w])mlops ([a-z]+)((?: (?!\|)[^\s`;,|)]+)*)", text):
        if found[1] not in ("is", "page"):
            yield found[1], re.findall(r"(?<=\s)--[a-z-]+", found[2])


@pytest.mark.parametrize("page", PAGES)
def test_each_verb_and_option_that_a_page_names_exists(page: str) -> None:
    known = options()
    assert len(known) > 15
    for verb, given in commands(text_of(page)):
        assert verb in known, f"mlops has no verb {verb}"
        assert not {*given} - known[verb] - {"--exit-zero"}, (verb, given)


def test_a_verb_that_is_not_there_would_be_seen() -> None:
    assert list(commands("Run `uv run mlops prmote --to x`.")) == [("prmote", ["--to"])]


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_no_page_speaks_of_what_is_gone(page: str) -> None:
    gone = re.compile(r"\bops/|\.ops\b|\bcustom/|registry\.vouch|\brefit\b|PACKAGE\.ops")
    assert not gone.findall(text_of(page))


def test_stages_that_pages_name_are_in_the_map() -> None:
    stages = re.findall(
        r"(?m)^  (\w+):$", (ROOT / "template/dvc.yaml.jinja").read_text().partition("stages:")[2]
    )
    listed = ", ".join(stages[:7])
    for page in ("template/README.md.jinja", "template/docs/handbook.md"):
        assert listed in (ROOT / page).read_text()
    assert yaml.safe_load((ROOT / "copier.yml").read_text())


def test_files_that_pages_name_are_there() -> None:
    for page in ("README.md", "docs/architecture.md", "docs/changing.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / target).exists(), (page, target)


def test_library_names_of_the_architecture_exist(make: Callable[[str], Project]) -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    cells = [
        row.rstrip("|").rpartition("|")[2] for row in text.splitlines() if row.startswith("| ")
    ]
    names = sorted(
        {name for cell in cells for name in re.findall(r"`((?:[a-z_]+\.)+\w+(?:\.\w+)?)`", cell)}
    )
    assert len(names) > 30
    code = (
        "import importlib, sys\n"
        "def resolve(name):\n"
        "    parts = ('mlgates.' + name).split('.')\n"
        "    for cut in range(len(parts), 0, -1):\n"
        "        try:\n"
        "            found = importlib.import_module('.'.join(parts[:cut]))\n"
        "        except ModuleNotFoundError:\n"
        "            continue\n"
        "        for part in parts[cut:]:\n"
        "            found = getattr(found, part)\n"
        "        return found\n"
        "for name in sys.argv[1:]:\n"
        "    assert resolve(name) is not None, name\n"
    )
    make(DEFAULT).run("python", "-c", code, *names)


def test_pages_are_text_without_trailing_space() -> None:
    for page in PAGES:
        assert not re.search(r"[ \t]+$", Path(ROOT / page).read_text(), re.MULTILINE), page
