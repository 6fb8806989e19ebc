"""One table is the same in the terminal, in Markdown and on a page."""

from mlgates.grid import WIDTH, Grid

GRID = Grid(
    ["verdict", "check", "value"],
    [["ok", "data.min_rows", "1,000"], ["fail", "a|b <c>", "2"]],
    [2],
    badge=0,
)


def test_the_terminal_pads_all_columns_but_the_last() -> None:
    lines = [
        "verdict  check          value",
        "ok       data.min_rows  1,000",
        "fail     a|b <c>        2",
    ]
    assert GRID.text() == "\n".join(lines)


def test_a_long_cell_goes_on_in_the_next_line_and_nothing_is_lost() -> None:
    words = [f"word{number}" for number in range(40)]
    grid = Grid(["verdict", "check", "evidence"], [["fail", "gate.x", " ".join(words)]])
    text = grid.text()
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert text.split()[5:] == words


def test_cells_are_text_and_no_markup() -> None:
    cell = "[red]+0.1, -0.2[/red] :smile: <b>"
    assert cell in Grid(["value", "note"], [[cell, ""]]).text()


def test_records_are_rows_by_their_headings() -> None:
    assert GRID.records()[0] == {"verdict": "ok", "check": "data.min_rows", "value": "1,000"}


def test_markdown_escapes_what_would_end_a_cell() -> None:
    assert GRID.markdown().splitlines() == [
        "| verdict | check | value |",
        "| --- | --- | --- |",
        "| ok | data.min_rows | 1,000 |",
        r"| fail | a\|b <c> | 2 |",
    ]
    assert Grid(["check"], []).markdown() == ""


def test_a_page_escapes_every_cell_and_marks_numbers_and_verdicts() -> None:
    page = GRID.html()
    assert "a|b &lt;c&gt;" in page and "<c>" not in page
    assert '<td class="n">1,000</td>' in page and '<span class="badge fail">fail</span>' in page
    assert "<th>" not in Grid([], [["one"]]).html()
