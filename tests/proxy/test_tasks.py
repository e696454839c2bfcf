from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest

from proxy.clock import loop_time
from proxy.tasks import Tasks


class Reports:
    """What an owner is told of its tasks."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, BaseException]] = []

    def __call__(self, name: str, error: BaseException) -> None:
        self.seen.append((name, error))


class Log:
    """Work that says what became of it, and when."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, float]] = []
        self._began = loop_time()

    async def work(self, lasts_s: float, cleanup_s: float = 0.0) -> None:
        try:
            await asyncio.sleep(lasts_s)
            self.note("done")
        except asyncio.CancelledError:
            await asyncio.sleep(cleanup_s)
            self.note("cancelled")
            raise

    def note(self, what: str) -> None:
        self.ends.append((what, loop_time() - self._began))

    @property
    def elapsed_s(self) -> float:
        return loop_time() - self._began


async def fails(error: BaseException, after_s: float = 1.0) -> None:
    await asyncio.sleep(after_s)
    raise error


async def fails_when_cancelled(error: BaseException) -> None:
    try:
        await asyncio.sleep(1000.0)
    finally:
        raise error


async def will_not_be_cancelled() -> None:
    for _ in range(10):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000.0)


async def waits_for_nothing() -> None:
    await asyncio.get_running_loop().create_future()


