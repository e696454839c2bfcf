"""Mode `quorum`: several models, or several samples of one, answer the same call, and the answer that most of them give
goes out.

As many are asked at first as could decide the vote together, then one after another until nothing could change it; a
tie is taken on with more of them, where the budget has room. What they may cost is held before the first is asked; a
member for which there is no money has no vote, nor has one that fails. The client gets the reply of one that was in the
majority, as it came. How votes are counted is `policies.vote`'s word. "Self-Consistency" (Wang et al., ICLR 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import structs

from policies.answers import answer_of
from policies.vote import Verdict, Vote, VoteRules, tally
from proxy.errors import ProxyError
from proxy.execution.bench import Rules
from proxy.execution.members import Kit, Member, Members, strengths
from proxy.execution.patterns import last_match
from proxy.execution.race import Answer
from proxy.execution.record import Record
from proxy.execution.stake import Asked, Stake
from proxy.observed import Voted
from proxy.snapshot import Snapshot
from proxy.types import Call, Plan

ENDPOINTS: Final = frozenset({"chat", "completions", "responses"})
SHOWN_CHARS: Final = 200  # of an answer, in a reply that tells of the vote


class Poll:
    """One call's."""

    __slots__ = ("asked", "ended", "members", "plan", "record", "rules", "tried", "vote", "votes")

    def __init__(self, record: Record, plan: Plan, rules: Rules, votes: VoteRules, members: Members) -> None:
        self.record = record
        self.plan = plan
        self.rules = rules
        self.votes = votes
        self.members = members
        self.vote = Vote(votes.rule, votes.sizes, strengths(record.call, member_plans(plan, max(votes.sizes))))
        self.asked = 0  # members that were due by now
        self.tried = 0  # those of them for which there was money
        self.ended: dict[int, Member] = {}

    def __repr__(self) -> str:
        return f"Poll({self.plan.model!r}, {self.vote!r})"

    def costs(self, first: int, last: int) -> list[Asked]:
        return [(self.record.call, plan) for plan in member_plans(self.plan, last)[first:]]

    def ask(self) -> None:
        """Everyone who is due."""
        due, plans = self.vote.due, member_plans(self.plan, self.vote.size)
        while self.asked < due:
            if self.asked not in self.vote.missing:
                self.members.ask(self.asked, plans[self.asked])
                self.tried += 1
            self.asked += 1

    def take(self, member: Member) -> None:
        self.ended[member.number] = member
        if member.answer is None:
            self.vote.miss(member.number)
            return
        said = member.said
        self.vote.cast(member.number, None if said is None else answer_of(said, self.votes.extraction, last_match))


def member_plans(plan: Plan, count: int) -> tuple[Plan, ...]:
    """Whom the first so many are: the models in turn, again and again."""
    models = plan.members
    return tuple([models[number % len(models)] for number in range(count)])


