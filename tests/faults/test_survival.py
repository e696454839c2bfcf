"""The faults that strike in the middle of a stream, with a second replica of an engine that continues messages: the
client gets the whole answer, and the ledger holds what both upstreams charge.
"""

from __future__ import annotations

import json

import pytest

from loadtests.upstream.text import answer_to
from policies.survival import Survival
from proxy.types import AbortRule
from tests.faults.rows import ROWS, Row
from tests.faults.test_matrix import BODIES
from tests.faults.world import ANSWER_TOKENS, FaultWorld, Server

pytestmark = pytest.mark.slow

BODY = BODIES["stream"][:-1] + b',"stream_options":{"include_usage":true}}'
WHOLE = answer_to(json.loads(BODY), ANSWER_TOKENS).text
UNREADABLE = "F19 broken JSON later"  # it went by unread, so the client has it already
STRUCK = [row for row in ROWS if row.view == "event" and row.name != UNREADABLE]


def chunks(body: bytes) -> list[dict[str, object]]:
    return [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]


def text_of(body: bytes) -> str:
    choices = [choice for chunk in chunks(body) for choice in chunk.get("choices", ())]  # type: ignore[attr-defined]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@pytest.mark.parametrize("abort", ["stops", "continues"])
@pytest.mark.parametrize("row", STRUCK, ids=lambda row: row.name)
async def test_whatever_strikes_in_the_middle_the_answer_is_whole(row: Row, abort: AbortRule) -> None:
    async with FaultWorld(
        Server(row.script, abort=abort), Server([], abort=abort), abort=abort, continues=True
    ) as world:
        world.change_rules(survival=Survival("continue"))
        reply = await world.request(BODY)
        assert reply.complete
        assert text_of(reply.body) == WHOLE
        assert reply.body.count(b"[DONE]") == 1
        assert b'"error"' not in reply.body
    assert [each.role for each in world.outcome.attempts] == ["first", "retry"]
    died, lived = world.outcome.attempts
    first, second = world.entries
    assert lived.usage is not None
    assert (lived.usage.input_total, lived.usage.output_total) == (second.prompt_tokens, second.completion_tokens)
    assert died.usage is not None
    assert died.usage.input_total >= first.prompt_tokens
    usage = next(chunk["usage"] for chunk in chunks(reply.body) if chunk.get("usage"))
    assert usage["completion_tokens"] == ANSWER_TOKENS  # type: ignore[index]


async def test_an_event_that_cannot_be_read_has_reached_the_client_and_is_the_end() -> None:
    (row,) = [row for row in ROWS if row.name == UNREADABLE]
    async with FaultWorld(Server(row.script), Server([]), continues=True) as world:
        world.change_rules(survival=Survival("continue"))
        reply = await world.request(BODY)
        assert not reply.complete
        assert b'"code":"upstream_broken"' in reply.body
    assert world.outcome.decisions[-1].said.endswith("nobody goes on: it said something that cannot be read")
