"""What the library says to a user is listed on one page, in words that everybody knows."""

import re

from scripts.messages import PAGE, messages, modules, page

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


def old_words(text: str) -> list[str]:
    """What a message says that has a plainer word by now."""
    found = [match[0] for match in WORDS.finditer(text)]
    found += [match[0] for match in BECAUSE.finditer(text)]
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
