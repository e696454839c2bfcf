"""The fault matrix: every fault, streamed and plain, with one target and with two, through the real gate.

Whatever happens: one outcome, nothing pending, the ledger within the rules of the upstream's own bill, attempts within
the plan, the deadline kept, no credential in any sink, and no end marker that the upstream did not send.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from loadtests.fault_proxy import Fault
from loadtests.upstream.bill import Entry
from proxy.types import Attempt
from tests.faults.rows import ASKED, DEADLINE_S, ELSEWHERE, NOT_YET, ROWS, Form, Row
from tests.faults.world import FaultWorld, Nowhere, Place, Server
from tests.flow.world import PROVIDER_KEY, Response

pytestmark = pytest.mark.slow

BODIES: dict[Form, bytes] = {
    "stream": b'{"model":"m","messages":[{"role":"user","content":"tell me"}],"max_tokens":200,"stream":true}',
    "plain": b'{"model":"m","messages":[{"role":"user","content":"tell me"}],"max_tokens":200}',
}
ATTEMPTS_MAX = 3
OUTPUT_MAX = 200
GUARD_TOKENS = 16  # may be made between the gate's decision to close and the upstream's stop


def cases() -> list[object]:
    made = []
    for row in ROWS:
        for form in row.forms:
            for targets in row.targets:
                case = f"{form}, {targets}"
                why = row.later.get(case) or row.later.get(form) or row.later.get("all")
                marks = [pytest.mark.xfail(reason=why, strict=True)] if why else []
                made.append(pytest.param(row, form, targets, id=f"{row.name} - {case}", marks=marks))
    return made


def place(row: Row) -> Place:
    if row.script == "reset at once":
        return Server([], through=Fault(refuse=True))
    return Nowhere(row.script) if isinstance(row.script, str) else Server(row.script)


@pytest.mark.parametrize(("row", "form", "targets"), cases())
async def test_the_fault_matrix(row: Row, form: Form, targets: int) -> None:
    places = [place(row), *[Server([]) for _ in range(targets - 1)]]
    async with FaultWorld(*places) as world:
        began = asyncio.get_running_loop().time()
        reply = await world.request(BODIES[form])
        took = asyncio.get_running_loop().time() - began
        await asyncio.sleep(3)  # what comes after the end marker is read for a second
    assert took <= DEADLINE_S + 0.1
    check_view(row, form, reply, alone=targets == 1)
    check_ledger(row, world)


def check_view(row: Row, form: Form, reply: Response, *, alone: bool) -> None:
    if row.view == "good" or (row.view == "next" and not alone):
        assert (reply.status, reply.complete) == (200, True)
        check_whole(form, reply)
    elif row.view in ("next", "passed"):
        assert (reply.status, reply.complete) == (row.status, True)
        assert isinstance(reply.error["message"], str)
        check_hints(reply)
    elif row.view == "event":
        assert (reply.status, reply.complete) == (200, False)
        assert reply.body.count(b'data: {"error"') == 1
        assert b"[DONE]" not in reply.body
        assert b'"finish_reason":"stop"' not in reply.body
    else:
        assert (reply.status, reply.complete) == (200, True)
        assert b'"finish_reason":"length"' in reply.body
    assert "set-cookie" not in reply.headers
    assert PROVIDER_KEY.encode() not in reply.body + repr(reply.headers).encode()


def check_hints(reply: Response) -> None:
    """One hint in plain numbers, in either header or in both alike."""
    hints = [float(reply.headers["retry-after"])] if "retry-after" in reply.headers else []
    if "retry-after-ms" in reply.headers:
        hints.append(float(reply.headers["retry-after-ms"]) / 1000)
    assert all(0 <= hint <= 120 for hint in hints)
    assert max(hints, default=0.0) - min(hints, default=0.0) <= 1


def check_whole(form: Form, reply: Response) -> None:
    if form == "stream":
        assert reply.body.rstrip().endswith(b"data: [DONE]")
        assert reply.body.count(b"[DONE]") == 1
        assert b'"error"' not in reply.body
        assert b'"finish_reason":"length"' not in reply.body
    else:
        choices = reply.json["choices"]
        assert isinstance(choices, list) and "message" in choices[0]


def check_ledger(row: Row, world: FaultWorld) -> None:
    outcome = world.outcome
    attempts = outcome.attempts
    assert 1 <= len(attempts) <= ATTEMPTS_MAX
    assert outcome.duration_s <= DEADLINE_S + 0.1
    faulty = [attempt for attempt in attempts if attempt.target.id == "up0/real"]
    if row.code is not None:
        assert {attempt.error_code for attempt in faulty} == {row.code}
    for attempt in faulty:
        check_charge(row, attempt)
    known = [entry for entry in world.entries if entry.ended != "open"]
    charged = sum(attempt.usage.output_total for attempt in attempts if attempt.usage is not None)
    made = sum(entry.completion_tokens for entry in known)
    assert charged >= made * 0.75 - 2, f"{charged} tokens are charged, {made} were made"
    for attempt, entry in reported(attempts, known):
        assert attempt.usage is not None
        assert (attempt.usage.input_total, attempt.usage.output_total) == (entry.prompt_tokens, entry.completion_tokens)


def reported(attempts: tuple[Attempt, ...], entries: list[Entry]) -> list[tuple[Attempt, Entry]]:
    """The last attempt and its entry, where usage was told and the exchange came to its end."""
    last = [entry for entry in entries if entry.told and entry.ended == "whole"]
    if not last or attempts[-1].usage is None or attempts[-1].usage.source != "reported":
        return []
    return [(attempts[-1], last[-1])]


def check_charge(row: Row, attempt: Attempt) -> None:
    assert attempt.duration_s <= row.bound_s
    usage = attempt.usage
    if row.ledger == "void":
        assert usage is None
    elif row.ledger == "any":
        assert attempt.lesson != "success" or usage is not None
    else:
        assert usage is not None
        assert usage.input_total > 0
        if row.ledger == "in":
            assert usage.source == "estimated"
            assert usage.output_total <= GUARD_TOKENS
        elif row.ledger == "met":
            assert usage.source == "estimated"
            assert 0 < usage.output_total < OUTPUT_MAX * 1.5 + 64
        elif row.ledger == "hold":
            assert usage.output_total == OUTPUT_MAX
        else:
            assert usage.source == "reported"


def test_every_fault_has_a_row_or_a_place_or_a_reason() -> None:
    rows = {row.id for row in ROWS}
    wanted = {f"F{number:02}" for number in ASKED}
    assert rows | ELSEWHERE.keys() | NOT_YET.keys() >= wanted
    assert not NOT_YET.keys() & {row.id for row in ROWS} | (NOT_YET.keys() & ELSEWHERE.keys())
    assert not NOT_YET.keys() & {row.name for row in ROWS}
    assert all((Path(__file__).parents[2] / where).exists() for where in ELSEWHERE.values())
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))


def test_rows_hold_only_what_can_be_told() -> None:
    assert all(msgspec.json.encode(row.script) for row in ROWS)
