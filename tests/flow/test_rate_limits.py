"""Rate limits over sockets: what is counted down, refused, waited for and given back."""

from __future__ import annotations

import asyncio

import pytest

from policies.provider_limits import TargetRules
from policies.rate_limit import RateRules, Rates
from policies.retry import Retry
from proxy.execution.line import Queueing
from proxy.headers import duration
from proxy.snapshot import AgentRules
from tests.flow.world import Peer, Response, World, long_stream, plain, streaming

BODY = b'{"model":"m","messages":[],"max_tokens":100}'
ONCE = AgentRules(retry=Retry(attempts=1))


def of_key(**rates: int) -> RateRules:
    return RateRules(keys={"key-1": Rates(**rates)})


def remaining(reply: Response) -> int:
    return int(reply.headers["x-ratelimit-remaining-requests"])


def now() -> float:
    return asyncio.get_running_loop().time()


async def slow(peer: Peer) -> None:
    await asyncio.sleep(10)
    await plain(peer)


class Alternating:
    """One upstream that answers each request as the next script says, the last one for ever."""

    def __init__(self, *scripts: object) -> None:
        self.scripts = list(scripts)
        self.at: list[float] = []

    async def __call__(self, peer: Peer) -> None:
        self.at.append(now())
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        await script(peer)  # type: ignore[operator]


def saying(headers: str, status: str = "200 OK") -> object:
    async def script(peer: Peer) -> None:
        if status == "200 OK":
            await peer.reply(REPLY_BYTES, headers=headers)
        else:
            await peer.reply(b'{"error":{"message":"slow down"}}', status=status, headers=headers)

    return script


REPLY_BYTES = (
    b'{"id":"c1","object":"chat.completion","model":"real","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"hello"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}'
)


async def test_the_headers_count_down_to_a_refusal_and_recover_at_the_time_they_name() -> None:
    async with World(plain, rates=of_key(rpm=3)) as world:
        replies = [await world.request(BODY) for _ in range(3)]
        assert [remaining(reply) for reply in replies] == [2, 1, 0]
        assert [reply.headers["x-ratelimit-reset-requests"] for reply in replies] == ["20s", "40s", "1m0s"]
        refused = await world.request(BODY)
        assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
        assert refused.headers["x-should-retry"] == "true"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == ("20", "20000")
        await asyncio.sleep(19.99)
        assert (await world.request(BODY)).status == 429
        await asyncio.sleep(0.01)
        assert (await world.request(BODY)).status == 200
        assert len(world.upstreams[0].requests) == 4


async def test_a_refusal_names_its_limit_and_debits_no_other() -> None:
    rules = RateRules(keys={"key-1": Rates(rpm=10)}, agents={"a": Rates(rpm=1)})
    async with World(plain, rates=rules) as world:
        header = "X-Headgate-Agent: a\r\n"
        assert (await world.request(BODY, headers=header)).status == 200
        for _ in range(20):
            refused = await world.request(BODY, headers=header)
            assert refused.status == 429
        (limit,) = refused.error["limits"]  # type: ignore[misc]
        assert isinstance(limit, dict)
        assert (limit["account"], limit["unit"], limit["limit"], limit["remaining"]) == ("agent:a", "requests", 1, 0)
        assert world.rates.on_refused.told == [("a", "requests")] * 20  # type: ignore[attr-defined]
        assert remaining(await world.request(BODY, headers="X-Headgate-Agent: b\r\n")) == 8
        outcome = world.outcomes[1]
        assert (outcome.error_code, outcome.attempts, outcome.cost_usd_nanos) == ("rate_limit_exceeded", (), 0)


async def test_tokens_are_debited_by_estimate_and_corrected_by_what_was_used() -> None:
    async with World(plain, rates=of_key(tpm=1_000)) as world:
        for number in range(1, 4):
            reply = await world.request(BODY)
            assert reply.headers["x-ratelimit-limit-tokens"] == "1000"
            assert reply.headers["x-ratelimit-remaining-tokens"] == str(1_000 - 15 * number)


async def test_tokens_of_a_stream_are_corrected_at_its_end() -> None:
    async with World(streaming, rates=of_key(tpm=1_000)) as world:
        first = await world.stream()
        assert int(first.headers["x-ratelimit-remaining-tokens"]) < 500, "an unknown answer is debited in full"
        second = await world.stream()
        assert int(second.headers["x-ratelimit-remaining-tokens"]) > 950


async def test_tokens_of_a_call_that_was_refused_later_are_given_back() -> None:
    async with World(plain, rates=of_key(tpm=200)) as world:
        for _ in range(10):
            reply = await world.request(b'{"model":"nobody","messages":[],"max_tokens":100}')
            assert reply.status == 404


