"""How long a target takes to its first content: by target, kind of reply and octave of the input's size.

A long prompt is slow for its length and not for its target, so sizes are learnt apart; a size that has been seen too
rarely is answered from all sizes of its target. A stream's first content is its first token, a plain reply's is all of
it, so these are apart too. What was given up counts as well, else a target would look faster the more it is hedged.
"""

from __future__ import annotations

from typing import Final

from policies.quantiles import Quantiles
from policies.recent import Recent
from proxy.types import Call, Target

CLASSES_MAX: Final = 1_024  # 3 kB each
KNOWN_LEAST: Final = 50  # samples of a size by itself
ANY_SIZE: Final = -1

Class = tuple[str, bool, int]


class FirstTokens:
    def __init__(self) -> None:
        self._known: Recent[Class, Quantiles] = Recent(CLASSES_MAX, Quantiles)

    def __repr__(self) -> str:
        return f"FirstTokens({len(self._known)} classes)"

    def learn(self, call: Call, target: Target, first_event_s: float, now: float) -> None:
        """The first content of an attempt came so many seconds after it was sent."""
        self._known.get(class_of(call, target)).add(first_event_s, now)
        self._known.get(_any_size(call, target)).add(first_event_s, now)

    def censored(self, call: Call, target: Target, age_s: float, now: float) -> None:
        """An attempt was given up at this age, without content and without a fault of its own."""
        self._known.get(class_of(call, target)).add_censored(age_s, now)
        self._known.get(_any_size(call, target)).add_censored(age_s, now)

    def of(self, call: Call, target: Target) -> Quantiles | None:
        """What is known of such calls; None: nothing at all."""
        alike = self._known.find(class_of(call, target))
        if alike is not None and alike.added >= KNOWN_LEAST:
            return alike
        return self._known.find(_any_size(call, target)) or alike


def class_of(call: Call, target: Target) -> Class:
    return (target.id, call.head.stream, call.input_tokens_estimate.bit_length())


def _any_size(call: Call, target: Target) -> Class:
    return (target.id, call.head.stream, ANY_SIZE)
