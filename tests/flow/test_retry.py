"""What fails before the first byte is tried elsewhere, within limits, and every attempt is accounted for."""

from __future__ import annotations

import asyncio

import pytest

from policies.retry import Retry
from proxy.execution.race import NOT_BUDGETED
from proxy.snapshot import AgentRules
from tests.flow.world import FINISH, REPLY, ROLE, Peer, World, plain, streaming, token


def refusing(
    status: str, body: bytes = b'{"error":{"message":"no","type":"t","code":"c"}}', headers: str = ""
) -> object:
    async def script(peer: Peer) -> None:
        await peer.reply(body, status=status, headers=headers)

    return script


@pytest.mark.parametrize(
    "status", ["500 Oops", "502 Bad", "503 Busy", "529 Overloaded", "429 Slow", "401 No", "403 No"]
)
async def test_another_target_answers_when_the_first_fails(status: str) -> None:
    async with World(refusing(status), plain) as world:
        response = await world.request()
        assert (response.status, response.body) == (200, REPLY)
        assert response.headers["x-headgate-served-by"] == "fallback"
        assert response.headers["x-headgate-attempts"] == "2"
        first, second = world.outcomes[0].attempts
        assert (first.role, first.cost_usd_nanos, first.usage) == ("first", 0, None)
        assert (second.role, second.cost_usd_nanos) == ("retry", 20_000)


@pytest.mark.parametrize(
    ("status", "code"),
    [("400 Bad", "context_length_exceeded"), ("400 Bad", "content_filter"), ("422 No", "invalid"), ("413 Big", "big")],
)
async def test_what_another_target_would_refuse_too_is_passed_on_at_once(status: str, code: str) -> None:
    body = (
        b'{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"%s"}}'
        % code.encode()
    )
    async with World(refusing(status, body), plain) as world:
        response = await world.request()
        assert response.status == int(status[:3])
        assert response.body == body
        assert response.headers["x-should-retry"] == "false"
        assert len(world.outcomes[0].attempts) == 1


async def test_our_own_bad_credential_is_never_a_401_to_the_client() -> None:
    async with World(refusing("401 No"), retry=Retry(attempts=1)) as world:
        response = await world.request()
        assert response.status == 502
        assert response.error["code"] == "upstream_auth"


async def test_a_connection_reset_before_the_head_is_tried_again() -> None:
    calls = []

    async def flaky(peer: Peer) -> None:
        calls.append(1)
        if len(calls) == 1:
            peer.reset()
        else:
            await peer.reply(REPLY)

    async with World(flaky) as world:
        response = await world.request()
        assert response.status == 200
        assert response.headers["x-headgate-served-by"] == "retry"
        first, _ = world.outcomes[0].attempts
        assert first.error_code == "upstream_unreachable"
        assert first.usage is not None, "it was sent, so its input may have been billed"


async def test_a_stream_that_dies_before_its_first_token_is_tried_again_unseen() -> None:
    async def empty(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE)
        peer.reset()

    async with World(empty, streaming) as world:
        response = await world.stream()
        assert response.complete
        assert response.body.startswith(ROLE + token("hel"))
        assert response.body.count(b'"role"') == 1


