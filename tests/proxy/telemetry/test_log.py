from __future__ import annotations

import asyncio
import io
import logging
import sys
from threading import Event
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from proxy.providers.base import UpstreamRequest
from proxy.telemetry.log import BATCH_MAX, RECORDS_MAX, Calls, LibraryHandler, RequestLog
from proxy.types import Usage
from tests.proxy.telemetry.samples import ATTEMPT, CALL, IDENTITY, OUTCOME, REFUSED

CANARY = "sk-canary-9f8e7d"
UNTELLABLE = replace(OUTCOME, attempts=(replace(ATTEMPT, usage=Usage(output=10**5000)),))


def wall() -> float:
    return 1_790_000_000.0


class Gate(io.BytesIO):
    """A reader that stands still until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.go_on = Event(), Event()

    def write(self, data: Any) -> int:
        self.writing.set()
        assert self.go_on.wait(10)
        return super().write(data)


def lines(stream: io.BytesIO) -> list[Any]:
    return [msgspec.json.decode(line) for line in stream.getvalue().split(b"\n") if line]


def stalled() -> tuple[RequestLog, Gate]:
    """A log whose writer is stuck with one line in hand."""
    stream = Gate()
    log = RequestLog(stream, wall)
    log.event("first", "info", {})
    assert stream.writing.wait(10)
    return log, stream


def test_every_call_and_every_event_is_one_line_in_order() -> None:
    stream = io.BytesIO()
    log = RequestLog(stream, wall)
    for n in range(2 * BATCH_MAX):
        log.observe(replace(OUTCOME, bytes_out=n))
    log.event("reloaded", "info", {"version": "abc", "models": 3})
    log.close()
    *calls, event = lines(stream)
    assert [call["bytes_out"] for call in calls] == list(range(2 * BATCH_MAX))
    assert event == {
        "time": "2026-09-21T14:13:20.000Z",
        "level": "info",
        "event": "reloaded",
        "version": "abc",
        "models": 3,
    }
    assert log.dropped == 0 and stream.getvalue().endswith(b"}\n")


STALLED = replace(OUTCOME, status=504, error_code="upstream_stalled", error_source="upstream")
DEFECT = replace(REFUSED, status=500, error_code="internal", error_source="proxy")
LEFT = replace(STALLED, status=499, client_gone=True)
MISTAKE = replace(REFUSED, status=401, error_code="invalid_api_key", error_source="client")


@pytest.mark.parametrize(
    ("calls", "told"), [("all", [200, 504, 500, 499, 401, 429]), ("failures", [504, 500]), ("off", [])]
)
def test_only_the_calls_that_are_wanted_get_a_line_and_events_always_do(calls: Calls, told: list[int]) -> None:
    stream = io.BytesIO()
    log = RequestLog(stream, wall)
    log.calls = calls
    for outcome in (OUTCOME, STALLED, DEFECT, LEFT, MISTAKE, REFUSED):
        log.observe(outcome)
    log.event("reloaded", "info", {})
    log.close()
    *lines_of_calls, event = lines(stream)
    assert [line["status"] for line in lines_of_calls] == told
    assert event["event"] == "reloaded" and log.dropped == 0


@pytest.mark.parametrize("calls", ["failures", "off"])
def test_a_line_that_is_not_wanted_is_not_made(calls: Calls) -> None:
    log = RequestLog(io.BytesIO(), wall)
    log.calls = calls
    log.observe(UNTELLABLE)
    assert log.dropped == 0
    log.calls = "all"
    log.observe(UNTELLABLE)
    assert log.dropped == 1
    log.close()


def test_a_terminal_gets_words() -> None:
    stream = io.BytesIO()
    log = RequestLog(stream, wall, terminal=True)
    log.observe(OUTCOME)
    log.event("reloaded", "warning", {"version": "a\nb"})
    log.close()
    call, event = stream.getvalue().decode().splitlines()
    assert call.startswith("14:13:20 200 planner/run-1 smart -> p1/fast")
    assert event == "14:13:20 warning reloaded version=a\\u000ab"


def test_a_reader_that_stands_still_costs_lines_but_holds_up_nobody() -> None:
    log, stream = stalled()
    for _ in range(RECORDS_MAX + 5):
        log.observe(OUTCOME)
    assert log.dropped == 5
    stream.go_on.set()
    log.close()
    assert len(lines(stream)) == 1 + RECORDS_MAX


def test_a_line_that_waits_keeps_nothing_of_its_call() -> None:
    log, stream = stalled()
    body = bytes(1_000_000)
    held = sys.getrefcount(body)
    log.observe(replace(OUTCOME, call=replace(CALL, raw=body)))
    assert sys.getrefcount(body) == held
    stream.go_on.set()
    log.close()
    assert [line.get("bytes_in") for line in lines(stream)] == [None, len(body)]


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left"), ValueError("closed file")])
def test_a_stream_that_fails_is_counted_and_the_log_goes_on(error: Exception) -> None:
    class Failing(io.BytesIO):
        failed = Event()

        def write(self, data: Any) -> int:
            if self.failed.is_set():
                return super().write(data)
            self.failed.set()
            raise error

    stream = Failing()
    log = RequestLog(stream, wall)
    log.observe(OUTCOME)
    assert stream.failed.wait(10)
    log.observe(OUTCOME)
    log.close()
    assert log.dropped == 1 and len(lines(stream)) == 1


def test_a_stream_that_takes_little_at_a_time_gets_everything() -> None:
    class Narrow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data[:7]))

    stream = Narrow()
    log = RequestLog(stream, wall)
    log.observe(OUTCOME)
    log.close()
    assert len(lines(stream)) == 1 and log.dropped == 0


def test_a_pipe_that_is_full_and_does_not_block_drops_instead_of_spinning() -> None:
    class Full(io.RawIOBase):
        def write(self, data: Any) -> None:
            return None

    log = RequestLog(Full(), wall)
    log.observe(OUTCOME)
    log.close()
    assert log.dropped == 1


def test_a_record_that_has_no_line_is_dropped_alone() -> None:
    stream = io.BytesIO()
    log = RequestLog(stream, wall)
    log.observe(UNTELLABLE)
    log.observe(OUTCOME)
    log.close()
    (line,) = lines(stream)
    assert line["tokens"]["output"] == 81 and log.dropped == 1


def test_nothing_is_taken_after_the_close() -> None:
    stream = io.BytesIO()
    log = RequestLog(stream, wall)
    log.close()
    log.observe(OUTCOME)
    assert log.dropped == 1 and not stream.getvalue()


# --- content is off --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [False, True])
def test_no_prompt_key_or_header_reaches_a_line(terminal: bool) -> None:
    stream = io.BytesIO()
    log = RequestLog(stream, wall, terminal=terminal)
    fields = {"messages": msgspec.Raw(f'[{{"content":"{CANARY}"}}]'.encode())}
    call = replace(
        CALL,
        raw=f'{{"model":"smart","messages":[{{"content":"{CANARY}"}}]}}'.encode(),
        head=replace(CALL.head, fields=fields, content_type=CANARY),
        identity=replace(IDENTITY, tags=(("team", "blue"),)),
    )
    log.observe(replace(OUTCOME, call=call))
    log.close()
    assert b"smart" in stream.getvalue() and CANARY.encode() not in stream.getvalue()


def test_a_value_that_hides_itself_stays_hidden() -> None:
    stream = io.BytesIO()
    log = RequestLog(stream, wall)
    request = UpstreamRequest(method="POST", url="http://upstream", headers={"Authorization": CANARY}, body=b"")
    log.event("sent", "info", {"request": request})  # type: ignore[dict-item]  # the mistake in question
    log.close()
    (line,) = lines(stream)
    assert line["request"] == "UpstreamRequest(POST http://upstream, 0 bytes)"


def library(stream: io.BytesIO) -> tuple[RequestLog, logging.Logger]:
    log = RequestLog(stream, wall)
    logger = logging.Logger("asyncio")
    logger.addHandler(LibraryHandler(log))
    return log, logger


def parse(secret: str) -> None:
    raise ValueError(f"cannot read {secret}")


def test_a_library_s_exception_shows_its_type_and_places_only() -> None:
    stream = io.BytesIO()
    log, logger = library(stream)
    try:
        parse(CANARY)
    except ValueError:
        logger.exception("Error handling request from %s", CANARY)
    log.close()
    (line,) = lines(stream)
    assert (line["level"], line["event"], line["logger"]) == ("error", "library", "asyncio")
    assert (line["what"], line["error"]) == ("Error handling request from", "ValueError")
    assert line["at"].startswith("telemetry/test_log.py:") and line["at"].endswith(" parse")
    assert CANARY.encode() not in stream.getvalue()


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (f"Task exception was never retrieved\nfuture: <Task {CANARY}>", "Task exception was never retrieved"),
        (f"Exception in callback Relay.pump('{CANARY}')", "Exception in callback Relay.pump"),
        (f"Bad status line {CANARY!r}", "Bad status line"),
        (f"Cannot write to closing transport: {CANARY}", "Cannot write to closing transport"),
        (ValueError(CANARY), "ValueError"),
        ("x" * 500, "x" * 80),
    ],
)
def test_a_library_s_message_is_cut_before_its_first_value(message: object, what: str) -> None:
    stream = io.BytesIO()
    log, logger = library(stream)
    logger.warning(message)
    logger.info(CANARY)
    log.close()
    (line,) = lines(stream)
    assert line["what"] == what and line["level"] == "warning" and CANARY.encode() not in stream.getvalue()


async def test_what_asyncio_says_of_a_lost_task_keeps_the_secret() -> None:
    stream = io.BytesIO()
    log = RequestLog(stream, wall)
    handler = LibraryHandler(log)
    logging.getLogger("asyncio").addHandler(handler)
    try:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        future.set_exception(ValueError(CANARY))
        del future
        loop.call_soon(parse, CANARY)
        await asyncio.sleep(1)
    finally:
        logging.getLogger("asyncio").removeHandler(handler)
    log.close()
    assert [line["what"] for line in lines(stream)] == [
        "Future exception was never retrieved",
        "Exception in callback parse",
    ]
    assert CANARY.encode() not in stream.getvalue()
