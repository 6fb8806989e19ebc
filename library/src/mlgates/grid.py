"""One table for the terminal, for Markdown and for HTML. All its cells are text already."""

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 100  # columns of a terminal that a table fits into
ROOM_FOR_TEXT = 25  # columns that the last column has at least, if names before it can be wrapped
NUMBER = ' class="n"'  # the attribute of a cell that the style sheet of reports sets flush right


@dataclass(frozen=True)
class Grid:
    """A table; each row has as many cells as there are headings.

    `numbers` are the places of columns that HTML sets flush right. `badge` is the place of a column
    whose cells are verdicts, which HTML draws in their colour. Without headings HTML shows the rows
    alone.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Collection[int] = ()
    badge: int | None = None

    def text(self, width: int = WIDTH) -> str:
        """For the terminal: at most `width` columns wide, longer cells go on in the next line."""
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
        # Text is in the last column, names and numbers stand before it. These stay whole if that
        # leaves room for the text.
        keeps_names_whole = self._width_of_names() <= width - ROOM_FOR_TEXT
        last = len(self.headings) - 1
        for place, heading in enumerate(self.headings):
            no_wrap = keeps_names_whole and place < last
            table.add_column(heading, overflow="fold", no_wrap=no_wrap)
        for row in self.rows:
            table.add_row(*row)

        # The cells are plain text: none of Rich's markup, highlighting or emoji names are in it.
        output = io.StringIO()
        console = Console(
            file=output, width=width, color_system=None, markup=False, highlight=False, emoji=False
        )
        console.print(table)
        return "\n".join(line.rstrip() for line in output.getvalue().splitlines())

    def _width_of_names(self) -> int:
        """How wide all columns but the last are, with the gaps between them."""
        total = 0
        for place in range(len(self.headings) - 1):
            total += max(len(row[place]) for row in [self.headings, *self.rows]) + 2
        return total

    def records(self) -> list[dict[str, str]]:
        """For JSON: each row by its headings."""
        return [dict(zip(self.headings, row, strict=True)) for row in self.rows]

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
            cells = []
            for place, heading in enumerate(self.headings):
                cells.append(f"<th{self._attribute(place)}>{escape(heading)}</th>")
            lines.append(f"<tr>{''.join(cells)}</tr>")
        for row in self.rows:
            cells = []
            for place, cell in enumerate(row):
                cells.append(f"<td{self._attribute(place)}>{self._content(place, cell)}</td>")
            lines.append(f"<tr>{''.join(cells)}</tr>")
        return f"<table>{''.join(lines)}</table>"

    def _attribute(self, place: int) -> str:
        """The attribute of a column's cells, with a space before it; empty if they need none."""
        if place in self.numbers:
            return NUMBER
        return ""

    def _content(self, place: int, cell: str) -> str:
        """A cell's text, escaped; a verdict is wrapped into a badge."""
        text = escape(cell)
        if place == self.badge:
            return f'<span class="badge {text}">{text}</span>'
        return text
