"""What a worker answers when the supervisor asks: each question has a number, and one answer that bears it.

Decides nothing: the data plane knows, here it is put into the messages of the channel.
"""

from __future__ import annotations

from proxy.caching.stock import Gone
from proxy.serving import Serving
from proxy.workers.messages import (
    Command,
    Done,
    Heed,
    Heeded,
    Look,
    Looked,
    Stocked,
    Survey,
    Surveyed,
    TakeStock,
)

Question = Command | Look | Survey | TakeStock | Heed
Reply = Done | Looked | Surveyed | Stocked | Heeded


async def answer(question: Question, plane: Serving) -> Reply:
    match question:
        case Command():
            return Done(question.number, await plane.apply(question.command))
        case Look():
            return Looked(question.number, tuple(await plane.look(question.runs, question.named)))
        case Survey():
            return Surveyed(question.number, tuple(await plane.survey()))
        case TakeStock():
            gone = Gone() if question.purge is None else await plane.purge(question.purge)
            return Stocked(question.number, await plane.stock(), gone)
        case Heed():
            return Heeded(question.number, await plane.heed(question.word))
