"""Routers as others build them, after their public descriptions.

All see what a gate sees and keep what they need: `LeastRequests` counts; `TwoMode` follows the longest known prefix
until the replicas' counts differ too much (SGLang's cache-aware router); `TwoHashes` picks the better of two homes
(DualMap, ICLR 2026); `Greedy` takes whoever should answer first. They are told the replicas' true memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from random import Random

from loadtests.replay.world import BLOCK_TOKENS, Request

MATCHED = 0.5  # of a prompt: above it SGLang's router follows the prefix
APART, APART_SHARE = 32, 1.1  # replicas whose counts differ by more are out of balance
PATIENCE_S = 5.0  # of DualMap for the better cached of its two
FIRST_BLOCKS = 2  # of a prompt, from which its homes are made
SECONDS_A_TOKEN = 1 / 8_000
LONG_TOKENS = 1_000
WEIGHT, CLIP = 0.1, 4.0


class Seen:
    """What is known of one replica."""

    def __init__(self, blocks: int) -> None:
        self.running = 0
        self.tokens = 0.0  # uncached ones of prompts without a first event
        self.spt = SECONDS_A_TOKEN
        self.first_at = 0.0
        self.held: OrderedDict[int, None] = OrderedDict()
        self._capacity = blocks

    def cached(self, request: Request) -> int:
        """Tokens; the index is closed under prefixes, so what is held is found by halving."""
        blocks, held = request.blocks, self.held
        low, high = 0, len(blocks)
        while low < high:
            middle = (low + high + 1) // 2
            if blocks[middle - 1] in held:
                low = middle
            else:
                high = middle - 1
        return min(request.tokens, low * BLOCK_TOKENS)

    def keep(self, request: Request) -> None:
        held = self.held
        for block in reversed(request.blocks):
            held[block] = None
            held.move_to_end(block)
        while len(held) > self._capacity:
            held.popitem(last=False)

    def first_event(self, tokens: float, since: float, now: float) -> None:
        self.tokens -= tokens
        if tokens > LONG_TOKENS:
            spt = (now - max(since, self.first_at)) / tokens
            self.spt += WEIGHT * (min(CLIP * self.spt, max(self.spt / CLIP, spt)) - self.spt)
        self.first_at = now


class LeastRequests:
    """The fewest calls running, ties at random."""

    def __init__(self, count: int, blocks: int, rng: Random) -> None:
        self._seen = [Seen(blocks) for _ in range(count)]
        self._rng = rng
        self._sent: dict[int, tuple[int, float, float]] = {}  # replica, uncached tokens, when

    def choose(self, request: Request, now: float) -> int:
        return self._least([seen.running for seen in self._seen])

    def started(self, request: Request, replica: int, now: float) -> None:
        seen = self._seen[replica]
        miss = float(request.tokens - seen.cached(request))
        seen.running += 1
        seen.tokens += miss
        seen.keep(request)
        self._sent[request.number] = (replica, miss, now)

    def first_event(self, request: Request, now: float) -> None:
        replica, miss, since = self._sent[request.number]
        self._seen[replica].first_event(miss, since, now)

    def ended(self, request: Request, now: float, cached_tokens: int) -> None:
        self._seen[self._sent.pop(request.number)[0]].running -= 1

    def _least(self, costs: Sequence[float]) -> int:
        least = min(costs)
        return self._rng.choice([number for number, cost in enumerate(costs) if cost == least])

    def _first_s(self, replica: int, request: Request) -> float:
        """Predicted until the first event."""
        seen = self._seen[replica]
        return (seen.tokens + request.tokens - seen.cached(request)) * seen.spt


class TwoMode(LeastRequests):
    def choose(self, request: Request, now: float) -> int:
        running = [seen.running for seen in self._seen]
        if max(running) - min(running) > APART and max(running) > APART_SHARE * min(running):
            return self._least(running)
        cached = [seen.cached(request) for seen in self._seen]
        if max(cached) > MATCHED * request.tokens:
            return self._least([-each for each in cached])
        return self._least([len(seen.held) for seen in self._seen])


class TwoHashes(LeastRequests):
    def choose(self, request: Request, now: float) -> int:
        count, first = len(self._seen), hash(request.blocks[:FIRST_BLOCKS])
        one = first % count
        pair = one, (one + 1 + first // count % (count - 1)) % count
        better, other = sorted(pair, key=lambda replica: -self._seen[replica].cached(request))
        if self._first_s(better, request) <= PATIENCE_S:
            return better
        return min(better, other, key=lambda replica: self._first_s(replica, request))


class Greedy(LeastRequests):
    def choose(self, request: Request, now: float) -> int:
        return self._least([self._first_s(replica, request) for replica in range(len(self._seen))])


BASELINES: Mapping[str, type[LeastRequests]] = {
    "least requests": LeastRequests,
    "SGLang-style": TwoMode,
    "DualMap-style": TwoHashes,
    "greedy": Greedy,
}
