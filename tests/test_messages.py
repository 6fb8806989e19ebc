"""Messages, docs and the files of a project are written in words that everybody knows.

What the library says to a user is listed on one page.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from scripts.messages import PAGE, messages, modules, page

from .projects import ROOT, paths

# Words of before 0.4, and what is said instead
INSTEAD = {
    "told": "reported",
    "lest": "so that ... not",
    "mend": "fix",
    "bite": "stop",
    "veto": "block",
    "vouch": "sign",
    "surely": "with 95 % confidence",
    "opponent": "champion",
    "insufficient": "inconclusive",
}
WORDS = re.compile(rf"\b({'|'.join(INSTEAD)})(e?s|ed)?\b", re.IGNORECASE)
BECAUSE = re.compile(
    r",? for (it|he|she|they|there|this|nobody|nothing) (is|are|was|has|have|had)\b"
)


# Prose is also held to these.
INSTEAD_IN_PROSE = {
    "nobody": "no one, or a sentence that names the thing",
    "churn": "changed decisions",
    "is away": "cannot be reached",
    "are away": "cannot be reached",
}
WORDS_IN_PROSE = re.compile(rf"\b({'|'.join(INSTEAD_IN_PROSE)})\b", re.IGNORECASE)
SLOGAN = "proven to bite"  # the one place where a gate bites
PAGES = [
    ROOT / "README.md",
    ROOT / "library/README.md",
    ROOT / "copier.yml",
    *sorted(ROOT.glob("hooks/*.jinja")),
    *sorted(path for path in ROOT.glob("docs/*.md") if path != PAGE),
]


def old_words(text: str) -> list[str]:
    """What a message says that has a plainer word by now."""
    found = [match[0] for match in WORDS.finditer(text)]
    found += [match[0] for match in BECAUSE.finditer(text)]
    return found


def old_words_of(files: Iterable[Path]) -> dict[str, list[str]]:
    """The words of each file that have a plainer word by now; a file without any is left out."""
    found = {}
    for path in files:
        text = " ".join(path.read_text(encoding="utf-8").split()).replace(SLOGAN, "")
        words = old_words(text) + [match[0] for match in WORDS_IN_PROSE.finditer(text)]
        if words:
            found[str(path)] = words
    return found


def test_the_page_of_all_messages_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run: python -m scripts.messages"


def test_no_message_has_a_word_that_was_replaced() -> None:
    all_messages = [(name, message) for name, found in modules() for message in found]
    assert len(all_messages) > 300, "not all messages are found"
    wrong = [(name, message.text) for name, message in all_messages if old_words(message.text)]
    assert wrong == []


def test_a_replaced_word_would_be_seen() -> None:
    code = 'raise ProjectError(f"{name} was told, for it is {this}.", "Mend that.")'
    texts = [message.text for message in messages(code)]
    assert texts == ["{...} was told, for it is {...}.", "Mend that."]
    assert [old_words(text) for text in texts] == [["told", ", for it is"], ["Mend"]]


def test_no_page_has_a_word_that_was_replaced() -> None:
    assert len(PAGES) > 8, "not all pages are found"
    assert old_words_of(PAGES) == {}


def test_no_file_of_a_project_has_a_word_that_was_replaced(rendered: Path) -> None:
    files = [rendered / path for path in paths(rendered)]
    assert len(files) > 30
    assert old_words_of(files) == {}


def test_a_replaced_word_in_a_file_would_be_seen(tmp_path: Path) -> None:
    clean = tmp_path / "clean.md"
    clean.write_text("Every gate is proven to bite. `mlops close --amend` reads a period again.\n")
    planted = tmp_path / "planted.md"
    planted.write_text("It is a veto, for\nit is late. Nobody is told while git is away.\n")
    words = ["veto", "told", ", for it is", "Nobody", "is away"]
    assert old_words_of([clean, planted]) == {str(planted): words}
