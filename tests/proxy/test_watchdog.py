"""What the watchdog of a process does in each tick. Processes that hang for real: `tests/workers/test_stuck.py`."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from proxy.telemetry.log import Field
from proxy.watchdog import BLOCKED_TICKS, END_TICKS, Watchdog


class Seen:
    def __init__(self) -> None:
        self.blocked = 0
        self.ended = 0
        self.events: list[tuple[str, Mapping[str, Field]]] = []
        self.dog = Watchdog(self._tell, self._count, self._end)

    def _tell(self, name: str, level: str, fields: Mapping[str, Field]) -> None:
        self.events.append((name, fields))

    def _count(self) -> None:
        self.blocked += 1

    def _end(self) -> None:
        self.ended += 1

    def ticks(self, count: int) -> None:
        for _ in range(count):
            self.dog.tick()


async def test_a_loop_that_stands_still_is_counted_and_told_of_once() -> None:
    seen = Seen()
    seen.ticks(BLOCKED_TICKS - 1)
    assert not seen.events
    seen.ticks(10)
    assert seen.blocked == 1
    assert {name for name, _ in seen.events} == {"event loop blocked"}


async def test_the_first_event_says_where_the_loop_stands_innermost_last() -> None:
    seen = Seen()
    seen.ticks(BLOCKED_TICKS)
    fields = seen.events[0][1]
    assert fields["seconds"] == 2.0
    assert fields["thread"] == threading.current_thread().name
    at = str(fields["at"]).split(" > ")
    assert at[-1].startswith("proxy/watchdog.py:")
    assert any(place.startswith("proxy/test_watchdog.py:") and place.endswith(" ticks") for place in at)


async def test_the_other_threads_are_told_of_too() -> None:
    seen, held, released = Seen(), threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        released.wait()

    other = threading.Thread(target=hold, name="holder")
    other.start()
    held.wait()
    seen.ticks(BLOCKED_TICKS)
    released.set()
    other.join()
    (place,) = [fields["at"] for _, fields in seen.events if fields["thread"] == "holder"]
    assert seen.events[0][1]["thread"] == threading.current_thread().name, "the loop's own comes first"
    assert "test_watchdog.py" in str(place)
    assert "hold" in str(place)


async def test_after_thirty_seconds_the_process_is_ended_and_the_log_was_told_before() -> None:
    seen = Seen()
    seen.ticks(END_TICKS - 1)
    assert seen.ended == 0
    assert seen.events[-1][0] == "ended by the watchdog"
    assert seen.events[-1][1]["seconds"] == 29.5
    seen.ticks(1)
    assert seen.ended == 1


async def test_a_loop_that_runs_sets_the_count_back() -> None:
    seen = Seen()
    seen.dog.start()
    seen.dog.close()
    seen.ticks(BLOCKED_TICKS - 1)
    again = Seen()
    again.ticks(BLOCKED_TICKS - 1)
    again.dog.start()  # beats at once
    again.dog.close()
    again.ticks(BLOCKED_TICKS - 1)
    assert not again.events
