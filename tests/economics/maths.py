"""What evidence is worth on graded answers to grade-school maths: agreement, the bound on loss, and a learnt choice.

Two tables of graded answers are read where they lie (see `loadtests.replay.traces`), and others are made up: subjects
in which a strong model is worth more or less. The gate's own policies decide: `answers` says what agrees, `conformal`
what may be accepted, `bandit` who is asked. Seeds are fixed; what a share of calls costs is counted in strong calls.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from policies.answers import folded
from policies.bandit import Bandit
from policies.conformal import Conformal, Label
from tests.economics.row import Row, at_least, at_most, shown

FOUR: Final = "gsm8k_four_systems.jsonl.gz"
TWO: Final = "gsm8k_mixtral_gpt4.csv.gz"
WEAK: Final = ("6b_finetuning", "6b_verification", "175b_finetuning")
STRONG: Final = "175b_verification"
RESAMPLINGS: Final = 200
SUBJECTS: Final = 40
MORE_SUBJECTS: Final = 57
QUESTIONS: Final = 12_000
COSTS: Final = (0.05, 1.0)
SEEDS: Final = 5


class Item(NamedTuple):
    """One question: of each system what it answered and whether that was right, the strong one last."""

    length: int
    answers: tuple[str, ...]
    right: tuple[bool, ...]


class Graded(NamedTuple):
    """One call of a kind: whether the weak and the strong model answer it well."""

    kind: str
    weak: bool
    strong: bool


def rows(folder: Path | None) -> Iterator[Row]:
    if folder is None or not (folder / FOUR).exists() or not (folder / TWO).exists():
        yield shown(f"traces not found: set HEADGATE_TRACES to the folder that holds {FOUR}", "skipped")
    else:
        yield from _agreement(four_systems(folder))
        yield from _bounds(four_systems(folder))
        yield from _learnt_by_length(two_models(folder))
    yield from _learnt_by_subject()
    for spread in (0.05, 0.08, 0.12):
        yield from _learnt_of_alike(spread)


# --- the tables ------------------------------------------------------------------------------------------------------


def four_systems(folder: Path) -> list[Item]:
    items = []
    with gzip.open(folder / FOUR, "rt") as lines:
        for line in lines:
            told = json.loads(line)
            graded = [told[name] for name in (*WEAK, STRONG)]
            answers = [folded(each["solution"].rpartition("A:")[2].strip().rstrip(".")) or "" for each in graded]
            right = tuple([each["is_correct"] for each in graded])
            items.append(Item(len(told["question"]), tuple(answers), right))
    return items


def two_models(folder: Path) -> list[Graded]:
    """By the octave of the question's length, as the gate tells kinds apart."""
    with gzip.open(folder / TWO, "rt", newline="") as lines:
        table = list(csv.DictReader(lines))
    return [
        Graded(
            f"{(len(row['prompt']) // 4).bit_length()} maths latin",
            row["mistralai/Mixtral-8x7B-Instruct-v0.1"] == "True",
            row["gpt-4-1106-preview"] == "True",
        )
        for row in table
    ]


def subjects(seed: int) -> list[Graded]:
    """Made up: of some subjects the weak model knows as much, of others the strong one knows far more."""
    rng, table = Random(seed), []
    weights = [rng.lognormvariate(0, 0.7) for _ in range(SUBJECTS)]
    for number, weight in enumerate(weights):
        weak, strong = min(0.97, max(0.2, rng.gauss(0.68, 0.15))), min(0.97, max(0.3, rng.gauss(0.82, 0.09)))
        count = max(20, int(QUESTIONS * weight / sum(weights)))
        table += [Graded(f"subject {number}", rng.random() < weak, rng.random() < strong) for _ in range(count)]
    rng.shuffle(table)
    return table


def alike(seed: int, spread: float) -> list[Graded]:
    """Made up: the strong model is better by an eighth, and by more or less of that in 57 subjects of all sizes."""
    rng, table = Random(seed), []
    weights = [rng.lognormvariate(0, 0.9) for _ in range(MORE_SUBJECTS)]
    for number, weight in enumerate(weights):
        weak = min(0.95, max(0.2, rng.gauss(0.68, 0.13)))
        strong = min(0.98, max(0.1, weak + rng.gauss(0.125, spread)))
        count = max(20, int(QUESTIONS * weight / sum(weights)))
        table += [Graded(f"subject {number}", rng.random() < weak, rng.random() < strong) for _ in range(count)]
    rng.shuffle(table)
    return table


def in_hindsight(table: Sequence[Graded], share: float) -> float:
    """Of what the strong model is better: how much is reached by who knows every answer and has to choose by kind."""
    kinds: dict[str, list[int]] = defaultdict(list)
    for row in table:
        kinds[row.kind].append(row.strong - row.weak)
    left, gained = share * len(table), 0.0
    for gains in sorted(kinds.values(), key=lambda gains: sum(gains) / len(gains), reverse=True):
        asked = min(left, len(gains)) if sum(gains) > 0 else 0
        gained += sum(gains) * asked / len(gains)
        left -= asked
    return gained / sum([row.strong - row.weak for row in table])


# --- agreement -------------------------------------------------------------------------------------------------------


def _agreement(items: Sequence[Item]) -> Iterator[Row]:
    """The middle system's answer goes out where another weak one says the same; else the strong one is asked."""
    alone = sum([item.right[-1] for item in items]) / len(items)
    for other in (0, 2):
        cheap = [bool(item.answers[1]) and item.answers[1] == item.answers[other] for item in items]
        right = sum([item.right[1] if ok else item.right[-1] for item, ok in zip(items, cheap, strict=True)])
        names = f"{WEAK[1]} and {WEAK[other]} agree"
        yield at_least(f"{names}: strong calls saved", sum(cheap) / len(items), 0.20)
        yield at_most(f"{names}: points lost against strong only", 100 * (alone - right / len(items)), 0.5)


