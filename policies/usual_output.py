"""How many tokens an answer usually has, by agent and model: what a rate limit debits before the answer is there.

An average that follows a longer answer quickly and a shorter one slowly, so that it settles near the length that some
nineteen of twenty answers stay below. An estimate only: what is debited by it is corrected at the call's end.
"""

from __future__ import annotations

from typing import Final

from policies.recent import Recent
from proxy.types import Call, Usage

UNKNOWN_TOKENS: Final = 1_024
UP: Final = 0.3
DOWN: Final = 0.016  # a nineteenth: the two pulls balance where one answer in twenty is longer
KNOWN_MAX: Final = 4_096
SILENT: Final = frozenset({"embeddings", "moderations", "rerank"})  # they generate nothing


class _Usual:
    __slots__ = ("tokens",)

    def __init__(self) -> None:
        self.tokens: float | None = None


class UsualOutput:
    def __init__(self) -> None:
        self._known: Recent[tuple[str, str], _Usual] = Recent(KNOWN_MAX, _Usual)

    def __repr__(self) -> str:
        return f"UsualOutput({len(self._known)} known)"

    def tokens(self, call: Call) -> int:
        """Input and output that the call will probably take; never more output than it allows."""
        if call.endpoint in SILENT:
            return call.input_tokens_estimate
        head = call.head
        known = self._known.find((call.identity.agent, head.model))
        usual = 1 + (UNKNOWN_TOKENS if known is None or known.tokens is None else int(known.tokens))
        if head.output_tokens_max is not None:
            usual = min(usual, head.output_tokens_max * head.choices)
        return call.input_tokens_estimate + usual

    def learn(self, call: Call, usage: Usage) -> None:
        known, output = self._known.get((call.identity.agent, call.head.model)), usage.output_total
        before = known.tokens
        known.tokens = output if before is None else before + (output - before) * (UP if output > before else DOWN)
