"""The list of calls, as people see it."""

from __future__ import annotations

import argparse
import io

import pytest
from msgspec.structs import replace

from proxy.cli import requests
from proxy.cli.table import Page
from proxy.state.ledger_queries import FILTERS
from proxy.state.report import RequestRow, Requests

ROW = RequestRow(
    request_id="r1",
    at="2026-11-22T13:40:50.201Z",
    at_ms=1,
    agent="planner",
    run="trip-1",
    step=None,
    model="small",
    target="up/small",
    status=200,
    error_code=None,
    served_by="hedge",
    attempts=2,
    input_tokens=11,
    output_tokens=4,
    cost_usd_nanos=4_050,
    first_event_s=0.25,
    duration_s=1.5,
)


def lines(answer: Requests) -> list[str]:
    return list(requests.listed(answer, Page(io.StringIO())))


def asked(monkeypatch: pytest.MonkeyPatch, *typed: str) -> str:
    """The question that is put to the gate."""
    heard: list[str] = []

    def report(args: argparse.Namespace, target: str, *_: object, **__: object) -> int:
        heard.append(target)
        return 0

    monkeypatch.setattr(requests, "report", report)
    parser = argparse.ArgumentParser()
    requests.register(parser.add_subparsers(dest="command"))
    assert requests.requests(parser.parse_args(["requests", *typed])) == 0
    return heard[0]


def test_a_call_is_a_line() -> None:
    head, line = lines(Requests([ROW], None))
    assert " ".join(head.split()).startswith("at agent run model target end by tries first took input output")
    assert line.split() == [
        *("2026-11-22T13:40:50.201Z", "planner", "trip-1", "small", "up/small", "200", "hedge", "2", "0.25s"),
        *("1.50s", "11", "4", "$0.000004", "r1"),
    ]


def test_what_went_wrong_stands_beside_the_status() -> None:
    failed = replace(ROW, status=429, error_code="budget_exceeded", target=None, run=None, first_event_s=None)
    cells = requests.cells(failed)
    assert cells[5] == "429 budget_exceeded"
    assert (cells[2], cells[4], cells[8]) == ("-", "-", "-")


def test_a_model_that_stands_for_several_shows_all_that_were_asked() -> None:
    panel = replace(ROW, model="panel", target="up/c", served_by="quorum", members="up/a+up/b+up/c")
    assert requests.cells(panel)[3:5] == ("panel", "up/a+up/b+up/c")


def test_a_call_of_the_gates_own_shows_that_no_client_has_made_it() -> None:
    assert requests.cells(replace(ROW, agent_source="gate"))[6] == "gate"


def test_nothing_and_a_further_page_are_said() -> None:
    assert lines(Requests([], None)) == ["no call fits"]
    assert lines(Requests([ROW], 17))[-1] == "earlier ones: --before 17"


def test_every_filter_of_the_gate_can_be_typed() -> None:
    assert tuple(FILTERS) == requests.FILTERS


def test_what_was_typed_is_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch) == "/requests?limit=20"
    typed = ("--agent", "a&b", "--served-by", "hedge", "--since", "1h", "--before", "7", "--limit", "3")
    assert asked(monkeypatch, *typed) == "/requests?agent=a%26b&served_by=hedge&since=1h&before=7&limit=3"
