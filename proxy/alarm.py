"""An instant by which a block of one task must have ended: what `asyncio.timeout_at` does, at a fraction of its price.

Every attempt sets one. It cancels the task when it rings, and turns that cancellation, and no other, into TimeoutError;
a client that leaves at the same instant still counts as having left. Nearly every block ends long before its instant:
with `Alarms` to share, those that are due in the same second cost one timer, and only what is still there when that
second comes near gets a timer of its own.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

NEAR_S = 1.0


class Alarms:
    """Those of one process that are far from ringing, by the second in which they are due."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: dict[int, tuple[dict[Alarm, None], asyncio.TimerHandle]] = {}

    def __repr__(self) -> str:
        return f"Alarms({sum(len(alarms) for alarms, _ in self._seconds.values())} far)"

    def __len__(self) -> int:
        """Seconds."""
        return len(self._seconds)

    def add(self, alarm: Alarm, second: int, loop: asyncio.AbstractEventLoop) -> None:
        there = self._seconds.get(second)
        if there is None:
            timer = loop.call_later(second - loop.time(), self._near, second)
            there = self._seconds[second] = {}, timer
        there[0][alarm] = None

    def discard(self, alarm: Alarm, second: int) -> None:
        there = self._seconds.get(second)
        if there is not None:
            there[0].pop(alarm, None)
            if not there[0]:
                there[1].cancel()
                del self._seconds[second]

    def _near(self, second: int) -> None:
        alarms, _ = self._seconds.pop(second)
        for alarm in alarms:
            alarm.arm()


class Alarm:
    """`with Alarm(at):` raises TimeoutError once the event loop's time has reached `at`. For one use."""

    __slots__ = ("_alarms", "_at", "_cancelled_before", "_loop", "_rang", "_task", "_timer")

    def __init__(self, at: float, alarms: Alarms | None = None) -> None:
        self._at = at
        self._alarms = alarms
        self._rang = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # whoever waits is a task
        self._task = task
        self._cancelled_before = task.cancelling()
        if self._alarms is None or self._at - loop.time() < NEAR_S:
            self.arm()
        else:
            self._alarms.add(self, int(self._at), loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        elif self._alarms is not None:
            self._alarms.discard(self, int(self._at))
        if not self._rang:
            return
        others = self._task.uncancel() > self._cancelled_before
        if kind is asyncio.CancelledError and not others:
            raise TimeoutError from error

    def arm(self) -> None:
        """From now on it has a timer of its own."""
        loop = self._loop
        self._timer = loop.call_later(self._at - loop.time(), self._ring)  # uvloop's `call_at` costs half as much again

    def _ring(self) -> None:
        self._rang = True
        self._task.cancel()
