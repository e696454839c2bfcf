"""The ledger's tools and the quoter, connected to what one process has."""

from __future__ import annotations

from proxy.assembly import Assembly
from proxy.money.budgets import Budgets
from proxy.money.correcting import LedgerTools
from proxy.money.quoting import Present, Quoter
from proxy.runs.registry import Runs
from proxy.state.export import LedgerAnswers
from proxy.state.ledger import Ledger
from proxy.surfaces.admin_ledger import LedgerServices
from proxy.types import KeyRecord


class LedgerDesk:
    def __init__(self, ledger: Ledger, budgets: Budgets, *, runs: Runs, assembly: Assembly) -> None:
        self._assembly = assembly
        clock = assembly.tools.clock
        present = Present(
            snapshot=lambda: assembly.snapshot,
            key=self._key,
            open=lambda: assembly.keyring(assembly.config).open,
            budgets=budgets,
            runs=runs,
            clock=clock,
            dialect=assembly.tools.dialect,
            answers=LedgerAnswers(ledger),
        )
        self.services = LedgerServices(LedgerTools(ledger, budgets), Quoter(present).quote, clock.wall)

    def __repr__(self) -> str:
        return f"LedgerDesk({self.services.tools!r})"

    def _key(self, id: str) -> KeyRecord | None:
        """A stored key that is not revoked."""
        live = (stored.record for stored in self._assembly.keys.list() if stored.revoked_wall is None)
        return next((record for record in live if record.id == id), None)
