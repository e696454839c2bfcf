"""Targets that fail are left alone until they have proven themselves, and nobody who is well is ever kept out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
from msgspec import structs

from policies.breaker_state import CONSECUTIVE, SUCCESSES, WAIT_S
from policies.plan import Planner, Route, Routes
from policies.retry import Retry
from proxy.execution.probing import EVERY_S, Probing
from proxy.execution.steering import BACK_S
from proxy.types import Balance
from tests.effort import some
from tests.flow.world import REPLY, Peer, Response, World

ONCE_MORE = Retry(attempts=2)  # so that the attempt budget outlives the tests' failures
TAKES_S = 0.05
FAILED = b'{"error":{"message":"no","type":"t","code":"c"}}'


class Switch:
    """An upstream that can be switched off; it knows when it was asked, for an answer and for its health."""

    def __init__(self, failure: str | None = None) -> None:
        self.failure = failure  # a status line; None: it is well
        self.asked_at: list[float] = []
        self.probed_at: list[float] = []

    async def __call__(self, peer: Peer) -> None:
        now, probed = asyncio.get_running_loop().time(), peer.head.startswith(b"GET ")
        (self.probed_at if probed else self.asked_at).append(now)
        if not probed:
            await asyncio.sleep(TAKES_S)
        await peer.reply(REPLY if self.failure is None else FAILED, status=self.failure or "200 OK")

    def asked_since(self, at: float) -> int:
        return sum(each >= at for each in self.asked_at)


def now() -> float:
    return asyncio.get_running_loop().time()


def balanced(world: World, balance: Balance = "score") -> World:
    targets = world.snapshot.planner.routes.fixed_targets
    planner = Planner(Routes((Route("m", targets, balance=balance),)))
    world.snapshot = structs.replace(world.snapshot, planner=planner)
    return world


@asynccontextmanager
async def probed(world: World) -> AsyncIterator[None]:
    probing = Probing(world.steering.breakers, world.clock, world.tasks, lambda: world.snapshot.providers)
    task = world.tasks.start("probes", probing.keep())
    try:
        yield
    finally:
        task.cancel()


async def calls(world: World, many: int, *, every_s: float = 0.0) -> list[Response]:
    answers = []
    for _ in range(many):
        answers.append(await world.request())
        await asyncio.sleep(every_s)
    return answers


def all_well(answers: list[Response]) -> bool:
    return all(answer.status == 200 for answer in answers)


async def opened(world: World, switch: Switch, failure: str = "500 Oops") -> None:
    switch.failure = failure
    await calls(world, CONSECUTIVE)


async def test_a_target_that_fails_five_times_is_left_alone_and_the_other_one_answers_all() -> None:
    sick, well = Switch("500 Oops"), Switch()
    async with World(sick, well, retry=ONCE_MORE) as world:
        answers = await calls(world, 20)
        assert all_well(answers)
        assert len(sick.asked_at) == CONSECUTIVE
        assert [answer.headers["x-headgate-served-by"] for answer in answers] == ["fallback"] * 5 + ["primary"] * 15
        assert [answer.headers["x-headgate-attempts"] for answer in answers[5:]] == ["1"] * 15


async def test_it_gets_one_trial_after_its_wait_and_a_client_does_not_notice() -> None:
    sick, well = Switch(), Switch()
    async with World(sick, well, retry=ONCE_MORE) as world:
        await opened(world, sick)
        closed_at = now()
        assert all_well(await calls(world, 300, every_s=0.1))
        trials = [at - closed_at for at in sick.asked_at[CONSECUTIVE:]]
        assert len(trials) <= 3, "5, 10 and 20 s: less would be a hammer"
        assert 0.8 * WAIT_S <= trials[0] <= WAIT_S + 0.2
        assert trials[1] - trials[0] >= 0.8 * 2 * WAIT_S


async def test_three_answers_bring_it_back_and_trials_come_one_at_a_time() -> None:
    sick, well = Switch(), Switch()
    async with World(sick, well, retry=ONCE_MORE) as world:
        await opened(world, sick)
        sick.failure = None
        await asyncio.sleep(WAIT_S)
        back_at = now()
        assert all_well(await asyncio.gather(*[world.request() for _ in range(10)]))
        assert sick.asked_since(back_at) == 1, "the others did not wait for the trial's answer"
        assert all_well(await calls(world, SUCCESSES - 1))
        assert not world.steering.breakers.troubled
        assert all_well(await asyncio.gather(*[world.request() for _ in range(10)]))
        assert sick.asked_since(back_at) == SUCCESSES + 10, "it is first in order again"


async def test_it_is_trusted_with_more_step_by_step() -> None:
    sick, well = Switch(), Switch()
    async with World(sick, well, retry=ONCE_MORE) as world:
        balanced(world)
        await calls(world, 400, every_s=0.1)  # both are warm
        sick.failure = "500 Oops"
        await calls(world, 4 * CONSECUTIVE)  # every second one goes there
        assert world.steering.breakers.troubled
        sick.failure = None
        await asyncio.sleep(WAIT_S)
        await calls(world, SUCCESSES)
        assert not world.steering.breakers.troubled
        shares = []
        for _ in range(2):
            since = now()
            await calls(world, 40, every_s=BACK_S / 100)
            shares.append(sick.asked_since(since) / 40)
            await asyncio.sleep(BACK_S)
        assert shares[0] < 0.35 < shares[1]


async def test_a_target_that_flaps_is_asked_less_and_less() -> None:
    """One second up, one second down."""
    flapping, well = Switch(), Switch()

    async def flaps() -> None:
        while True:
            flapping.failure = None if flapping.failure else "500 Oops"
            await asyncio.sleep(1.0)

    async with World(flapping, well, retry=ONCE_MORE) as world:
        task = world.tasks.start("flapping", flaps())
        began = now()
        answers = await calls(world, 480, every_s=0.45)
        task.cancel()
        assert all_well(answers)
        failed = sum(len(outcome.attempts) - 1 for outcome in world.outcomes)
        assert failed < 60, "half of 480 would have failed there first"
        asked = [sum(part * 80 <= at - began < (part + 1) * 80 for at in flapping.asked_at) for part in range(3)]
        assert asked[0] > asked[1] + asked[2], asked


async def test_when_all_are_out_the_least_bad_is_tried_and_nothing_is_tried_twice() -> None:
    one, other = Switch("500 Oops"), Switch("500 Oops")
    async with World(one, other, retry=ONCE_MORE) as world:
        await calls(world, CONSECUTIVE)
        assert len(world.steering.breakers.troubled) == 2
        since = now()
        answers = await calls(world, 3)
        assert [answer.status for answer in answers] == [500] * 3
        assert one.asked_since(since) + other.asked_since(since) == 3, "one attempt a call"
        assert [answer.headers["x-headgate-attempts"] for answer in answers] == ["1"] * 3


async def test_who_is_well_again_serves_at_once_when_all_the_others_are_out_as_well() -> None:
    one, other = Switch("500 Oops"), Switch("500 Oops")
    async with World(one, other, retry=ONCE_MORE) as world:
        await calls(world, CONSECUTIVE)
        one.failure = None
        answers = await calls(world, 3)
        assert all_well(answers), "nobody waits for the end of a wait while there is nobody better"


async def test_the_only_target_is_never_left_out() -> None:
    only = Switch("500 Oops")
    async with World(only) as world:
        await calls(world, 10)
        only.failure = None
        assert all_well(await calls(world, 1))


@pytest.mark.parametrize(("status", "asked"), [("401 No", 1), ("403 No", 10)])
async def test_a_refused_credential_takes_the_key_out_with_all_its_targets(status: str, asked: int) -> None:
    """A 403 may be of one model alone, whose name a client can make up: it is each target's own failure, five times."""
    refusing, well, spare = Switch(status), Switch(), Switch()
    async with World(refusing, well, spare, retry=ONCE_MORE) as world:
        first, *others = world.snapshot.planner.routes.fixed_targets
        sibling = structs.replace(first, id="up0/other", model="other")
        planner = Planner(Routes((Route("m", (first, sibling, *others), balance="ordered"),)))
        world.snapshot = structs.replace(world.snapshot, planner=planner)
        assert all_well(await calls(world, 10))
        assert len(refusing.asked_at) == asked
        assert world.steering.breakers.state("up0/other") == "open"


