"""What the head of a reply says of its target's limits, taken in by the target's room.

Reading all of it at every reply would cost more than all other limits together, so it is looked at now and then, and
the time until a reset only where it would teach something. What a figure means is `policies.provider_limits`' word.
"""

from __future__ import annotations

from policies.provider_limits import READ_EVERY_S, TargetLimits, Told
from proxy.clock import Clock
from proxy.providers.hints import wait_s
from proxy.providers.limit_headers import said


def take_in(
    room: TargetLimits, headers: tuple[tuple[str, str], ...], clock: Clock, *, requests: int, tokens: int
) -> bool:
    """`requests` and `tokens`: ever asked for there, as of the call that is answered. False: nothing was learned."""
    now = clock.now()
    if now < room.read_again_at:
        return False
    room.read_again_at = now + READ_EVERY_S
    found = said(dict(headers))
    for each in found:
        reset_s = None
        if each.reset and room.wants_reset(each.kind, each.remaining, each.limit):
            reset_s = wait_s(each.reset, clock.wall())
        since = room.asked_requests - requests if each.kind == "requests" else room.asked_tokens - tokens
        room.told(Told(each.kind, each.remaining, each.limit, reset_s), now, asked_since=since)
    return bool(found)
