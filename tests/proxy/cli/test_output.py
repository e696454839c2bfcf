from __future__ import annotations

from io import StringIO

import pytest

from proxy.cli.output import Output


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_person_gets_aligned_columns_under_a_header() -> None:
    out = Terminal()
    Output(out, StringIO(), {}).table(("setting", "value"), [("a", "1x"), ("longer.name", "y")])
    assert out.getvalue().splitlines() == ["setting      value", "a            1x", "longer.name  y"]


def test_a_pipe_gets_plain_lines_with_tabs_and_nothing_that_steers() -> None:
    out = StringIO()
    Output(out, StringIO(), {}).table(("setting", "value"), [("a", "1\x1b[31m"), ("b", "x\ty")])
    assert out.getvalue() == "a\t1\\x1b[31m\nb\tx\\ty\n"


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"NO_COLOR": ""}, True),
        (Terminal, {"TERM": "dumb"}, False),
        (StringIO, {}, False),
    ],
)
def test_colour_is_for_terminals_that_did_not_refuse_it(
    stream: type[StringIO], environment: dict[str, str], coloured: bool
) -> None:
    out, err = stream(), stream()
    output = Output(out, err, environment)
    output.success("good")
    output.failure(("bad",))
    output.note("by the way")
    assert ("\033[" in out.getvalue()) is coloured
    assert ("\033[" in err.getvalue()) is coloured


def test_what_is_said_beside_the_answer_stays_out_of_the_pipe() -> None:
    out, err = StringIO(), StringIO()
    output = Output(out, err, {})
    output.line("answer")
    output.note("note")
    output.failure(("one\n", "two\x07"))
    assert out.getvalue() == "answer\n"
    assert err.getvalue() == "note\none\\n\ntwo\\x07\n"
