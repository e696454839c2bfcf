"""Which of several answers is given, and when that is certain: votes are counted as they come.

A vote is over as soon as nothing that is still to come could change who leads. One that ends in a tie is taken again
with more members, as far as the rules name larger sizes and the caller can pay for them; the last tie is broken by the
strongest member. A member that fails, or says nothing that can be compared, has no vote. What an answer is stands in
`answers`; here it is a text that is the same or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from policies.answers import Extraction
from proxy.observed import VoteResult

SIZES_USUAL: Final = (3, 5, 7)
SIZE_MAX: Final = 15

Rule = Literal["majority", "unanimous"] | int
"""Who must agree: more than for any other answer; all; or so many, whoever they are first."""


class VoteRules(Struct, frozen=True):
    """What an operator says of a quorum, or of a debate."""

    sizes: tuple[int, ...] = SIZES_USUAL  # answers: the first, and what they grow to on ties
    extraction: Extraction = Extraction()
    rule: Rule = "majority"
    rounds: int = 2  # of a debate
    cost_ratio_max: float = 10.0  # of a debate: its worst case, by one call


class Verdict(Struct, frozen=True):
    """`answer` None: nobody had one that could be compared. `member` None: nobody replied. `counts`: most first."""

    answer: str | None
    member: int | None
    result: VoteResult
    counts: tuple[int, ...]


class Vote:
    """One vote. Members are numbers from 0 in the order in which they are asked; `strengths` are theirs."""

    def __init__(self, rule: Rule, sizes: Sequence[int], strengths: Sequence[float]) -> None:
        self.ballots: dict[int, str | None] = {}  # None: it replied, and nothing in it can be compared
        self.missing: set[int] = set()
        self.size = sizes[0]
        self._larger = list(sizes[1:])
        self._rule = rule
        self._strengths = strengths

    def __repr__(self) -> str:
        return f"Vote({len(self.ballots)} of {self.size} in, {len(self.missing)} missing)"

    @property
    def ended(self) -> int:
        return len(self.ballots) + len(self.missing)

    @property
    def due(self) -> int:
        """How many members are to have been asked by now: first those without whom nothing can be decided, or all
        where the first to agree win, then one after another."""
        first = self.size // 2 + 1 if self._rule == "majority" else self.size
        return min(self.size, max(first, self.ended + 1))

    @property
    def tied(self) -> bool:
        """All are in, and several answers lead: more members would help."""
        return self.ended == self.size and self._decided() is None and len(_leaders(tally(self.ballots))) > 1

    @property
    def next_size(self) -> int | None:
        return self._larger[0] if self._larger else None

    def grow(self) -> None:
        self.size = self._larger.pop(0)

    def cast(self, member: int, answer: str | None) -> None:
        self.ballots[member] = answer

    def miss(self, member: int) -> None:
        self.missing.add(member)

    def verdict(self) -> Verdict | None:
        """None: what is still to come could change it."""
        decided = self._decided()
        if decided is not None or self.ended < self.size:
            return decided
        return _fallen_short(self.ballots, self._strengths, self._rule)

    def _decided(self) -> Verdict | None:
        """Without a look at who is strong."""
        counted = tally(self.ballots)
        if not counted:
            return None
        answer, voters = counted[0]
        second = len(counted[1][1]) if len(counted) > 1 else 0
        result = self._result(len(voters), second, len(counted))
        if result is None:
            return None
        return Verdict(answer, strongest(voters, self._strengths), result, _counts(counted))

    def _result(self, most: int, second: int, answers: int) -> VoteResult | None:
        left = self.size - self.ended
        if isinstance(self._rule, int):
            if most >= self._rule:
                return "agreed"
        elif self._rule == "unanimous" and answers == 1:
            return "agreed" if left == 0 and most == self.size else None
        if isinstance(self._rule, int) and left:
            return None
        if most <= second + left:
            return None
        if self._rule != "majority":
            return "split"
        return "agreed" if 2 * most > self.size else "plurality"


def tally(ballots: Mapping[int, str | None]) -> list[tuple[str, list[int]]]:
    """Who voted for what: the answer with the most votes first, of several the one that was first given."""
    voters: dict[str, list[int]] = {}
    for member, answer in ballots.items():
        if answer is not None:
            voters.setdefault(answer, []).append(member)
    return sorted(voters.items(), key=lambda each: -len(each[1]))


def strongest(members: Sequence[int], strengths: Sequence[float]) -> int:
    """Of several equals the one that is asked first."""
    return min(members, key=lambda member: (-strengths[member], member))


def plurality(ballots: Mapping[int, str | None], strengths: Sequence[float]) -> Verdict:
    """Of a vote that is over, whoever was asked."""
    vote = Vote("majority", (len(ballots),), strengths)
    vote.ballots.update(ballots)
    return vote.verdict() or Verdict(None, None, "no_votes", ())


def _fallen_short(ballots: Mapping[int, str | None], strengths: Sequence[float], rule: Rule) -> Verdict:
    """All are in, and the rule names no answer: the strongest of those who lead says which."""
    counted = tally(ballots)
    if not ballots:
        return Verdict(None, None, "failed", ())
    leaders = _leaders(counted)
    if not leaders:
        return Verdict(None, strongest(list(ballots), strengths), "no_votes", ())
    member = strongest([voter for _, voters in leaders for voter in voters], strengths)
    result: VoteResult = "tie_broken" if len(leaders) > 1 else "split" if rule != "majority" else "plurality"
    return Verdict(ballots[member], member, result, _counts(counted))


def _leaders(counted: list[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    return [each for each in counted if len(each[1]) == len(counted[0][1])]


def _counts(counted: list[tuple[str, list[int]]]) -> tuple[int, ...]:
    return tuple([len(voters) for _, voters in counted])
