"""The thread that writes for others: it takes everything, ends once, and is not there before it is needed."""

from __future__ import annotations

import threading
from collections import deque
from threading import Event

from proxy.gatherer import Gatherer

PATIENCE_S = 10.0


class Queue:
    """What `drain` found, time after time."""

    def __init__(self, gather_s: float = 0.0) -> None:
        self.waiting: deque[int] = deque()
        self.drained: list[list[int]] = []
        self.threads: set[int] = set()
        self.full = Event()
        self.ends = 0
        self.gatherer = Gatherer("queue", gather_s, drain=self._drain, end=self._end)

    def put(self, number: int) -> None:
        self.waiting.append(number)
        self.gatherer.wake()

    def _drain(self) -> None:
        self.threads.add(threading.get_ident())
        found = [self.waiting.popleft() for _ in range(len(self.waiting))]
        if found:
            self.drained.append(found)
            self.full.set()

    def _end(self) -> None:
        self.ends += 1


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_what_is_put_is_written_without_being_asked_again() -> None:
    queue = Queue()
    for number in range(3):
        queue.full.clear()
        queue.put(number)
        assert queue.full.wait(PATIENCE_S)
    assert queue.drained == [[0], [1], [2]]
    queue.gatherer.close()


def test_what_comes_while_it_gathers_is_written_at_once() -> None:
    queue = Queue(gather_s=PATIENCE_S)  # closing is what ends the gathering
    for number in range(100):
        queue.put(number)
    queue.gatherer.close()
    assert queue.drained == [list(range(100))]


def test_until_it_is_woken_there_is_no_thread_and_no_end() -> None:
    queue = Queue()
    assert "queue" not in names()
    queue.gatherer.close()
    assert queue.ends == 0


def test_closing_ends_once_after_the_last_write_in_the_same_thread() -> None:
    queue = Queue()
    queue.put(1)
    queue.gatherer.close()
    queue.gatherer.close()
    assert (queue.drained, queue.ends, len(queue.threads)) == ([[1]], 1, 1)
    assert "queue" not in names()


def test_who_is_late_starts_nothing() -> None:
    queue = Queue()
    queue.gatherer.close()
    queue.put(1)
    assert queue.gatherer.closed and "queue" not in names()


def test_many_that_wake_it_start_one_thread() -> None:
    queue = Queue(gather_s=PATIENCE_S)
    ready = threading.Barrier(8)

    def put(number: int) -> None:
        ready.wait(PATIENCE_S)
        queue.put(number)

    others = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for other in others:
        other.start()
    for other in others:
        other.join(PATIENCE_S)
    assert names().count("queue") == 1
    queue.gatherer.close()
    assert sorted(queue.drained[0]) == list(range(8)) and len(queue.drained) == 1


def test_nobody_waits_for_one_who_hangs_while_starting_it() -> None:
    queue = Queue()
    other = threading.Thread(target=queue.put, args=(1,))
    with queue.gatherer._starting:
        other.start()
        other.join(PATIENCE_S)
        assert not other.is_alive()
