"""The quorums and debates of one process, put together."""

from __future__ import annotations

from collections.abc import Mapping

from policies.estimate import Experience
from proxy.assemble import Tools
from proxy.execution.debate import Debate
from proxy.execution.members import Kit
from proxy.execution.quorum import Quorum
from proxy.execution.race import Race
from proxy.execution.stake import Stake
from proxy.parts import Executor
from proxy.tasks import Tasks
from proxy.types import Mode


def voting(tools: Tools, race: Race, experience: Experience, *, tasks: Tasks) -> Mapping[Mode, Executor]:
    kit = Kit(clock=tools.clock, dialect=tools.dialect, race=race, tasks=tasks)
    stake = Stake(tools.clock, experience)
    return {"quorum": Quorum(kit, stake), "debate": Debate(kit, stake)}
