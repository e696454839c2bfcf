"""A modelled target: it takes the time, has the prompt cache and gives as good an answer as its character says.

An engine of one's own reads one prompt after another and only what its memory does not hold, as the replicas of
`loadtests.replay.world` do; a vendor answers everybody at once, after a wait that is log-normal, and keeps prompts that
have 1,024 tokens. Whether an answer is right is drawn: partly once for the question, as hard ones are hard for all
models, partly for each answer. Some wrong ones can be seen to be wrong: they are refusals.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from loadtests.replay.world import WRITE_S, Replica, Request
from proxy.clock import Clock
from proxy.providers import simulated_wire as wire
from proxy.providers.base import UpstreamRequest, unnoticed
from proxy.providers.fields import Fields
from proxy.providers.simulated_answer import Answer, Draw
from proxy.providers.simulated_reply import Bill, Books, SimulatedResponse, Step
from proxy.providers.simulated_stream import stream_of
from proxy.providers.simulated_wire import Naming
from proxy.simulate.cards import Card, Cards

CACHED_LEAST: Final = 1_024  # tokens; vendors cache no shorter prompt
EVENT_S: Final = 2.0  # a long answer comes in parts
RIGHT: Final = "ANSWER: right"
REFUSED: Final = "I'm sorry, but I can't help with that."
WRONG: Final = ("ANSWER: wrong", "ANSWER: false", "ANSWER: mistaken")  # who errs alone errs in a way of its own
HEAD: Final[Mapping[str, str]] = {"content-type": "text/event-stream", "x-request-id": "simulated"}


class Character(Struct, frozen=True):
    """Of one provider. `blocks`: of 512 tokens, that its memory holds."""

    own: bool  # an engine that reads one prompt after another
    blocks: int
    first_s: float = 0.5  # median
    sigma: float = 0.5
    token_s: float = WRITE_S


class Quality(Struct, frozen=True):
    """`good`: share of right answers, by model as its provider calls it or by provider/model; others are always right.
    `seen`: share of wrong ones that can be seen to be. `shared`: share of questions that are as hard for everybody."""

    good: Mapping[str, float] = {}
    seen: float = 0.5
    shared: float = 0.7

    def of(self, provider: str, model: str) -> float:
        return self.good.get(f"{provider}/{model}", self.good.get(model, 1.0))


class Modelled:
    """Implements `Transport`, of one provider."""

    def __init__(self, name: str, character: Character, *, quality: Quality, cards: Cards, clock: Clock) -> None:
        self.unknown = 0  # requests that are of no recorded call
        self._name = name
        self._character = character
        self._quality = quality
        self._cards = cards
        self._clock = clock
        self._seed = clock.rng("targets").getrandbits(32)
        self._asked: Counter[tuple[str, int]] = Counter()  # how often each model was asked each question
        self._books = Books(clock)
        self._replica = Replica(WRITE_S / character.token_s, character.blocks)
        self._reading = asyncio.Lock()
        self._numbered = 0

    def __repr__(self) -> str:
        return f"Modelled({self._name!r}, {self._numbered} calls)"

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> SimulatedResponse:
        sent()
        self._numbered += 1
        asked, card = wire.question(request.body), self._cards.read(request.body)
        if asked is None or card is None:
            self.unknown += 1
            return self._at_once(404, wire.error(404, "Only recorded calls are modelled"))
        limit = card.output if asked.tokens_max is None else min(card.output, asked.tokens_max)
        world = Request(self._numbered, card.tokens, limit, tuple([hash((asked.model, id)) for id in card.blocks]))
        draw = self._draw(asked.model, card)
        cached = await self._read(world, draw)
        bill = Bill(asked.model, "chat", card.tokens, cached, limit)
        naming = Naming(f"sim-{self._name}-{self._numbered}", int(self._clock.wall()), asked.model)
        answer = Answer((said(self._quality, self._quality.of(self._name, asked.model), card.luck, draw),), "stop")
        ends = self._clock.now() + self._write_s(limit)
        if not asked.stream:
            steps = [Step(ends, wire.whole(naming, [answer], bill), limit)]
            response = SimulatedResponse(self._books, 200, steps=steps, bill=bill)
            response.headers = Fields({**HEAD, "content-type": "application/json"})
            await response.ready()
            return response
        return self._streamed(naming, asked, answer, bill=bill, ends=ends)

    async def close(self) -> None:
        """Holds nothing."""

    def _streamed(
        self, naming: Naming, asked: wire.Question, answer: Answer, *, bill: Bill, ends: float
    ) -> SimulatedResponse:
        stream, now = stream_of(naming, asked, "chat"), self._clock.now()
        parts = max(1, int((ends - now) / EVENT_S))
        whole = Answer((*answer.pieces, *([" "] * (parts - 1))), "stop")
        lasts_s, tokens = ends - now, bill.completion_tokens
        steps = [
            Step(now + lasts_s * number / parts, stream.turn([whole], number), tokens * number // parts)
            for number in range(parts)
        ]
        steps.append(Step(ends, stream.ending([whole], bill), tokens))
        response = SimulatedResponse(self._books, 200, steps=steps, bill=bill)
        response.headers = Fields(dict(HEAD))
        return response

    def _at_once(self, status: int, body: bytes) -> SimulatedResponse:
        response = SimulatedResponse(self._books, status, steps=[Step(self._clock.now(), body)], bill=None)
        response.headers = Fields({**HEAD, "content-type": "application/json"})
        return response

    def _draw(self, model: str, card: Card) -> Draw:
        """The same answer to the same question, whatever else is asked and whenever; another one to the next time."""
        question = model, card.number
        self._asked[question] += 1
        key = f"{self._seed}/{self._name}/{model}/{card.number}/{self._asked[question]}"
        return Draw(key.encode())

    async def _read(self, request: Request, draw: Draw) -> int:
        """Until the prompt is read; returns how many tokens of it were known."""
        replica, character = self._replica, self._character
        if not character.own:
            cached = replica.cached(request) if request.tokens >= CACHED_LEAST else 0
            replica.keep(request)
            wait_s = draw.log_normal(character.first_s, character.sigma)
            await asyncio.sleep(wait_s + replica.read_s(request.tokens - cached))
            return cached
        async with self._reading:
            cached = replica.cached(request)
            await asyncio.sleep(replica.read_s(request.tokens - cached))
            replica.keep(request)
            return cached

    def _write_s(self, tokens: int) -> float:
        """How long the answer takes; an engine that gives several at a time is slower at each."""
        if not self._character.own:
            return tokens * self._character.token_s
        replica, lasts_s = self._replica, self._replica.write_s(tokens)
        replica.writing += 1
        asyncio.get_running_loop().call_later(lasts_s, self._written)
        return lasts_s

    def _written(self) -> None:
        self._replica.writing -= 1


def said(quality: Quality, good: float, luck: float, draw: Draw) -> str:
    own, alone, seen, which = draw.share(), draw.share(), draw.share(), draw.below(len(WRONG))
    if (luck if own < quality.shared else alone) < good:
        return RIGHT
    return REFUSED if seen < quality.seen else WRONG[which]