async def test_a_call_larger_than_its_limit_goes_when_nothing_else_was_taken() -> None:
    async with World(plain, rates=of_key(tpm=10)) as world:
        assert (await world.request(BODY)).status == 200
        refused = await world.request(BODY)
        assert (refused.status, refused.headers["x-ratelimit-remaining-tokens"]) == (429, "0")


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0ms"),
        (0.0004, "1ms"),
        (0.02, "20ms"),
        (0.9999, "1000ms"),
        (1.0, "1s"),
        (1.25, "1.25s"),
        (59.5, "59.5s"),
        (60.0, "1m0s"),
        (360.2, "6m1s"),
        (86_400.0, "24h0m0s"),
    ],
)
def test_times_are_written_as_clients_know_them(seconds: float, written: str) -> None:
    assert duration(seconds) == written


async def test_an_upstreams_limits_show_only_where_the_gate_has_none() -> None:
    told = "x-ratelimit-remaining-requests: 7\r\nx-ratelimit-limit-requests: 10\r\nx-ratelimit-custom: 1\r\n"
    async with World(saying(told)) as world:  # type: ignore[arg-type]
        reply = await world.request(BODY)
        assert (reply.headers["x-ratelimit-remaining-requests"], reply.headers["x-ratelimit-custom"]) == ("7", "1")
    async with World(saying(told), rates=of_key(rpm=100)) as world:  # type: ignore[arg-type]
        reply = await world.request(BODY)
        assert reply.headers["x-ratelimit-remaining-requests"] == "99"
        assert "x-ratelimit-custom" not in reply.headers


# --- calls at the same time ------------------------------------------------------------------------------------------


async def test_calls_wait_in_order_for_those_of_their_own_key() -> None:
    async with World(slow, rates=of_key(concurrency=1), queueing=Queueing(wait_s=15)) as world:
        began = now()
        ended: list[tuple[int, int, float]] = []

        async def ask(number: int) -> None:
            await asyncio.sleep(number / 10)
            reply = await world.request(BODY)
            ended.append((number, reply.status, round(now() - began)))

        await asyncio.gather(*[ask(number) for number in range(3)])
        assert ended == [(0, 200, 10), (2, 429, 15), (1, 200, 20)]
        assert len(world.upstreams[0].requests) == 2
        assert max(each.duration_s - each.upstream_s for each in world.outcomes) < 0.1, "no wait is the gate's overhead"


async def test_the_line_is_bounded() -> None:
    async with World(slow, rates=of_key(concurrency=1), queueing=Queueing(wait_s=15, calls_max=1)) as world:
        tasks = [asyncio.ensure_future(world.request(BODY)) for _ in range(3)]  # noqa: TID251
        replies = await asyncio.gather(*tasks)
        assert sorted(reply.status for reply in replies) == [200, 200, 429]
        refused = next(reply for reply in replies if reply.status == 429)
        assert refused.error["limits"][0]["unit"] == "concurrency"  # type: ignore[index]
        assert refused.headers["retry-after"] == "1"


async def test_a_client_that_leaves_the_line_or_its_call_gives_its_place_back() -> None:
    async with World(slow, rates=of_key(concurrency=1), queueing=Queueing(wait_s=100)) as world:
        tasks = [asyncio.ensure_future(world.request(BODY)) for _ in range(2)]  # noqa: TID251
        await asyncio.sleep(1)
        for writer in world._writers:
            writer.close()  # one is being served, one waits
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await world.request(BODY)).status == 200
        assert world.outcomes[0].client_gone
        assert world.outcomes[1].client_gone


async def test_a_stream_holds_its_place_until_its_end() -> None:
    async with World(long_stream, rates=of_key(concurrency=1), queueing=Queueing(wait_s=5)) as world:
        first = asyncio.ensure_future(world.stream())  # noqa: TID251
        await asyncio.sleep(1)
        assert (await world.stream()).status == 429
        assert (await first).complete
        assert (await world.stream()).status == 200


# --- targets ---------------------------------------------------------------------------------------------------------


async def test_a_429_shuts_the_target_for_everybody_until_its_retry_after() -> None:
    upstream = Alternating(saying("Retry-After: 5\r\n", "429 Slow"), plain)
    async with World(upstream, rules=ONCE) as world:
        assert (await world.request(BODY)).status == 429
        began = now()
        assert (await world.request(BODY)).status == 200, "it waited"
        assert 5.0 <= now() - began <= 5.3, "others that were told the same come at other times"
        assert len(upstream.at) == 2


async def test_a_429_that_says_when_is_believed_more_than_its_figures() -> None:
    headers = "retry-after-ms: 50\r\nx-ratelimit-remaining-requests: 0\r\n"
    async with World(saying(headers, "429 Busy"), retry=Retry(attempts=1)) as world:  # type: ignore[arg-type]
        assert (await world.request()).status == 429
        began = now()
        assert (await world.request()).status == 429
        assert now() - began < 0.1
        assert len(world.upstreams[0].requests) == 2


