"""What ended stands in the journal before it is sent, and stays there until the ledger has it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from msgspec import Raw, msgpack

from policies.leases import Leases, Terms
from proxy.clock import SystemClock
from proxy.errors import ProxyError
from proxy.money.holds import HELD, MARKED, holds
from proxy.state.journal import Journal
from proxy.types import Amounts, Period
from proxy.workers.messages import Settled
from proxy.workers.settlements import SETTLED, Settlements
from tests.proxy.state.samples import call, outcome

PERIOD = Period("agent:a", "usd", "total", 0, "agent:a")


class Bench:
    def __init__(self, folder: Path, *, size_max: int = 1 << 20) -> None:
        self.path = folder / "worker-0.journal"
        self.leases = Leases()
        self.sent: list[Settled] = []
        self.settlements = Settlements(
            Journal(self.path, size_max=size_max), SystemClock(1, now=lambda: 0.0), self.leases, self._send
        )
        (self.lease,) = self.leases.take((Terms(1, PERIOD, 0, 1e12, 10**9, False),), 0.0)

    def _send(self, data: Raw) -> None:
        self.sent.append(msgpack.decode(data, type=Settled))

    def hold(self, id: str) -> None:
        assert self.leases.hold(id, ("agent:a",), (self.lease,), draw=Amounts(100), wall=0.0)
        assert self.settlements.note(self.leases.live[id])

    def end(self, id: str) -> None:
        self.leases.post(id, Amounts(40), 0.0)
        self.settlements.append(outcome(call(id)))

    def records(self) -> list[tuple[int, str]]:
        found = []
        for kind, payload in Journal.read(self.path):
            if kind in (HELD, MARKED):
                found.append((kind, msgpack.decode(payload)[0]))
            else:
                found.append((kind, msgpack.decode(payload, type=Settled).entry.request_id))
        return found


async def test_a_hold_and_its_settlement_are_in_the_journal(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.hold("c1")
    assert bench.records() == [(HELD, "c1")]
    bench.end("c1")
    assert bench.records() == [(HELD, "c1"), (SETTLED, "c1")]
    (settled,) = bench.sent
    assert (settled.seq, settled.used, settled.entry.request_id) == (1, ((1, 40),), "c1")
    assert bench.settlements.waiting == 1
    bench.settlements.acknowledged(1)
    assert bench.settlements.waiting == 0
    assert bench.settlements.confirmed.is_set()


async def test_a_rotated_journal_keeps_what_still_matters(tmp_path: Path) -> None:
    bench = Bench(tmp_path, size_max=100)
    for number in range(10):
        bench.hold(f"c{number}")
        bench.settlements.mark(f"c{number}", Amounts(30, 5))
        bench.end(f"c{number}")
    bench.hold("open")
    bench.settlements.mark("open", Amounts(7, 1))
    bench.settlements.acknowledged(8)
    bench.settlements.journal.sync()
    assert bench.records() == [(HELD, "open"), (MARKED, "open"), (SETTLED, "c8"), (SETTLED, "c9")]
    assert [amount for _, amount in holds(Journal.read(bench.path))["open"].due()] == [7]


async def test_a_journal_that_cannot_be_written_takes_no_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)

    def full(kind: int, payload: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.settlements.journal, "append", full)
    assert bench.leases.hold("c", ("agent:a",), (bench.lease,), draw=Amounts(1), wall=0.0)
    assert not bench.settlements.note(bench.leases.live["c"])
    assert not bench.settlements.accepting


async def test_names_that_no_message_can_hold_are_made_storable(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.settlements.append(outcome(call("\udcff")))
    assert bench.sent[0].entry.request_id == "?"


async def test_a_sync_is_shared_by_all_who_wait_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, syncs = Bench(tmp_path), list[int]()
    sync = os.fdatasync

    def counted(fd: int) -> None:
        syncs.append(len(bench.records()))  # what came before this instant is on the disk afterwards
        sync(fd)

    monkeypatch.setattr("proxy.state.journal.os.fdatasync", counted)

    async def settled(id: str) -> None:
        bench.hold(id)
        bench.end(id)
        await bench.settlements.flush()
        assert not any(id == other and kind == SETTLED for kind, other in bench.records()[max(syncs) :])

    await asyncio.gather(*[settled(f"c{number}") for number in range(20)])
    assert len(syncs) <= 2
    await bench.settlements.flush()
    assert len(syncs) <= 2, "nothing is new"


async def test_a_journal_that_cannot_be_synced_takes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)

    def broken() -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(bench.settlements.journal, "sync", broken)
    bench.hold("c")
    with pytest.raises(ProxyError, match="Input/output error"):
        await bench.settlements.flush()
    assert not bench.settlements.accepting
