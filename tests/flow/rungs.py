"""A world whose upstreams are the rungs of one cascade, the cheapest first; each can be asked alone, as `m0`, `m1`."""

from __future__ import annotations

from msgspec import structs

from policies.accept import Cheapest, NoEvidence, Tools
from policies.accept_rules import CascadeRules
from policies.logprobs import Logprobs
from policies.plan import Planner, Route, Routes
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.cascade import Accepted, Cascade, Kit
from proxy.execution.forms import Forms
from proxy.execution.second_look import SecondLook
from proxy.types import Price
from tests.flow.world import Script, World

CHEAPER = 10  # times as much costs each rung as the one below


class Seen:
    """Implements `Onlooker`."""

    def __init__(self) -> None:
        self.accepted_ones: list[Accepted] = []

    def accepted(self, accepted: Accepted) -> None:
        self.accepted_ones.append(accepted)


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

    async def __aenter__(self) -> Rungs:
        await super().__aenter__()
        targets = self.snapshot.planner.routes.all[0].targets
        targets = tuple([structs.replace(each, price=dearer(each.price, at)) for at, each in enumerate(targets)])
        alone = tuple([Route(f"m{at}", (target,)) for at, target in enumerate(targets)])
        routes = Routes((*alone, Route("m", mode="cascade", members=alone[: self.rungs])))
        planner = Planner(routes, unpriced_allowed=self.snapshot.planner.unpriced_allowed)
        self.snapshot = structs.replace(self.snapshot, planner=planner, cascades={"m": self.cascade})
        look = SecondLook(self.clock, OpenAI(), self.race, self.transport)
        look.attach(self.sides)
        kit = Kit(
            clock=self.clock,
            dialect=OpenAI(),
            race=self.race,
            admission=self.admission,
            tools=Tools(Forms(), Logprobs()),
            second_look=look,
            evidence=NoEvidence(),
            first_rung=Cheapest(),
            onlooker=self.seen,
        )
        self.executors["cascade"] = Cascade(kit)
        return self

    def use(self, rules: CascadeRules) -> None:
        self.snapshot = structs.replace(self.snapshot, cascades={"m": rules})


def dearer(price: Price | None, rung: int) -> Price | None:
    if price is None:
        return None
    return structs.replace(
        price, input_uncached=price.input_uncached * CHEAPER**rung, output=price.output * CHEAPER**rung
    )
