"""A refusal of rate limits, in words and figures: which limits stand in the way, and when they will not any more.

Always with the time until the call fits: asking again then is right, so SDKs may. 429, but where too many wait already:
that is 503, as no limit of the caller's own stands in the way.
"""

from __future__ import annotations

from typing import Final

from policies.rate_limit import Kind, Shortage
from proxy.errors import ProxyError

PER: Final[dict[Kind, str]] = {
    "requests": " requests a minute",
    "tokens": " tokens a minute",
    "concurrency": " at a time",
}


def rate_limited(shortages: tuple[Shortage, ...]) -> ProxyError:
    """`shortages`: at least one, the longest wait first."""
    first = shortages[0]
    more = f" (and {len(shortages) - 1} more)" if len(shortages) > 1 else ""
    return ProxyError(
        "rate_limit_exceeded",
        f"The limit of {_named(first.account)}{more} refuses this call: {first.limit}{PER[first.kind]}, "
        f"{first.remaining} left, {first.needed} needed. Ask again in {first.wait_s:.3g} s.",
        retry_after_s=first.wait_s,
        details={"limits": [_details(shortage) for shortage in shortages]},
    )


def overloaded(account: str, drain_s: float) -> ProxyError:
    """Too many calls wait; those that do will have gone in `drain_s`."""
    message = f"Too many calls wait for {_named(account)}. Ask again in {drain_s:.3g} s."
    return ProxyError("overloaded", message, retry_after_s=drain_s)


def _named(account: str) -> str:
    kind, _, name = account.partition(":")
    return f"{kind} {ascii(name)[1:-1][:64]!r}"


def _details(shortage: Shortage) -> dict[str, object]:
    return {
        "account": shortage.account,
        "unit": shortage.kind,
        "window": None if shortage.kind == "concurrency" else "minute",
        "limit": shortage.limit,
        "remaining": shortage.remaining,
        "needed": shortage.needed,
        "retry_after_s": round(shortage.wait_s, 3),
    }
