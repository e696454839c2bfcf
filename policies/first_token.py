"""How long a target takes to its first content: by target, kind of reply and octave of the input's size.

A long prompt is slow for its length and not for its target, so sizes are learnt apart; a size that has been seen too
rarely is answered from all sizes of its target. A stream's first content is its first token, a plain reply's is all of
it, so these are apart too. What was given up counts as well, else a target would look faster the more it is hedged.
How rare stragglers are, and how late, is learnt in medians of each class for all of a provider's classes together: one
alone would need hundreds of calls to know its own.
"""

from __future__ import annotations

from typing import Final

from policies.quantiles import Quantiles
from policies.recent import Recent
from proxy.types import Call, Target

CLASSES_MAX: Final = 1_024  # 3 kB each
KNOWN_LEAST: Final = 50  # samples of a size by itself
ANY_SIZE: Final = -1
USUAL_LEAST: Final = 5  # samples of a class that tell what is usual there
SHAPE_LEAST: Final = 20
SHAPE_MOST: Final = 400  # samples of a class and of others together; from then on it is its own alone

Class = tuple[str, bool, int]


class FirstTokens:
    def __init__(self) -> None:
        self._known: Recent[Class, Quantiles] = Recent(CLASSES_MAX, Quantiles)
        self._shapes: Recent[tuple[str, bool], Quantiles] = Recent(CLASSES_MAX, Quantiles)  # in medians

    def __repr__(self) -> str:
        return f"FirstTokens({len(self._known)} classes)"

    def learn(self, call: Call, target: Target, first_event_s: float, now: float) -> None:
        """The first content of an attempt came so many seconds after it was sent."""
        alike = self._known.get(class_of(call, target))
        alike.add(first_event_s, now)
        if alike.usual_s:
            self._shapes.get((target.provider, call.head.stream)).add(first_event_s / alike.usual_s, now)
        self._known.get(_any_size(call, target)).add(first_event_s, now)

    def censored(self, call: Call, target: Target, age_s: float, now: float) -> None:
        """An attempt was given up at this age, without content and without a fault of its own."""
        alike = self._known.get(class_of(call, target))
        alike.add_censored(age_s, now)
        if alike.usual_s:
            self._shapes.get((target.provider, call.head.stream)).add_censored(age_s / alike.usual_s, now)
        self._known.get(_any_size(call, target)).add_censored(age_s, now)

    def of(self, call: Call, target: Target) -> Quantiles | None:
        """What is known of such calls; None: nothing at all."""
        alike = self._known.find(class_of(call, target))
        if alike is not None and alike.added >= KNOWN_LEAST:
            return alike
        return self._known.find(_any_size(call, target)) or alike

    def tail(self, call: Call, target: Target) -> Quantiles | None:
        """The same where it is the rare ones that matter. For a look now and then: what is usual is noted by it."""
        alike = self._known.find(class_of(call, target))
        if alike is None or alike.added < USUAL_LEAST:
            return self.of(call, target)
        alike.usual_s = alike.quantile(0.5) or 0.0
        shape = self._shapes.find((target.provider, call.head.stream))
        if shape is None or shape.added < SHAPE_LEAST:
            return self.of(call, target)
        missing = min(SHAPE_MOST - alike.count, shape.count)
        return alike.filled_up(shape, alike.usual_s, missing) if missing > 0 else alike


def class_of(call: Call, target: Target) -> Class:
    return (target.id, call.head.stream, call.input_tokens_estimate.bit_length())


def _any_size(call: Call, target: Target) -> Class:
    return (target.id, call.head.stream, ANY_SIZE)
