"""Which of several calls with one new prefix goes first, so that one writes it to the provider's cache and all read it.

A prefix can be read as soon as the call that wrote it has its first event; calls that come before that would each pay
for writing it. Prefixes are known by digests at a few boundaries of a prompt: where its length first passes 4,096
tokens, twice and four times that and so on, and before its last message, so that calls which share a prefix share its
boundaries. A call waits only where at least 4,096 tokens of what it shares are being written; for how long is the
caller's affair.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from policies.prefix_break import Prompt

NEW_LEAST: Final = 4_096  # tokens
KEPT_S: Final = 240.0  # shorter than any provider's shortest life
KNOWN_MAX: Final = 8_192
WAIT_S: Final = 3.0

Boundaries = tuple[tuple[int, int], ...]  # (digest, tokens) from the front to the back


class Lead:
    """A call that writes prefixes, from when it may go until its first event or its end."""

    __slots__ = ("digests", "over")

    def __init__(self) -> None:
        self.digests: list[int] = []
        self.over = False

    def __repr__(self) -> str:
        return f"Lead({len(self.digests)} prefixes, over={self.over})"


class Siblings:
    """One a process."""

    def __init__(self) -> None:
        self._leads: dict[int, Lead] = {}  # by what they write now
        self._warm: OrderedDict[int, float] = OrderedDict()  # until when, the first to go first

    def __repr__(self) -> str:
        return f"Siblings({len(self._leads)} being written, {len(self._warm)} known)"

    def enter(self, boundaries: Boundaries, now: float) -> Lead | None:
        """The call that this one should wait for; None: it may go, and `lead` says that it does."""
        there = 0
        found: tuple[Lead, int] | None = None
        for digest, tokens in boundaries:
            if self._warm.get(digest, 0.0) > now:
                there = tokens
            elif (lead := self._leads.get(digest)) is not None:
                found = lead, tokens
        return found[0] if found is not None and found[1] - there >= NEW_LEAST else None

    def lead(self, boundaries: Boundaries, now: float) -> Lead:
        """It goes, and writes whatever is not there yet."""
        lead = Lead()
        for digest, _ in boundaries:
            if digest not in self._leads and self._warm.get(digest, 0.0) <= now and len(self._leads) < KNOWN_MAX:
                self._leads[digest] = lead
                lead.digests.append(digest)
        return lead

    def written(self, lead: Lead, now: float) -> None:
        """Its first event has come. The second time, or after its end: nothing."""
        for digest in self._leave(lead):
            self._warm.pop(digest, None)
            self._warm[digest] = now + KEPT_S
        while self._warm and (len(self._warm) > KNOWN_MAX or next(iter(self._warm.values())) <= now):
            self._warm.popitem(last=False)

    def failed(self, lead: Lead) -> None:
        """It has ended without one: whoever waits for it is as far as it was."""
        self._leave(lead)

    def _leave(self, lead: Lead) -> list[int]:
        lead.over = True
        digests, lead.digests = lead.digests, []
        for digest in digests:
            del self._leads[digest]
        return digests


def boundaries(prompt: Prompt, tokens: int, *, scope: str) -> Boundaries:
    """Where a prompt of so many tokens may be cut; empty: it is too short. `scope`: whose cache it would share."""
    if tokens < NEW_LEAST or not prompt.messages:
        return ()
    each = tokens / max(1, prompt.size)
    digest, size, next_cut = hash((scope, prompt.front)), prompt.front_bytes, float(NEW_LEAST)
    found: list[tuple[int, int]] = []
    last = len(prompt.messages) - 1
    for at, (message, length) in enumerate(zip(prompt.messages, prompt.sizes, strict=True)):
        if size * each >= next_cut or (at == last and size * each >= NEW_LEAST):
            found.append((digest, round(size * each)))
            next_cut = max(2 * next_cut, size * each)
        digest, size = hash((digest, message)), size + length
    return tuple(found)
