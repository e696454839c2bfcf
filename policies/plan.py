"""From the model a call asks for to the targets that will be tried. Pure: routes in, plan or refusal out.

A route is exact ("gpt-5.5") or a wildcard ("openai/*"), whose rest becomes the model's name at the provider. An
unpriced target is refused or let through as the operator said, never taken for free.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from proxy.errors import ProxyError
from proxy.types import Call, Plan, Target

CLOSE_ENOUGH = 3  # names to suggest


class Route(Struct, frozen=True):
    """What one configured model name stands for. `target_for` makes a wildcard's targets from the rest of the name."""

    name: str
    targets: tuple[Target, ...] = ()
    target_for: Callable[[str], tuple[Target, ...]] | None = None


class Routes:
    """All routes of one configuration; exact names win over wildcards, longer wildcards over shorter."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._exact = {route.name: route for route in routes if route.target_for is None}
        self._wild = sorted(
            ((route.name[:-1], route) for route in routes if route.target_for is not None),
            key=lambda pair: -len(pair[0]),
        )

    def __repr__(self) -> str:
        return f"Routes({sorted(self.names)})"

    @property
    def names(self) -> tuple[str, ...]:
        return (*self._exact, *(route.name for _, route in self._wild))

    @property
    def listed(self) -> tuple[str, ...]:
        """The names a client can ask for as they stand; a wildcard has none."""
        return tuple(self._exact)

    @property
    def fixed_targets(self) -> tuple[Target, ...]:
        return tuple(target for route in self._exact.values() for target in route.targets)

    def find(self, model: str) -> Route | None:
        route = self._exact.get(model)
        if route is not None:
            return route
        for prefix, wild in self._wild:
            if model.startswith(prefix) and len(model) > len(prefix):
                return wild
        return None

    def targets(self, route: Route, model: str) -> tuple[Target, ...]:
        if route.target_for is None:
            return route.targets
        return route.target_for(model[len(route.name) - 1 :])


class Planner(Struct, frozen=True):
    """`unpriced_allowed`: what the operator said about models without a price."""

    routes: Routes
    unpriced_allowed: bool = False

    def plan(self, call: Call) -> Plan | ProxyError:
        route = self.routes.find(call.model)
        if route is None:
            return self._unknown(call.model)
        targets = self.routes.targets(route, call.model)
        if not self.unpriced_allowed and any(target.price is None for target in targets):
            return _unpriced(next(target for target in targets if target.price is None))
        reason = "one target" if len(targets) == 1 else f"one of {len(targets)} targets by weight"
        return Plan(mode="single", steps=(targets,), reason=f"model {route.name!r}: {reason}")

    def _unknown(self, model: str) -> ProxyError:
        known = ", ".join(sorted(self.routes.names)[:CLOSE_ENOUGH])
        message = f"The model {model[:128]!r} is not configured here; GET /v1/models lists what is (such as {known})."
        return ProxyError("model_not_found", message, param="model")


def _unpriced(target: Target) -> ProxyError:
    message = (
        f"No price is known for {target.id!r}, so the call was refused before anything was spent. Give it one under "
        "`pricing.overrides`, or set `pricing.unknown: allow`."
    )
    return ProxyError("unpriced_model", message, param="model")
