"""Where things lie in a project is written in one module, layout.py."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

import mlgates
from mlgates import layout

SOURCE = Path(mlgates.__file__).parent

# By module: what looks like a path and is none
NOT_PATHS = {"gate/sbom.py": {"data/{}/{}"}}  # what the bill of materials calls a part of itself


def paths_of_layout() -> set[str]:
    """All paths that layout.py names."""
    paths = set()
    for name, value in vars(layout).items():
        if name.isupper() and isinstance(value, str | Path):
            paths.add(str(value))
    return paths


PATHS = paths_of_layout()
FOLDERS = {PurePosixPath(path).parts[0] for path in PATHS if "/" in path or "." not in path}
FILES = {PurePosixPath(path).name for path in PATHS if "." in path}


def string(node: ast.AST) -> str:
    """A string as it is written, with {} for what is filled in; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = []
    for part in node.values:
        parts.append(string(part) or "{}")
    return "".join(parts)


def named_paths(code: str) -> Iterator[str]:
    """The paths of a project that a module names itself.

    A string with a blank in it is a sentence for people. The name of a folder alone is a path only
    where it is joined to another one by `/`.
    """
    nodes = list(ast.walk(ast.parse(code)))
    joined_by_slash: set[ast.AST] = set()
    parts_of_strings: set[ast.AST] = set()
    for node in nodes:
        if isinstance(node, ast.BinOp):
            joined_by_slash |= {node.left, node.right}
        if isinstance(node, ast.JoinedStr):
            parts_of_strings |= set(node.values)

    for node in nodes:
        text = string(node)
        if not text or node in parts_of_strings or re.search(r"\s", text):
            continue
        first, slash, _ = text.partition("/")
        is_below_folder = first in FOLDERS and (slash or node in joined_by_slash)
        is_file = text.rpartition("/")[2] in FILES
        if is_below_folder or is_file:
            yield text


def test_no_other_module_names_a_path() -> None:
    named = {}
    for path in SOURCE.rglob("*.py"):
        module = path.relative_to(SOURCE).as_posix()
        if module == "layout.py":
            continue
        paths = set(named_paths(path.read_text(encoding="utf-8")))
        paths -= NOT_PATHS.get(module, set())
        if paths:
            named[module] = sorted(paths)
    assert named == {}, "name it in layout.py"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('root / "var" / name', ["var"]),
        ('root / f"data/raw/{period}"', ["data/raw/{}"]),
        ('Path("reports/gate.json")', ["reports/gate.json"]),
        ('show(project, commit, "dvc.lock")', ["dvc.lock"]),
        ('root.glob("src/*/data.py")', ["src/*/data.py"]),
        ('{"data": 1, "models": "gate"}', []),
        (
            'raise ProjectError(f"reports/gate.json lacks {name}.", "See var/serve.log then")',
            [],
        ),
        ("root / GATE", []),
    ],
)
def test_a_path_is_distinguished_from_a_sentence_and_from_a_name(
    code: str, expected: list[str]
) -> None:
    assert list(named_paths(code)) == expected
