"""The table of budgets, as people see it."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import msgspec
import pytest

from proxy.cli import budgets
from proxy.state.budget_report import BudgetList, BudgetRow

ROW = BudgetRow(
    account="agent:planner",
    carrier="agent:planner",
    unit="usd",
    window="day",
    limit="5.00",
    spent="4.123456789",
    held="0.02",
    overrun="0.00",
    unresolved="0.00",
    left="-0.5",
    used=0.828,
    resets_at="2026-11-23T00:00:00Z",
    rate_per_hour="1.50",
    exhausted_at=None,
    expected_at_end="9.00",
    pace=0.3,
    rung="shorter",
)
TOKENS = msgspec.structs.replace(
    ROW,
    unit="tokens",
    window="total",
    limit=400,
    spent=1,
    held=0,
    overrun=0,
    unresolved=0,
    left=399,
    used=0.002,
    resets_at=None,
    rung=None,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def gate(answer: BudgetList, asked: list[str]) -> Iterator[str]:
    class Admin(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = msgspec.json.encode(answer)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Admin)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(answer: BudgetList, *arguments: str) -> list[str]:
    parser = argparse.ArgumentParser()
    budgets.register(parser.add_subparsers())
    asked: list[str] = []
    with gate(answer, asked) as url:
        assert budgets.budgets(parser.parse_args(["budgets", *arguments, "--admin", url])) == 0
    return asked


def test_a_pipe_gets_columns_without_bars(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(BudgetList((ROW, TOKENS), truncated=False)) == ["/budgets?limit=50"]
    head, usd, tokens = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "account",
        "limit",
        "used",
        "spent",
        "held",
        "left",
        "an",
        "hour",
        "resets",
        "empty",
        "rung",
    ]
    assert usd.split()[:7] == ["agent:planner", "$5.0000/day", "83%", "$4.1235", "$0.020000", "-$0.500000", "$1.5000"]
    assert usd.split()[7:] == ["2026-11-23T00:00:00Z", "-", "shorter"]
    assert tokens.split()[1:5] == ["400", "tokens", "0%", "1"]
    assert tokens.split()[-3:] == ["never", "-", "-"]


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr("sys.stdout", out)
    run(BudgetList((ROW,), truncated=True))
    assert "████████████████░░░░  83%" in out.getvalue()
    assert "only the 1 that are used most are shown" in out.getvalue()


def test_filters_are_asked_for_and_json_comes_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    answer = BudgetList((ROW,), truncated=False)
    assert run(answer, "agent:x/y", "--kind", "agent", "--limit", "3", "--json") == [
        "/budgets?account=agent%3Ax%2Fy&kind=agent&limit=3"
    ]
    assert msgspec.json.decode(capsys.readouterr().out, type=BudgetList) == answer


def test_no_budget_at_all_says_where_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    run(BudgetList((), truncated=False))
    assert "`budget` under agents" in capsys.readouterr().out


@pytest.mark.parametrize(("used", "full"), [(0.0, 0), (0.001, 1), (0.05, 1), (0.999, 19), (1.0, 20), (3.0, 20)])
def test_a_bar_is_full_only_when_the_limit_is(used: float, full: int) -> None:
    assert budgets.bar(used) == "█" * full + "░" * (20 - full)


def test_what_is_neither_spent_nor_held_is_told_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    lost = msgspec.structs.replace(ROW, unresolved="0.000694", overrun="0.10")
    run(BudgetList(rows=(lost, msgspec.structs.replace(TOKENS, unresolved=3), ROW), truncated=False))
    assert capsys.readouterr().out.splitlines()[4:] == [
        "agent:planner usd/day: besides, $0.100000 overrun, $0.000694 unresolved since a crash",
        "agent:planner tokens/total: besides, 3 unresolved since a crash",
    ]
