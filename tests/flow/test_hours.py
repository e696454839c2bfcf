"""Calls with hours over sockets: the window of an agent, what a client shortens, and what the reply says."""

from __future__ import annotations

import asyncio

import pytest

from policies.provider_limits import TargetRules
from policies.rate_limit import Rates
from proxy.execution.line import Claim, Queueing, Unheard
from proxy.execution.off_peak import OffPeak
from proxy.snapshot import AgentRules
from tests.build import call
from tests.flow.world import Peer, World, plain

TWO = TargetRules(targets={"up0/real": Rates(concurrency=2)})
DAY = 86_400.0
NIGHTLY = AgentRules(priority="interactive", window_s=DAY)
BATCH = "X-Headgate-Priority: batch\r\n"


class Deaf(Unheard):
    def ended(self, route: str, how: object) -> None:
        return


async def slow(peer: Peer) -> None:
    await asyncio.sleep(30)
    await plain(peer)


@pytest.mark.parametrize(
    ("headers", "given_s"),
    [
        ("", 600.0),
        (BATCH, DAY),
        (BATCH + "X-Headgate-Deadline: 7200\r\n", 7_200.0),
        ("X-Headgate-Deadline: 7200\r\n", 600.0),
    ],
)
async def test_the_window_is_for_calls_of_the_lowest_priority_and_may_be_shortened(
    headers: str, given_s: float
) -> None:
    async with World(plain, rules=NIGHTLY) as world:
        assert (await world.request(headers=headers)).status == 200
        served = world.outcomes[0].call
        assert served.deadline - served.arrived_at == given_s


async def test_a_call_that_has_a_day_goes_after_those_that_have_not() -> None:
    async with World(slow, rules=NIGHTLY, target_rates=TWO, queueing=Queueing(wait_s=100)) as world:
        world.admission.off_peak = OffPeak(
            world.clock, world.permits, rates=world.rates, p99_s=world.admission.p99_s, heard=Deaf()
        )
        first = asyncio.ensure_future(world.request())  # noqa: TID251
        await asyncio.sleep(1)
        nightly = asyncio.ensure_future(world.request(headers=BATCH))  # noqa: TID251
        await asyncio.sleep(1)
        later = await world.request()
        assert (later.status, nightly.done()) == (200, False)
        assert (await first).status == 200
        reply = await nightly
        assert reply.status == 200
        waited, how = reply.headers["x-headgate-held"].split("; ")
        assert (float(waited) > 29.0, how) == (True, "quiet")
        assert float(reply.headers["x-headgate-overhead-ms"]) < 1_000
        assert [outcome.call.priority for outcome in world.outcomes] == ["interactive", "interactive", "batch"]


async def test_a_connection_lasts_as_long_as_its_call_is_held() -> None:
    async with World(plain, rules=NIGHTLY, target_rates=TWO) as world:
        world.admission.off_peak = OffPeak(
            world.clock, world.permits, rates=world.rates, p99_s=world.admission.p99_s, heard=Deaf()
        )
        (target,) = world.snapshot.planner.routes.fixed_targets
        others = world.permits.at_once(target, Claim(call()))
        assert others is not None
        nightly = asyncio.ensure_future(world.request(headers=BATCH))  # noqa: TID251
        await asyncio.sleep(3 * 3_600)
        assert not nightly.done()
        others.release(None)
        reply = await nightly
        assert (reply.status, reply.headers["x-headgate-held"].endswith("; quiet")) == (200, True)
        assert len(world.outcomes) == 1
