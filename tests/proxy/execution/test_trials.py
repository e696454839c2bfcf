"""What is told of calls that have ended; who answers whom is tested in tests/flow/test_experiments.py."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies.experiment import Sample
from proxy.clock import SystemClock, loop_time
from proxy.dialects.openai_chat import OpenAI
from proxy.errors import ProxyError
from proxy.execution.asking import SideReply
from proxy.execution.given import Feedback
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.execution.trials import Trials, untold
from proxy.observed import Arm, Reused
from proxy.snapshot import Snapshot
from proxy.tasks import Tasks
from proxy.types import Attempt, Call, Endpoint, Identity, Outcome, Plan
from tests.build import call, target
from tests.flow.world import OneKey
from tests.money import WIDE, WatchedBudgets

ARM = Arm("x", "candidate", "u")
PLAN = Plan("single", ((target(),),), "", arm=ARM)


class Silent:
    """Implements `asking.Asks`: nobody is asked here."""

    async def ask(
        self, cause: Call, endpoint: Endpoint, body: bytes, *, snapshot: Snapshot, seconds: float
    ) -> SideReply | ProxyError:
        raise AssertionError(cause)


class Heard:
    def __init__(self) -> None:
        self.samples: list[Sample] = []
        clock = SystemClock(now=loop_time)
        self.trials = Trials(clock, OpenAI(), tasks=Tasks(lambda name, error: None), side=Silent(), tell=self._hear)
        self._store = WatchedBudgets(clock, WIDE)

    def begin(self, of: Call) -> None:
        record = Record(of, Purse(self._store, of.id, (), 60.0))
        self.trials.begin(record, ARM, Snapshot("v", None, {}, OneKey(), {}))  # type: ignore[arg-type]  # not looked at
        assert record.pupils == ()

    def _hear(self, experiment: str, sample: Sample) -> None:
        assert experiment == "x"
        self.samples.append(sample)


def ended(of: Call, cost: int | None = 7, *, plan: Plan | None = PLAN, **more: object) -> Outcome:
    attempt = Attempt(1, "first", target(), 0.0, 1.0, "success", cost_usd_nanos=cost)
    return structs.replace(Outcome(of, plan, (attempt,), 200, 2.0, "primary"), **more)


def aside(cost: int | None, cause: str = "c0ffee") -> Outcome:
    return ended(structs.replace(call(), id="side", cause=cause), cost, plan=structs.replace(PLAN, arm=None))


@pytest.fixture
def heard() -> Heard:
    return Heard()


async def test_what_was_spent_because_of_a_call_is_part_of_it_before_and_after(heard: Heard) -> None:
    heard.begin(call())
    heard.trials.observe(aside(5))
    heard.trials.observe(ended(call()))
    heard.trials.observe(aside(3))
    heard.trials.observe(aside(3, cause="nobody's"))
    assert [(sample.calls, sample.usd_nanos) for sample in heard.samples] == [(1, 12), (0, 3)]


@pytest.mark.parametrize(("own", "beside"), [(None, 5), (7, None)])
async def test_what_has_no_price_leaves_the_call_without_one(heard: Heard, own: int | None, beside: int | None) -> None:
    heard.begin(call())
    heard.trials.observe(aside(beside))
    heard.trials.observe(ended(call(), own))
    assert [sample.usd_nanos for sample in heard.samples] == [None]


async def test_a_client_that_left_has_shown_nothing_but_the_bill(heard: Heard) -> None:
    heard.trials.observe(ended(call(), client_gone=True))
    assert heard.samples == [Sample("candidate", "u", 1, 7)]


@pytest.mark.parametrize("source", ["client", "policy"])
async def test_an_error_that_is_not_the_arms_is_not_counted(heard: Heard, source: str) -> None:
    heard.trials.observe(ended(call(), error_code="invalid_request", error_source=source))
    assert heard.samples == []
    heard.trials.observe(ended(call(), error_code="upstream_error", error_source="upstream"))
    assert [sample.answered for sample in heard.samples] == [False]


async def test_runs_are_remembered_by_their_latest_calls(heard: Heard) -> None:
    who = Identity(key_id="k", agent="a", run="r")
    for number in range(300):
        heard.begin(structs.replace(call(identity=who), id=str(number)))
    assert heard.trials.heed(Feedback(0.5, run="team:red/r")) == 0, "another tenant's of that name"
    assert heard.trials.heed(Feedback(0.5, run="key:k/r")) == 256


def test_whoever_keeps_nothing_can_be_told() -> None:
    untold("x", Sample("control", "u"))


async def test_a_known_answer_says_nothing_of_who_would_have_answered(heard: Heard) -> None:
    heard.trials.observe(ended(call(), reused=Reused("semantic", 1.0, None, 0)))
    assert heard.samples == []
