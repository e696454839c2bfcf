"""What is known of each simulated call before it is asked, and the request that stands for it on its way.

A prompt's text is made up, as long as the recorded one (four bytes a token) and with the same beginnings, so that
whatever looks at prompts sees what it would have seen. Its end carries the number of its card, by which a modelled
target finds what the answer is like. Equal prompts have one card.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, json

from loadtests.replay.recorded import Asked, Run
from loadtests.replay.world import BLOCK_TOKENS
from proxy.providers.simulated_answer import Draw

BYTES_A_TOKEN: Final = 4
SCOPE_SHIFT: Final = 40  # a scope's number stands above the ids of its own blocks
Key = tuple[str, int, int, tuple[tuple[int, int], ...]]
_MARK: Final = re.compile(rb"#(\d{1,9})#")


class Card(Struct, frozen=True):
    """`blocks` are the world's, of 512 tokens; `luck` in [0, 1): how hard the question is."""

    number: int
    tokens: int
    output: int
    blocks: tuple[int, ...]
    luck: float


class Cards:
    def __init__(self) -> None:
        self._cards: list[Card] = []
        self._known: dict[Key, Card] = {}
        self._scopes: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Cards({len(self._cards)})"

    def deal(self, runs: Iterable[Run], seed: int) -> None:
        """A card for each call of a trace, in its order: the same ones, whatever becomes of the calls."""
        for run in runs:
            for asked in run.calls:
                if _key(asked) not in self._known:
                    self._add(asked, Draw(b"%d:luck:%d" % (seed, len(self._cards))).share())

    def of(self, asked: Asked) -> Card:
        """Raises KeyError for a call that was dealt none."""
        return self._known[_key(asked)]

    def _add(self, asked: Asked, luck: float) -> None:
        scope = self._scopes.setdefault(asked.scope, len(self._scopes))
        ids = _ids(asked)[:: max(1, BLOCK_TOKENS // asked.block_tokens)]
        blocks = tuple([(scope << SCOPE_SHIFT) + id for id in ids])
        card = self._known[_key(asked)] = Card(len(self._cards), asked.tokens, asked.output, blocks, luck)
        self._cards.append(card)

    def read(self, body: bytes) -> Card | None:
        """The card of a request, whatever was added to it on its way; None: it is none of a recorded call."""
        found = _MARK.findall(body)
        return self._cards[int(found[-1])] if found and int(found[-1]) < len(self._cards) else None


def body(asked: Asked, card: Card, model: str) -> bytes:
    """A streamed chat."""
    mark = f"#{card.number}#"
    text = "".join([_block(asked, id) for id in _ids(asked)])
    text = text.ljust(asked.tokens * BYTES_A_TOKEN - len(mark), ".")[: max(0, asked.tokens * BYTES_A_TOKEN - len(mark))]
    return json.encode({"model": model, "stream": True, "messages": [{"role": "user", "content": text + mark}]})


def _key(asked: Asked) -> Key:
    return asked.scope, asked.tokens, asked.output, asked.ranges


def _ids(asked: Asked) -> list[int]:
    return [id for first, last in asked.ranges for id in range(first, last + 1)]


def _block(asked: Asked, id: int) -> str:
    return f"{asked.scope} {id} ".ljust(asked.block_tokens * BYTES_A_TOKEN, "-")
