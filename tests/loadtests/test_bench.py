"""The benchmark's arithmetic and its checkers: one that cannot see a wrong reply would praise a broken gate."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench import body, load, streams
from loadtests.bench.figures import median, percentile, ratios, slope
from loadtests.bench.growth import Growth
from loadtests.bench.metering import total
from loadtests.bench.processes import cpu_ticks, json_lines, resident_kb
from loadtests.bench.report import Row, added, against_hop, as_json, budget_rows, cpu_rows, render, telemetry_rows
from loadtests.bench.request_cost import Faults
from loadtests.bench.sections import Results
from loadtests.bench.wire import Reply, Request
from loadtests.upstream.canned import framed
from loadtests.upstream.forms import DELTA, EVENT, STREAM_HEAD

WRK_OUTPUT = b"""Running 1s test @ http://127.0.0.1:9700
  4 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   173.74us  297.07us   4.49ms   96.98%
  29481 requests in 1.10s, 23.03MB read
Requests/sec:  26815.00
{"requests": 29481, "duration_us": 1099422, "wrong": 2, "broken": 1, "sample": "502 instead of number 000300000017"}
"""
PLAN = streams.Plan(streams=1, interval_s=0.1, ramp_s=0.0, settle_s=0.0, window_s=0.0, late_us=100_000)  # 5 chunks


class Wire(asyncio.Transport):
    """What a protocol under test writes to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        pass


# --- figures


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 3.0, 5.0, 5.0]
    assert percentile([], 0.5) == 0.0


def test_the_median_of_nothing_is_zero() -> None:
    assert median([]) == 0.0
    assert median([3.0, 1.0, 2.0]) == 2.0


def test_a_ratio_belongs_to_its_round_and_skips_an_empty_yardstick() -> None:
    assert ratios([150.0, 600.0, 1.0], [100.0, 400.0, 0.0]) == [1.5, 1.5]


def test_a_slope_is_growth_for_each_unit() -> None:
    assert slope([(0, 10.0), (100, 11.0), (200, 12.0)]) == pytest.approx(0.01)
    assert slope([(7, 1.0), (7, 2.0)]) == 0.0


def test_growth_leaves_the_warm_up_out() -> None:
    grown = Growth(((10_000, 40.0), (20_000, 60.0), (110_000, 60.5), (200_000, 61.0)))
    assert grown.mb_per_100k() == pytest.approx(1.0 / 1.8)


# --- what the kernel and wrk say


def test_cpu_ticks_survive_any_command_name() -> None:
    assert cpu_ticks("42 (a ) b (c) R 1 42 42 0 -1 4194560 100 0 0 0 730 270 5 6 20 0 1 0 99 0") == 1000


def test_resident_memory_is_vm_rss_and_zero_for_a_dead_process() -> None:
    assert resident_kb("Name:\tx\nVmHWM:\t  99 kB\nVmRSS:\t   46512 kB\n") == 46512
    assert resident_kb("Name:\tx\nState:\tZ (zombie)\n") == 0


def test_of_wrk_only_the_line_of_the_script_counts_and_its_faults_are_kept() -> None:
    [row] = json_lines(WRK_OUTPUT.splitlines(keepends=True))
    faults = Faults()
    faults.add("headgate", row)
    assert (faults.checked, faults.wrong) == (29481, 3)
    assert faults.sample == "headgate: 502 instead of number 000300000017"


def test_a_call_that_was_answered_and_not_metered_is_a_fault() -> None:
    faults = Faults()
    faults.add("headgate", {"requests": 10, "wrong": 0, "broken": 0, "sample": ""})
    faults.add_streams("headgate", 5, chunks=500, bad=0, sample="")
    faults.compare("headgate", 16)  # one more that the client broke off
    assert faults.wrong == 0
    faults.compare("headgate", 14)
    assert faults.wrong == 1
    assert "15 calls were answered, 14 metered" in faults.sample


def test_a_metric_is_the_sum_over_its_series() -> None:
    text = 'a_total{x="1"} 2.0\na_total{x="2"} 3.5\na_total_created{x="1"} 99.0\n# a_total 7\nb_total 4\n'
    assert (total(text, "a_total"), total(text, "b_total"), total(text, "c_total")) == (5.5, 4.0, 0.0)


