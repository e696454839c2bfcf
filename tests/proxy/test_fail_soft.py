"""Which refusals are ceilings of a run, and what is kept for that day."""

from __future__ import annotations

import pytest

from policies.limits import Reason, Refusal, Shortfall
from policies.refusal import budget_exceeded
from policies.run_refusal import run_limit_exceeded, run_stopped
from policies.runs import Excess, LimitName, Run, RunLimits, Stop
from proxy.dialects.openai_chat import OpenAI
from proxy.errors import ProxyError
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.execution.running import Running
from proxy.fail_soft import FailSoft, ceiling, of_its_run
from proxy.runs.answers import Answers
from proxy.types import Per, Period, Unit
from tests import build
from tests.sim.gate import SmallGate

BEST = RunLimits(at_limit="best")
REPLY = b'{"object":"chat.completion","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'


def budget(*limits: tuple[Unit, Per, Reason]) -> ProxyError:
    shortfalls = [
        Shortfall(Period("run:r", unit, per, 0, "agent:a"), 5, 5, 0, 1, None, why) for unit, per, why in limits
    ]
    return budget_exceeded(Refusal(tuple(shortfalls), 0.0))


CEILINGS = [
    (budget(("usd", "run", "spent")), "usd"),
    (budget(("tokens", "run", "floor")), "tokens"),
    (budget(("steps", "run", "spent")), "steps"),
    (budget(("usd", "day", "spent"), ("usd", "run", "spent")), "usd"),
    (budget(("usd", "day", "spent")), None),
    (budget(("usd", "run", "held")), None),  # it ends by itself
    (budget(("concurrency", "run", "spent")), None),
    (run_stopped(Stop("r", "killed")), None),
    (ProxyError("deadline_exceeded", "late"), None),
    (ProxyError("budget_exceeded", "from a gate above"), None),
]


@pytest.mark.parametrize(("error", "unit"), CEILINGS)
def test_ceilings(error: ProxyError, unit: str | None) -> None:
    assert ceiling(error) == unit


@pytest.mark.parametrize(("limit", "unit"), [("seconds", "seconds"), ("width", None), ("depth", None)])
def test_of_the_limits_without_accounts_only_time_is_one(limit: LimitName, unit: str | None) -> None:
    assert ceiling(run_limit_exceeded(Excess("r", limit, 1, 2))) == unit


class Reply:
    def __init__(self, first: bytes, *, streams: bool = False) -> None:
        self.first = first
        self.streams = streams


def running(limits: RunLimits) -> Running:
    run = Run("r", (), 1000.0, None)
    run.limits = limits
    return Running(Record(build.call(), Purse(SmallGate().store, "c", (), 60.0)), run)


KEPT = [
    ("a complete answer", BEST, Reply(REPLY), 2),
    ("a run that wants none", RunLimits(), Reply(REPLY), 0),
    ("several choices", BEST, Reply(REPLY.replace(b"[{", b'[{"message":{"content":"a"},"finish_reason":"stop"},{')), 0),
    ("cut short", BEST, Reply(REPLY.replace(b"stop", b"length")), 0),
    ("no text", BEST, Reply(REPLY.replace(b"hi", b"")), 0),
    ("an error among events", BEST, Reply(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: {\n\n'), 0),
    ("a stream of which nothing was kept", BEST, Reply(b"", streams=True), 0),
    ("no reply of that kind", BEST, Reply(b'{"data":[]}'), 0),
]


@pytest.mark.parametrize(("limits", "reply", "size"), [row[1:] for row in KEPT], ids=[row[0] for row in KEPT])
async def test_what_is_kept(limits: RunLimits, reply: Reply, size: int) -> None:
    answers = Answers()
    FailSoft(SmallGate().clock, OpenAI(), answers).keep(running(limits), reply)
    assert answers.size == size


async def test_a_deadline_that_was_the_end_of_the_run_is_told_as_that() -> None:
    ended = running(RunLimits(seconds=60.0))
    late, other = ProxyError("deadline_exceeded", "late"), ProxyError("upstream_error", "no")
    assert of_its_run(ended, late, 1060.0) is late
    ended.ends_with_run = True
    told = of_its_run(ended, late, 1060.0)
    assert (told.code, told.details["run"], told.details["value"]) == ("run_limit_exceeded", "r", 60.0)
    assert of_its_run(ended, other, 1060.0) is other
