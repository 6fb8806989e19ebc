"""From measurements and limits to a verdict: a pure function, computed again by whoever promotes."""

from mlgates.gate.rules import decide, sentence, write

__all__ = ["decide", "sentence", "write"]
