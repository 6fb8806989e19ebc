"""One table is the same in the terminal, in Markdown and on a page."""

from mlgates.grid import Grid

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
