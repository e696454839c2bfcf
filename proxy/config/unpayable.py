"""What can never admit a call: a budget too small, a target without a price. Allowed, because an operator may mean to
close an account or to add the price later, and worth a warning.

A limit in money is compared with what the shortest useful answer of the cheapest model holds that its bearer may use; a
wildcard model may stand for anything, so with one of those nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from policies.clamp import FLOOR_TOKENS
from policies.refusal import amount
from pricing.book import hold_usd_nanos
from proxy.config.models import Model
from proxy.config.schema import Budget, Config
from proxy.types import Price

PriceOf = Callable[[str, str], Price | None]  # (provider, model)


def unpayable(config: Config, price: PriceOf) -> Iterator[str]:
    holds = {name: _least(config, model, price) for name, model in config.models.items()}
    bearers = [
        ("defaults", config.defaults.budget, None),
        *((f"agents.{name}", agent.budget, agent.models) for name, agent in config.agents.items()),
        *((f"keys.{at}", key.budget, key.models) for at, key in enumerate(config.keys)),
        *((f"teams.{name}", team.budget, None) for name, team in config.teams.items()),
    ]
    inherited = config.defaults.budget
    for place, budget, models in bearers:
        if place.startswith("agents.") and budget is inherited:
            continue  # said once, where it stands
        least = [hold for name, hold in holds.items() if models is None or name in models]
        for at, limit in enumerate(budget):
            why = _why_not(limit, least)
            if why is not None:
                yield f"{place}.budget.{at} admits no call: {why}"


def unpriced(config: Config, price: PriceOf) -> Iterator[str]:
    if config.pricing.unknown == "allow":
        return
    for name, model in config.models.items():
        for at, target in enumerate(model.targets):
            if "*" not in target.model and price(target.provider, target.model) is None:
                yield (
                    f"models.{name}.targets.{at}: no price is known for '{target.provider}/{target.model}', so calls "
                    "to it are refused; give it one under `pricing.overrides`, or set `pricing.unknown: allow`"
                )


def _why_not(budget: Budget, holds: list[int | None]) -> str | None:
    limit = budget.limit()
    if limit.amount == 0 and limit.unit != "usd":
        return "it is 0"
    known = [hold for hold in holds if hold is not None]
    if limit.unit != "usd" or len(known) < len(holds) or not known or limit.amount >= min(known):
        return None
    least = amount("usd", min(known))
    return f"{FLOOR_TOKENS} tokens of the cheapest model that may be used hold {least} USD"


def _least(config: Config, model: Model, price: PriceOf) -> int | None:
    """None: it cannot be told."""
    holds: list[int] = []
    if model.together:
        return None
    for target in model.targets:
        found = None if "*" in target.model else price(target.provider, target.model)
        if found is not None:
            holds.append(hold_usd_nanos(found, 1, FLOOR_TOKENS))
        elif "*" in target.model or config.pricing.unknown == "allow":
            return None
    return min(holds, default=None)
