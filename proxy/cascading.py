"""The cascades of one process, put together: what judges answers, what looks at them, and who learns from them.

The library that checks JSON schemas is loaded with the first configuration that has a cascade: other gates do without
its time and memory.
"""

from __future__ import annotations

from importlib import import_module

from policies.accept import Forms, Tools
from policies.logprobs import Logprobs
from proxy.assemble import Tools as Assembling
from proxy.execution.admission import Admission
from proxy.execution.asking import Asks
from proxy.execution.cascade import Cascade, Kit
from proxy.execution.race import Race
from proxy.execution.second_look import SecondLook
from proxy.execution.shadowing import Learning, Shadowing

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


class Cascading:
    def __init__(self, tools: Assembling, race: Race, learning: Learning, *, admission: Admission, side: Asks) -> None:
        self._forms = LateForms()
        transport = tools.transports.get(CONNECT_S)
        self.executor = Cascade(
            Kit(
                clock=tools.clock,
                dialect=tools.dialect,
                race=race,
                admission=admission,
                tools=Tools(self._forms, Logprobs()),
                second_look=SecondLook(tools.clock, tools.dialect, race, transport, side=side),
                evidence=learning.evidence,
                first_rung=learning.evidence,
                onlooker=Shadowing(tools.clock, tools.dialect, learning, side),
            )
        )

    def __repr__(self) -> str:
        return f"Cascading({self.executor!r})"

    def load(self) -> None:
        """What takes a while: there is a cascade to be served."""
        self._forms.load()
