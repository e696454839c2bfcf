"""What was learnt outlives the process that learnt it, and what was to be forgotten stays forgotten."""

from __future__ import annotations

from pathlib import Path

from msgspec import json

from policies.accept_rules import CascadeRules
from policies.conformal import Heard, Label
from proxy.caching.semantic import Semantic
from proxy.caching.semantic_parts import Kit
from proxy.clock import SystemClock
from proxy.desks.evidence import EvidenceDesk, heed
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.evidence import Evidence
from proxy.execution.given import Feedback, Reset, Word
from proxy.execution.record import Record
from proxy.parts import Shared
from proxy.side_calls import SideCalls
from proxy.snapshot import Snapshot
from proxy.state.ledger import Ledger
from proxy.tasks import Tasks
from proxy.types import Call, Plan
from tests.build import call, target
from tests.flow.world import Counted

RULES = {"smart": CascadeRules(max_loss=0.05)}
MEMBERS = tuple(Plan("single", ((target(f"p/{name}"),),), "", model=name) for name in ("small", "large"))
PLAN = Plan("cascade", MEMBERS[0].steps, "", members=MEMBERS, model="smart")


async def nobody_serves(call: Call, shared: Shared, snapshot: Snapshot) -> Record:
    raise AssertionError(f"{call.id} was asked")


def desk(ledger: Ledger) -> EvidenceDesk:
    return EvidenceDesk(ledger, SystemClock(), lambda: RULES, None)


def label(agent: str = "a", *, agreed: bool = True) -> Label:
    return Label(agent, "smart", 0, 1.0, agreed, kind="7 text latin")


async def test_labels_survive_a_restart_and_so_does_a_reset(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    first = desk(ledger)
    for _ in range(60):
        first.evidence.learn(label())
        first.told(label("b", agreed=False))
    assert await first.reset(Reset("b")) == Heard(rungs=1)
    first.told(label("b"))
    known = await first.report()
    ledger.close()

    again = desk(Ledger.open(tmp_path / "ledger.db"))
    assert await again.report() == known
    assert [(each.agent, each.labels, each.accepts_from) for each in known.rows] == [("a", 60, 1.0), ("b", 1, None)]


async def test_a_word_goes_to_all_that_serve(tmp_path: Path) -> None:
    class Serving:
        def __init__(self) -> None:
            self.words: list[Word] = []

        async def heed(self, word: Word) -> int:
            self.words.append(word)
            return 3

    serving, made = Serving(), desk(Ledger.open(tmp_path / "ledger.db"))
    assert await made.feedback(Feedback(1.0, run="r")) == Heard(answers=0), "nobody serves yet"
    made.attach(serving)
    assert await made.feedback(Feedback(1.0, run="r")) == Heard(answers=3)
    assert await made.reset(Reset()) == Heard(rungs=0)
    assert serving.words == [Feedback(1.0, run="r"), Reset()]


async def test_a_process_finds_the_answers_that_a_word_is_about() -> None:
    clock = SystemClock()
    told: list[Label] = []
    evidence = Evidence(clock, lambda: RULES, told.append)
    tasks = Tasks(lambda name, error: None)
    semantic = Semantic(Kit(clock, OpenAI(), tasks, Counted(), SideCalls(clock, OpenAI(), tasks, nobody_serves)), 1_000)
    evidence.gave(call(), PLAN, 0, 0.8)
    assert heed(Feedback(0.0, request="c0ffee"), evidence, semantic) == 1
    assert heed(Feedback(0.0, request="c0ffee"), evidence, semantic) == 0
    assert [(each.score, each.agreed, each.source) for each in told] == [(0.8, False, "feedback")]
    assert heed(Reset(model="smart"), evidence, semantic) == 1


def test_labels_are_kept_as_they_are() -> None:
    assert json.decode(json.encode(label()), type=Label) == label()