async def test_an_error_object_before_content_is_tried_elsewhere() -> None:
    async def failing(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(b'data: {"error":{"message":"overloaded","code":503}}\n\n')
        await peer.end()

    async with World(failing, streaming) as world:
        response = await world.stream()
        assert response.complete
        assert b'"error"' not in response.body


async def test_after_the_first_token_nothing_is_tried_again() -> None:
    async def dying(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token("a"))
        await asyncio.sleep(0.1)
        peer.reset()

    async with World(dying, streaming) as world:
        response = await world.stream()
        assert not response.complete
        assert len(world.upstreams[1].requests) == 0


async def test_no_first_token_in_time_is_a_timeout_and_another_target_is_tried() -> None:
    async def silent(peer: Peer) -> None:
        await peer.stream_head()
        await asyncio.sleep(10_000)

    async with World(silent, streaming, rules=AgentRules(first_token_timeout_s=20)) as world:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await world.stream()
        assert response.complete
        assert 20 <= loop.time() - began < 21
        assert world.outcomes[0].attempts[0].error_code == "upstream_timeout"
        assert world.outcomes[0].attempts[0].lesson == "overload"


@pytest.mark.parametrize("stream", [b"", b',"stream":true'], ids=["plain", "stream"])
async def test_the_deadline_is_kept_across_attempts(stream: bytes) -> None:
    async def silent(peer: Peer) -> None:
        await asyncio.sleep(10_000)

    async with World(silent, silent, rules=AgentRules(first_token_timeout_s=20)) as world:
        loop = asyncio.get_running_loop()
        began = loop.time()
        body = b'{"model":"m","messages":[]%b}' % stream
        response = await world.request(body, headers="X-Headgate-Deadline: 30\r\n")
        assert (response.status, response.error["code"]) == (504, "deadline_exceeded")
        assert len(world.outcomes[0].attempts) == 2  # a plain call of two targets is asked for as a stream too
        assert 30 <= loop.time() - began < 30.1


async def test_a_deadline_that_is_over_costs_nothing() -> None:
    async with World(plain) as world:
        response = await world.request(headers="X-Headgate-Deadline: 0\r\n")
        assert (response.status, response.error["code"]) == (504, "deadline_exceeded")
        assert world.upstreams[0].requests == []


async def test_three_attempts_are_the_end() -> None:
    async with World(refusing("500 Oops")) as world:
        response = await world.request()
        assert response.status == 500
        assert len(world.upstreams[0].requests) == 3
        assert response.headers["x-headgate-attempts"] == "3"


async def test_in_an_outage_retries_end_when_the_shared_budget_is_spent() -> None:
    async with World(refusing("500 Oops")) as world:
        for _ in range(30):
            await world.request()
        assert len(world.upstreams[0].requests) <= 30 + 10 + 5


async def test_while_another_target_is_well_no_call_fails_for_want_of_budget() -> None:
    """One that fails a sixth of its calls stays in, and fails more of them than the budget would pay for."""
    asked = []

    async def flaky(peer: Peer) -> None:
        asked.append(1)
        status = "500 Oops" if len(asked) % 6 == 0 else "200 OK"
        await peer.reply(REPLY, status=status)

    async with World(flaky, plain) as world:
        answers = [await world.request() for _ in range(300)]
        assert {answer.status for answer in answers} == {200}
        assert not world.steering.breakers.troubled
        assert len(world.upstreams[1].requests) == 50
        free = [each for each in world.outcomes if NOT_BUDGETED in [decision.said for decision in each.decisions]]
        assert len(free) > 10, "more than the budget would pay for"
        assert {len(each.attempts) for each in free} == {2}


async def test_who_has_just_failed_is_asked_out_of_the_budget_alone() -> None:
    async with World(refusing("500 Oops"), refusing("500 Oops")) as world:
        for target in world.snapshot.planner.routes.fixed_targets:
            for _ in range(100):
                world.steering.breakers.begin(target, world.clock.now()).answered(world.clock.now())
        while world.attempt_budget.withdraw(world.clock.now()):
            pass
        for _ in range(3):
            assert (await world.request()).status == 500
        attempts = [len(outcome.attempts) for outcome in world.outcomes]
        assert attempts == [2, 1, 1], "the first did not know better"


async def test_a_hint_is_waited_for_on_the_same_target_and_passed_on_when_it_is_too_long() -> None:
    calls = []

    async def limited(peer: Peer) -> None:
        calls.append(asyncio.get_running_loop().time())
        await peer.reply(b'{"error":{"message":"slow down"}}', status="429 Slow", headers="Retry-After: 7\r\n")

    async with World(limited) as world:
        response = await world.request(headers="X-Headgate-Deadline: 10\r\n")
        assert (response.status, response.headers["retry-after"]) == (429, "7")
        assert len(calls) == 2
        assert calls[1] - calls[0] >= 7
        assert world.outcomes[0].duration_s - world.outcomes[0].upstream_s < 0.1, "the pause is no overhead of ours"


async def test_a_redirect_is_not_followed() -> None:
    async def elsewhere(peer: Peer) -> None:
        await peer.reply(b"", status="307 Moved", headers="Location: http://127.0.0.1:1/steal\r\n")

    async with World(elsewhere, retry=Retry(attempts=1)) as world:
        response = await world.request()
        assert (response.status, response.error["code"]) == (502, "unexpected_redirect")


async def test_nobody_listening_is_said_in_words_and_billed_nothing() -> None:
    async with World(plain) as world:
        await world.upstreams[0].stop()
        response = await world.request()
        assert (response.status, response.error["code"]) == (502, "upstream_unreachable")
        assert all(attempt.usage is None for attempt in world.outcomes[0].attempts)


async def test_html_instead_of_json_is_a_broken_upstream() -> None:
    async def page(peer: Peer) -> None:
        await peer.reply(b"<html>hi</html>", headers="Content-Type: text/html\r\n")

    async with World(page, plain) as world:
        response = await world.request()
        assert response.status == 200
        assert world.outcomes[0].attempts[0].error_code == "upstream_broken"


async def test_gzip_that_nobody_asked_for_is_refused() -> None:
    async def packed(peer: Peer) -> None:
        await peer.reply(b"\x1f\x8b", headers="Content-Encoding: gzip\r\n")

    async with World(packed, plain) as world:
        assert (await world.request()).status == 200
        assert world.outcomes[0].attempts[0].error_code == "upstream_broken"


async def test_a_whole_stream_that_never_names_a_finish_is_no_success() -> None:
    async def headless(peer: Peer) -> None:
        await peer.stream_head()
        await peer.end()

    async with World(headless, streaming) as world:
        response = await world.stream()
        assert response.complete
        assert FINISH in response.body
        assert len(world.outcomes[0].attempts) == 2
