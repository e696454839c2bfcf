"""The last complete answer of each run, as text, for runs that want it back where a limit ends them.

Nothing is kept of any other run, nothing is written down, and nobody but the key and the agent that had an answer gets
it back, whatever run they name. All of it together is bounded; the longest unused go first, the old in any case.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from proxy.types import Identity

ANSWER_CHARS_MAX: Final = 64 * 1024
CHARS_MAX: Final = 16 * 1024 * 1024  # of all answers
KEPT_S: Final = 6 * 3_600.0

Whose = tuple[str, str, str]  # key, agent, run


class Answers:
    def __init__(self, chars_max: int = CHARS_MAX) -> None:
        self._chars_max = chars_max
        self._kept: OrderedDict[Whose, tuple[str, float]] = OrderedDict()  # the longest unused first
        self.size = 0  # characters

    def __repr__(self) -> str:
        return f"Answers({len(self._kept)} of {self.size} characters)"

    def keep(self, whose: Whose, text: str, now: float) -> None:
        """Instead of the one before. One that is too long is not kept, and the one before stays."""
        if len(text) > min(ANSWER_CHARS_MAX, self._chars_max):
            return
        self._drop(whose)
        self._kept[whose] = (text, now)
        self.size += len(text)
        while self.size > self._chars_max or now - next(iter(self._kept.values()))[1] > KEPT_S:
            self._drop(next(iter(self._kept)))  # ends before the newest: that is neither too long nor old

    def find(self, whose: Whose, now: float) -> str | None:
        text, at = self._kept.get(whose, ("", 0.0))
        return text if text and now - at <= KEPT_S else None

    def _drop(self, whose: Whose) -> None:
        text, _ = self._kept.pop(whose, ("", 0.0))
        self.size -= len(text)


def whose(identity: Identity, run: str) -> Whose:
    return identity.key_id, identity.agent, run
