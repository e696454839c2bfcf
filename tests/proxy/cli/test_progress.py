from __future__ import annotations

from io import StringIO

from proxy.cli.progress import Progress
from tests.proxy.cli.terminal import Ticking


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_person_sees_how_far_it_has_come_and_at_which_rate() -> None:
    shown, clock = Terminal(), Ticking()
    progress = Progress("rows", shown, clock)
    progress.add(10)
    assert shown.getvalue() == ""
    clock.at = 2.0
    progress.add(1_990)
    assert shown.getvalue() == "\r\033[K2,000 rows in 2.0 s (1,000 a second)"
    progress.end()
    assert shown.getvalue().endswith("\r\033[K")


def test_where_the_end_is_known_there_is_a_bar_and_the_time_that_is_left() -> None:
    shown, clock = Terminal(), Ticking()
    progress = Progress("kills", shown, clock, whole=20)
    assert progress.line == f"[{'.' * 24}]   0%, 0 of 20 kills"
    clock.at = 4.0
    progress.add(5)
    assert shown.getvalue() == f"\r\033[K[{'#' * 6}{'.' * 18}]  25%, 5 of 20 kills, 12 s left"
    progress.add(100)
    assert progress.line.startswith(f"[{'#' * 24}] 100%")


def test_a_pipe_sees_nothing() -> None:
    shown, clock = StringIO(), Ticking()
    progress = Progress("rows", shown, clock)
    clock.at = 5.0
    progress.add(3)
    progress.end()
    assert shown.getvalue() == ""
    assert progress.rate == "3 rows in 5.0 s (1 a second)"


def test_a_rate_of_no_time_is_none() -> None:
    assert Progress("rows", StringIO(), Ticking()).rate == "0 rows in 0.0 s"
