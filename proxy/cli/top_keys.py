"""What a key does in `headgate top`: pure, from one look at the fleet to the next.

While a filter is being typed every key is a letter of it; Enter keeps it, Escape drops it.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

View = Literal["agents", "routes", "targets", "runs", "requests"]
Sort = Literal["dollars an hour", "cost", "calls", "failed", "first token", "last", "name"]

VIEWS: Final[tuple[View, ...]] = ("agents", "routes", "targets", "runs", "requests")
SORTS: Final[tuple[Sort, ...]] = ("dollars an hour", "cost", "calls", "failed", "first token", "last", "name")
ENTER, ESCAPE, RUBOUT = ("\r", "\n"), "\x1b", ("\x7f", "\b")
QUIT: Final = ("q", "Q", "\x03", "\x04")  # Ctrl-C and Ctrl-D, where the terminal hands them over
FILTER_MAX: Final = 64


class Look(Struct, frozen=True):
    """What is shown, and how."""

    view: View = "agents"
    sort: Sort = "dollars an hour"
    filter: str = ""  # part of a name
    typing: bool = False
    paused: bool = False
    hedged: bool = False  # only targets that got second copies, and calls that one answered
    over: bool = False


def pressed(look: Look, key: str) -> Look:
    if look.typing:
        return _typed(look, key)
    if key in QUIT:
        return replace(look, over=True)
    if key in "12345" and key:
        return replace(look, view=VIEWS[int(key) - 1])
    if key == "s":
        return replace(look, sort=SORTS[(SORTS.index(look.sort) + 1) % len(SORTS)])
    if key == "/":
        return replace(look, typing=True, filter="")
    if key == " ":
        return replace(look, paused=not look.paused)
    if key == "h":
        return replace(look, hedged=not look.hedged)
    return replace(look, filter="") if key == ESCAPE else look


def _typed(look: Look, key: str) -> Look:
    if key == "\x03":
        return replace(look, over=True)
    if key in ENTER:
        return replace(look, typing=False)
    if key == ESCAPE:
        return replace(look, typing=False, filter="")
    if key in RUBOUT:
        return replace(look, filter=look.filter[:-1])
    return replace(look, filter=(look.filter + key)[:FILTER_MAX]) if key.isprintable() else look
