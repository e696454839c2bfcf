"""Questions that are asked again in other words, and others that only look the same: the world of a semantic cache.

Recorded pairs (people said of each whether both ask the same) where there are some, made-up ones else. A stream asks
the pairs in random order with Zipf's popularity, each time in one of its wordings; what it should be answered is known.
Vectors are TF-IDF of words and trigrams, hashed: a bound has to hold for any embedder, so also for a poor one.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

PAIRS = "qqp_pairs.jsonl.gz"
SIZE = 512  # of a vector
LOOKED_AT = 12_000  # pairs, of which those are kept that are near each other
NEAR = 0.85  # the cosine of a pair that a cache would think of at all
ZIPF = 1.0


@dataclass(frozen=True, slots=True)
class Pair:
    one: str
    other: str
    same: bool


@dataclass(frozen=True, slots=True)
class World:
    """Pairs that lie near each other. `answer` says what a text asks for, `vectors` where it lies (`at` its row)."""

    pairs: tuple[Pair, ...]
    answer: Mapping[str, int]
    at: Mapping[str, int]
    vectors: Vectors

    def asked(self, seed: int, *, pairs: int, requests: int) -> list[str]:
        """The texts of a stream, one after the other."""
        rng = Random(seed)
        chosen = rng.sample(self.pairs, min(pairs, len(self.pairs)))
        weights = [1 / (rank + 1) ** ZIPF for rank in range(len(chosen))]
        return [pair.one if rng.random() < 0.5 else pair.other for pair in rng.choices(chosen, weights, k=requests)]

    def vector(self, text: str) -> Vectors:
        return self.vectors[self.at[text]]


def world(folder: Path | None, seed: int) -> World:
    """Recorded pairs, or made-up ones where `folder` has none."""
    file = None if folder is None else folder / PAIRS
    pairs = made_up(seed) if file is None or not file.exists() else recorded(file)
    answer = _answers(pairs)
    looked_at = Random(seed).sample(pairs, min(LOOKED_AT, len(pairs)))
    texts = sorted({text for pair in looked_at for text in (pair.one, pair.other)})
    at = {text: row for row, text in enumerate(texts)}
    vectors = embedded(texts)
    near = tuple([pair for pair in looked_at if vectors[at[pair.one]] @ vectors[at[pair.other]] >= NEAR])
    return World(near, answer, at, vectors)


def recorded(file: Path) -> list[Pair]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        told = [json.loads(line) for line in lines]
    found = [Pair(pair["text_a"].strip(), pair["text_b"].strip(), pair["label"] == 1) for pair in told]
    return [pair for pair in found if pair.one != pair.other]


def made_up(seed: int, count: int = 4_000) -> list[Pair]:
    """The same task in two wordings, or in one wording with another place, thing or number in it."""
    rng = Random(seed)
    verbs = ("repair", "sell", "rent", "insure", "clean", "register", "paint", "transport")
    things = tuple(
        f"{kind} {what}" for kind in ("wooden", "used", "small", "electric") for what in ("boat", "bike", "car")
    )
    places = ("Lisbon", "Oslo", "Kyoto", "Lima", "Quito", "Hanoi", "Cairo", "Perth", "Riga", "Turin")
    wordings = (
        "How can I {} a {} in {} for {} dollars, and which papers and fees does the city ask for in that case?",
        "How could I {} a {} in {} for {} dollars, and which papers and fees would the city want in that case?",
        "How can I {} a {} in {} for {} dollars, and what papers and fees does the city ask for in such a case?",
    )
    pairs = []
    for _ in range(count):
        task = (rng.choice(verbs), rng.choice(things), rng.choice(places), str(rng.randrange(50, 60)))
        first, second = rng.sample(wordings, 2)
        same = rng.random() < 0.6
        changed = list(task)
        if not same:
            slot = rng.randrange(4)
            changed[slot] = rng.choice(
                [word for word in (verbs, things, places, ("61", "62"))[slot] if word != task[slot]]
            )
        pairs.append(Pair(first.format(*task), (second if same else first).format(*changed), same))
    return pairs


def embedded(texts: Sequence[str]) -> Vectors:
    """Each of length 1."""
    counted = [_terms(text) for text in texts]
    documents = Counter(term for terms in counted for term in terms)
    places = {term: _place(term, np.log(1 + len(texts) / found)) for term, found in documents.items()}
    vectors = np.zeros((len(texts), SIZE), np.float32)
    for vector, terms in zip(vectors, counted, strict=True):
        for term, count in terms.items():
            at, weight = places[term]
            vector[at] += count * weight
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)


def _place(term: str, rarity: float) -> tuple[int, float]:
    """Where in a vector a term counts, and how much."""
    hashed = zlib.crc32(term.encode())
    return hashed % SIZE, rarity if (hashed >> 16) & 1 else -rarity


def _terms(text: str) -> dict[str, float]:
    words = re.findall(r"\w+", text.lower())
    spaced = f" {' '.join(words)} "
    terms: Counter[str] = Counter()
    for word in words:
        terms[f"={word}"] += 2
    for at in range(len(spaced) - 2):
        terms[spaced[at : at + 3]] += 1
    return {term: float(count) for term, count in terms.items()}


def _answers(pairs: Iterable[Pair]) -> dict[str, int]:
    """One number for all texts that ask the same, by what the pairs say."""
    leader: dict[str, str] = {}

    def find(text: str) -> str:
        while leader.setdefault(text, text) != text:
            leader[text] = text = leader[leader[text]]
        return text

    for pair in pairs:
        one, other = find(pair.one), find(pair.other)
        if pair.same:
            leader[one] = other
    numbers: dict[str, int] = {}
    return {text: numbers.setdefault(find(text), len(numbers)) for text in list(leader)}


class FixedThreshold:
    """What most semantic caches do: the nearest entry answers if its cosine is high enough."""

    def __init__(self, threshold: float, room: int) -> None:
        self.threshold = threshold
        self.hits = self.wrong = 0
        self._vectors = np.zeros((room, SIZE), np.float32)
        self._texts: list[str] = []

    def ask(self, world: World, text: str) -> None:
        """What an exact cache would know is no hit of this one."""
        vector, count = world.vector(text), len(self._texts)
        if count:
            near = self._vectors[:count] @ vector
            best = int(near.argmax())
            if self._texts[best] == text:
                return
            if near[best] >= self.threshold:
                self.hits += 1
                self.wrong += world.answer[self._texts[best]] != world.answer[text]
                return
        self._vectors[count] = vector
        self._texts.append(text)


def at_hit_rate(world: World, asked: Sequence[str], hits: int) -> FixedThreshold:
    """The fixed threshold that, in hindsight, has as many hits of these questions."""
    low, high = NEAR, 1.0
    for _ in range(7):  # halves the interval to a thousandth
        middle = FixedThreshold((low + high) / 2, len(set(asked)) + 1)
        for text in asked:
            middle.ask(world, text)
        low, high = (middle.threshold, high) if middle.hits > hits else (low, middle.threshold)
    return middle
