"""What the gate says of a call in the headers of its reply: all begin with `x-headgate-`, but for the request id.

An upstream's own `x-request-id` keeps its name; `x-headgate-request-id` is always ours, and both find the call again.
"""

from __future__ import annotations

from proxy.errors import ProxyError
from proxy.execution.attempt import Exchange
from proxy.execution.reading import Reading
from proxy.execution.record import Record
from proxy.relay import Headers

NANOS = 1_000_000_000


def of_reply(record: Record, exchange: Exchange, reading: Reading, now: float) -> Headers:
    call = record.call
    headers: Headers = [("Content-Type", reading.content_type), *reading.headers]
    headers += _of_call(record, {name for name, _ in reading.headers})
    overhead_s = now - call.arrived_at - record.upstream_s - (exchange.age_s(now) if record.open else 0.0)
    headers += [
        ("x-headgate-model", _latin(call.model)),
        ("x-headgate-target", _latin(exchange.target.id)),
        ("x-headgate-served-by", record.served_by),
        ("x-headgate-overhead-ms", f"{max(0.0, overhead_s) * 1000:.2f}"),
    ]
    if exchange.clamped_to is not None:
        headers.append(("x-headgate-output-clamped", str(exchange.clamped_to)))
    if not record.open and (cost := _cost(record)) is not None:
        headers.append(("x-headgate-cost-usd", usd(cost)))
    return headers


def of_error(record: Record, error: ProxyError) -> Headers:
    call, names = record.call, {name for name, _ in error.headers}
    headers: Headers = [("Content-Type", "application/json"), *error.headers]
    headers += _of_call(record, names)
    headers.append(("x-headgate-error-source", error.source))
    if call.route:  # a model nobody configured is the caller's text, and stays in the message
        headers.append(("x-headgate-model", _latin(call.model)))
    if record.attempts:
        headers.append(("x-headgate-target", _latin(record.attempts[-1].target.id)))
    if error.retry_after_s is not None and not names & {"retry-after", "retry-after-ms"}:
        headers.append(("retry-after", f"{max(1, round(error.retry_after_s))}"))
    if not error.client_may_retry and "x-should-retry" not in names:
        headers.append(("x-should-retry", "false"))
    return headers


def _of_call(record: Record, present: set[str]) -> Headers:
    call, identity = record.call, record.call.identity
    headers: Headers = [] if "x-request-id" in present else [("x-request-id", call.id)]
    headers += [
        ("x-headgate-request-id", call.id),
        ("x-headgate-agent", _latin(identity.agent)),
        ("x-headgate-attempts", str(len(record.attempts) + len(record.open))),
    ]
    if identity.run is not None:
        headers += [("x-headgate-run", _latin(identity.run)), ("x-headgate-run-source", identity.run_source)]
    return headers


def usd(nanos: int) -> str:
    """Nano-dollars as exact decimal text, with at least six digits behind the point."""
    whole, rest = divmod(nanos, NANOS)
    return f"{whole}.{f'{rest:09d}'.rstrip('0').ljust(6, '0')}"


def _latin(name: str) -> str:
    """Names come from clients and operators and may hold any character; a header may not."""
    if name.isascii() and name.isprintable():
        return name
    return ascii(name)[1:-1]


def _cost(record: Record) -> int | None:
    """Of all attempts so far; None as soon as one of them has no price."""
    total = 0
    for attempt in record.attempts:
        if attempt.cost_usd_nanos is None:
            return None
        total += attempt.cost_usd_nanos
    return total
