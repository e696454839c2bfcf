"""Mode `debate`: some models answer a chat, each is shown what the others have said and answers again, for a few
rounds; what most of them say at the end goes out.

It ends early where all agree. Its worst case, every round with prompts that have grown as far as they may, is worked
out beforehand: above the operator's bound it is refused, and otherwise held whole before the first model is asked; a
member has one try. The plain vote over the first round costs nothing more and is told beside the answer. "Improving
Factuality and Reasoning in Language Models through Multiagent Debate" (Du et al., ICML 2024).
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct, structs

from policies.answers import answer_of
from policies.debate import longest, room_bytes, shortened, too_expensive
from policies.retry import Retry
from policies.vote import Verdict, VoteRules, plurality
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.bench import Rules
from proxy.execution.members import Kit, Member, Members, strengths
from proxy.execution.patterns import last_match
from proxy.execution.quorum import answers, commit, failure, limited
from proxy.execution.race import Answer
from proxy.execution.record import Record
from proxy.execution.stake import Asked, Providers, Stake
from proxy.observed import Voted
from proxy.snapshot import Snapshot
from proxy.types import Call, Plan

TOOLS: Final = ("tools", "functions")


class WorstCase(Struct, frozen=True):
    """Every round, with prompts that have grown as far as they may."""

    asked: tuple[Asked, ...]
    room: int  # bytes of an answer that others are shown
    calls: float  # as many of the dearest member alone cost as much


class Talk:
    """One call's debate: who still takes part, and what each has said last."""

    __slots__ = ("asked", "first", "last", "members", "plans", "record", "room", "rounds", "rules", "votes")

    def __init__(self, record: Record, plan: Plan, rules: Rules, votes: VoteRules, members: Members) -> None:
        self.record = record
        self.plans = _member_plans(plan)
        self.rules = rules
        self.votes = votes
        self.members = members
        self.room = 0  # bytes of an answer that others are shown
        self.asked = 0
        self.rounds = 0
        self.last: dict[int, Member] = {}  # of the last round that had an answer
        self.first: dict[int, str | None] = {}

    def __repr__(self) -> str:
        return f"Talk({len(self.last)} of {len(self.plans)}, {self.rounds} rounds)"

    @property
    def ballots(self) -> dict[int, str | None]:
        return {number: self._answer(member) for number, member in self.last.items()}

    @property
    def agreed(self) -> bool:
        """All that are left say the same."""
        said = set(self.ballots.values())
        return len(said) == 1 and None not in said

    def text(self, number: int) -> str:
        said = self.last[number].said
        return "" if said is None else shortened(said.text, self.room)

    def _answer(self, member: Member) -> str | None:
        return None if member.said is None else answer_of(member.said, self.votes.extraction, last_match)


class Debate:
    """Implements `parts.Executor`."""

    def __init__(self, kit: Kit, stake: Stake) -> None:
        self._kit = kit
        self._stake = stake

    def __repr__(self) -> str:
        return f"Debate({self._stake!r})"

    async def run(self, record: Record, plan: Plan, rules: Rules, snapshot: Snapshot) -> Answer:
        check(record.call, plan)
        record.plan = limited(plan)
        rules = structs.replace(rules, retry=Retry(attempts=1))
        members = Members(self._kit, record, rules)
        talk = Talk(record, plan, rules, snapshot.votes.get(plan.model, VoteRules()), members)
        await self._hold(talk, plan)
        try:
            await self._rounds(talk, plan)
        finally:
            await members.close()
        return self._committed(talk)

    # --- the worst case ----------------------------------------------------------------------------------------------

    async def _hold(self, talk: Talk, plan: Plan) -> None:
        """Raises ProxyError: debate_too_expensive, or what the budget refuses it with."""
        record, providers, dialect = talk.record, talk.rules.providers, self._kit.dialect
        worst = worst_case((record.call, plan), talk.votes, stake=self._stake, dialect=dialect, providers=providers)
        talk.room = worst.room
        refused = await self._stake.hold(record, worst.asked, providers)
        if refused is not None:
            raise refused
        self._say(
            talk, f"{len(talk.plans)} models in up to {talk.votes.rounds} rounds, {worst.calls:.1f} calls at most"
        )

    # --- the rounds --------------------------------------------------------------------------------------------------

    async def _rounds(self, talk: Talk, plan: Plan) -> None:
        for number in range(talk.votes.rounds):
            heard = await self._round(talk, number)
            if not any(member.answer for member in heard):
                if number == 0:
                    raise failure(heard, plan)
                self._say(talk, f"nobody answered in round {number + 1}: round {number} counts")
                return
            talk.last = {member.number: member for member in heard if member.answer is not None}
            talk.rounds = number + 1
            if number == 0:
                talk.first = talk.ballots
            if talk.agreed or len(talk.last) == 1:
                return

    async def _round(self, talk: Talk, number: int) -> list[Member]:
        call = talk.record.call
        taking_part = tuple(talk.last) if number else tuple(range(len(talk.plans)))
        texts = {each: talk.text(each) for each in talk.last}
        for each in taking_part:
            others = [texts[other] for other in talk.last if other != each]
            ask = self._kit.dialect.debated(call, texts[each], others) if number else None
            talk.members.ask(each, talk.plans[each], ask)
        talk.asked += len(taking_part)
        heard: list[Member] = []
        while talk.members.running:
            heard += await talk.members.ended()
        return sorted(heard, key=lambda member: member.number)

    def _committed(self, talk: Talk) -> Answer:
        record, ranks = talk.record, strengths(talk.record.call, talk.plans)
        ballots = talk.ballots
        verdict, before = plurality(ballots, ranks), plurality(talk.first, ranks)
        size = len(talk.plans)
        record.voted = Voted(
            verdict.result,
            verdict.counts,
            size,
            talk.asked,
            missing=size - len(ballots),
            rounds=talk.rounds,
            changed=verdict.answer != before.answer,
        )
        assert verdict.member is not None  # somebody answered
        winner = talk.last[verdict.member]
        self._say(talk, _outcome(verdict, before, talk, winner.plan.model))
        told = {number: plan.model for number, plan in enumerate(talk.plans)}
        return commit(self._kit, record, winner, answers(ballots, told))

    def _say(self, talk: Talk, said: str) -> None:
        talk.record.decided(self._kit.clock.now(), said)


