"""Texts from outside: visible on a terminal, inert in a spreadsheet, on one line in Markdown."""

from __future__ import annotations

import csv
import io

import pytest
from markdown_it import MarkdownIt

from zoo.escaping import csv_line, markdown_cell, one_line, visible


def test_control_characters_are_written_out_and_layout_stays():
    assert visible("a\x1b[2J\x00\x7f\x9b\r\u202e\u2066\u2028") == r"a\x1b[2J\x00\x7f\x9b\x0d\u202e\u2066\u2028"
    assert visible("é Ω 星 \t\n[/red] ·") == "é Ω 星 \t\n[/red] ·"


@pytest.mark.parametrize("text", ["=1+1", "+cmd()", "-cmd()", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '="a",b', "＝1"])
def test_formulas_become_texts(text):
    [cells] = csv.reader(io.StringIO(csv_line([text, "x"]), newline=""))
    assert cells == [visible(f"'{text}"), "x"]


def test_one_line_has_no_breaks():
    assert one_line(" a\n\tb\r\n  \x1b[2Jc\u2028") == r"a b \x1b[2Jc"


def test_numbers_and_other_texts_stay():
    values = [-1.5, 3, None, "-1.5e-07", "+3", "a=b", "", "1 - 2", True]
    assert csv_line(values) == "-1.5,3,,-1.5e-07,+3,a=b,,1 - 2,True\n"


@pytest.mark.parametrize("text", ["a|b", "a\\|b", "a\nb", "a\r\n| b", "\\", "<b>x</b>", "a\tb|", "\x1b[2J"])
def test_a_cell_of_markdown_stays_one_cell(text):
    table = f"| a | b |\n| --- | --- |\n| {markdown_cell(text)} | x |\n"
    tokens = MarkdownIt("commonmark").enable("table").parse(table)
    cells = [token.children for token in tokens if token.type == "inline"]
    assert len(cells) == 4
    shown = "".join(child.content for child in cells[2])
    assert shown == visible(" ".join(text.split()))
    assert {child.type for child in cells[2]} <= {"text", "text_special"}
