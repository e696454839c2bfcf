"""A reply from memory: to the rest of the gate both an attempt without an upstream and a reply that is whole.

It costs nothing, holds nothing, and ending it settles nothing. A stream is handed out as the events it was, at once.
"""

from __future__ import annotations

from policies.settle import Ending
from proxy.caching.kept import Kept
from proxy.dialects.base import Passage
from proxy.errors import ProxyError
from proxy.types import AbortRule, Target


class Recalled:
    """Has the faces of `attempt.Exchange` and `reading.Reading`, as `following.Following` has."""

    abort: AbortRule = "stops"
    clamped_to: int | None = None
    cut_short = False
    streams = False  # all of it is in `first`
    more = False
    passage: Passage | None = None
    fault: ProxyError | None = None
    reading = None

    def __init__(self, kept: Kept) -> None:
        provider, _, model = kept.target.partition("/")
        self.kept = kept
        self.renew: bytes | None = None  # the entry, where a newer answer is to be fetched
        self.first = kept.body
        self.content_type = kept.content_type
        self.headers: tuple[tuple[str, str], ...] = ()
        self.target = Target(id=kept.target, provider=provider, model=model, price=None)

    def __repr__(self) -> str:
        return f"Recalled({self.kept!r})"

    @property
    def target_id(self) -> str:
        return self.target.id

    async def end(self, ending: Ending, error: ProxyError | None = None) -> None:
        """There is nothing to end."""

    async def read(self) -> bytes | None:
        return None

    async def read_trailer(self) -> None:
        """Nothing follows."""


Remembered = tuple[Recalled, Recalled]  # as the attempt, and as its reply
