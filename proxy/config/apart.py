"""What each gate still counts by itself where several share a store, in words for whoever configured them."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.schema import Agent, Config, Defaults


def apart(config: Config) -> tuple[str, ...]:
    """Nothing where nothing is shared."""
    return () if config.shared.redis is None else tuple(_apart(config))


def _apart(config: Config) -> Iterator[str]:
    gates, rules = config.shared.gates, (config.defaults, *config.agents.values())
    budgets = [each.budget for each in rules] + [each.budget for each in config.teams.values()]
    if any(budgets) or any(key.budget for key in config.keys):
        yield (
            f"budgets count in each gate by itself, also where gates share a store: {gates} gates can spend "
            f"{gates} times as much. Write a part of it in each, or send a team to one gate"
        )
    if any(each.concurrency for each in rules) or any(key.concurrency for key in config.keys):
        yield "limits on calls at the same time count in each gate by itself"
    if any(_keeps(each) for each in rules) and not config.caches.persist:
        yield "`caches.persist` is off: no answer leaves a process, so gates do not find each other's"


def _keeps(rules: Defaults | Agent) -> bool:
    return rules.cache.exact != "off"
