"""Experiments as an operator asks after them: what was measured of both arms, what may be said of it, and a new start.

What a call adds is an event of the ledger, whichever process served it; a report reads them again, so it is the same
after a restart and needs no sums that several processes would have to agree on. It is computed in a thread of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from msgspec import Struct, json

from policies.experiment import Sample
from policies.experiment_report import Design, Report, Reports, report
from proxy.config.load import Config
from proxy.errors import ProxyError
from proxy.state.experiment_queries import RESET, TRIAL, Kept, kept
from proxy.state.ledger import Ledger

_SAMPLE: Final = json.Decoder(Sample)


class Begun(Struct, frozen=True):
    """What POST /experiments/{name}/reset answers: what was measured before counts no more."""

    experiment: str


class ExperimentDesk:
    def __init__(self, ledger: Ledger, config: Callable[[], Config]) -> None:
        self._ledger = ledger
        self._config = config

    def __repr__(self) -> str:
        return f"ExperimentDesk({list(self._designs())})"

    def keep(self, experiment: str, sample: Sample) -> None:
        self._ledger.append_event(TRIAL, experiment, sample)

    async def reports(self) -> Reports:
        return Reports([await self._report(design) for design in self._designs().values()])

    async def report(self, name: str) -> Report:
        """Raises ProxyError for a name that no experiment has."""
        return await self._report(self._design(name))

    async def reset(self, name: str) -> Begun:
        """The same."""
        self._ledger.append_event(RESET, self._design(name).name, {})
        return Begun(name)

    async def _report(self, design: Design) -> Report:
        found = await self._ledger.query(partial(kept, experiment=design.name))
        return await asyncio.get_running_loop().run_in_executor(None, _computed, design, found)

    def _design(self, name: str) -> Design:
        design = self._designs().get(name)
        if design is None:
            raise ProxyError("unknown_path", "no experiment has this name")
        return design

    def _designs(self) -> Mapping[str, Design]:
        return {
            name: model.experiment.design(name)
            for name, model in self._config().models.items()
            if model.experiment is not None
        }


def _computed(design: Design, found: Kept) -> Report:
    samples = map(_SAMPLE.decode, found.bodies)
    return report(design, samples, since=found.since, truncated=found.truncated)