# --- the bound -------------------------------------------------------------------------------------------------------


def _score(item: Item) -> float:
    """How many of the three weak systems say what their most frequent answer is; of equals the shorter question."""
    votes = max([item.answers[:3].count(answer) for answer in item.answers[:3]])
    return votes / 4 + 0.2 / (1 + item.length / 100)


def _plurality(item: Item) -> int:
    """The system whose answer goes out."""
    return max((1, 2, 0), key=lambda at: item.answers[:3].count(item.answers[at]))


def _bounds(items: Sequence[Item]) -> Iterator[Row]:
    """Half of the questions are labels, the other half shows what was accepted on their word."""
    graded = [(_score(item), item.right[_plurality(item)]) for item in items]
    for alpha, least in ((0.20, 0.10), (0.25, 0.15)):
        broken, accepted = 0, 0.0
        for seed in range(RESAMPLINGS):
            lost, share = _resampled(graded, alpha, Random(seed))
            broken += lost > alpha
            accepted += share / RESAMPLINGS
        yield at_most(
            f"loss bound {alpha:g}: broken in a share of {RESAMPLINGS} resamplings", broken / RESAMPLINGS, 0.10
        )
        yield at_least(f"loss bound {alpha:g}: answers accepted", accepted, least)
    _, share = _resampled(graded, 0.05, Random(0))
    yield at_most("loss bound 0.05: answers accepted, of systems that are never so good", share, 0.0)


def _resampled(graded: Sequence[tuple[float, bool]], alpha: float, rng: Random) -> tuple[float, float]:
    """The loss of what was accepted, and its share."""
    drawn = list(graded)
    rng.shuffle(drawn)
    half, known = len(drawn) // 2, Conformal()
    for score, right in drawn[:half]:
        floor = known.learn(Label("a", "smart", 0, score, right), alpha)
    floor.fit(alpha)
    accepted = [right for score, right in drawn[half:] if score >= floor.accepts_from]
    return accepted.count(False) / len(accepted) if accepted else 0.0, len(accepted) / (len(drawn) - half)


# --- a learnt choice -------------------------------------------------------------------------------------------------


class Worked(NamedTuple):
    """Shares of all calls: that were right, that were strong ones."""

    right: float
    dear: float


def worked(table: Iterable[Graded], seed: int, share: float) -> Worked:
    """Online: a call is answered by one model, and what became of it is told."""
    bandit, right, dear, calls = Bandit(Random(seed)), 0, 0, 0
    for kind, weak, strong in table:
        rung = bandit.choose("a", "smart", kind, costs=COSTS, share=share)
        well = strong if rung else weak
        bandit.learn(Label("a", "smart", rung, 1.0, well, kind=kind, last=rung == 1), 2)
        right, dear, calls = right + well, dear + rung, calls + 1
    return Worked(right / calls, dear / calls)


def _gap_share(table: Sequence[Graded], found: Worked) -> tuple[float, float]:
    """Of what the strong model is better: how much was reached, and how much chance reaches at the same cost."""
    weak, strong = (sum([row[at] for row in table]) / len(table) for at in (1, 2))
    return (found.right - weak) / (strong - weak), found.dear


def _learnt_by_length(table: Sequence[Graded]) -> Iterator[Row]:
    reached = []
    for seed in range(SEEDS):
        shuffled = list(table)
        Random(seed).shuffle(shuffled)
        gained, chance = _gap_share(table, worked(shuffled, seed, 0.5))
        reached.append(gained - chance)
    yield at_least("Mixtral or GPT-4 by length: share of the gap above chance's at equal cost", _mean(reached), 0.0)


def _learnt_by_subject() -> Iterator[Row]:
    gained, dear = [], []
    for seed in range(SEEDS):
        table = subjects(seed)
        reached, cost = _gap_share(table, worked(table, seed, 0.5))
        gained.append(reached)
        dear.append(cost)
    yield shown(f"{SUBJECTS} made-up subjects: gap reached by chance at equal cost", f"{_mean(dear):.3f}")
    yield at_least(f"{SUBJECTS} made-up subjects, learnt online: share of the gap reached", _mean(gained), 0.70)
    yield at_least(f"{SUBJECTS} made-up subjects: the same, of the worst of {SEEDS} seeds", min(gained), 0.60)
    yield at_most(f"{SUBJECTS} made-up subjects: strong calls", _mean(dear), 0.505)


def _learnt_of_alike(spread: float) -> Iterator[Row]:
    """No goal: the last figure says how much there is to be learnt."""
    names = f"{MORE_SUBJECTS} subjects, lead 12.5 +- {100 * spread:g} points"
    tables = [alike(seed, spread) for seed in range(SEEDS)]
    for order, sort in (("shuffled", False), ("one after another", True)):
        found = []
        for seed, table in enumerate(tables):
            rows = sorted(table, key=attrgetter("kind")) if sort else table
            found.append(_gap_share(table, worked(rows, seed, 0.5)))
        gained, dear = (_mean([each[at] for each in found]) for at in (0, 1))
        yield shown(f"{names}, {order}: gap, strong calls", f"{gained:.3f}, {dear:.3f}")
    best = _mean([in_hindsight(table, 0.5) for table in tables])
    yield shown(f"{names}: gap by subject in hindsight", f"{best:.3f}")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
