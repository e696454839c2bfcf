"""Which line is next: each once, those that wait when they may, none while the batch is held back."""

from __future__ import annotations

from proxy.batches.job import HELD_MAX_S, Job
from proxy.batches.lines import Later
from proxy.batches.objects import Batch
from proxy.batches.scanning import Scan
from tests.proxy.batches.stage import CHAT, lines
from tests.proxy.batches.test_objects import batch


def job(count: int = 3, done: tuple[int, ...] = ()) -> Job:
    scan = Scan(CHAT, 100)
    scan.feed(lines(count).encode())
    scan.close()
    made: Batch = batch()
    return Job(made, scan, done)


def test_each_line_is_handed_out_once_and_those_that_are_done_never() -> None:
    going = job(4, done=(1, 3, 99))
    assert [going.take(0.0) for _ in range(3)] == [0, 2, None]
    assert going.flying == {0, 2}
    assert not going.done
    going.said(0)
    going.said(2)
    assert going.done
    assert going.flying == set()


def test_a_line_that_was_tried_comes_again_when_it_may_and_counts_its_tries() -> None:
    going = job(2)
    assert going.take(0.0) == 0
    going.later(0, Later(5.0, waits=False), 0.0)
    assert going.tries(0) == 1
    assert [going.take(1.0), going.take(1.0), going.take(5.0)] == [1, None, 0]
    going.said(0)
    assert (going.tries(0), going.done) == (0, False)


def test_a_refusal_that_all_would_get_holds_all_back_longer_each_time_until_one_gets_through() -> None:
    going, now, waits = job(50), 0.0, []
    for _ in range(8):
        number = going.take(now)
        assert number is not None
        going.later(number, Later(2.0, waits=True), now)
        waited = next(step for step in range(1, 200) if going._held_until <= now + step)
        waits.append(waited)
        assert going.take(now + waited - 0.5) is None
        now += waited
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    assert waits[-1] == HELD_MAX_S
    assert going.tries(0) == 0  # to wait is no try
    number = going.take(now)
    assert number is not None
    going.said(number)
    number = going.take(now)
    assert number is not None
    going.later(number, Later(2.0, waits=True), now)
    assert going._held_until == now + 2


def test_lines_that_were_refused_together_count_once() -> None:
    going = job(50)
    for number in [going.take(0.0), going.take(0.0), going.take(0.0)]:
        assert number is not None
        going.later(number, Later(2.0, waits=True), 0.1)
    assert going._held_until == 2.1


def test_a_cancelled_batch_asks_for_nothing_more() -> None:
    going = job(2)
    going.cancelled = True
    assert going.take(0.0) is None
    assert not going.done


def test_lines_that_are_refused_again_and_again_do_not_stand_before_those_that_were_never_asked() -> None:
    """Such as those of a model that is out, in a batch that asks two."""
    going, now = job(4), 0.0
    for number in range(4):
        assert going.take(now) == number
        going.later(number, Later(2.0, waits=True), now)
        now = going._held_until
    assert going.take(now) == 0
