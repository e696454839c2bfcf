"""What replies say of limits is taken in, less what was asked for since, and not more often than it teaches."""

from __future__ import annotations

from policies.provider_limits import READ_EVERY_S, TargetLimits
from policies.rate_limit import Account, Rates
from proxy.clock import SystemClock, loop_time
from proxy.execution.told import take_in

HEADERS = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "30",
    "x-ratelimit-reset-requests": "30s",
}


async def test_what_was_asked_for_since_is_not_in_the_figure() -> None:
    room = TargetLimits(Account("target:p/a", Rates(), 1.0), Account("provider:p", Rates(), 1.0))
    clock = SystemClock(seed=1, now=loop_time)
    for _ in range(15):
        room.take(0, clock.now())
    assert take_in(room, HEADERS, clock, requests=5, tokens=0)
    assert room.requests is not None
    assert round(room.requests.level(clock.now())) == 20


async def test_not_every_reply_is_read() -> None:
    room = TargetLimits(Account("target:p/a", Rates(), 1.0), Account("provider:p", Rates(), 1.0))
    clock = SystemClock(seed=1, now=loop_time)
    plenty = {**HEADERS, "x-ratelimit-remaining-requests": "59"}
    assert take_in(room, plenty, clock, requests=0, tokens=0)
    assert not take_in(room, HEADERS, clock, requests=0, tokens=0)
    room.read_again_at -= READ_EVERY_S
    assert take_in(room, HEADERS, clock, requests=0, tokens=0)
