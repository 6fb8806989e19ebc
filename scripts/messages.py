"""Write docs/messages.md: each message of the library that a user can see, by module.

python -m scripts.messages. A person reads the table in one sitting; tests/test_messages.py refuses
words that a reader would have to look up, and a table that is out of date.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.projects import LIBRARY, ROOT

PAGE = ROOT / "docs" / "messages.md"
SOURCE = LIBRARY / "src" / "mlgates"
ERRORS = {"ProjectError": 2, "Refused": 2, "NotApplicable": 1}  # and how many arguments are text
PRINTED = {"print"}
EVIDENCE = "evidence"  # the keyword argument with which a check explains itself
VARIABLES = (EVIDENCE, "message", "remedy", "reason")  # that hold a text before it is used
HEAD = """# Messages

Every message of `mlgates` that a user can see, by module. `{...}` stands for a value. This page
is written by `python -m scripts.messages`.
"""


@dataclass(frozen=True)
class Message:
    """A text of the library: what kind it is, and the text with `{...}` for values."""

    kind: str
    text: str


def modules() -> Iterator[tuple[str, list[Message]]]:
    """The messages of each module that has any, by its dotted name."""
    for path in sorted(SOURCE.rglob("*.py")):
        found = list(messages(path.read_text(encoding="utf-8")))
        if found:
            yield ".".join(path.relative_to(SOURCE).with_suffix("").parts), found


def messages(code: str) -> Iterator[Message]:
    """The messages of a module, in their order, each once."""
    seen = set()
    for node in ast.walk(ast.parse(code)):
        for message in _of(node):
            if message not in seen and " " in message.text.strip():
                seen.add(message)
                yield message


def _of(node: ast.AST) -> Iterator[Message]:
    if isinstance(node, ast.Assign):
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id in VARIABLES:
            yield from _texts(target.id, node.value)
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func).rpartition(".")[2]
    if name in ERRORS:
        for argument in node.args[-ERRORS[name] :]:
            yield from _texts("error", argument)
    if name in PRINTED:
        for argument in node.args:
            yield from _texts("printed", argument)
    for keyword in node.keywords:
        if keyword.arg == EVIDENCE:
            yield from _texts(EVIDENCE, keyword.value)


def _texts(kind: str, node: ast.AST) -> Iterator[Message]:
    """The texts in an expression: a string, an f-string, or the parts of a sum or of a choice."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield Message(kind, node.value)
    elif isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            parts.append(str(part.value) if isinstance(part, ast.Constant) else "{...}")
        yield Message(kind, "".join(parts))
    elif isinstance(node, ast.BinOp):
        yield from _texts(kind, node.left)
        yield from _texts(kind, node.right)
    elif isinstance(node, ast.IfExp):
        yield from _texts(kind, node.body)
        yield from _texts(kind, node.orelse)


def page() -> str:
    """The page, in Markdown."""
    lines = [HEAD]
    for module, found in modules():
        lines += [f"## {module}", "", "| kind | message |", "|---|---|"]
        for message in found:
            text = " ".join(message.text.split()).replace("|", "\\|")
            lines.append(f"| {message.kind} | {text} |")
        lines.append("")
    return "\n".join(lines)


def write(path: Path = PAGE) -> None:
    """Write the page."""
    path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write()