def check(call: Call, plan: Plan) -> None:
    """Raises ProxyError for what cannot be debated."""
    fields = call.head.fields
    if call.endpoint != "chat" or fields is None or not bytes(fields["messages"]).startswith(b"["):
        message = f"The model {plan.model!r} is a debate: it answers chats."
        raise ProxyError("invalid_request", message, param="model")
    for name in TOOLS:
        if name in fields and bytes(fields[name]) not in (b"null", b"[]"):
            message = f"The model {plan.model!r} is a debate: it compares words, and calls no tools."
            raise ProxyError("invalid_request", message, param=name)


def worst_case(asked: Asked, votes: VoteRules, *, stake: Stake, dialect: Dialect, providers: Providers) -> WorstCase:
    """Of a call whose plan is a debate. Raises ProxyError where the operator does not want to pay for it."""
    call, plan = asked
    members = _member_plans(plan)
    first: list[Asked] = [(call, each) for each in members]
    sized = [stake.size(each, providers) for each in first]
    room = room_bytes(max(each.output_limit for each in sized))
    most = longest(room)
    later = dialect.debated(call, most, [most] * (len(first) - 1))
    again: list[Asked] = [(later, each) for each in members] * (votes.rounds - 1)
    one = max(each.amounts.usd_nanos for each in sized)
    worst = sum([stake.size(each, providers).amounts.usd_nanos for each in (*first, *again)])
    if too_expensive(worst, one, votes.cost_ratio_max):
        raise _too_expensive(plan, worst, one, votes)
    return WorstCase((*first, *again), room, worst / (one or 1))


def _member_plans(plan: Plan) -> tuple[Plan, ...]:
    """Each has one step: what it may cost is then known."""
    return tuple([structs.replace(each, steps=each.steps[:1], fallbacks=()) for each in plan.members])


def _too_expensive(plan: Plan, worst: int, one: int, votes: VoteRules) -> ProxyError:
    message = (
        f"The debate {plan.model!r} could cost {worst / 1e9:.6f} USD, which is more than "
        f"{votes.cost_ratio_max:g} times the {one / 1e9:.6f} USD of one call. Ask for less output, or configure "
        "fewer rounds or members."
    )
    return ProxyError("debate_too_expensive", message, param="model")


def _outcome(verdict: Verdict, before: Verdict, talk: Talk, model: str) -> str:
    votes = " to ".join(map(str, verdict.counts)) or "none"
    first = " to ".join(map(str, before.counts)) or "none"
    changed = "the same answer" if verdict.answer == before.answer else "another answer"
    rounds = f"{talk.rounds} round{'s' if talk.rounds > 1 else ''}"
    return (
        f"debate of {rounds}: {verdict.result.replace('_', ' ')}, votes {votes}; the reply of {model!r} goes out; "
        f"a plain vote over the first round gives {changed}, votes {first}"
    )