def complaints_of_the_loop() -> list[dict[str, Any]]:
    """Fills with what would otherwise only be logged: errors in callbacks, failures that nobody looked at."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    return complaints


# --- while they run --------------------------------------------------------------------------------------------------


async def test_a_task_has_its_name_and_is_listed_until_it_ends() -> None:
    tasks, log = Tasks(Reports()), Log()
    second = tasks.start("second", log.work(2.0))
    first = tasks.start("first", log.work(1.0))
    assert (first.get_name(), second.get_name()) == ("first", "second")
    assert (len(tasks), repr(tasks)) == (2, "Tasks(['first', 'second'])")
    await first
    assert repr(tasks) == "Tasks(['second'])"
    await second
    assert (len(tasks), repr(tasks)) == (0, "Tasks([])")


async def test_a_task_that_nobody_else_knows_is_kept() -> None:
    tasks = Tasks(Reports())
    tasks.start("lonely", waits_for_nothing())
    await asyncio.sleep(1.0)
    gc.collect()
    assert repr(tasks) == "Tasks(['lonely'])"
    await tasks.close()


async def test_tasks_may_share_a_name() -> None:
    tasks, log = Tasks(Reports()), Log()
    for _ in range(3):
        tasks.start("reload", log.work(1.0))
    assert len(tasks) == 3
    await tasks.close(grace_s=2.0)
    assert log.ends == [("done", 1.0)] * 3


# --- failures --------------------------------------------------------------------------------------------------------


async def test_a_failure_is_reported_once_and_not_to_the_loop_as_well() -> None:
    complaints = complaints_of_the_loop()
    reports, error = Reports(), ValueError("broken")
    tasks = Tasks(reports)
    tasks.start("keys", fails(error))
    await asyncio.sleep(2.0)
    gc.collect()
    await asyncio.sleep(2.0)
    await tasks.close()
    assert reports.seen == [("keys", error)]
    assert reports.seen[0][1] is error
    assert not len(tasks)
    assert not complaints


async def test_a_failure_reaches_who_awaits_the_task_too() -> None:
    reports, error = Reports(), ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        await Tasks(reports).start("keys", fails(error))
    assert reports.seen == [("keys", error)]


async def test_a_failure_ends_no_other_task() -> None:
    reports, log = Reports(), Log()
    tasks = Tasks(reports)
    tasks.start("keys", fails(ValueError()))
    await tasks.start("loop lag", log.work(5.0))
    assert log.ends == [("done", 5.0)]
    assert [name for name, _ in reports.seen] == ["keys"]


@pytest.mark.parametrize("how", ["itself", "from outside", "by close"])
async def test_to_be_cancelled_is_not_to_fail(how: str) -> None:
    complaints = complaints_of_the_loop()
    reports = Reports()
    tasks = Tasks(reports)
    work = fails(asyncio.CancelledError()) if how == "itself" else waits_for_nothing()
    task = tasks.start("keys", work)
    await asyncio.sleep(2.0)
    if how == "from outside":
        task.cancel()
    await tasks.close()
    assert task.cancelled()
    assert not reports.seen
    assert not complaints
    assert not len(tasks)


async def test_a_failure_while_being_cancelled_is_reported() -> None:
    reports, error = Reports(), OSError("no space")
    tasks = Tasks(reports)
    tasks.start("ledger", fails_when_cancelled(error))
    await asyncio.sleep(1.0)
    await tasks.close()
    assert reports.seen == [("ledger", error)]


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_close_waits_for_what_ends_within_the_grace_and_no_longer_than_that_takes() -> None:
    tasks, log = Tasks(Reports()), Log()
    tasks.start("short", log.work(3.0))
    tasks.start("shorter", log.work(1.0))
    await tasks.close(grace_s=10.0)
    assert log.ends == [("done", 1.0), ("done", 3.0)]
    assert log.elapsed_s == 3.0


async def test_close_cancels_what_outlives_the_grace_and_lets_it_clean_up() -> None:
    tasks, log = Tasks(Reports()), Log()
    tasks.start("short", log.work(3.0))
    tasks.start("long", log.work(1000.0, cleanup_s=2.0))
    await tasks.close(grace_s=10.0)
    assert log.ends == [("done", 3.0), ("cancelled", 12.0)]
    assert (len(tasks), log.elapsed_s) == (0, 12.0)


async def test_close_without_a_grace_cancels_at_once() -> None:
    tasks, log = Tasks(Reports()), Log()
    tasks.start("short", log.work(0.1))
    await asyncio.sleep(0)
    await tasks.close()
    assert log.ends == [("cancelled", 0.0)]
    assert not len(tasks)


async def test_close_with_nothing_to_do_takes_no_time_and_may_be_repeated() -> None:
    tasks, log = Tasks(Reports()), Log()
    await tasks.close(grace_s=10.0)
    tasks.start("long", log.work(1000.0))
    await tasks.close()
    await tasks.close(grace_s=10.0)
    assert (len(tasks), log.elapsed_s) == (0, 0.0)


async def test_what_is_started_during_the_grace_is_cancelled_with_the_rest() -> None:
    tasks, log = Tasks(Reports()), Log()

    async def starts_another() -> None:
        await asyncio.sleep(1.0)
        tasks.start("late", log.work(1000.0))

    tasks.start("early", starts_another())
    await tasks.close(grace_s=0.5)
    assert not len(tasks)
    tasks.start("early", starts_another())
    tasks.start("long", log.work(1000.0))
    await tasks.close(grace_s=10.0)
    assert log.ends == [("cancelled", 10.5)] * 2
    assert not len(tasks)


async def test_a_task_that_will_not_end_holds_close_up_for_a_bounded_time_and_is_still_named() -> None:
    tasks, log = Tasks(Reports()), Log()
    stubborn = tasks.start("stubborn", will_not_be_cancelled())
    await asyncio.sleep(0)
    await tasks.close()
    assert (repr(tasks), log.elapsed_s) == ("Tasks(['stubborn'])", 15.0)
    await stubborn
    assert not len(tasks)


async def test_a_cleanup_has_five_seconds_before_it_is_cancelled_as_well() -> None:
    tasks, log = Tasks(Reports()), Log()
    tasks.start("slow", log.work(1000.0, cleanup_s=60.0))
    await asyncio.sleep(0)
    await tasks.close()
    assert (len(tasks), log.elapsed_s, log.ends) == (0, 5.0, [])


async def test_what_a_cancelled_task_starts_is_cancelled_too() -> None:
    tasks, log = Tasks(Reports()), Log()

    async def starts_another_at_its_end() -> None:
        try:
            await asyncio.sleep(1000.0)
        finally:
            tasks.start("late", log.work(1000.0))

    tasks.start("early", starts_another_at_its_end())
    await asyncio.sleep(0)
    await tasks.close()
    assert not len(tasks)


async def test_close_leaves_the_tasks_of_others_alone() -> None:
    mine, other, log = Tasks(Reports()), Tasks(Reports()), Log()
    mine.start("mine", waits_for_nothing())
    theirs = other.start("theirs", log.work(1.0))
    await mine.close()
    await theirs
    assert log.ends == [("done", 1.0)]
