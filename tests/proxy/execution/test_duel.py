"""Two attempts at one call, interrupted wherever they wait. What a client sees stands in tests/flow/test_hedge.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec import structs

from proxy.errors import ProxyError
from proxy.providers.base import UpstreamRequest, UpstreamResponse, unnoticed
from proxy.types import AbortRule
from tests.sim.gate import PLAIN, STREAM, SmallGate, answer
from tests.sim.test_cancellation import enumerate_waits
from tests.sim.vendor import Script
from tests.sim.virtual import run

LATE_S = 3.0
BODIES = pytest.mark.parametrize("raw", [PLAIN, STREAM], ids=["plain", "stream"])


class Writes:
    """The first request of a call is answered late, or as `first` says; the second one as usual, or as `second`."""

    def __init__(self, first: str = "late", second: str = "usual") -> None:
        self.kinds = [first, second]

    def __call__(self, request: UpstreamRequest) -> Script:
        kind = self.kinds.pop(0) if self.kinds else "usual"
        script = answer(request)
        if kind == "usual":
            return script
        if kind == "late":
            late = tuple(structs.replace(step, at=step.at + LATE_S) for step in script.steps)
            return structs.replace(script, steps=late)
        at = {"fails at once": 0.0, "fails late": LATE_S}[kind]
        return Script(kind, head_at=at, fault=lambda: ProxyError("upstream_broken", "It broke off."), billed=False)


def gate(first: str = "late", second: str = "usual", *, abort: AbortRule = "stops") -> SmallGate:
    made = SmallGate(Writes(first, second), abort=abort, bills_on=abort == "continues", twin=True)
    made.learn(0.5)
    return made


@BODIES
@pytest.mark.parametrize("abort", ["stops", "continues", "unknown"])
def test_wherever_a_hedged_call_is_cancelled_nothing_is_left_of_it(raw: bytes, abort: AbortRule) -> None:
    outcomes = enumerate_waits(lambda: gate(abort=abort), raw)
    last = outcomes[-1]
    assert sorted(attempt.role for attempt in last.attempts) == ["first", "hedge"]
    assert (last.served_by, last.status, last.client_gone) == ("hedge", 200, False)


@BODIES
@pytest.mark.parametrize(
    ("first", "second", "served_by"),
    [
        ("late", "fails at once", "primary"),
        ("late", "fails late", "primary"),
        ("fails late", "usual", "hedge"),
        ("fails late", "late", "hedge"),
        ("fails late", "fails late", "none"),
    ],
)
def test_whichever_of_the_two_fails_and_wherever_the_call_is_cancelled(
    raw: bytes, first: str, second: str, served_by: str
) -> None:
    outcomes = enumerate_waits(lambda: gate(first, second), raw)
    assert sorted(attempt.role for attempt in outcomes[-1].attempts) == ["first", "hedge"]
    assert outcomes[-1].served_by == served_by
    assert all(attempt.error_code != "internal" for outcome in outcomes for attempt in outcome.attempts)


@BODIES
def test_the_bill_holds_both_of_them(raw: bytes) -> None:
    async def once() -> None:
        made = gate()
        outcome = await made.serve(raw)
        await made.check()
        won, lost = outcome.attempts[-1], outcome.attempts[0]
        assert (won.role, won.lesson) == ("hedge", "success")
        assert (lost.role, lost.lesson, lost.error_code) == ("first", "ignore", None)
        assert outcome.cost_usd_nanos == (won.cost_usd_nanos or 0) + (lost.cost_usd_nanos or 0)
        assert (lost.cost_usd_nanos or 0) > 0

    run(once())


@BODIES
def test_a_client_that_leaves_in_the_very_instant_of_the_win_has_left(raw: bytes) -> None:
    async def once() -> None:
        made = gate()
        loop = asyncio.get_running_loop()
        send, asked = made.vendor.send, list[UpstreamRequest]()

        async def sends(request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> UpstreamResponse:
            asked.append(request)
            response = await send(request, sent)
            if len(asked) == 2:
                read = response.read

                async def reads() -> bytes:
                    data = await read()
                    if b"content" in data and b'"role"' not in data and made.wire.ended != "gone":
                        made.wire.leave()
                        serving.cancel()
                    return data

                response.read = reads  # type: ignore[method-assign]
            return response

        made.vendor.send = sends  # type: ignore[method-assign]
        serving = loop.create_task(made.pipeline.serve(made.call(raw), made.wire, made.snapshot))
        await asyncio.wait((serving,))
        await made.check()
        assert len(asked) == 2
        assert serving.cancelled()
        assert made.outcomes[0].client_gone

    run(once())
