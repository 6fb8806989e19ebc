"""One table for the terminal, for Markdown and for HTML: headings, and rows of cells that are text already."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape

NUMBER = ' class="n"'


@dataclass(frozen=True)
class Grid:
    """What is shown in columns; each row has as many cells as there are headings.

    `numbers` are the places of columns that HTML sets flush right, `badge` is the place of a column whose cells are
    verdicts, which HTML draws in their colour. Without headings HTML shows the rows alone.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Collection[int] = ()
    badge: int | None = None

    def text(self) -> str:
        """For the terminal: columns padded to their widest cell; the last one is left as it is."""
        every = [self.headings, *self.rows]
        widths = [max(len(row[place]) for row in every) for place in range(len(self.headings) - 1)]
        lines = []
        for row in every:
            padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            lines.append("  ".join([*padded, row[-1]]).rstrip())
        return "\n".join(lines)

    def markdown(self) -> str:
        """For Markdown; empty without rows."""
        if not self.rows:
            return ""
        lines = [" | ".join(self.headings), " | ".join(["---"] * len(self.headings))]
        for row in self.rows:
            lines.append(" | ".join(cell.replace("|", "\\|") for cell in row))
        return "\n".join(f"| {line} |" for line in lines)

    def html(self) -> str:
        """For a page: every cell is escaped."""
        lines = []
        if self.headings:
            heads = [
                f"<th{self._kind(place)}>{escape(name)}</th>"
                for place, name in enumerate(self.headings)
            ]
            lines.append(f"<tr>{''.join(heads)}</tr>")
        for row in self.rows:
            cells = [
                f"<td{self._kind(place)}>{self._content(place, cell)}</td>"
                for place, cell in enumerate(row)
            ]
            lines.append(f"<tr>{''.join(cells)}</tr>")
        return f"<table>{''.join(lines)}</table>"

    def _kind(self, place: int) -> str:
        return NUMBER if place in self.numbers else ""

    def _content(self, place: int, cell: str) -> str:
        text = escape(cell)
        return f'<span class="badge {text}">{text}</span>' if place == self.badge else text
