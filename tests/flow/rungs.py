"""A world whose upstreams are the rungs of one cascade, the cheapest first; each can be asked alone, as `m0`, `m1`."""

from __future__ import annotations

from msgspec import structs

from policies.accept import Tools
from policies.accept_rules import CascadeRules
from policies.conformal import Label
from policies.logprobs import Logprobs
from policies.plan import Planner, Route, Routes
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.cascade import Accepted, Cascade, Kit
from proxy.execution.evidence import Evidence
from proxy.execution.forms import Forms
from proxy.execution.record import Pupil
from proxy.execution.second_look import SecondLook
from proxy.execution.shadowing import Learning, Shadowing
from proxy.types import Price
from tests.flow.world import Script, World

CHEAPER = 10  # times as much costs each rung as the one below


class Seen:
    """Implements `Onlooker`."""

    def __init__(self) -> None:
        self.accepted_ones: list[Accepted] = []
        self.withheld_ones: list[Accepted] = []

    def accepted(self, accepted: Accepted) -> None:
        self.accepted_ones.append(accepted)

    def withheld(self, accepted: Accepted) -> None:
        self.withheld_ones.append(accepted)


class Both:
    """Implements `Onlooker`: one looks on, the other learns."""

    def __init__(self, seen: Seen, shadowing: Shadowing) -> None:
        self._seen = seen
        self._shadowing = shadowing

    def accepted(self, accepted: Accepted) -> None:
        self._seen.accepted(accepted)
        self._shadowing.accepted(accepted)

    def withheld(self, accepted: Accepted) -> Pupil | None:
        self._seen.withheld(accepted)
        return self._shadowing.withheld(accepted)


class Rungs(World):
    """Asked as `m`."""

    def __init__(
        self, *scripts: Script, cascade: CascadeRules | None = None, rungs: int | None = None, **more: object
    ) -> None:
        """`rungs`: so many of the upstreams are; the others are models of their own."""
        super().__init__(*scripts, **more)  # type: ignore[arg-type]  # passed through as they came
        self.cascade = cascade or CascadeRules()
        self.rungs = rungs or len(scripts)
        self.seen = Seen()
        self.told: list[Label] = []
        self.spent: list[tuple[str, int]] = []
        self.evidence = Evidence(self.clock, lambda: self.snapshot.cascades, self.told.append)

    async def __aenter__(self) -> Rungs:
        await super().__aenter__()
        targets = self.snapshot.planner.routes.all[0].targets
        targets = tuple([structs.replace(each, price=dearer(each.price, at)) for at, each in enumerate(targets)])
        alone = tuple([Route(f"m{at}", (target,)) for at, target in enumerate(targets)])
        routes = Routes((*alone, Route("m", mode="cascade", members=alone[: self.rungs])))
        planner = Planner(routes, unpriced_allowed=self.snapshot.planner.unpriced_allowed)
        self.snapshot = structs.replace(self.snapshot, planner=planner, cascades={"m": self.cascade})
        look = SecondLook(self.clock, OpenAI(), self.race, self.transport, side=self.sides)
        shadowing = Shadowing(self.clock, OpenAI(), Learning(self.evidence, self.tasks, self), self.sides)
        kit = Kit(
            clock=self.clock,
            dialect=OpenAI(),
            race=self.race,
            admission=self.admission,
            tools=Tools(Forms(), Logprobs()),
            second_look=look,
            evidence=self.evidence,
            first_rung=self.evidence,
            onlooker=Both(self.seen, shadowing),
        )
        self.executors["cascade"] = Cascade(kit)
        return self

    def shadowed(self, model: str, usd_nanos: int) -> None:
        self.spent.append((model, usd_nanos))

    def use(self, rules: CascadeRules) -> None:
        self.snapshot = structs.replace(self.snapshot, cascades={"m": rules})


def dearer(price: Price | None, rung: int) -> Price | None:
    if price is None:
        return None
    return structs.replace(
        price, input_uncached=price.input_uncached * CHEAPER**rung, output=price.output * CHEAPER**rung
    )
