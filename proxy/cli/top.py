"""`headgate top`: the fleet as it works, redrawn each second, from the same feed that the console reads.

A thread listens; what is drawn, and what keys do, are pure functions (`top_state`, `top_view`, `top_keys`). In a pipe,
and with `--once`, the same lines come without a screen. Exit codes: 0 fine, 1 no gate answers, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from queue import Empty, Queue
from threading import Event as Flag
from threading import Thread
from typing import Final, Protocol

from msgspec import json
from msgspec.structs import replace

from proxy.cli.asking import Refusal, add_connection, answer, refuse
from proxy.cli.feed import Feed, Message
from proxy.cli.options import Subparsers
from proxy.cli.screen import Screen
from proxy.cli.table import Page
from proxy.cli.top_keys import Look, pressed
from proxy.cli.top_state import History, State, folded
from proxy.cli.top_view import Line, Size, frame
from proxy.clock import Clock, SystemClock
from proxy.state.budget_report import BudgetList, BudgetRow

BUDGETS: Final = "/budgets?limit=3"
BUDGETS_EVERY_S: Final = 5.0
INTERVAL_LEAST_S: Final = 0.1
WAITING_MAX: Final = 10_000  # messages; the feed waits when nobody draws
PIPE: Final = Size(1_000, 1_000)

Heard = Message | BudgetList | Refusal

EXAMPLES = """\
keys: 1 agents, 2 routes, 3 targets, 4 runs, 5 requests; s sort; / filter by name, Enter keeps it, Escape drops it;
h only hedged targets and requests; space pause; q quit

examples:
  headgate top
  headgate top --once                  one picture, for a script or a mail
  headgate top --json --interval 10    one JSON object every ten seconds
"""


class Canvas(Protocol):
    def size(self) -> Size: ...
    def paint(self, lines: list[Line]) -> None: ...
    def pressed(self, wait_s: float) -> tuple[str, ...]: ...


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "top",
        help="the fleet as it works, live: agents, routes, targets, runs, requests",
        description="The fleet as it works: agents, routes, targets, runs and requests, redrawn each second.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--once", action="store_true", help="one picture after one interval, then the end")
    parser.add_argument("--interval", metavar="SECONDS", type=_interval, default=1.0, help="between two (default: 1)")
    add_connection(parser)


def top(arguments: argparse.Namespace) -> int:
    clock, heard = SystemClock(), Queue[Heard](WAITING_MAX)
    by = {"clock": clock, "pause": Flag().wait}
    Thread(target=listen, args=(arguments, heard), kwargs=by, daemon=True).start()
    live = Fleet(heard, clock)
    try:
        live.first()
        if arguments.once or arguments.json or not (sys.stdout.isatty() and sys.stdin.isatty()):
            return _printed(arguments, live)
        page, coloured = Page(sys.stdout), not os.environ.get("NO_COLOR")
        with Screen(sys.stdout, sys.stdin.fileno(), coloured=coloured) as screen:
            watch(live, screen, page, interval_s=arguments.interval)
    except Refusal as refused:
        return refuse(refused)
    except KeyboardInterrupt:
        return 0
    return 0


class Fleet:
    """What was heard so far, as a state that is whole."""

    def __init__(self, heard: Queue[Heard], clock: Clock) -> None:
        self.clock = clock
        self._heard = heard
        self._history = History()
        self._budgets: tuple[BudgetRow, ...] = ()
        self._state: State | None = None

    def first(self) -> None:
        """Waits for the first snapshot. Raises Refusal."""
        while self._state is None:  # the feed ends with a Refusal
            self._take(self._heard.get())

    def state(self) -> State:
        """Raises Refusal when the gate has been gone for too long."""
        for message in self._waiting():
            self._take(message)
        if self._state is None:
            raise Refusal("nothing was heard yet")
        return replace(self._state, budgets=self._budgets)

    def _waiting(self) -> Iterator[Heard]:
        for _ in range(WAITING_MAX):
            try:
                yield self._heard.get_nowait()
            except Empty:
                return

    def _take(self, message: Heard) -> None:
        if isinstance(message, Refusal):
            raise message
        if isinstance(message, BudgetList):
            self._budgets = message.rows
            return
        now = folded(self._state.now if self._state else None, message)
        if now is not None:
            self._state = State(now, self._history.past(now))


def listen(
    arguments: argparse.Namespace, heard: Queue[Heard], *, clock: Clock, pause: Callable[[float], object]
) -> None:
    """In a thread of its own: the feed, and now and then the budgets, of which it does not speak."""
    asked_at = -BUDGETS_EVERY_S
    try:
        for message in Feed(arguments, pause):
            heard.put(message)
            if clock.now() - asked_at >= BUDGETS_EVERY_S:
                asked_at = clock.now()
                heard.put(answer(arguments, BUDGETS, BudgetList))
    except Refusal as refused:
        heard.put(refused)


def watch(live: Fleet, canvas: Canvas, page: Page, *, interval_s: float) -> None:
    """Until `q`. A key is answered at once, everything else at the next interval."""
    look, state = Look(), live.state()
    draw_at = live.clock.now()
    while not look.over:
        canvas.paint(frame(state, look, canvas.size(), page))
        keys = canvas.pressed(draw_at + interval_s - live.clock.now())
        for key in keys:
            look = pressed(look, key)
        if not keys:
            draw_at = live.clock.now()
        heard = live.state()
        state = state if look.paused else heard


def _printed(arguments: argparse.Namespace, live: Fleet) -> int:
    page, pause = Page(sys.stdout), Flag()
    while True:  # until it is interrupted, or the gate is gone
        pause.wait(arguments.interval)
        state = live.state()
        if arguments.json:
            print(json.encode({"snapshot": state.now, "budgets": state.budgets}).decode(), flush=True)
        else:
            lines = frame(state, Look(), PIPE, page)
            print("\n".join(line.text for line in lines if line.text and line.style != "dim"), flush=True)
        if arguments.once:
            return 0


def _interval(text: str) -> float:
    seconds = float(text)
    if not INTERVAL_LEAST_S <= seconds <= 3_600:
        raise argparse.ArgumentTypeError(f"from {INTERVAL_LEAST_S} to 3600 seconds")
    return seconds
