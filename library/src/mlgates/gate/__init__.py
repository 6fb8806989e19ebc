"""From measurements and limits to a verdict: a pure function, which promote computes again."""

from mlgates.gate.rules import decide, sentence, write

__all__ = ["decide", "sentence", "write"]