async def test_a_retry_waits_for_the_time_it_was_told_even_where_nothing_else_may_wait() -> None:
    upstream = Alternating(saying("Retry-After: 5\r\n", "429 Slow"), saying("", "429 Slow"), plain)
    async with World(upstream, queueing=Queueing(wait_s=0)) as world:
        reply = await world.request(BODY)
        assert (reply.status, reply.headers["x-headgate-attempts"]) == (200, "3")
        first, second, third = upstream.at
        assert second - first >= 5.0
        assert third - second >= 1.0, "a 429 that names no time"


async def test_a_wait_that_is_too_long_is_refused_at_once_and_names_the_target() -> None:
    upstream = Alternating(saying("Retry-After: 60\r\n", "429 Slow"), plain)
    async with World(upstream, rules=ONCE) as world:
        await world.request(BODY)
        began = now()
        refused = await world.request(BODY)
        assert (refused.status, refused.error["code"], now() - began < 1) == (429, "rate_limit_exceeded", True)
        assert refused.error["limits"][0]["account"] == "target:up0/real"  # type: ignore[index]
        assert 60 <= int(refused.headers["retry-after"]) <= 63
        assert world.permits.on_refused.told == [("unattributed", "requests")]  # type: ignore[attr-defined]
        await asyncio.sleep(int(refused.headers["retry-after-ms"]) / 1000)
        assert (await world.request(BODY)).status == 200


async def test_a_herd_behind_a_429_leaves_one_by_one() -> None:
    upstream = Alternating(saying("Retry-After: 5\r\n", "429 Slow"), plain)
    async with World(upstream, rules=ONCE) as world:
        await world.request(BODY)
        replies = await asyncio.gather(*[world.request(BODY) for _ in range(10)])
        assert all(reply.status == 200 for reply in replies)
        gaps = [later - earlier for earlier, later in zip(upstream.at[1:], upstream.at[2:], strict=False)]
        assert all(gap == pytest.approx(0.1, abs=0.02) for gap in gaps), gaps


async def test_what_an_upstream_says_of_its_limits_paces_the_calls_to_it() -> None:
    told = "x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1m0s\r\n"
    upstream = Alternating(saying(told), plain)
    async with World(upstream) as world:
        await world.request(BODY)
        replies = await asyncio.gather(*[world.request(BODY) for _ in range(4)])
        assert all(reply.status == 200 for reply in replies)
        since = [round(at - upstream.at[0], 1) for at in upstream.at[1:]]
        assert since == [1.0, 2.0, 3.0, 4.0]


async def test_another_target_is_taken_where_the_first_has_no_room() -> None:
    told = "x-ratelimit-limit-requests: 10\r\nx-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 60s\r\n"
    async with World(saying(told), plain) as world:  # type: ignore[arg-type]
        first, second = await world.request(BODY), await world.request(BODY)
        assert (first.headers["x-headgate-target"], second.headers["x-headgate-target"]) == ("up0/real", "up1/real")
        assert second.headers["x-headgate-attempts"] == "1"


async def test_a_targets_concurrency_is_never_exceeded_and_nobody_is_lost() -> None:
    running = most = 0

    async def counted(peer: Peer) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1
        await plain(peer)

    rules = TargetRules(providers={"up0": Rates(concurrency=3)})
    async with World(counted, target_rates=rules) as world:
        replies = await asyncio.gather(*[world.request(BODY) for _ in range(12)])
        assert [reply.status for reply in replies] == [200] * 12
        assert most == 3


async def test_a_client_that_leaves_gives_its_permit_to_the_next() -> None:
    rules = TargetRules(targets={"up0/real": Rates(concurrency=1)})
    async with World(slow, target_rates=rules, queueing=Queueing(wait_s=60)) as world:
        tasks = [asyncio.ensure_future(world.request(BODY)) for _ in range(3)]  # noqa: TID251
        await asyncio.sleep(1)
        world._writers[0].close()
        world._writers[1].close()
        began = now()
        assert (await tasks[2]).status == 200
        assert now() - began == pytest.approx(10.0, abs=0.2)
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_configured_rate_of_a_target_is_waited_for_within_the_deadline() -> None:
    rules = TargetRules(targets={"up0/real": Rates(rpm=60)})
    async with World(plain, target_rates=rules, queueing=Queueing(wait_s=5)) as world:
        replies = await asyncio.gather(*[world.request(BODY) for _ in range(62)])
        assert [reply.status for reply in replies] == [200] * 62
        rest = await asyncio.gather(*[world.request(BODY, headers="X-Headgate-Deadline: 0.5\r\n") for _ in range(2)])
        assert [reply.status for reply in rest] == [429, 429]
