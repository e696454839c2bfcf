"""From the model a call asks for to the targets that will be tried. Pure: routes in, plan or refusal out.

A route is exact ("gpt-5.5") or a wildcard ("openai/*"), whose rest becomes the model's name at the provider. An
unpriced target is refused or let through as the operator said, never taken for free. Near the end of a budget the
plan is a cheaper and shorter one, as the agent's ladder says. Its later steps are the fallbacks that the model has and
that the client names; which of them follows which error is `policies.fallback`'s word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from policies import service_tier
from policies.experiment import Experiment
from policies.ladder import OUTPUT_TOKENS_USUAL, Ladder, reached, shortened
from policies.prompt_cache import has_markers
from pricing.book import MAY_OCCUR, InputClass, hold_usd_nanos
from proxy.errors import ProxyError
from proxy.pressure import Pressure
from proxy.types import Balance, Call, Condition, Mode, Plan, Target

CLOSE_ENOUGH = 3  # names to suggest
OUTPUT_TOKENS_UNSEEN = 256
CALM = Pressure()
UNWRITTEN: Final[tuple[InputClass, ...]] = ("input_uncached",)  # where nothing asks for a prompt cache to be written
HOW: Final[dict[Balance, str]] = {
    "score": "by load and speed",
    "weighted": "by weight",
    "ordered": "in order",
    "least_cost": "by cost",
    "lowest_latency": "by speed",
}

Usual = Callable[[Call, Target], int | None]
"""The output of one choice that half of such answers stay below; None: too few were seen."""


def never_seen(call: Call, target: Target) -> int | None:
    return None


class Eased(Struct, frozen=True):
    """What a budget near its end asks of a plan, and what was done about it so far."""

    pressure: Pressure
    rungs: Ladder
    changed: Ladder


class Route(Struct, frozen=True):
    """What one configured model name stands for. `target_for` makes a wildcard's targets from the rest of the name."""

    name: str
    targets: tuple[Target, ...] = ()
    target_for: Callable[[str], tuple[Target, ...]] | None = None
    cheaper: str | None = None  # the route that the rung `cheaper` takes instead
    balance: Balance = "score"
    fallbacks: tuple[tuple[Condition, str], ...] = ()  # models, those for one kind of error before those for any
    mode: Mode = "single"
    members: tuple[Route, ...] = ()  # that answer together: each with fixed targets and of mode `single`
    experiment: Experiment | None = None  # between `arms`
    arms: tuple[Route, ...] = ()  # the control and the candidate, each of any mode and a route of its own too


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
    def all(self) -> tuple[Route, ...]:
        return (*self._exact.values(), *(route for _, route in self._wild))

    @property
    def listed(self) -> tuple[str, ...]:
        """The names a client can ask for as they stand; a wildcard has none."""
        return tuple(self._exact)

    @property
    def fixed_targets(self) -> tuple[Target, ...]:
        alone = (target for route in self._exact.values() for target in route.targets)
        together = (target for route in self._exact.values() for member in route.members for target in member.targets)
        return tuple(dict.fromkeys((*alone, *together)))

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

    def unknown(self, model: str) -> ProxyError:
        known = ", ".join(sorted(self.names)[:CLOSE_ENOUGH])
        message = f"The model {model[:128]!r} is not configured here; GET /v1/models lists what is (such as {known})."
        return ProxyError("model_not_found", message, param="model")


