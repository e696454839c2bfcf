"""From a checked configuration to what can be asked: targets with their prices, and the routes that lead to them."""

from __future__ import annotations

from functools import partial

from msgspec import Struct, structs

from policies.experiment import Experiment
from policies.plan import Route, Routes
from policies.service_tier import TIERS
from pricing.book import STANDARD, PriceBook, load
from proxy.config.experiments import Experimenting
from proxy.config.load import Config
from proxy.config.models import Model, TargetChoice
from proxy.config.providers import OpenAIProvider, SimulatedProvider
from proxy.providers.engines import ENGINES
from proxy.types import Price, Target, Traits


class Prices(Struct, frozen=True):
    """`own` goes by the configuration's names for providers and comes first, `book` by the vendors'."""

    own: PriceBook
    book: PriceBook
    warnings: tuple[str, ...]


def prices_of(config: Config, day: str) -> Prices:
    shipped = load(day=day)
    table = config.pricing.table
    book, warnings = shipped.with_table(table.read_bytes()) if table is not None else (shipped, ())
    none = PriceBook(shipped.about, (), fallback={}, day=day)
    own, more = none.with_overrides({name: price.written() for name, price in config.pricing.overrides.items()})
    return Prices(own, book, (*warnings, *more))


class Targets:
    """Makes targets; every attempt at one model of one provider shares what is known of it."""

    def __init__(self, config: Config, prices: Prices) -> None:
        self.warnings = prices.warnings
        self.book_about = prices.book.about
        self.book_models = prices.book.models
        self._config = config
        self._book = prices.book
        self._own = prices.own

    def fixed(self, choice: TargetChoice, place: int) -> Target:
        return self._target(choice, choice.model, place)

    def passed(self, choices: tuple[TargetChoice, ...], rest: str) -> tuple[Target, ...]:
        """The targets of a wildcard route for the model whose name ends in `rest`."""
        named = (choice.model.replace("*", rest) for choice in choices)
        return tuple(self._target(*each, place) for place, each in enumerate(zip(choices, named, strict=True)))

    def price(self, provider: str, model: str) -> Price | None:
        """The operator's own word first, then the book's, under the name it has for the vendor."""
        settings = self._config.providers.get(provider)
        if settings is not None and settings.gpu is not None:
            return settings.gpu.rate.price
        price = self._own.find(provider, model)
        return self._listed(provider, model, STANDARD) if price is None else price

    def tiers(self, provider: str, model: str) -> tuple[tuple[str, Price], ...]:
        """By tier of service, where the vendor lists several. An operator's own price is meant for every tier."""
        if self._own.find(provider, model) is not None:
            return ()
        found = [(tier, price) for tier in TIERS if (price := self._listed(provider, model, tier)) is not None]
        return tuple(found) if len(found) > 1 else ()

    def _listed(self, provider: str, model: str, tier: str) -> Price | None:
        settings = self._config.providers.get(provider)
        if not isinstance(settings, OpenAIProvider) or settings.gpu is not None:
            return None
        vendor = settings.price_provider or ENGINES[settings.engine].price_provider
        return None if vendor is None else self._book.find(vendor, model, tier)

    def _target(self, choice: TargetChoice, model: str, place: int) -> Target:
        settings = self._config.providers[choice.provider]
        return Target(
            id=f"{choice.provider}/{model}",
            provider=choice.provider,
            model=model,
            price=self.price(choice.provider, model),
            tiers=self.tiers(choice.provider, model),
            traits=structs.replace(
                _traits(settings, model),
                context_tokens=choice.context_tokens,
                output_tokens_max=choice.output_tokens_max,
                reasoning_tokens_max=choice.reasoning_tokens_max,
            ),
            weight=float(choice.weight),
            order=place if choice.order is None else choice.order,
            failure_domain=settings.failure_domain or choice.provider,
        )


def routes_of(config: Config, targets: Targets) -> Routes:
    """Those that answer alone first: the others are made of them; and experiments of both."""
    single = {name: model for name, model in config.models.items() if not model.together and model.experiment is None}
    alone = Routes(tuple(_route(name, model, targets) for name, model in single.items()))
    together = (
        Route(name, mode=model.mode, members=tuple(_member(each, alone, targets) for each in model.together))
        for name, model in config.models.items()
        if model.together
    )
    known = Routes((*alone.all, *together))
    between = [
        Route(name, experiment=model.experiment.rules(name), arms=_arms(model.experiment, known))
        for name, model in config.models.items()
        if model.experiment is not None
    ]
    return Routes((*known.all, *between))


def _arms(experiment: Experimenting, known: Routes) -> tuple[Route, ...]:
    arms = (known.find(experiment.control), known.find(experiment.candidate))
    return tuple([arm for arm in arms if arm is not None])


def experiments_of(config: Config) -> dict[str, Experiment]:
    return {name: model.experiment.rules(name) for name, model in config.models.items() if model.experiment is not None}


def _member(name: str, alone: Routes, targets: Targets) -> Route:
    """One of the models of a cascade or a quorum: its targets are known, whatever it is called."""
    route = alone.find(name)
    if route is None:
        provider, _, model = name.partition("/")
        return Route(name, (targets.fixed(TargetChoice(provider=provider, model=model), 0),))
    return structs.replace(route, name=name, targets=alone.targets(route, name), target_for=None)


def _route(name: str, model: Model, targets: Targets) -> Route:
    fallbacks = model.fallbacks.listed()
    if name.endswith("*"):
        wild = partial(targets.passed, model.targets)
        return Route(name, target_for=wild, cheaper=model.cheaper, balance=model.balance, fallbacks=fallbacks)
    fixed = tuple(targets.fixed(choice, place) for place, choice in enumerate(model.targets))
    return Route(name, fixed, cheaper=model.cheaper, balance=model.balance, fallbacks=fallbacks)


def _traits(settings: OpenAIProvider | SimulatedProvider, model: str) -> Traits:
    if isinstance(settings, SimulatedProvider):
        return ENGINES["simulated"].traits(model)
    traits = ENGINES[settings.engine].traits(model)
    if settings.abort is not None:
        traits = structs.replace(traits, abort=settings.abort)
    if settings.stream_usage is not None:
        traits = structs.replace(traits, stream_usage=settings.stream_usage)
    if settings.prefix_cache is not None:
        traits = structs.replace(traits, prefix_cache=settings.prefix_cache)
    return traits if settings.kv_tokens is None else structs.replace(traits, kv_tokens=settings.kv_tokens)
