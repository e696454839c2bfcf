"""Quorums: what a vote is worth, how many answers it takes, and that ending it early never changes what it says.

The recorded voters are four systems that solved the same 1,319 problems, the simulated ones are right as often as a
strong model is on such problems; what they say goes through the policies that count votes in the gate. The last figures
are of calls from socket to socket.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

from msgspec import Struct

from policies.answers import Extraction, answer_of
from policies.vote import Verdict, Vote, VoteRules, plurality
from proxy.execution.patterns import last_match
from proxy.observed import Said
from tests import loop
from tests.economics.row import Row, at_most, shown
from tests.flow.panel import CHAT, Panel, reply
from tests.flow.world import Peer

SOLUTIONS = "gsm8k_four_systems.jsonl.gz"
SYSTEMS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")  # the strongest last
ANSWER = Extraction("regex", r"A:(.*)")
RIGHT = 0.857
WRONG = ("w", "x", "y", "z")
SEED = 6
SIMULATED = 40_000
CALLS = 400
KNOWN = 56.4  # percent
NEAR = 0.3


class Problem(Struct, frozen=True):
    truth: str | None
    answers: tuple[str | None, ...]  # of each system


class Tally(Struct):
    right: int = 0
    asked: int = 0
    differing: int = 0  # from what the full vote says
    votes: int = 0

    def add(self, verdict: Verdict, full: Verdict, *, asked: int, truth: str | None) -> None:
        self.votes += 1
        self.asked += asked
        self.right += verdict.answer == truth
        self.differing += verdict.answer != full.answer

    @property
    def accuracy(self) -> float:
        return 100 * self.right / self.votes

    @property
    def calls(self) -> float:
        return self.asked / self.votes


def rows(folder: Path | None) -> Iterator[Row]:
    yield from _recorded(folder)
    for sizes in ((3,), (5,), (7,), (3, 5, 7)):
        found = simulated(sizes)
        name = f"k = {sizes[0]}" if len(sizes) == 1 else "3, then 5, then 7 on ties"
        yield shown(f"simulated voters, {RIGHT} right: accuracy of {name}, percent", f"{found.accuracy:.1f}")
        figure = f"... answers asked for, {name}"
        yield at_most(figure, found.calls, 3.5, digits=2) if sizes == (5,) else shown(figure, f"{found.calls:.2f}")
        if len(sizes) == 1:
            yield at_most("... votes that say another answer than the full vote", found.differing, 0, digits=0)
    asked, agreed = loop.run(through_the_gate(CALLS))
    yield at_most(f"{CALLS} calls through the gate, k = 5: upstream calls each", asked, 3.5, digits=2)
    yield shown("... percent of them right", f"{100 * agreed:.1f}")


def _recorded(folder: Path | None) -> Iterator[Row]:
    if folder is None or not (folder / SOLUTIONS).exists():
        yield shown("recorded voters", "no traces")
        return
    problems = read(folder)
    strengths = [float(place) for place in range(len(SYSTEMS))]
    alone = sum(problem.answers[-1] == problem.truth for problem in problems) / len(problems)
    yield shown("grade-school problems: the strongest of four systems alone is right, percent", f"{100 * alone:.1f}")
    found = Tally()
    for order in permutations(range(len(SYSTEMS))):
        for problem in problems:
            answers = [problem.answers[place] for place in order]
            ranks = [strengths[place] for place in order]
            full = plurality(dict(enumerate(answers)), ranks)
            verdict, asked = taken(answers, (len(answers),), ranks)
            found.add(verdict, full, asked=asked, truth=problem.truth)
    near = abs(found.accuracy - KNOWN) <= NEAR
    yield Row("... the plurality of the four, percent", f"{found.accuracy:.1f}", f"~ {KNOWN}", near)
    yield shown("... answers asked for, of four", f"{found.calls:.2f}")
    yield at_most(f"... of {found.votes:,} votes in all orders, not as the full vote", found.differing, 0, digits=0)


def read(folder: Path) -> list[Problem]:
    with gzip.open(folder / SOLUTIONS, "rt") as lines:
        told = [json.loads(line) for line in lines]
    return [
        Problem(_answer(one["ground_truth"]), tuple([_answer(one[system]["solution"]) for system in SYSTEMS]))
        for one in told
    ]


def _answer(solution: str) -> str | None:
    return answer_of(Said(solution), ANSWER, last_match)


def taken(answers: Sequence[str | None], sizes: tuple[int, ...], strengths: Sequence[float]) -> tuple[Verdict, int]:
    """The vote as the gate takes it, and how many it asked."""
    vote, asked = Vote("majority", sizes, strengths), 0
    while True:
        verdict = vote.verdict()
        if verdict is not None and not (vote.tied and vote.next_size):
            return verdict, asked
        if verdict is not None:
            vote.grow()
        due = vote.due
        for member in range(asked, due):
            vote.cast(member, answers[member])
        asked = due


def simulated(sizes: tuple[int, ...]) -> Tally:
    chance, found = random.Random(SEED), Tally()
    strengths = [1.0] * sizes[-1]
    for _ in range(SIMULATED):
        answers = [_said(chance) for _ in strengths]
        verdict, asked = taken(answers, sizes, strengths)
        full = plurality(dict(enumerate(answers[: sizes[0]])), strengths)
        found.add(verdict, full, asked=asked, truth="r")
    return found


def _said(chance: random.Random) -> str:
    return "r" if chance.random() < RIGHT else chance.choice(WRONG)


async def through_the_gate(calls: int) -> tuple[float, float]:
    """Upstream calls for each, and the share of right answers."""
    chance = random.Random(SEED)

    async def voter(peer: Peer) -> None:
        await asyncio.sleep(chance.uniform(0.2, 2.0))
        await peer.reply(reply(f"ANSWER: {_said(chance)}r"))

    votes = VoteRules(sizes=(5,), extraction=Extraction("regex", "ANSWER: (.*)"))
    async with Panel(voter, votes=votes) as world:
        replies = [await world.request(CHAT) for _ in range(calls)]
        right = sum(each.body == reply("ANSWER: rr") for each in replies)
        return world.asked[0] / calls, right / calls
