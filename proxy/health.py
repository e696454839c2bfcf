"""Breakers and what stands around them in a process that serves: probes, metrics, the log, the next configuration.

Which target is out, and when it is tried again, is decided in `policies.breaker`; who asks it, in `execution.steering`.
Every transition is a line of the log; one that an operator has to mend (a refused credential) is an error there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from policies.breaker import Breakers
from policies.breaker_report import Row, alarming, rows, sentence
from policies.breaker_state import Transition
from policies.rooms import Rooms
from proxy.assembly import Assembly
from proxy.config.load import Config
from proxy.execution.probing import Probing
from proxy.tasks import Tasks
from proxy.telemetry.log import Field, Level
from proxy.telemetry.metrics import Metrics

Tell = Callable[[str, Level, Mapping[str, Field]], None]


class Health:
    """`turned` is to be told of every transition."""

    def __init__(self, assembly: Assembly, metrics: Metrics, rooms: Rooms, breakers: Breakers, tell: Tell) -> None:
        self._assembly = assembly
        self._metrics = metrics
        self._rooms = rooms
        self._tell = tell
        self._breakers = breakers
        self._watch()

    def __repr__(self) -> str:
        return f"Health({self._breakers})"

    async def probe(self, tasks: Tasks) -> None:
        """Until it is cancelled."""
        clock = self._assembly.tools.clock
        await Probing(self._breakers, clock, tasks, lambda: self._assembly.snapshot.providers).keep()

    def renew(self) -> None:
        """The configuration has changed; keys may have been mended with it."""
        self._breakers.readmit(self._assembly.tools.clock.now())
        self._watch()

    def rows(self) -> tuple[Row, ...]:
        """Every target that is configured by name."""
        named = [target for target in self._assembly.present.metered if target.model != "*"]
        return rows(self._breakers, named, self._assembly.tools.clock.now())

    def turned(self, transition: Transition) -> None:
        name, to, reason = transition.name, transition.to, transition.reason
        if "/" in name:  # not a key
            self._metrics.breakers.turned(name, to, reason)
            if to == "closed":
                self._rooms.forgive(name)
        level: Level = "error" if alarming(transition) else "warning" if to == "open" else "info"
        fields: dict[str, Field] = {"target": name, "state": to, "reason": reason, "why": sentence(transition)}
        if to == "open" and transition.code is not None:
            fields["code"] = transition.code
        self._tell("breaker", level, fields)

    def _watch(self) -> None:
        metrics = self._metrics.breakers
        metrics.watch([target.id for target in self._assembly.present.metered], self._breakers)
        metrics.watch_routes(_targets_of(self._assembly.config), self._breakers)


def _targets_of(config: Config) -> dict[str, tuple[str, ...]]:
    """The ids of each model's targets; of a wildcard those of its providers' wildcards."""
    return {
        name: tuple(f"{choice.provider}/{'*' if name.endswith('*') else choice.model}" for choice in model.targets)
        for name, model in config.models.items()
    }