class Planner(Struct, frozen=True):
    """`unpriced_allowed`: what the operator said about models without a price."""

    routes: Routes
    unpriced_allowed: bool = False

    def plan(
        self, call: Call, pressure: Pressure = CALM, *, ladder: Ladder = (), usual: Usual = never_seen
    ) -> Plan | ProxyError:
        route = self.routes.find(call.head.model)
        if route is None:
            return self.routes.unknown(call.model)
        if route.experiment is not None:
            return self._in_experiment(call, route, pressure, ladder=ladder, usual=usual)
        answer = self._together if route.members else self._single
        return answer(call, route, pressure, ladder=ladder, usual=usual)

    def _in_experiment(
        self, call: Call, route: Route, pressure: Pressure, *, ladder: Ladder, usual: Usual
    ) -> Plan | ProxyError:
        """The plan of the arm that it belongs to; of a call that nobody looks at, the control's."""
        arm = None if route.experiment is None else route.experiment.assign(call)
        chosen = route.arms[arm is not None and arm.name == "candidate"]
        answer = self._together if chosen.members else self._single
        plan = answer(call, chosen, pressure, ladder=ladder, usual=usual)
        if arm is None or isinstance(plan, ProxyError):
            return plan
        return replace(plan, arm=arm, reason=f"arm {arm.name} of experiment {route.name!r}: {plan.reason}")

    def _together(
        self, call: Call, route: Route, pressure: Pressure, *, ladder: Ladder, usual: Usual
    ) -> Plan | ProxyError:
        """Of several models that answer one call together: each with a plan of its own. Near the end of a budget those
        plans are cheaper ones; what a mode makes of that is its executor's business."""
        members: list[Plan] = []
        for member in route.members:
            plan = self._single(call, member, pressure, ladder=ladder, usual=usual)
            if isinstance(plan, ProxyError):
                return plan
            members.append(plan)
        reason = f"model {route.name!r}: {route.mode} of {', '.join(member.name for member in route.members)}"
        degraded = tuple(dict.fromkeys(rung for plan in members for rung in plan.degraded))
        if route.mode == "cascade" and len(members) > 1 and "cheaper" in reached(ladder, pressure.felt):
            members.pop()
            reason += f"; without the last, as {_named(pressure)} is used to {pressure.taken / 10:g} %"
            degraded = tuple(dict.fromkeys(("cheaper", *degraded)))
        return Plan(route.mode, members[0].steps, reason, degraded=degraded, members=tuple(members), model=route.name)

    def _single(
        self, call: Call, route: Route, pressure: Pressure, *, ladder: Ladder, usual: Usual
    ) -> Plan | ProxyError:
        targets = self._tiered(call, self.routes.targets(route, call.head.model))
        unpriced = [target for target in targets if target.price is None]
        if unpriced and not self.unpriced_allowed:
            return _unpriced(unpriced[0])
        rungs = reached(ladder, pressure.felt)
        if rungs:
            cheaper = self._cheaper(call, route, targets) if "cheaper" in rungs else targets
            changed: Ladder = () if cheaper == targets else ("cheaper",)
            plan = _degraded(call, route, cheaper, Eased(pressure, rungs, changed), usual)
        else:
            plan = _plain(call, route, targets, pressure)
        return self._with_fallbacks(call, route, plan) if route.fallbacks or call.head.fallbacks else plan

    def _cheaper(self, call: Call, route: Route, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """The route that the operator named for this, else those of the targets that hold the least."""
        other = self.routes.find(route.cheaper) if route.cheaper else None
        if other is not None:
            instead = self.routes.targets(other, other.name)
            if instead and (self.unpriced_allowed or all(target.price is not None for target in instead)):
                return instead
        costs = [likely_usd_nanos(call, target) for target in targets]
        least = min(costs)
        return tuple(target for target, cost in zip(targets, costs, strict=True) if cost == least)

    def _with_fallbacks(self, call: Call, route: Route, plan: Plan) -> Plan:
        """The client's own come before those that are for any error, and after those that know better."""
        typed = [fallback for fallback in route.fallbacks if fallback[0] != "any"]
        asked: list[tuple[Condition, str]] = [("any", model) for model in call.head.fallbacks]
        steps, fallbacks = list(plan.steps), []
        for fallback in dict.fromkeys([*typed, *asked, *route.fallbacks]):
            targets = self._payable(call, fallback[1])
            if targets and fallback[1] != call.model:
                steps.append(targets)
                fallbacks.append(fallback)
        return replace(plan, steps=tuple(steps), fallbacks=tuple(fallbacks))

    def _payable(self, call: Call, model: str) -> tuple[Target, ...]:
        """Of a fallback. What has no price is left out: there is still another answer, or the error that led here."""
        route = self.routes.find(model)
        targets = () if route is None else self._tiered(call, self.routes.targets(route, model))
        return targets if self.unpriced_allowed else tuple(target for target in targets if target.price is not None)

    def _tiered(self, call: Call, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        if call.head.fields is not None and "service_tier" in call.head.fields:
            return service_tier.held(call.head.fields["service_tier"], targets)
        return targets


def _plain(call: Call, route: Route, targets: tuple[Target, ...], pressure: Pressure) -> Plan:
    if pressure.pace and len(targets) > 1:
        targets = _leaning(call, targets, pressure.pace)
    reason = f"model {route.name!r}: {_choice(route, targets)}"
    return Plan("single", (targets,), reason, route.balance, model=route.name)


def _degraded(call: Call, route: Route, targets: tuple[Target, ...], eased: Eased, usual: Usual) -> Plan:
    """Says of a rung only what it changed."""
    pressure, changed, limit = eased.pressure, eased.changed, None
    if "shorter" in eased.rungs:
        limit = _shortened(call, targets, usual)
        changed = changed if limit is None else (*changed, "shorter")
    if pressure.pace and len(targets) > 1:
        targets = _leaning(call, targets, pressure.pace)
    reason = f"model {route.name!r}: {_choice(route, targets)}"
    if changed:
        reason += f"; {' and '.join(changed)}, as {_named(pressure)} is used to {pressure.taken / 10:g} %"
    return Plan(
        "single", (targets,), reason, route.balance, degraded=changed, output_tokens_max=limit, model=route.name
    )


def _shortened(call: Call, targets: tuple[Target, ...], usual: Usual) -> int | None:
    """One limit for all targets: that of the most talkative."""
    known = [target.traits.output_tokens_max for target in targets]
    model_max = None if None in known else max(limit or 0 for limit in known)
    medians = [median for target in targets if (median := usual(call, target)) is not None]
    return shortened(call, model_max, max(medians, default=None))


def _choice(route: Route, targets: tuple[Target, ...]) -> str:
    return "one target" if len(targets) == 1 else f"one of {len(targets)} targets, {HOW[route.balance]}"


def _named(pressure: Pressure) -> str:
    period = pressure.period
    return f"the budget of {period.account} in {period.unit} per {period.per}" if period else "a budget"


def usual_usd_nanos(call: Call, target: Target, output: int | None) -> int:
    """What an attempt will probably cost, in nano-dollars, at so many output tokens a choice; None: unknown."""
    if (price := target.price) is None:
        return 0
    limits = [limit for limit in (call.head.output_tokens_max, target.traits.output_tokens_max) if limit is not None]
    tokens = min([OUTPUT_TOKENS_UNSEEN if output is None else output, *limits]) * call.head.choices
    dearer = price.input_cache_write_5m > price.input_uncached
    writes = dearer and ((call.hints is not None and call.hints.marks) or has_markers(call))
    classes = MAY_OCCUR if writes else UNWRITTEN
    return hold_usd_nanos(price, call.input_tokens_estimate, tokens, may_occur=classes)


def likely_usd_nanos(call: Call, target: Target) -> int:
    """What an attempt would hold, in nano-dollars; without a price it takes nothing from a budget."""
    if target.price is None:
        return 0
    named = [limit for limit in (call.head.output_tokens_max, target.traits.output_tokens_max) if limit is not None]
    output = min(named, default=OUTPUT_TOKENS_USUAL) * call.head.choices
    return hold_usd_nanos(target.price, call.input_tokens_estimate, output)


def _leaning(call: Call, targets: tuple[Target, ...], pace: int) -> tuple[Target, ...]:
    """Dear targets weigh less the higher the pace; at 1.0 a target that costs ten times as much weighs a tenth."""
    costs = [likely_usd_nanos(call, target) for target in targets]
    least = min(costs)
    if max(costs) == least:
        return targets
    parts = [1.0 if cost == least else least / cost for cost in costs]
    kept = 1.0 - pace / 10
    return tuple(
        replace(target, weight=target.weight * (kept + part * (1.0 - kept)))
        for target, part in zip(targets, parts, strict=True)
    )


def _unpriced(target: Target) -> ProxyError:
    message = (
        f"No price is known for {target.id!r}, so the call was refused before anything was spent. Give it one under "
        "`pricing.overrides`, or set `pricing.unknown: allow`."
    )
    return ProxyError("unpriced_model", message, param="model")