# --- requests and replies


@pytest.mark.parametrize("size", [body.SMALL_BYTES, body.LARGE_BYTES])
def test_a_body_is_json_of_about_its_size(size: int) -> None:
    sent = body.chat(size)
    assert 0.9 * size < len(sent) <= size
    assert json.loads(sent)["user"] == "@NUMBER@"
    assert sent.count(b"@NUMBER@") == 1


def test_a_request_has_the_length_that_it_announces() -> None:
    head, _, sent = Request(body.chat(500), "key").numbered(17).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(sent)}".encode() in head.split(b"\r\n")
    assert json.loads(sent)["user"] == "000000000017"


@given(st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_a_reply_reads_the_same_however_it_is_cut(cuts: list[int], chunked: bool) -> None:
    text = b'data: {"a":1}\n\n' * 5
    if chunked:
        whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed(text[:40]) + framed(text[40:])
        whole += b"0\r\n\r\n"
    else:
        whole = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(text) + text
    reply = Reply()
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    parts = [reply.feed(whole[start:end]) for start, end in itertools.pairwise(places)]
    assert b"".join(parts) == text
    assert reply.done
    assert reply.status == 200


def test_a_reply_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match="without a length"):
        Reply().feed(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")


def reply_to(number: int) -> bytes:
    sent = b'{"id":"chatcmpl-%012d"}' % number
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(sent), sent)


@pytest.mark.parametrize(
    ("reply", "wrong"),
    [
        (reply_to(1), 0),
        (reply_to(2), 1),  # somebody else's
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 1),  # empty
        (reply_to(1).replace(b"200 OK", b"500 Oh"), 1),
        (reply_to(1) + reply_to(1), 1),  # one too many
    ],
)
async def test_the_load_client_sees_wrong_replies(reply: bytes, wrong: int) -> None:
    sender = load.Load(Request(body.chat(500), "key"), left=1, progress=0)
    connection = load.Connection(sender)
    connection.connection_made(Wire())
    await asyncio.gather(sender.closed([connection], 1.0), _later(lambda: _feed(connection, reply)))
    assert sender.tally.requests == 1
    assert sender.tally.wrong == wrong


async def test_the_load_client_counts_a_connection_that_ends_with_a_reply_due() -> None:
    sender = load.Load(Request(body.chat(500), "key"), left=1, progress=0)
    connection = load.Connection(sender)
    connection.connection_made(Wire())
    await asyncio.gather(sender.closed([connection], 1.0), _later(lambda: connection.connection_lost(None)))
    assert (sender.tally.requests, sender.tally.broken) == (0, 1)


async def _later(act: Callable[[], None]) -> None:
    await asyncio.sleep(0)
    act()


def _feed(connection: load.Connection, reply: bytes) -> None:
    half = len(reply) // 2
    for part in (reply[:half], reply[half:]):
        connection.data_received(part)


# --- streams


def chunk(number: int, place: int, sent_at_us: int) -> bytes:
    name = b"%012d" % number
    return framed(EVENT % (name, DELTA % (name, place, sent_at_us), b""))


async def stream_of(places: list[tuple[int, int]], ending: bytes, age_us: int = 0) -> streams.Tally:
    """A stream with the number 7 is fed chunks of (number, place)."""
    tally = streams.Tally(running=1)
    stream = streams.Stream(Request(body.chat_stream(500), "key"), 7, plan=PLAN, tally=tally)
    stream.connection_made(Wire())
    stream.begin()
    stream.data_received(STREAM_HEAD % b"7")
    sent_at_us = streams.now_us() - age_us
    for number, place in places:
        stream.data_received(chunk(number, place, sent_at_us))
    stream.data_received(ending)
    stream.connection_lost(None)
    return tally


DONE = framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
WHOLE = [(7, place) for place in range(5)]


async def test_a_whole_stream_loses_nothing() -> None:
    tally = await stream_of(WHOLE, DONE)
    assert (tally.chunks, tally.misplaced, tally.late, tally.ended) == (5, 0, 0, 1)
    assert tally.all_ended.is_set()