async def test_probes_bring_it_back_long_before_its_wait_is_over() -> None:
    sick, well = Switch(), Switch()
    async with World(sick, well, retry=ONCE_MORE) as world, probed(world):
        await opened(world, sick)
        assert all_well(await calls(world, 150, every_s=0.5))  # trials fail: it waits 40 s and more by now
        assert sick.probed_at
        sick.failure, healed_at = None, now()
        assert all_well(await calls(world, 60, every_s=0.25))
        first = next(at for at in sick.asked_at if at >= healed_at)
        assert first - healed_at <= 1.1 * EVERY_S + 1.0
        assert not world.steering.breakers.troubled
        assert sick.asked_at[-1] > now() - 1.0


async def test_probes_ask_only_who_is_out_and_cost_no_call() -> None:
    sick, well = Switch(), Switch()
    async with World(sick, well, retry=ONCE_MORE) as world, probed(world):
        await opened(world, sick)
        begun = len(world.outcomes)
        await asyncio.sleep(3 * EVERY_S)
        assert 2 <= len(sick.probed_at) <= 4
        assert not well.probed_at
        assert len(world.outcomes) == begun


@pytest.mark.parametrize("seed", some(range(2)))
async def test_nobody_who_is_well_is_kept_out(seed: int) -> None:
    """Who has been well for the time of a probe, its trials and the ramp is asked again, whatever the others do."""
    rng, switches = Random(seed), [Switch() for _ in range(4)]
    bound_s = 1.1 * EVERY_S + 5.0 + BACK_S
    async with World(*switches, retry=ONCE_MORE) as world, probed(balanced(world)):
        well_since = [now()] * len(switches)
        for _ in range(30):
            number = rng.randrange(len(switches))
            switches[number].failure = rng.choice((None, None, "500 Oops", "503 Busy"))
            well_since[number] = now()
            await calls(world, 20, every_s=0.4)
            for switch, since in zip(switches, well_since, strict=True):
                if switch.failure is None and now() - since > 2 * bound_s:
                    assert switch.asked_since(now() - bound_s), f"seed {seed}"
