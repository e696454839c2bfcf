"""Which names a label may show: those of the configuration, `other` for all the rest.

What a client typed never becomes a label value unless the operator wrote the same name down. Names only accumulate over
reloads, because a series that has begun must not end; `series.py` bounds what comes of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from proxy.telemetry.family import OTHER, UNATTRIBUTED, Label
from proxy.types import Target

TESTS_MAX = 40


class Labels:
    def __init__(self, agents_max: int) -> None:
        self.routes: dict[str, None] = {}  # dictionaries for their order: the same configuration, the same text
        self.agents: dict[str, None] = {UNATTRIBUTED: None}
        self.targets: dict[str, Target] = {}
        self.budgets: dict[str, None] = {"run": None, "key": None}  # accounts
        self.agents_refused = 0
        self._agents_max = agents_max
        self._models: dict[str, None] = {}
        self._providers: dict[str, None] = {}
        self._build: dict[str, None] = {}
        self._tests: dict[str, None] = {OTHER: None}  # names of load tests and of their scenarios
        self._known: dict[str, Collection[str]] = {
            "route": self.routes,
            "cascade": self.routes,
            "experiment": self.routes,
            "agent": self.agents,
            "target": self.targets,
            "to": self.targets,
            "provider": self._providers,
            "budget": self.budgets,
            "model": self._models,
            "version": self._build,
            "python": self._build,
            "test": self._tests,
            "scenario": self._tests,
        }

    def __repr__(self) -> str:
        return f"Labels({ {label: len(known) for label, known in self._known.items()} })"

    def learn(
        self, routes: Sequence[str], targets: Sequence[Target], *, agents: Sequence[str], models: Iterable[str]
    ) -> None:
        """Agents beyond the bound stay `other`; the oldest keep their names."""
        self.routes.update(dict.fromkeys(routes))
        self.targets.update((target.id, target) for target in targets)
        self._models.update(dict.fromkeys(models))
        self._models.update(dict.fromkeys(target.model for target in targets))
        self._providers.update(dict.fromkeys(target.provider for target in targets))
        for agent in agents:
            if len(self.agents) <= self._agents_max:  # `unattributed` is not one of them
                self.agents.setdefault(agent)
            elif agent not in self.agents:
                self.agents_refused += 1

    def learn_budgets(self, accounts: Iterable[str]) -> None:
        self.budgets.update(dict.fromkeys(accounts))

    def learn_build(self, version: str, python: str) -> None:
        self._build.update({version: None, python: None})

    def load_test(self, test: str, scenario: str) -> tuple[str, str]:
        """As the series show them: who runs a test chose its names, so there is an end to how many are known."""
        for name in (test, scenario):
            if len(self._tests) < TESTS_MAX:
                self._tests.setdefault(name)
        return (test if test in self._tests else OTHER), (scenario if scenario in self._tests else OTHER)

    def allow(self, label: Label, value: str) -> bool:
        return value in (self._known.get(label.name, ()) if label.values is None else label.values)

    def route(self, name: str) -> str:
        return name if name in self.routes else OTHER

    def agent(self, name: str) -> str:
        return name if name in self.agents else OTHER if name else UNATTRIBUTED

    def model(self, target: Target) -> str:
        return target.model if target.model in self._models else OTHER

    def target(self, target: Target) -> str:
        """Its id, or that of its provider's wildcard."""
        if target.id in self.targets:
            return target.id
        wildcard = f"{target.provider}/*"
        return wildcard if wildcard in self.targets else OTHER
