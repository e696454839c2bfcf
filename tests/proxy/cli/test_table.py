from __future__ import annotations

from io import StringIO

import pytest

from proxy.cli.table import Page, dollars, exact_dollars, seconds


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (None, "unpriced"),
        (0, "$0.00"),
        (1, "$0.000000001"),
        (999, "$0.000000999"),
        (123_000, "$0.000123"),
        (123_456_789, "$0.123457"),
        (999_999_999, "$1.000000"),
        (1_234_567_890, "$1.2346"),
        (123_456_000_000, "$123.46"),
        (99_999_999_000_000, "$100000.00"),
        (-1_500, "-$0.000002"),
    ],
)
def test_amounts_show_the_digits_that_matter(nanos: int | None, text: str) -> None:
    assert dollars(nanos) == text


@pytest.mark.parametrize(
    ("length", "text"),
    [(0.0, "0.00s"), (119.994, "119.99s"), (120, "2m00s"), (3599.6, "1h00m00s"), (90061, "25h01m01s")],
)
def test_lengths_are_short(length: float, text: str) -> None:
    assert seconds(length) == text


def test_columns_are_aligned_numbers_to_the_right() -> None:
    rows = [("a", "1", "$0.50", ""), ("longer", "200", "$12.50", "x")]
    assert list(Page(StringIO()).table(("agent", "calls", "cost", "note"), rows)) == [
        "agent   calls    cost  note",
        "a           1   $0.50",
        "longer    200  $12.50  x",
    ]


def test_a_pipe_gets_ascii_and_a_terminal_what_it_can_print() -> None:
    pipe, terminal = StringIO(), Terminal()
    for out in (pipe, terminal):
        Page(out).write("für \x1b[31mred\x07\r\n\u202e \ud800")
    assert pipe.getvalue() == "f\\xfcr \\x1b[31mred\\x07\\r\\n\\u202e \\ud800\n"
    assert terminal.getvalue() == "für \\x1b[31mred\\x07\\r\\n\\u202e \\ud800\n"


def test_escapes_do_not_break_the_columns() -> None:
    first, second, third = Page(StringIO()).table(("name", "n"), [("\x1b", "1"), ("ab", "2")])
    assert len(first) == len(second) == len(third)


@pytest.mark.parametrize(
    ("picos", "text"),
    [(0, "$0.000000"), (1_650_000, "$0.00000165"), (1, "$0.000000000001"), (1_500_000_000_000, "$1.500000")],
)
def test_exact_money_loses_no_digit(picos: int, text: str) -> None:
    assert exact_dollars(picos) == text
