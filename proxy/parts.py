"""What the way of a call is made of: the parts that the composition root hands to the pipeline, and its client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from msgspec import Struct, field

from policies.limits import Refusal
from proxy.caching.desk import Caches
from proxy.caching.semantic import Semantic
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.execution.admission import Admission
from proxy.execution.bench import Rules
from proxy.execution.easing import unheard
from proxy.execution.flight import Sharing
from proxy.execution.gating import ungated
from proxy.execution.race import Answer, Race
from proxy.execution.record import Record
from proxy.execution.running import Running
from proxy.execution.trials import Trials
from proxy.finish import Finish
from proxy.last_word import unwritten
from proxy.money.rate_limits import RateLimits
from proxy.relay import Downstream
from proxy.runs.loop_guard import LoopGuard
from proxy.runs.registry import Runs
from proxy.snapshot import Snapshot
from proxy.state.store import Store
from proxy.tasks import Tasks
from proxy.types import Mode, Plan


class Executor(Protocol):
    """One mode: from the plans of a call's members to the one answer that its client gets."""

    async def run(self, record: Record, plan: Plan, rules: Rules, snapshot: Snapshot) -> Answer:
        """Nothing of it is written to the client yet; every other attempt is ended, or read to its end by a task.
        Raises ProxyError."""
        ...


class Parts(Struct, frozen=True):
    """What the pipeline works with; made once, by the composition root."""

    clock: Clock
    dialect: Dialect
    race: Race
    store: Store
    rates: RateLimits
    admission: Admission
    runs: Runs
    finish: Finish
    caches: Caches
    tasks: Tasks
    ledger_accepting: Callable[[], bool]
    started: Callable[[str], None]  # told the route of every call that `finish` will be told of
    on_defect: Callable[[BaseException], None]  # an exception that is our own mistake
    denied: Callable[[Refusal], None] = unheard  # told of a wait for a budget that was in vain
    executors: Mapping[Mode, Executor] = field(default_factory=dict)  # of models that several answer together
    semantic: Semantic | None = None  # None: no agent can have one
    trials: Trials | None = None  # None: there are no experiments
    loops: LoopGuard | None = None  # None: nobody looks whether a run goes round in circles
    let_in: Callable[[Running, Plan], Awaitable[None]] = ungated  # by the gate of its pool; raises ProxyError
    recorded: Callable[[], Awaitable[None]] = unwritten  # returns when all outcomes are on the disk; raises ProxyError


class Shared(Downstream, Sharing, Protocol):
    """A client whose call others may join."""
