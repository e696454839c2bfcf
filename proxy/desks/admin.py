"""What the admin listener says of the gate itself: its address, its models, its targets and prices, a bill explained.

It reads the configuration in force and asks whatever serves; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version as installed_version

from msgspec import Struct

from pricing.book import Bill, explain
from proxy.assembly import Assembly
from proxy.config.models import Model
from proxy.serving import Serving
from proxy.state.target_report import TargetRow
from proxy.types import Usage


class ModelRow(Struct, frozen=True):
    """One name that agents may ask for."""

    name: str
    mode: str  # of the configuration, or `experiment`
    targets: tuple[str, ...]  # or the models that answer together, or are compared


class About(Struct, frozen=True):
    """The gate as a stranger to its configuration has to know it."""

    version: str
    base_url: str  # of the data listener
    open: bool  # any key is accepted
    workers: int
    prices_date: str
    prices_source: str
    unpriced: tuple[str, ...]  # models without a price
    models: tuple[ModelRow, ...]


class AdminDesk:
    def __init__(
        self, assembly: Assembly, serving: Serving, base_url: str, unpriced: Callable[[], Sequence[str]]
    ) -> None:
        self._assembly = assembly
        self._serving = serving
        self._base_url = base_url
        self._unpriced = unpriced

    def __repr__(self) -> str:
        return f"AdminDesk({self._base_url})"

    def explain_price(self, price_id: str, provider: str, model: str, usage: Usage) -> Bill | None:
        targets = self._assembly.present.targets
        known = (targets.price(provider, model), *[price for _, price in targets.tiers(provider, model)])
        price = next((price for price in known if price is not None and price.id == price_id), None)
        return None if price is None else explain(usage, price)

    async def targets(self) -> list[TargetRow]:
        standings = {standing.target: standing for standing in await self._serving.survey()}
        return [
            TargetRow(target.id, target.provider, target.model, target.price, standings.get(target.id))
            for target in self._assembly.present.metered
        ]

    def about(self) -> About:
        config, book = self._assembly.config, self._assembly.present.targets.book_about
        return About(
            version=installed_version("headgate"),
            base_url=self._base_url,
            open=self._assembly.keyring(config).open,
            workers=config.server.workers,
            prices_date=book.date,
            prices_source=book.source,
            unpriced=tuple(self._unpriced()),
            models=tuple(_model(name, model) for name, model in config.models.items()),
        )


def _model(name: str, model: Model) -> ModelRow:
    if model.experiment is not None:
        return ModelRow(name, "experiment", (model.experiment.control, model.experiment.candidate))
    return ModelRow(
        name, model.mode, tuple(f"{each.provider}/{each.model}" for each in model.targets) or model.together
    )
