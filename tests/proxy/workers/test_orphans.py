"""What the workers of a dead supervisor left is booked once, before anything is granted."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path

import pytest
from msgspec import msgpack

from proxy.errors import ProxyError
from proxy.listeners import ListenError
from proxy.money.holds import HELD
from proxy.state.journal import Journal
from proxy.state.ledger import Ledger
from proxy.state.ledger_rows import entry
from proxy.workers.messages import Settled
from proxy.workers.orphans import Lock, adopt, bind_after, supervisor_lock
from proxy.workers.settlements import SETTLED
from tests.proxy.state.samples import call, outcome

NAMES = [("agent:a", "usd", "total", 0, "agent:a"), ("agent:a", "concurrency", "total", 0, "agent:a")]


def hold(id: str) -> bytes:
    return msgpack.encode((id, 1.0, ("agent:a",), NAMES, (500, 1)))


def settlement(id: str) -> bytes:
    return msgpack.encode(Settled(1, entry(outcome(call(id))), ((1, 40),)))


def left_behind(folder: Path, *records: tuple[int, bytes]) -> Path:
    path = folder / "worker-0.journal"
    journal = Journal(path)
    for kind, payload in records:
        journal.append(kind, payload)
    journal.close()
    Lock(path).release()
    return path


def rows(ledger: Ledger) -> tuple[list[str], list[tuple[str, str]]]:
    def read(connection: sqlite3.Connection) -> tuple[list[str], list[tuple[str, str]]]:
        ids = [id for (id,) in connection.execute("SELECT request_id FROM outcome ORDER BY seq")]
        return ids, list(connection.execute("SELECT kind, subject FROM event ORDER BY seq"))

    return ledger.read_now(read)


def test_settlements_are_booked_once_and_open_holds_in_full(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.append(outcome(call("known")))
    ledger.write_now()
    records = [(HELD, hold("known")), (SETTLED, settlement("known"))]
    records += [(HELD, hold("new")), (SETTLED, settlement("new")), (HELD, hold("lost"))]
    for _ in range(2):  # a start that was interrupted is repeated
        left_behind(tmp_path, *records)
        adopt(ledger, tmp_path, drain_s=0)
        assert rows(ledger) == (["known", "new"], [("expire", "lost")])
        assert not (tmp_path / "worker-0.journal").exists()
    ledger.close()


def test_a_worker_that_still_runs_is_waited_for_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.workers.orphans.LAST_WORDS_S", 0.1)
    path = left_behind(tmp_path, (SETTLED, settlement("c")))
    lock = Lock(path)
    assert lock.acquire()
    ledger = Ledger.open(tmp_path / "ledger.db")
    with pytest.raises(ProxyError, match="still runs"):
        adopt(ledger, tmp_path, drain_s=0)
    assert rows(ledger) == ([], [])
    lock.release()
    adopt(ledger, tmp_path, drain_s=0)
    assert rows(ledger)[0] == ["c"]
    ledger.close()


def test_a_damaged_journal_is_read_to_its_last_whole_record(tmp_path: Path) -> None:
    path = left_behind(tmp_path, (SETTLED, settlement("a")), (SETTLED, settlement("b")))
    path.write_bytes(path.read_bytes()[:-3])
    ledger = Ledger.open(tmp_path / "ledger.db")
    adopt(ledger, tmp_path, drain_s=0)
    assert rows(ledger)[0] == ["a"]
    ledger.close()


class Port:
    def __init__(self, taken: int) -> None:
        self.tries = 0
        self._taken = taken

    def bind(self) -> socket.socket:
        self.tries += 1
        if self.tries <= self._taken:
            raise ListenError("taken")
        return socket.socket()


def test_the_port_of_a_dead_gate_is_waited_for(tmp_path: Path) -> None:
    left_behind(tmp_path)
    port = Port(taken=3)
    bind_after(tmp_path, port.bind).close()
    assert port.tries == 4


@pytest.mark.parametrize("alive", [True, False])
def test_the_port_of_somebody_else_is_not(tmp_path: Path, alive: bool) -> None:
    lock = supervisor_lock(tmp_path)
    if alive:  # a gate with workers runs on this folder
        left_behind(tmp_path)
        assert lock.acquire()
    port = Port(taken=3)
    with pytest.raises(ListenError):
        bind_after(tmp_path, port.bind)
    assert port.tries == 1
    lock.release()
