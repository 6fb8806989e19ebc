"""Where things lie in a project is said in one module."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

import mlgates
from mlgates import layout

SOURCE = Path(mlgates.__file__).parent
NAMES = {
    str(value)
    for name, value in vars(layout).items()
    if name.isupper() and isinstance(value, str | Path)
}
FOLDERS = {PurePosixPath(name).parts[0] for name in NAMES if "/" in name or "." not in name}
FILES = {PurePosixPath(name).name for name in NAMES if "." in name}
NO_PATHS = {"gate/sbom.py": {"data/{}/{}"}}  # what a part of the bill of materials is called in it


def text(node: ast.AST) -> str:
    """A string as it is written, with {} for what is filled in; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) or "{}" for part in node.values)
    return ""


def named_paths(code: str) -> Iterator[str]:
    """The paths of a project that a module names itself; what has a blank in it is a sentence for people."""
    tree = ast.parse(code)
    divided = [
        side
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp)
        for side in (node.left, node.right)
    ]
    inner = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if node in inner or not (written := text(node)) or re.search(r"\s", written):
            continue
        first, *rest = written.split("/")
        if (first in FOLDERS and (rest or node in divided)) or written.rpartition("/")[2] in FILES:
            yield written


def test_no_other_module_names_a_path() -> None:
    found = {}
    for path in SOURCE.rglob("*.py"):
        module = path.relative_to(SOURCE).as_posix()
        paths = {*named_paths(path.read_text(encoding="utf-8"))} - NO_PATHS.get(module, set())
        if paths and module != "layout.py":
            found[module] = sorted(paths)
    assert found == {}, "name it in layout.py"


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
            'raise ProjectError(f"reports/gate.json is not what {name} says.", "See var/serve.log then")',
            [],
        ),
        ("root / GATE", []),
    ],
)
def test_a_path_is_told_from_a_sentence_and_from_a_name(code: str, expected: list[str]) -> None:
    assert [*named_paths(code)] == expected
