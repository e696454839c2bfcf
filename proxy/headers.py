"""What the gate says of a call in the headers of its reply: all begin with `x-headgate-`, but for the request id.

An upstream's own `x-request-id` keeps its name; `x-headgate-request-id` is always ours, and both find the call again.
"""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache
from math import ceil

from policies.fallback import fallback_of
from policies.ladder import NOTICED
from proxy.caching.recalled import Recalled
from proxy.errors import ProxyError
from proxy.execution.attempt import Exchange
from proxy.execution.following import Following
from proxy.execution.reading import Reading
from proxy.execution.record import Record
from proxy.money.rate_limits import Quota
from proxy.observed import Climbed, Reused, Voted
from proxy.pressure import Pressure
from proxy.providers.limit_headers import PREFIXES as LIMIT_PREFIXES
from proxy.relay import Headers
from proxy.types import Period

NANOS = 1_000_000_000


def of_reply(
    record: Record, exchange: Exchange | Following | Recalled, reading: Reading | Following | Recalled, now: float
) -> Headers:
    call = record.call
    headers: Headers = [("Content-Type", reading.content_type), *_passed(record, reading.headers)]
    headers += _of_call(record, dict(reading.headers))
    overhead_s = now - call.arrived_at - record.waited_s(now)
    headers += [
        ("x-headgate-model", _latin(call.head.model)),
        ("x-headgate-target", _latin(exchange.target.id)),
        ("x-headgate-served-by", record.served_by),
        ("x-headgate-cache", _cache(record)),
        ("x-headgate-overhead-ms", f"{max(0.0, overhead_s) * 1000:.2f}"),
    ]
    plan = record.plan
    if plan is not None and plan.fallbacks and (fallback := fallback_of(plan, exchange.target)) is not None:
        headers.append(("x-headgate-fallback", f"{_latin(fallback[1])} {fallback[0]}"))
    if record.climbed:
        headers.append(("x-headgate-cascade", _climbed(record.climbed)))
    if record.voted is not None:
        headers.append(("x-headgate-quorum", _vote(record.voted)))
    if exchange.clamped_to is not None:
        headers.append(("x-headgate-output-clamped", str(exchange.clamped_to)))
    if record.held:
        headers.append(("x-headgate-held", record.held))
    if record.reused is not None:
        headers.append(("x-headgate-cache-age", str(int(record.reused.age_s))))
        if record.reused.key and record.reused.similarity is None:
            headers.append(("x-headgate-cache-key", record.reused.key))
        if record.reused.similarity is not None:
            headers += _similar(record.reused)
    if not record.open and (cost := record.cost_usd_nanos) is not None:
        headers.append(("x-headgate-cost-usd", usd(cost)))
    return headers


def _vote(voted: Voted) -> str:
    """`agreed 3/5 votes=3,1,1 asked=5`; of a debate also what it has changed about the vote over its first round."""
    votes = ",".join(map(str, voted.counts)) or "0"
    said = f"{voted.result} {voted.agreed}/{voted.size} votes={votes} asked={voted.asked}"
    if voted.missing:
        said = f"{said} missing={voted.missing}"
    if voted.changed is None:
        return said
    return f"{said} rounds={voted.rounds} first-vote={'other' if voted.changed else 'same'}"


def _similar(reused: Reused) -> Headers:
    """Of an answer to another question: which, how near, and the chance that it is wrong, at most."""
    return [
        ("x-headgate-cache-entry", reused.key),
        ("x-headgate-cache-similarity", f"{reused.similarity or 0.0:.4f}"),
        ("x-headgate-cache-bound", f"{1.0 if reused.bound is None else reused.bound:.4f}"),
    ]


def of_error(record: Record, error: ProxyError) -> Headers:
    call, names = record.call, dict(error.headers)
    headers: Headers = [("Content-Type", "application/json"), *_passed(record, _without_hints(error.headers))]
    headers += _of_call(record, names)
    headers.append(("x-headgate-error-source", error.source))
    if call.route:  # a model nobody configured is the caller's text, and stays in the message
        headers.append(("x-headgate-model", _latin(call.model)))
    if record.attempts:
        headers.append(("x-headgate-target", _latin(record.attempts[-1].target.id)))
    if error.retry_after_s is not None:
        headers += _retry_after(error.retry_after_s)
    if error.code == "rate_limit_exceeded":
        headers.append(("x-should-retry", "true"))
    elif not error.client_may_retry and "x-should-retry" not in names:
        headers.append(("x-should-retry", "false"))
    return headers


