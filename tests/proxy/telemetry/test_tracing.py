"""A collector gets the calls somebody will ask about; a dead one costs spans and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec import json, structs
from multidict import CIMultiDict

from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.providers.base import UpstreamRequest, unnoticed
from proxy.telemetry.tracing import PAUSE_MAX_S, WAITING_MAX, Collector, Slowness, Tracing
from proxy.types import Outcome
from tests.proxy.telemetry.test_spans import CALL, attempt, outcome

LATE = "f" * 32  # a trace that no share below 1 draws
FIRST = "0" * 31 + "1"


class Reply:
    headers = CIMultiDict[str]()
    unread = 0

    def __init__(self, status: int) -> None:
        self.status = status

    async def read(self) -> bytes:
        return b""

    def close(self) -> None: ...


class Backend:
    """`statuses` in order, the last one for ever; 0: nobody is there."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[UpstreamRequest] = []

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> Reply:
        self.requests.append(request)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if not status:
            raise ProxyError("upstream_unreachable", "refused", sent=False)
        return Reply(status)

    async def close(self) -> None: ...


def tracing(backend: Backend, share: float = 0.0) -> Tracing:
    made = Tracing(SystemClock(seed=1, now=loop_time), backend, "1.2.3")
    made.collector = Collector("http://collector.invalid/v1/traces", (("Authorization", "Bearer t"),), share)
    return made


def ended(trace: str = LATE, **changes: object) -> Outcome:
    return outcome(attempt(1), call=structs.replace(CALL, trace_id=trace), **changes)


def received(backend: Backend) -> int:
    bodies = [json.decode(request.body) for request in backend.requests]
    return sum(len(body["resourceSpans"][0]["scopeSpans"][0]["spans"]) for body in bodies)


@pytest.mark.parametrize(
    ("which", "kept"),
    [
        (ended(), False),
        (ended(FIRST), True),
        (ended(status=502, error_code="upstream_error"), True),
        (ended(served_by="hedge"), True),
        (structs.replace(ended(), attempts=(attempt(1, error_code="upstream_error"), attempt(2, role="retry"))), True),
    ],
    ids=["nothing speaks for it", "drawn", "failed", "hedged", "retried"],
)
async def test_which_are_kept(which: Outcome, kept: bool) -> None:
    backend = Backend(200)
    made = tracing(backend, share=0.05)
    made.observe(which)
    await made.flush()
    assert bool(backend.requests) == kept


async def test_it_is_sent_as_otlp_with_the_credential() -> None:
    backend = Backend(200)
    made = tracing(backend, share=1.0)
    made.observe(ended())
    assert await made.flush()
    [request] = backend.requests
    assert request.url == "http://collector.invalid/v1/traces"
    assert request.headers["Authorization"] == "Bearer t"
    body = json.decode(request.body)
    service = body["resourceSpans"][0]["resource"]["attributes"][0]
    assert service == {"key": "service.name", "value": {"stringValue": "headgate"}}
    assert (received(backend), made.sent, made.dropped) == (2, 2, 0)
    assert "Bearer" not in repr(made)


async def test_without_a_collector_nothing_is_kept() -> None:
    backend = Backend(200)
    made = tracing(backend, share=1.0)
    made.collector = None
    made.observe(ended())
    await made.flush()
    assert not backend.requests


async def test_a_collector_that_comes_back_gets_what_waited() -> None:
    backend = Backend(0, 503, 200)
    made = tracing(backend, share=1.0)
    for _ in range(3):
        made.observe(ended())
    keeping = asyncio.ensure_future(made.keep())  # noqa: TID251
    await asyncio.sleep(20)
    assert (made.sent, made.dropped) == (6, 0)
    keeping.cancel()


async def test_a_dead_collector_costs_no_more_than_a_bounded_queue() -> None:
    backend = Backend(0)
    made = tracing(backend, share=1.0)
    for _ in range(5_000):
        made.observe(ended())
    keeping = asyncio.ensure_future(made.keep())  # noqa: TID251
    await asyncio.sleep(600)
    assert len(made._waiting) <= WAITING_MAX
    assert made.dropped == 10_000 - WAITING_MAX
    assert len(backend.requests) < 600 / PAUSE_MAX_S + 10, "it is not asked all the time"
    keeping.cancel()


async def test_what_a_collector_will_never_take_is_counted_and_gone() -> None:
    backend = Backend(400)
    made = tracing(backend, share=1.0)
    made.observe(ended())
    assert await made.flush()
    assert (made.sent, made.dropped, len(made._waiting)) == (0, 2, 0)


def test_the_slowest_hundredth_is_slow() -> None:
    slowness = Slowness()
    assert not any(slowness.is_slow("m", 1.0 + number / 1000) for number in range(100))
    assert slowness.is_slow("m", 2.0)
    assert not slowness.is_slow("m", 1.05)
    assert not slowness.is_slow("another", 50.0), "nothing is known of it yet"


class Words:
    """Those of the calls whose words may be told; `told` is asked for by a test, as late as it likes."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids
        self.waiting: list[Callable[[dict[str, str]], None]] = []

    def tell(self, id: str, then: Callable[[dict[str, str]], None]) -> bool:
        if id in self.ids:
            self.waiting.append(then)
        return id in self.ids


def with_words(backend: Backend, words: Words, *, on: bool) -> Tracing:
    made = Tracing(SystemClock(seed=1, now=loop_time), backend, "1.2.3", words.tell)
    made.collector = Collector("http://collector.invalid/v1/traces", share=1.0, words=on)
    return made


async def test_words_are_on_the_span_of_the_call_where_they_may_be() -> None:
    backend, words = Backend(200), Words(CALL.id)
    made = with_words(backend, words, on=True)
    made.observe(ended())
    await made.flush()
    assert received(backend) == 0, "a span waits for its words"
    words.waiting[0]({"gen_ai.input.messages": "[]"})
    await made.flush()
    assert received(backend) == 2
    assert backend.requests[0].body.count(b"gen_ai.input.messages") == 1


@pytest.mark.parametrize(("ids", "on"), [((), True), ((CALL.id,), False)])
async def test_other_spans_do_not_wait_and_have_none(ids: tuple[str, ...], on: bool) -> None:
    backend, words = Backend(200), Words(*ids)
    made = with_words(backend, words, on=on)
    made.observe(ended())
    await made.flush()
    assert received(backend) == 2 and not words.waiting
