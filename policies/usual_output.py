"""How many tokens an answer usually has, by agent and model: what a rate limit debits before the answer is there.

An average that follows a longer answer quickly and a shorter one slowly, so that it settles near the length that some
nineteen of twenty answers stay below. An estimate only: what is debited by it is corrected at the call's end.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from proxy.types import Call, Usage

UNKNOWN_TOKENS: Final = 1_024
UP: Final = 0.3
DOWN: Final = 0.016  # a nineteenth: the two pulls balance where one answer in twenty is longer
KNOWN_MAX: Final = 4_096
SILENT: Final = frozenset({"embeddings", "moderations", "rerank"})  # they generate nothing


class UsualOutput:
    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __repr__(self) -> str:
        return f"UsualOutput({len(self._known)} known)"

    def tokens(self, call: Call) -> int:
        """Input and output that the call will probably take; never more output than it allows."""
        if call.endpoint in SILENT:
            return call.input_tokens_estimate
        head = call.head
        usual = int(self._known.get((call.identity.agent, head.model), UNKNOWN_TOKENS)) + 1
        if head.output_tokens_max is not None:
            usual = min(usual, head.output_tokens_max * head.choices)
        return call.input_tokens_estimate + usual

    def learn(self, call: Call, usage: Usage) -> None:
        key, output = (call.identity.agent, call.head.model), usage.output_total
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.popitem(last=False)
            self._known[key] = output
        else:
            self._known.move_to_end(key)
            self._known[key] = known + (output - known) * (UP if output > known else DOWN)
