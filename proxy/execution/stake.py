"""What several answers to one call may cost together, held before the first of them is asked for.

Each is sized as its attempt will size it, at the dearest target that it may go to. The whole is taken out of the call's
one reservation and given back to it at once: from then on it is kept for the attempts, and nobody else can spend it.
Where no limit stands over the call, nothing is held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate

from msgspec import structs

from policies.budget import NO_LIMITS, Allowance, allowance
from policies.estimate import Experience
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.occupancy import Occupancy
from proxy.execution.purse import NOTHING
from proxy.execution.record import Record
from proxy.holds import Left
from proxy.providers.base import Provider
from proxy.types import Amounts, Call, Plan, Target

Asked = tuple[Call, Plan]
Providers = Mapping[str, Provider]


class Stake:
    def __init__(self, clock: Clock, experience: Experience) -> None:
        self._clock = clock
        self._experience = experience

    def __repr__(self) -> str:
        return f"Stake({self._experience!r})"

    def size(self, asked: Asked, providers: Providers, left: Left = NO_LIMITS) -> Allowance:
        """What one of them may take, whatever the limits have left."""
        call, plan = asked
        free = structs.replace(left, usd_nanos=None)
        most = plan.output_tokens_max
        sized = [self._sized(call, target, providers, free, most) for step in plan.steps for target in step]
        return max(sized, key=lambda each: (each.amounts.usd_nanos, each.amounts.tokens))

    def together(self, asked: Sequence[Asked], providers: Providers, left: Left = NO_LIMITS) -> Amounts:
        """What all of them may take; in steps and requests they are one call."""
        sizes = [self.size(each, providers, left).amounts for each in asked]
        soft = [size.by_index[5] for size in sizes]
        return Amounts(
            sum([size.usd_nanos for size in sizes]),
            sum([size.tokens for size in sizes]),
            requests=1,
            steps=1,
            concurrency=1,
            soft_usd_nanos=sum(soft) if any(size.soft_usd_nanos is not None for size in sizes) else None,
        )

    def payable(self, free_usd_nanos: int | None, asked: Sequence[Asked], providers: Providers) -> int:
        """How many of them the money that is free would do for, in their order. None: nothing limits it."""
        if free_usd_nanos is None:
            return len(asked)
        sums = accumulate([self.size(each, providers).amounts.usd_nanos for each in asked])
        return sum(total <= free_usd_nanos for total in sums)

    async def hold(self, record: Record, asked: Sequence[Asked], providers: Providers) -> ProxyError | None:
        """Beside what is held or spent already."""
        if not record.purse.limited:
            return None
        taken = await record.purse.take(partial(self.together, asked, providers))
        if isinstance(taken, ProxyError):
            return taken
        record.purse.give_back(taken, NOTHING, sent=False)
        return None

    def _sized(self, call: Call, target: Target, providers: Providers, left: Left, output_max: int | None) -> Allowance:
        expected, now = self._experience.expected(call, target), self._clock.now()
        meter = providers[target.provider].gpu
        occupancy = None if meter is None else Occupancy.of(meter, target)
        if occupancy is not None:
            expected = occupancy.foresee(expected, self._experience, left_s=call.deadline - now, now=now)
        return allowance(call, target, expected, left, output_max=output_max)