def of_best(record: Record, limit: str) -> Headers:
    """Of an earlier answer that is given because a limit of its run stands in the way."""
    kind = "text/event-stream" if record.call.head.stream else "application/json"
    return [
        ("Content-Type", kind),
        *_of_call(record, ()),
        ("x-headgate-model", _latin(record.call.model)),
        ("x-headgate-served-by", record.served_by),
        ("x-headgate-run-limit", limit),
    ]


def _without_hints(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Upstreams say when to come back in a dozen forms, and clients read two: the gate says it anew."""
    return tuple([header for header in headers if not header[0].startswith("retry-after")])


def _retry_after(seconds: float) -> Headers:
    """Rounded up: who comes back at that time is not told to wait again."""
    return [("retry-after", str(max(1, ceil(seconds)))), ("retry-after-ms", str(max(1, ceil(seconds * 1000))))]


def _passed(record: Record, headers: tuple[tuple[str, str], ...]) -> Headers:
    """An upstream's headers. What it says of its limits gives way to the gate's own limits, where it has some."""
    if record.quota is None:
        return list(headers)
    own = _rate_limits(record.quota)
    if not own:
        return list(headers)
    return [(name, value) for name, value in headers if not name.startswith(LIMIT_PREFIXES)] + own


def _rate_limits(quota: Quota) -> Headers:
    """In the names and forms of OpenAI; of the tightest limit of each kind."""
    headers: Headers = []
    if (requests := quota.standing("requests")) is not None:
        limit, remaining, reset_s = requests
        headers += [
            ("x-ratelimit-limit-requests", str(limit)),
            ("x-ratelimit-remaining-requests", str(remaining)),
            ("x-ratelimit-reset-requests", duration(reset_s)),
        ]
    if (tokens := quota.standing("tokens")) is not None:
        limit, remaining, reset_s = tokens
        headers += [
            ("x-ratelimit-limit-tokens", str(limit)),
            ("x-ratelimit-remaining-tokens", str(remaining)),
            ("x-ratelimit-reset-tokens", duration(reset_s)),
        ]
    return headers


def duration(seconds: float) -> str:
    """`20ms`, `1.5s`, `6m0s`: as OpenAI's API writes it."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def _of_call(record: Record, present: Container[str]) -> Headers:
    """`present`: the names that the upstream has used."""
    call, identity = record.call, record.call.identity
    headers: Headers = [] if "x-request-id" in present else [("x-request-id", call.id)]
    headers += [
        ("x-headgate-request-id", call.id),
        ("x-headgate-agent", _latin(identity.agent)),
        ("x-headgate-attempts", str(0 if record.served_by == "join" else len(record.attempts) + len(record.open))),
    ]
    pressure, plan = record.pressure, record.plan
    if plan is not None and plan.degraded:
        headers.append(("x-headgate-degraded", ", ".join(plan.degraded)))
    if plan is not None and plan.arm is not None:
        headers.append(("x-headgate-experiment", f"{_latin(plan.arm.experiment)} {plan.arm.name}"))
    if pressure is not None and pressure.felt >= NOTICED and pressure.period is not None and pressure.taken >= NOTICED:
        headers.append(("x-headgate-budget-used", _used(pressure, pressure.period)))
    if record.loop is not None:
        headers.append(("x-headgate-loop", f"{record.loop.action} {record.loop.kind} {record.loop.repeats}"))
    if identity.run is not None:
        headers += [("x-headgate-run", _latin(identity.run)), ("x-headgate-run-source", identity.run_source)]
    return headers


def _used(pressure: Pressure, period: Period) -> str:
    """`0.83 agent:planner usd/day`."""
    return f"{pressure.taken / 1_000:.2f} {_latin(period.account)} {period.unit}/{period.per}"


def usd(nanos: int) -> str:
    """Nano-dollars as exact decimal text, with at least six digits behind the point."""
    whole, rest = divmod(nanos, NANOS)
    return f"{whole}.{f'{rest:09d}'.rstrip('0').ljust(6, '0')}"


def _cache(record: Record) -> str:
    if record.reused is not None:
        return "hit" if record.reused.cache == "exact" else record.reused.cache
    if record.served_by == "join":
        return "join"
    if record.wanted is None and "miss" not in [each.result for each in record.looked_up]:
        return "off"
    return "miss"


@lru_cache(maxsize=1_024)
def _latin(name: str) -> str:
    """Names come from clients and operators and may hold any character; a header may not."""
    if name.isascii() and name.isprintable():
        return name
    return ascii(name)[1:-1]


def _climbed(climbed: tuple[Climbed, ...]) -> str:
    """`qwen escalate valid_tools, gpt-5.5 accept last`, the rungs in the order in which they were tried."""
    text = ", ".join([f"{_latin(rung.model)} {rung.decision} {rung.why}" for rung in climbed])
    return text if any(rung.decision == "accept" for rung in climbed) else f"{text}; unverified"