class Quorum:
    """Implements `parts.Executor`."""

    def __init__(self, kit: Kit, stake: Stake) -> None:
        self._kit = kit
        self._stake = stake

    def __repr__(self) -> str:
        return f"Quorum({self._stake!r})"

    async def run(self, record: Record, plan: Plan, rules: Rules, snapshot: Snapshot) -> Answer:
        check_endpoint(record.call, plan)
        record.plan = limited(plan)
        members = Members(self._kit, record, rules)
        poll = Poll(record, plan, rules, snapshot.votes.get(plan.model, VoteRules()), members)
        await self._hold_first(poll)
        try:
            verdict = await self._count(poll)
        finally:
            given_up = members.running
            await members.close()
        self._say(poll, outcome(verdict, poll, given_up))
        return self._committed(poll, verdict)

    async def _hold_first(self, poll: Poll) -> None:
        """As many as can be paid for; the first of them, if it is the only one, is a call like any other."""
        size = poll.vote.size
        free = poll.record.purse.free_usd_nanos
        paid = self._stake.payable(free, poll.costs(0, size), poll.rules.providers)
        while paid and await self._stake.hold(poll.record, poll.costs(0, paid), poll.rules.providers) is not None:
            paid -= 1
        for number in range(max(1, paid), size):
            poll.vote.miss(number)
        if paid < size:
            self._say(poll, f"there is money for {max(1, paid)} of {size} members: the others have no vote")

    async def _count(self, poll: Poll) -> Verdict:
        vote = poll.vote
        while True:  # bounded by the largest size
            verdict = vote.verdict()
            if verdict is None:
                poll.ask()
                for member in await poll.members.ended():
                    poll.take(member)
            elif not vote.tied or not await self._grows(poll):
                return verdict

    async def _grows(self, poll: Poll) -> bool:
        vote, larger = poll.vote, poll.vote.next_size
        if larger is None:
            return False
        more, providers = poll.costs(vote.size, larger), poll.rules.providers
        if await self._stake.hold(poll.record, more, providers) is not None:
            self._say(poll, f"a tie, and no money for more than {vote.size} members")
            return False
        self._say(poll, f"a tie of {vote.size}: up to {larger} are asked")
        vote.grow()
        return True

    def _committed(self, poll: Poll, verdict: Verdict) -> Answer:
        record, vote = poll.record, poll.vote
        record.voted = Voted(verdict.result, verdict.counts, vote.size, poll.tried, len(vote.missing))
        winner = None if verdict.member is None else poll.ended[verdict.member]
        if winner is None or winner.answer is None:
            raise failure(list(poll.ended.values()), poll.plan)
        told = {number: member.plan.model for number, member in poll.ended.items()}
        return commit(self._kit, record, winner, answers(vote.ballots, told))

    def _say(self, poll: Poll, said: str) -> None:
        poll.record.decided(self._kit.clock.now(), said)


# --- what quorums and debates have in common -------------------------------------------------------------------------


def check_endpoint(call: Call, plan: Plan) -> None:
    if call.endpoint not in ENDPOINTS:
        message = f"The model {plan.model!r} is a {plan.mode}: it answers chats, completions and responses."
        raise ProxyError("invalid_request", message, param="model")


def limited(plan: Plan) -> Plan:
    """With the output that its members are held to, where a budget that is nearly spent holds all of them to some."""
    limits = [member.output_tokens_max for member in plan.members]
    known = [limit for limit in limits if limit is not None]
    return structs.replace(plan, output_tokens_max=max(known) if len(known) == len(limits) else None)


def failure(members: Sequence[Member], plan: Plan) -> ProxyError:
    """What the first one has failed with; of none that failed by itself there is nothing to tell."""
    errors = [member.error for member in members if member.error is not None]
    return errors[0] if errors else ProxyError("internal", f"No member of {plan.model!r} has come to an end.")


def commit(kit: Kit, record: Record, winner: Member, votes: list[dict[str, object]]) -> Answer:
    """The reply that goes out, with a word of the vote where its client wants one. From now on the plan is that of the
    one who gave it, as far as anybody asks whether it was his to answer."""
    assert winner.answer is not None  # who has none has not won
    exchange, reading = winner.answer
    record.answered, record.served_by, voted = exchange, "quorum", record.voted
    if record.plan is not None:
        record.plan = structs.replace(record.plan, steps=winner.plan.steps, fallbacks=winner.plan.fallbacks)
    if record.call.votes_shown and voted is not None:
        told = {**structs.asdict(voted), "answers": votes}
        reading.first = kit.dialect.with_votes(reading.first, told)
    return winner.answer


def answers(ballots: dict[int, str | None], models: dict[int, str]) -> list[dict[str, object]]:
    """Which answers there were, and who gave each."""
    return [
        {"answer": answer[:SHOWN_CHARS], "models": [models[voter] for voter in voters]}
        for answer, voters in tally(ballots)
    ]


def outcome(verdict: Verdict, poll: Poll, given_up: int) -> str:
    """In words."""
    votes = " to ".join(map(str, verdict.counts)) or "none"
    missing = f", {len(poll.vote.missing)} missing" if poll.vote.missing else ""
    stopped = f"; {given_up} more could not change it and were given up" if given_up else ""
    winner = "" if verdict.member is None else f"; the reply of {poll.ended[verdict.member].plan.model!r} goes out"
    return f"vote of {poll.vote.size}: {verdict.result.replace('_', ' ')}, votes {votes}{missing}{winner}{stopped}"
