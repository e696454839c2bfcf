"""What attempts work with and what one of them is to do: values alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct, field

from policies.estimate import Experience
from policies.retry import Retry
from policies.survival import Survival
from proxy.alarm import Alarms
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.permits import Permit
from proxy.execution.steering import Steering
from proxy.providers.base import Provider
from proxy.snapshot import AgentRules, Snapshot
from proxy.types import Call, Role, Target

CountText = Callable[[str, str], Awaitable[int | None]]  # (text, vocabulary) -> tokens; None: it could not be counted


class Timeouts(Struct, frozen=True):
    """Bounds on what one upstream may do. Seconds, bytes."""

    deadline_s: float  # of a whole call, where its caller has not shortened it
    first_token_s: float
    idle_s: float  # between two pieces of a reply
    reply_bytes_max: int


class Rules(Struct, frozen=True):
    """What holds for the attempts of one call."""

    providers: Mapping[str, Provider]
    retry: Retry
    timeouts: Timeouts
    survival: Survival = Survival()


class Broken(Struct, frozen=True):
    """A committed stream that ended in `error`; `rest` asks for what would have followed."""

    error: ProxyError
    rest: Call


class Bench(Struct, frozen=True):
    """What every attempt works with; made once."""

    clock: Clock
    count_text: CountText
    started: Callable[[Target], None]
    ended: Callable[[Target], None]
    steering: Steering
    experience: Experience = field(default_factory=Experience)
    alarms: Alarms = field(default_factory=Alarms)


class Errand(Struct, frozen=True):
    """One attempt, before it is made. `ask`: the call as the upstream is asked it; `permit` ends with the attempt."""

    provider: Provider
    target: Target
    role: Role
    ask: Call
    permit: Permit


def rules_of(rules: AgentRules, snapshot: Snapshot) -> Rules:
    """What holds for the attempts of a call, by its agent's rules and the configuration it came under."""
    timeouts = Timeouts(
        rules.deadline_s, rules.first_token_timeout_s, rules.idle_timeout_s, snapshot.limits.reply_bytes_max
    )
    return Rules(snapshot.providers, rules.retry, timeouts, rules.survival)