@pytest.mark.parametrize(
    ("places", "ending"),
    [
        (WHOLE[:2] + WHOLE[3:], DONE),  # a gap
        (WHOLE[:4], DONE),  # the last one missing
        (WHOLE[:1] + WHOLE, DONE),  # doubled
        ([*WHOLE[:4], (8, 4)], DONE),  # another stream's
    ],
)
async def test_a_chunk_out_of_its_place_is_seen(places: list[tuple[int, int]], ending: bytes) -> None:
    tally = await stream_of(places, ending)
    assert tally.misplaced or tally.chunks < 5


@pytest.mark.parametrize("ending", [b"", b"0\r\n\r\n", framed(b"data: [DONE]\n\n")])
async def test_a_stream_without_its_end_has_not_ended(ending: bytes) -> None:
    tally = await stream_of(WHOLE, ending)
    assert tally.ended == 0
    assert tally.running == 0


async def test_a_chunk_is_late_by_its_age() -> None:
    assert (await stream_of(WHOLE, DONE, age_us=PLAN.late_us + 1)).late == 5


# --- the report


def test_the_ratio_is_the_median_over_the_rounds() -> None:
    assert against_hop({"hop": [100.0, 200.0, 100.0], "headgate": [150.0, 300.0, 190.0]}) == 1.5
    assert against_hop({"headgate": [1.0]}) is None


def test_the_gate_with_and_without_log_lines_is_judged_each_by_its_own_ratio() -> None:
    values = {"hop": [100.0, 200.0], "headgate": [170.0, 340.0], "unlogged": [155.0, 310.0]}
    both = cpu_rows(values, "1.5 KB")
    assert [(row.ratio, row.verdict) for row in both] == [(1.7, "<= 1.6 over"), (1.55, "<= 1.6 ok")]
    del values["unlogged"]
    assert [row.ratio for row in cpu_rows(values, "1.5 KB")] == [1.7]


def test_latency_added_is_a_difference_within_a_round() -> None:
    assert added({"direct": [100.0, 300.0, 100.0], "hop": [200.0, 390.0, 220.0]}) == {"hop": 100.0}


def test_everything_measured_can_be_written_as_json() -> None:
    results = Results(growth=Growth(((10, 1.0), (20, 1.0))), cpu_us={"small": {"hop": [1.0], "headgate": [1.5]}})
    results.per_s["small"] = {"hop": [1.0], "headgate": [1.5]}
    results.faults.add("headgate", {"requests": 3, "wrong": 0, "broken": 0, "sample": ""})
    written = json.loads(json.dumps(as_json(results, {"cpu": "x"})))
    assert written["measured"]["faults"]["calls"] == {"headgate": 3}
    assert written["rows"][0]["ratio"] == 1.5


def test_the_share_of_budgets_is_taken_round_by_round() -> None:
    (row,) = budget_rows({"headgate": [100.0, 200.0, 100.0], "budgets": [125.0, 250.0, 110.0]}, "1.5 KB")
    assert (round(row.cells["budgets"], 3), row.verdict) == (0.2, "<= 0.15 over")
    assert budget_rows({"headgate": [1.0]}, "1.5 KB") == []


def test_the_share_of_telemetry_is_that_of_the_least_rounds() -> None:
    (row,) = telemetry_rows({"headgate": [150.0, 100.0, 300.0], "silent": [70.0, 140.0, 90.0]}, "1.5 KB")
    assert (round(row.cells["headgate"], 3), row.verdict) == (0.3, "<= 0.2 over")
    assert telemetry_rows({"headgate": [1.0]}, "1.5 KB") == []


@pytest.mark.parametrize(("figure", "verdict"), [(1.6, "<= 1.6 ok"), (1.61, "<= 1.6 over")])
def test_a_target_is_met_or_not(figure: float, verdict: str) -> None:
    assert Row("CPU", {}, judged=figure, target=1.6).verdict == verdict


def test_the_table_has_a_column_for_each_system_that_was_measured() -> None:
    table = render([Row("a", {"hop": 1234.5}, 1), Row("b", {"headgate": 2.0}, ratio=1.51, judged=1.51, target=1.6)])
    assert table.splitlines() == [
        "    bare hop   headgate   x hop  target",
        "a    1,234.5          -",
        "b          -          2    1.51  <= 1.6 ok",
    ]
