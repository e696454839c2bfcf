"""Each question of the supervisor has one answer, with its number."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxy.caching.stock import Gone, Purge, Stock
from proxy.config.load import Config
from proxy.execution.given import Reset, Word
from proxy.runs.registry import Applied, RunCommand, RunState
from proxy.state.target_report import Standing
from proxy.workers.answering import Question, Reply, answer
from proxy.workers.messages import Command, Done, Heed, Heeded, Look, Looked, Stocked, Survey, Surveyed, TakeStock

IDLE = RunState("r", "idle")


class Plane:
    """Implements `Serving`."""

    in_flight = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def prepare(self, config: Config) -> str | None:
        return None

    def swap(self, config: Config) -> None: ...

    def kill(self) -> None: ...

    async def apply(self, command: RunCommand) -> Applied:
        return Applied(interrupted=2)

    async def look(self, runs: Sequence[str], named: str = "") -> list[RunState]:
        return [IDLE] * (len(runs) + (named == "t"))

    async def survey(self) -> list[Standing]:
        return []

    async def stock(self) -> Stock:
        return Stock(entries=3)

    async def purge(self, purge: Purge) -> Gone:
        return Gone(in_memory=4)

    async def heed(self, word: Word) -> int:
        return 5


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        (Command(1, RunCommand("kill", "r", "id", "by", 0.0)), Done(1, Applied(interrupted=2))),
        (Look(2, ("r", "s")), Looked(2, (IDLE, IDLE))),
        (Look(2, ("r",), "t"), Looked(2, (IDLE, IDLE))),
        (Survey(3), Surveyed(3, ())),
        (TakeStock(4, None), Stocked(4, Stock(entries=3), Gone())),
        (TakeStock(5, Purge()), Stocked(5, Stock(entries=3), Gone(in_memory=4))),
        (Heed(6, Reset()), Heeded(6, 5)),
    ],
)
async def test_each_question_has_its_answer(question: Question, reply: Reply) -> None:
    assert await answer(question, Plane()) == reply
