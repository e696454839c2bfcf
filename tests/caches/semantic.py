"""The semantic cache on questions that are asked again in other words: how often its stated bound holds, beside fixed
thresholds that answer as many; who else is ever given an answer; what a planted entry gets; how long a look takes.

What decides is the gate's own: scope, guard, nomination, confidence, quality and the index. The model is played by what
people said of each pair of questions. Of an identical question nothing is counted: that is the exact cache's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec
import numpy as np

from loadtests.replay.questions import World, at_hit_rate, world
from policies.cache_rules import owner
from policies.semantic import guard
from policies.semantic.confidence import Entry, Route
from policies.semantic.nominate import LOOKED_AT, nominee
from policies.semantic.quality import SERVE_MAX, Quality
from policies.semantic.scope import question_of
from proxy.caching.vectors import Vector, Vectors, unit
from proxy.dialects.openai_chat import OpenAI
from proxy.types import Call, Identity
from tests.caches.row import Row, at_least, at_most, shown

ERROR_MAX = 0.01
SEEDS = 20
PAIRS, REQUESTS = 400, 8_000
TIMES_WORSE = 3.0
RANDOM_PAIRS = 10_000_000
ENTRIES, DIMENSIONS, LOOKS = 20_000, 384, 200


class Known:
    """One entry. `answer`: what it says."""

    def __init__(self, text: str, answer: int) -> None:
        self.text = text
        self.answer = answer
        self.features = guard.read(text)
        self.labels = Entry()

    def answers_as(self, other: object) -> bool:
        return isinstance(other, Known) and other.answer == self.answer


class Played:
    """One scope under a stream of questions."""

    def __init__(self, seed: int, dimensions: int) -> None:
        self.lookups = self.hits = self.wrong = self.hijacked = 0
        self.nominated = 0
        self._rng = Random(seed)
        self._vectors = Vectors(dimensions)
        self._known: dict[int, Known] = {}
        self._texts: set[str] = set()
        self._curve = Route()
        self._quality = Quality()
        self._asker = 0

    def put(self, text: str, answer: int, vector: Vector) -> None:
        self._texts.add(text)
        self._known[self._vectors.add(vector)] = Known(text, answer)

    def ask(self, text: str, answer: int, vector: Vector) -> None:
        if text in self._texts:
            return
        self.lookups += 1
        self._asker += 1
        self._quality.looked_up(ERROR_MAX)
        near = [(cosine, self._known[at]) for at, cosine in self._vectors.near(vector, LOOKED_AT)]
        features = guard.read(text)
        found = nominee(features, near)
        if isinstance(found, str):
            if not any(each.answer == answer and guard.differ(features, each.features) is None for _, each in near):
                self.put(text, answer, vector)
            return
        self.nominated += 1
        self._drawn(near[found.at][1], found.similarity, text=text, answer=answer, vector=vector)

    def _drawn(self, entry: Known, similarity: float, *, text: str, answer: int, vector: Vector) -> None:
        chance = min(SERVE_MAX, entry.labels.serve(similarity, self._quality.error_max(ERROR_MAX)))
        same = entry.answer == answer
        if not self._quality.off and self._rng.random() < chance:
            self._quality.hit()
            self.hits += 1
            self.wrong += not same
            self.hijacked += entry.answer < 0
            return
        entry.labels.learn(similarity, same=same, asker=self._asker, route=self._curve)
        self._quality.labelled(chance, same=same, stated=ERROR_MAX)
        if not same:
            entry.labels.quarantined = entry.labels.quarantined or chance > 0
            self.put(text, answer, vector)


def rows(folder: Path | None) -> Iterator[Row]:
    questions = world(folder, seed=0)
    yield shown("pairs of questions near each other", str(len(questions.pairs)))
    yield from bound(questions, SEEDS)
    yield hijacks(questions, SEEDS)
    yield strangers(RANDOM_PAIRS)
    yield quick()


def bound(questions: World, seeds: int, pairs: int = PAIRS, requests: int = REQUESTS) -> Iterator[Row]:
    held_of_lookups = held_of_hits = broken = 0
    ours, fixed = [0, 0, 0], [0, 0]
    for seed in range(seeds):
        asked = questions.asked(seed, pairs=pairs, requests=requests)
        played = play(questions, asked, seed)
        other = at_hit_rate(questions, asked, played.hits)
        held_of_lookups += played.wrong <= ERROR_MAX * played.lookups
        held_of_hits += played.wrong <= ERROR_MAX * played.hits
        broken += other.wrong > TIMES_WORSE * ERROR_MAX * other.hits
        ours = [ours[0] + played.lookups, ours[1] + played.hits, ours[2] + played.wrong]
        fixed = [fixed[0] + other.hits, fixed[1] + other.wrong]
    share = ours[2] / max(1, ours[1])
    theirs = fixed[1] / max(1, fixed[0])
    yield at_least(f"bound of {ERROR_MAX:.0%} of lookups held, of seeds", held_of_lookups / seeds, 0.95)
    yield at_least(f"wrong at most {ERROR_MAX:.0%} of hits, of seeds", held_of_hits / seeds, 0.95)
    yield shown("answered of lookups", f"{ours[1] / ours[0]:.1%} of {ours[0]}")
    yield shown("wrong of hits", f"{share:.2%} of {ours[1]}")
    yield at_least(
        "fixed threshold with as many hits: wrong of hits / bound", theirs / ERROR_MAX, TIMES_WORSE, digits=1
    )
    yield shown("fixed threshold: wrong of hits", f"{theirs:.2%} of {fixed[0]}")
    yield shown(f"fixed threshold: above {TIMES_WORSE:g} times the bound, of seeds", f"{broken / seeds:.2f}")


def play(questions: World, asked: Sequence[str], seed: int) -> Played:
    played = Played(seed, questions.vectors.shape[1])
    for text in asked:
        played.ask(text, questions.answer[text], questions.vector(text))
    return played


def hijacks(questions: World, seeds: int, pairs: int = PAIRS, requests: int = REQUESTS) -> Row:
    """Before each stream, an answer of somebody's own is planted at the very vector of every question of it."""
    hijacked = 0
    for seed in range(seeds):
        asked = questions.asked(seed, pairs=pairs, requests=requests // 4)
        played = Played(seed, questions.vectors.shape[1])
        for number, text in enumerate(sorted(set(asked))):
            played.put(f"{text} ", -1 - number, questions.vector(text))
        for text in asked:
            played.ask(text, questions.answer[text], questions.vector(text))
        hijacked += played.hijacked
    return at_most("answers of planted entries that were served", hijacked, 0, digits=0)


def strangers(pairs: int, seed: int = 0) -> Row:
    """Random pairs of requests of few tenants, agents, texts and parameters: how often two of different tenants or
    parameters have a scope in common."""
    rng, dialect = Random(seed), OpenAI()
    made = [_request(rng, dialect) for _ in range(5_000)]
    scopes = np.array([int.from_bytes(scope[:8], "little") for scope, _ in made], np.uint64)
    parts = np.array([hash(part) for _, part in made])
    chance = np.random.default_rng(seed)
    one, other = chance.integers(len(made), size=(2, pairs))
    crossed = int(np.sum((scopes[one] == scopes[other]) & (parts[one] != parts[other])))
    missed = int(np.sum((scopes[one] != scopes[other]) & (parts[one] == parts[other])))
    assert not missed  # else no request would ever be answered by another one's
    return at_most(f"scopes in common across tenants or parameters, of {pairs:.0e} pairs", crossed, 0, digits=0)


def _request(rng: Random, dialect: OpenAI) -> tuple[bytes, tuple[object, ...]]:
    """Its scope, and all that may not differ within one."""
    key, team = rng.choice([("k1", None), ("k2", None), ("k3", "t"), ("k4", "t")])
    agent, route, system = rng.choice("ab"), rng.choice("mn"), rng.choice(["", "be brief", "be long"])
    fields = {"temperature": 0, **rng.choice([{}, {"max_tokens": 5}, {"top_p": 0.5}, {"tools": []}])}
    earlier = [{"role": "system", "content": system}] if system else []
    text = rng.choice(["what is this", "what is that", "who is it"])
    body = msgspec.json.encode({"model": route, **fields, "messages": [*earlier, {"role": "user", "content": text}]})
    call = Call(
        id="c",
        endpoint="chat",
        dialect="openai",
        route=route,
        head=dialect.read("chat", body, "application/json"),
        raw=body,
        identity=Identity(key, agent, team=team),
        arrived_at=0.0,
        arrived_wall=0.0,
        deadline=1.0,
        input_tokens_estimate=1,
        trace_id="t",
    )
    revision = rng.choice(["r1", "r2"])
    question = question_of(call, owner(call.identity, "agent"), revision)
    assert not isinstance(question, str)
    return question.scope, (team or key, agent, route, system, tuple(sorted(fields)), revision)


def quick() -> Row:
    chance = np.random.default_rng(0)
    vectors = Vectors(DIMENSIONS)
    for row in chance.standard_normal((ENTRIES, DIMENSIONS)).astype(np.float32):
        vector = unit(row)
        assert vector is not None
        vectors.add(vector)
    took = []
    for _ in range(LOOKS):
        vector = unit(chance.standard_normal(DIMENSIONS))
        assert vector is not None
        began = time.perf_counter()
        vectors.near(vector, LOOKED_AT)
        took.append(time.perf_counter() - began)
    took.sort()
    return at_most(f"a look at {ENTRIES} entries, median", took[LOOKS // 2] * 1e3, 1.0, unit="ms")
