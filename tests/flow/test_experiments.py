"""Experiments on the way of real requests: who answers whom, what is asked in the shadow, and what is told of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

from msgspec import structs

from policies.accept_rules import CascadeRules, Judge
from policies.cache_rules import CacheRules
from policies.experiment import Experiment, Sample
from policies.limits import Limit, LimitsByName
from policies.plan import Planner, Route, Routes
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.given import Feedback, Reset
from proxy.execution.trials import Trials
from proxy.snapshot import AgentRules
from proxy.types import Outcome
from tests.flow.rungs import CHEAPER, Rungs
from tests.flow.test_cascade import CHEAP, DEAR, refusing, saying
from tests.flow.test_evidence import stream
from tests.flow.world import Response, Script, streaming

SPLIT = Experiment("x", 0.5)
SHADOW = Experiment("x", 1.0, unit="call", mode="shadow", usd_nanos_a_day=10**9)


class Arms(Rungs):
    """`x` is an experiment: its control is `m0`, its candidate `m1` or the cascade `m` of both."""

    def __init__(self, *scripts: Script, experiment: Experiment = SPLIT, candidate: str = "m1", **more: object) -> None:
        super().__init__(*scripts, **more)  # type: ignore[arg-type]  # passed through as they came
        self.heard: list[tuple[str, Sample]] = []
        self.trials: Trials = Trials(
            self.clock, OpenAI(), tasks=self.tasks, side=self.sides, tell=lambda *told: self.heard.append(told)
        )
        self.experiment = experiment
        self.candidate = candidate

    async def __aenter__(self) -> Arms:
        await super().__aenter__()
        known = self.snapshot.planner.routes
        arms = tuple([route for name in ("m0", self.candidate) if (route := known.find(name)) is not None])
        routes = Routes((*known.all, Route("x", experiment=self.experiment, arms=arms)))
        self.snapshot = structs.replace(self.snapshot, planner=Planner(routes), experiments={"x": self.experiment})
        return self

    async def ask(self, run: str = "", *, model: str = "x", question: str = "2+2?", streamed: bool = False) -> Response:
        body = {"model": model, "messages": [{"role": "user", "content": question}], "stream": streamed}
        reply = await self.request(json.dumps(body).encode(), headers=f"X-Headgate-Run: {run}\r\n" if run else "")
        await asyncio.sleep(1)
        return reply

    @property
    def samples(self) -> list[Sample]:
        return [sample for _, sample in self.heard]

    async def run_of(self, arm: str) -> str:
        """One that is in this arm."""
        for number in range(50):
            reply = await self.ask(f"r{number}", question=f"{number}?")
            if reply.headers.get("x-headgate-experiment") == f"x {arm}":  # a known answer is no part of it
                return f"r{number}"
        raise AssertionError(f"nobody is in {arm}")


def arms_of(outcomes: Iterable[Outcome]) -> list[str]:
    return [outcome.plan.arm.name for outcome in outcomes if outcome.plan is not None and outcome.plan.arm is not None]


async def test_a_run_stays_in_its_arm_and_the_arm_answers() -> None:
    async with Arms(saying("old"), saying("new")) as world:
        for number in range(20):
            for _ in range(2):
                await world.ask(f"r{number}")
        asked = [len(upstream.requests) for upstream in world.upstreams]
    arms = arms_of(world.outcomes)
    assert arms[::2] == arms[1::2]
    assert {"control", "candidate"} == set(arms)
    assert asked == [arms.count("control"), arms.count("candidate")]
    assert all(outcome.plan.reason.startswith("arm c") for outcome in world.outcomes if outcome.plan is not None)
    assert [sample.arm for sample in world.samples] == arms
    assert {sample.usd_nanos for sample in world.samples if sample.arm == "candidate"} == {DEAR}
    assert {sample.usd_nanos for sample in world.samples if sample.arm == "control"} == {CHEAP}


async def test_what_is_told_of_a_call() -> None:
    async with Arms(streaming, streaming, experiment=structs.replace(SPLIT, share=1e-9)) as world:
        await world.ask("r", streamed=True)
        await world.ask("r")
    streamed, plain = world.samples
    (first, _) = world.outcomes
    assert world.heard[0][0] == "x"
    assert (streamed.arm, streamed.calls, streamed.answered, streamed.escalated) == ("control", 1, True, False)
    assert (streamed.duration_s, streamed.first_event_s) == (first.duration_s, first.first_event_s)
    assert plain.first_event_s is None
    assert streamed.unit == plain.unit


async def test_an_arm_that_fails_has_not_answered_and_a_limit_says_nothing_of_it() -> None:
    async with Arms(refusing, refusing) as world:
        assert (await world.ask("r")).status == 500
    (sample,) = world.samples
    assert (sample.answered, sample.duration_s, sample.calls) == (False, None, 1)
    limits = LimitsByName({"key:key-1": (Limit("usd", 1, "day"),)}, {})
    async with Arms(saying("a"), saying("b"), limits_of=limits) as world:
        assert (await world.ask("r")).status == 429
    assert world.samples == []


async def test_a_cascade_can_be_an_arm_and_its_judge_is_part_of_its_cost() -> None:
    rules = CascadeRules(judge=Judge("m2", "right?", 10**9, 30.0, 0.7))
    every = structs.replace(SPLIT, share=1.0)
    scripts = (saying("cheap"), saying("dear"), saying("9"))
    async with Arms(*scripts, experiment=every, candidate="m", cascade=rules, rungs=2) as world:
        reply = await world.ask("r")
        assert reply.headers["x-headgate-cascade"] == "m0 accept passed"
        assert reply.headers["x-headgate-experiment"] == "x candidate"
    (sample,) = world.samples
    assert sample.usd_nanos == CHEAP + CHEAP * CHEAPER**2
    assert not sample.escalated
    scripts = (saying("cheap"), saying("dear"), saying("1"))
    async with Arms(*scripts, experiment=every, candidate="m", cascade=rules, rungs=2) as world:
        await world.ask("r")
    assert world.samples[0].escalated
    assert world.samples[0].usd_nanos == CHEAP + DEAR + CHEAP * CHEAPER**2


async def test_what_is_spent_after_the_call_counts_too_and_is_no_call() -> None:
    """A shadow of a cascade that is an arm."""
    every = structs.replace(SPLIT, share=1.0)
    rules = CascadeRules(shadow=1.0)
    async with Arms(saying("4"), saying("4"), experiment=every, candidate="m", cascade=rules) as world:
        await world.ask("r")
    assert [(sample.calls, sample.usd_nanos) for sample in world.samples] == [(1, CHEAP), (0, DEAR)]
    assert len({sample.unit for sample in world.samples}) == 1


async def test_an_answer_of_one_arm_is_not_known_to_the_other() -> None:
    rules = AgentRules(cache=CacheRules(exact="on", scope="team"))
    async with Arms(saying("old"), saying("new"), rules=rules) as world:
        control, candidate = await world.run_of("control"), await world.run_of("candidate")
        (one, other) = [(await world.ask(run, question="3+3?")).body for run in (control, candidate)]
        assert b"old" in one
        assert b"new" in other
        again = await world.ask(control, question="3+3?")
        assert again.headers["x-headgate-cache"] == "hit"
        assert again.body == one


# --- the shadow ------------------------------------------------------------------------------------------------------


async def test_the_candidate_is_asked_in_the_shadow_and_only_the_control_is_heard() -> None:
    async with Arms(saying("4"), saying("The answer is 4"), experiment=SHADOW) as world:
        reply = await world.ask("r")
        assert b'"4"' in reply.body
        assert reply.headers["x-headgate-experiment"] == "x control"
        shadow = next(outcome for outcome in world.outcomes if outcome.call.cause)
        assert (shadow.call.priority, shadow.call.identity.run) == ("batch", "r")
        assert json.loads(world.upstreams[1].requests[0][1])["model"] == "real"
    told = [(sample.arm, sample.calls, sample.usd_nanos, sample.score) for sample in world.samples]
    assert told == [
        ("candidate", 1, DEAR, None),
        ("control", 1, CHEAP, None),
        ("control", 0, 0, 1.0),
        ("candidate", 0, 0, 1.0),
    ]
    assert len({sample.unit for sample in world.samples}) == 1


async def test_streams_are_compared_too() -> None:
    async with Arms(stream("4"), stream("5"), experiment=SHADOW) as world:
        await world.ask("r", streamed=True)
    assert [sample.score for sample in world.samples if sample.score is not None] == [1.0, 0.0]


async def test_only_a_share_is_asked_in_the_shadow_and_only_of_that_is_told() -> None:
    async with Arms(saying("4"), saying("4"), experiment=structs.replace(SHADOW, share=0.2)) as world:
        for number in range(100):
            await world.ask(f"r{number}")
        asked = len(world.upstreams[1].requests)
    assert 8 <= asked <= 35
    assert sum(sample.calls for sample in world.samples) == 2 * asked


async def test_a_shadow_has_a_budget_of_the_day() -> None:
    experiment = structs.replace(SHADOW, usd_nanos_a_day=DEAR * 3 // 2)  # the second takes it beyond
    async with Arms(saying("4"), saying("4"), experiment=experiment) as world:
        for _ in range(5):
            await world.ask("r")
        assert len(world.upstreams[1].requests) == 2
    assert len([sample for sample in world.samples if sample.calls]) == 4


async def test_a_candidate_that_fails_in_the_shadow_disturbs_nobody_and_is_counted() -> None:
    async with Arms(saying("4"), refusing, experiment=SHADOW) as world:
        assert (await world.ask("r")).status == 200
    assert [(sample.arm, sample.answered) for sample in world.samples] == [("candidate", False), ("control", True)]


# --- words -----------------------------------------------------------------------------------------------------------


async def test_feedback_is_a_score_of_the_arm_that_answered() -> None:
    async with Arms(saying("4"), saying("5")) as world:
        reply = await world.ask("r")
        id = reply.headers["x-headgate-request-id"]
        assert world.trials.heed(Feedback(0.25, request=id)) == 1
        assert world.trials.heed(Feedback(0.75, request=id)) == 0  # it was spoken of
        assert world.trials.heed(Feedback(1.0, request="nobody's")) == 0
        assert world.trials.heed(Reset()) == 0
    call, word = world.samples
    assert (word.arm, word.unit, word.calls, word.score) == (call.arm, call.unit, 0, 0.25)


async def test_a_word_about_a_run_is_one_score_of_its_unit() -> None:
    async with Arms(saying("4"), saying("5")) as world:
        for _ in range(3):
            await world.ask("r")
        assert world.trials.heed(Feedback(1.0, run="key:key-1/r")) == 3
        assert world.trials.heed(Feedback(1.0, run="key:key-1/r")) == 0
    assert len([sample for sample in world.samples if sample.score is not None]) == 1


async def test_in_a_shadow_nobody_has_heard_the_candidate_so_no_word_counts() -> None:
    async with Arms(saying("4"), saying("4"), experiment=SHADOW) as world:
        reply = await world.ask("r")
        assert world.trials.heed(Feedback(1.0, request=reply.headers["x-headgate-request-id"])) == 0


async def test_a_call_of_another_model_is_not_part_of_it() -> None:
    async with Arms(saying("4"), saying("5")) as world:
        reply = await world.ask("r", model="m0")
        assert "x-headgate-experiment" not in reply.headers
    assert world.heard == []
    assert repr(world.trials) == "Trials(Recent(0 of 20000))"
