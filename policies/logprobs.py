"""How sure models usually are of their answers, by agent and model: the running tenth of mean log-probabilities.

Log-probabilities of two models do not compare, so each has its own. The quantile is followed in steps, down where a
value lies below it nine times as far as up where one lies above, which keeps it where a tenth of the values lie below
("frugal streaming", Ma, Muthukrishnan and Sandler, 2013); steps shrink as values come, to a floor that lets it drift.
"""

from __future__ import annotations

from typing import Final

from policies.recent import Recent

SHARE: Final = 0.1
LEAST: Final = 30  # values, before any is low
KNOWN_MAX: Final = 4_096
STEP: Final = 0.5  # nats, of the first value
STEP_LEAST: Final = 0.02


class _Tenth:
    __slots__ = ("count", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.count = 0

    def __repr__(self) -> str:
        return f"_Tenth({self.value:.3f} of {self.count})"

    def add(self, value: float) -> None:
        self.count += 1
        if self.count == 1:
            self.value = value
            return
        step = max(STEP_LEAST, STEP / self.count**0.5)
        self.value += step * SHARE if value > self.value else -step * (1 - SHARE) if value < self.value else 0.0


class Logprobs:
    """Implements `accept.Usually`."""

    def __init__(self) -> None:
        self._known: Recent[tuple[str, str], _Tenth] = Recent(KNOWN_MAX, _Tenth)

    def __repr__(self) -> str:
        return f"Logprobs({self._known!r})"

    def is_low(self, agent: str, model: str, logprob: float) -> bool:
        known = self._known.find((agent, model))
        return known is not None and known.count >= LEAST and logprob < known.value

    def learn(self, agent: str, model: str, logprob: float) -> None:
        self._known.get((agent, model)).add(logprob)
