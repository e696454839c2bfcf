"""A clock that a test moves by hand, and a command run as it is typed, against a desk over a real ledger."""

from __future__ import annotations

import argparse
import asyncio
import random
from pathlib import Path

from policies.limits import Rulebook
from proxy.cli import ledger
from proxy.state.ledger import Ledger
from proxy.types import Outcome
from tests.money import WIDE
from tests.proxy.admin import listening
from tests.proxy.desk import Desk


class Ticking:
    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return self.at

    def id(self) -> str:
        return "0" * 32

    def rng(self, purpose: str) -> random.Random:
        return random.Random(purpose)


class Gate(Desk):
    """`headgate ledger ...` against it."""

    def __init__(self, folder: Path, *done: Outcome, rules: Rulebook = WIDE) -> None:
        super().__init__(Ledger.open(folder / "ledger.db"), rules)
        for one in done:
            self.ledger.append(one)

    async def run(self, *typed: str) -> int:
        async with listening(self.guard()) as address:
            return await run(*typed, "--admin", address)


async def run(*typed: str) -> int:
    parser = argparse.ArgumentParser()
    ledger.register(parser.add_subparsers(dest="command"))
    chosen = parser.parse_args(["ledger", *typed])
    return await asyncio.get_running_loop().run_in_executor(None, ledger.ledger, chosen)
