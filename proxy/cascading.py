"""The cascades of one process, put together: what judges answers, what looks at them, and who learns from them.

The library that checks JSON schemas is loaded with the first configuration that has a cascade: other gates do without
its time and memory.
"""

from __future__ import annotations

from importlib import import_module

from msgspec import Struct

from policies.accept import Forms, Tools
from policies.logprobs import Logprobs
from proxy.assemble import Tools as Assembling
from proxy.caching.semantic_parts import Asks
from proxy.execution.admission import Admission
from proxy.execution.cascade import Cascade, Kit
from proxy.execution.evidence import Evidence
from proxy.execution.race import Race
from proxy.execution.second_look import SecondLook
from proxy.execution.shadowing import Shadowing, Spent
from proxy.tasks import Tasks

CONNECT_S = 2.0  # to a verifier


class LateForms:
    """Implements `accept.Forms`."""

    def __init__(self) -> None:
        self._forms: Forms | None = None

    def __repr__(self) -> str:
        return f"LateForms({self._forms!r})"

    def load(self) -> Forms:
        if self._forms is None:
            self._forms = import_module("proxy.execution.forms").Forms()
        assert self._forms is not None
        return self._forms

    def fault(self, schema: bytes, text: str) -> str | None:
        return self.load().fault(schema, text)

    def finds(self, pattern: str, text: str) -> bool | str:
        return self.load().finds(pattern, text)


class Learning(Struct, frozen=True):
    """What cascades learn with. `spent`: told what the comparing of answers costs."""

    evidence: Evidence
    tasks: Tasks
    spent: Spent


class Cascading:
    def __init__(self, tools: Assembling, race: Race, learning: Learning, *, admission: Admission) -> None:
        self._forms = LateForms()
        self._second_look = SecondLook(tools.clock, tools.dialect, race, tools.transports.get(CONNECT_S))
        self._shadowing = Shadowing(tools.clock, tools.dialect, learning.tasks, learning.evidence, learning.spent)
        self.executor = Cascade(
            Kit(
                clock=tools.clock,
                dialect=tools.dialect,
                race=race,
                admission=admission,
                tools=Tools(self._forms, Logprobs()),
                second_look=self._second_look,
                evidence=learning.evidence,
                first_rung=learning.evidence,
                onlooker=self._shadowing,
            )
        )

    def __repr__(self) -> str:
        return f"Cascading({self.executor!r})"

    def attach(self, side: Asks) -> None:
        """Who asks judges and shadows: made after the pipeline, which this is a part of."""
        self._second_look.attach(side)
        self._shadowing.attach(side)

    def load(self) -> None:
        """What takes a while: there is a cascade to be served."""
        self._forms.load()
