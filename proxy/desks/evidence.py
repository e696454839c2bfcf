"""What is known of the rungs of cascades, as an operator asks after it; what people say of answers; and what is kept.

Each label is an event of the ledger, and so is the word that labels count no more: a gate that starts again hears all
of them in their order and knows what it knew. Where several processes serve, each has heard the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import json

from policies.accept_rules import CascadeRules
from policies.conformal import Heard, Label, Standings
from proxy.caching.semantic import Semantic
from proxy.clock import Clock
from proxy.execution.evidence import Evidence, Watch
from proxy.execution.given import Feedback, Reset, Word
from proxy.state import run_queries
from proxy.state.ledger import Ledger

Rules = Callable[[], Mapping[str, CascadeRules]]


class Heeding(Protocol):
    """What answers calls: see `serving`."""

    async def heed(self, word: Word) -> int: ...


class EvidenceDesk:
    def __init__(self, ledger: Ledger, clock: Clock, rules: Rules, watch: Watch | None) -> None:
        """Before the ledger begins to write. `watch`: where this process is the one that serves."""
        self._ledger = ledger
        self._serving: Heeding | None = None
        self.evidence = Evidence(clock, rules, self._keep, watch)
        for kind, body in ledger.read_now(run_queries.labels):
            self._restore(kind, body)

    def __repr__(self) -> str:
        return f"EvidenceDesk({self.evidence!r})"

    def attach(self, serving: Heeding) -> None:
        self._serving = serving

    def told(self, label: Label) -> None:
        """By a worker."""
        self.evidence.hear(label)
        self._keep(label)

    async def report(self) -> Standings:
        return Standings(self.evidence.standings)

    async def feedback(self, feedback: Feedback) -> Heard:
        return Heard(answers=await self._heeded(feedback))

    async def reset(self, reset: Reset) -> Heard:
        rungs = self.evidence.reset(reset.agent, reset.model)
        self._ledger.append_event("label_reset", reset.model or "", reset)
        await self._heeded(reset)
        return Heard(rungs=rungs)

    async def _heeded(self, word: Word) -> int:
        return 0 if self._serving is None else await self._serving.heed(word)

    def _restore(self, kind: str, body: str) -> None:
        if kind == "label":
            self.evidence.hear(json.decode(body, type=Label))
        else:
            forgotten = json.decode(body, type=Reset)
            self.evidence.reset(forgotten.agent, forgotten.model)

    def _keep(self, label: Label) -> None:
        self._ledger.append_event("label", label.model, label)


def heed(word: Word, evidence: Evidence, semantic: Semantic) -> int:
    """In one process that serves: how many of its answers it was about."""
    if isinstance(word, Reset):
        return evidence.reset(word.agent, word.model)
    reused = word.request is not None and semantic.feedback(word.request, right=word.good)
    return evidence.feedback(word) + reused
