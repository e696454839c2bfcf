"""The blocks `run` and `loops` of an agent: what each of its runs may do beside what it may spend.

Wall time, calls at the same time and levels are no accounts: nothing of them is held or posted, a call that would break
one is refused before anything else is asked. What they mean exactly is decided by `policies.runs`.
"""

from __future__ import annotations

from pydantic import Field

from policies.loops import LoopMode, LoopRules
from policies.runs import LEVELS_MAX, AtLimit, RunLimits
from proxy.config.providers import Block
from proxy.config.values import Names, Seconds


class RunRules(Block):
    """What a run may do beside what it may spend; nothing is limited unless it is said."""

    seconds: Seconds | None = Field(default=None, description="So long after its first call it may make further ones.")
    width: int | None = Field(
        default=None, ge=1, le=100_000, description="Calls of a run at the same time, and children with calls."
    )
    depth: int | None = Field(
        default=None, ge=1, le=LEVELS_MAX, description="Levels of a tree of runs; one without a parent is at level 1."
    )

    at_limit: AtLimit = Field(
        default="error",
        description="What a call gets that a hard limit of its run refuses: the `error`, or the `best` answer so far.",
    )

    def limits(self) -> RunLimits:
        return RunLimits(self.seconds, self.width, self.depth, self.at_limit)


class LoopGuarding(Block):
    """Runs that go round in circles: the same tool with the same result, periods, texts, spend."""

    mode: LoopMode = Field(
        default="annotate", description="`annotate` says so in a header; `on` slows them down, then refuses; `off`."
    )
    polling: Names = Field(default=(), description="Tools that may be asked for the same again and again.")

    def rules(self) -> LoopRules:
        return LoopRules(self.mode, frozenset(self.polling))
