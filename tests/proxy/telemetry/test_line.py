from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.telemetry.catalog import TOKEN_KINDS
from proxy.telemetry.line import Line, Tokens, Try, human_form, line_of, printable, utc_text
from proxy.types import Plan, Usage
from tests.proxy.telemetry.samples import ATTEMPT, CALL, DEEP, IDENTITY, OUTCOME, REFUSED

GOLDEN = Path(__file__).parents[2] / "golden" / "log.txt"


def declared() -> str:
    return "".join(f"{name}\n" for name in Line.__struct_fields__) + "".join(
        f"attempts.{name}\n" for name in Try.__struct_fields__
    )


def test_the_fields_are_those_that_were_promised() -> None:
    """HEADGATE_GOLDEN=write makes the file anew; review the difference, it breaks somebody's query."""
    if os.environ.get("HEADGATE_GOLDEN") == "write":
        GOLDEN.write_text(declared())
    assert declared() == GOLDEN.read_text()


def test_a_call_is_told_whole() -> None:
    outcome = replace(OUTCOME, plan=Plan(mode="single", steps=(), reason="model 'smart': one target"))
    assert msgspec.json.decode(msgspec.json.encode(line_of(outcome))) == {
        "time": "2026-09-21T14:13:20.250Z",
        "level": "info",
        "event": "call",
        "id": CALL.id,
        "trace_id": CALL.trace_id,
        "endpoint": "chat",
        "model": "smart",
        "route": "smart",
        "stream": True,
        "key_id": "key-1",
        "agent": "planner",
        "agent_source": "header",
        "run": "run-1",
        "run_source": "header",
        "status": 200,
        "outcome": "ok",
        "served_by": "primary",
        "duration_s": 2.0025,
        "overhead_s": 0.0025,
        "first_event_s": 0.3125,
        "cost_usd": 0.000012345,
        "cost_basis": "reported",
        "bytes_in": 17,
        "bytes_out": 4321,
        "tokens": {"input_uncached": 900, "input_cached": 100, "output": 81, "reasoning": 10},
        "plan": "model 'smart': one target",
        "target": "p1/fast",
        "attempts": [
            {
                "target": "p1/fast",
                "role": "first",
                "duration_s": 2.0,
                "result": "ok",
                "status": 200,
                "first_event_s": 0.3,
                "cost_usd": 0.000012345,
                "usage_source": "reported",
            }
        ],
    }


def test_what_does_not_apply_is_absent() -> None:
    line = msgspec.json.decode(msgspec.json.encode(line_of(REFUSED)))
    assert not {"target", "first_event_s", "team", "tags", "step", "plan"} & set(line)
    assert (line["outcome"], line["error_code"], line["error_source"]) == ("rejected", "budget_exceeded", "policy")
    assert (line["attempts"], line["tokens"], line["cost_basis"], line["cost_usd"]) == ([], {}, "nothing", 0)


def test_the_cost_rests_on_its_weakest_part() -> None:
    counted = replace(ATTEMPT, usage=Usage(output=3, source="counted"))
    estimated = replace(ATTEMPT, usage=Usage(output=4, source="estimated"))
    line = line_of(replace(OUTCOME, attempts=(estimated, ATTEMPT, counted)))
    assert line.cost_basis == "estimated" and line.tokens.output == 88
    unpriced = line_of(replace(OUTCOME, attempts=(ATTEMPT, replace(ATTEMPT, cost_usd_nanos=None))))
    assert unpriced.cost_basis == "unpriced" and unpriced.cost_usd is None


def test_tokens_have_the_kinds_and_the_order_of_the_metrics() -> None:
    assert Tokens.__struct_fields__ == TOKEN_KINDS


@pytest.mark.parametrize(
    ("code", "source", "level"),
    [
        (None, None, "info"),
        ("budget_exceeded", "policy", "info"),
        ("upstream_error", "upstream", "warning"),
        ("upstream_stalled", "upstream", "warning"),
        ("internal", "proxy", "error"),
    ],
)
def test_the_level_says_whose_attention_it_wants(code: str | None, source: str | None, level: str) -> None:
    assert line_of(replace(OUTCOME, error_code=code, error_source=source)).level == level


def test_a_terminal_gets_a_short_form() -> None:
    assert human_form(OUTCOME).decode() == (
        "14:13:20 200 planner/run-1 smart -> p1/fast 2.00 s, first 0.31 s, 1000 + 91 tokens, $0.000012"
    )
    assert human_form(REFUSED).decode() == "14:13:20 429 planner/run-1 smart 2.00 s, budget_exceeded"
    estimated = replace(ATTEMPT, target=DEEP, usage=Usage(output=3, source="estimated"))
    left = replace(OUTCOME, attempts=(ATTEMPT, estimated), client_gone=True)
    assert human_form(left).decode().endswith("1000 + 94 tokens, $0.000025 estimated, 2 attempts, client left")
    unpriced = replace(OUTCOME, attempts=(replace(ATTEMPT, cost_usd_nanos=None),))
    assert human_form(unpriced).decode().endswith(", no price")


NASTY = st.text(alphabet=st.sampled_from('a\n\r\t\x00\x1b\x85\u2028\u202e\ud800"\\é'), max_size=200)


@given(agent=NASTY, run=NASTY, model=NASTY, tag=NASTY)
def test_no_name_of_a_client_breaks_its_line(agent: str, run: str, model: str, tag: str) -> None:
    identity = replace(IDENTITY, agent=agent, run=run, parent_run=run, tags=((tag, tag),))
    call = replace(CALL, identity=identity, head=replace(CALL.head, model=model))
    attempt = replace(ATTEMPT, target=replace(DEEP, id=model), upstream_request_id=tag)
    outcome = replace(OUTCOME, call=call, attempts=(attempt,))
    for text in (msgspec.json.encode(line_of(outcome)).decode(), human_form(outcome).decode()):
        assert len(text.splitlines()) == 1 and text.isprintable()


def test_what_cannot_be_printed_becomes_its_code_point() -> None:
    assert printable("a\nb\x1b[31m\u2028\ud800é") == "a\\u000ab\\u001b[31m\\u2028\\ud800é"
    assert printable("x" * 1_000) == "x" * 128


@given(st.integers(min_value=0, max_value=253_402_300_799_000))
def test_times_are_those_of_the_calendar(milliseconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    assert utc_text(milliseconds / 1000) == moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


@pytest.mark.parametrize(("day", "text"), [(11_016, "2000-02-29"), (11_017, "2000-03-01"), (47_540, "2100-02-28")])
def test_leap_days_fall_where_they_should(day: int, text: str) -> None:
    assert utc_text(day * 86_400)[:10] == text
