"""What is looked at on this machine: real files, real ports."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections import namedtuple
from pathlib import Path

import pytest
from msgspec.structs import replace

from proxy.cli import doctor_local as local
from proxy.clock import SystemClock
from proxy.config.file import Document
from proxy.config.load import Config, build
from proxy.state.keys import KeyStore, load_pepper
from proxy.surfaces.admin_guard import Guard, Rules
from proxy.surfaces.admin_route import AdminRequest, Reply, Route, json_reply
from tests.proxy.admin import listening

Usage = namedtuple("Usage", "total used free")


def config(folder: Path, models: object = None) -> Config:
    values = {
        "data_dir": str(folder),
        "providers": {"sim": {"kind": "simulated"}},
        "models": models or {"m": {"targets": ["sim/priced"]}},
        "pricing": {"overrides": {"sim/priced": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}}},
    }
    return build(Document("test", values, {}), {})


def test_a_folder_that_is_not_there_yet_is_no_trouble_and_is_not_made(tmp_path: Path) -> None:
    found = local.ledger(tmp_path / "data", ready=None)
    assert (found.state, "will be made" in found.words) == ("ok", True)
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_somebody_else_has_locked_is_told(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    assert local.ledger(tmp_path, ready=None).state == "ok"
    holder.execute("BEGIN EXCLUSIVE")
    found = local.ledger(tmp_path, ready=None)
    holder.close()
    assert (found.state, "a gate on other ports" in found.words) == ("warning", True)
    assert "--admin URL" in found.remedy


def test_of_a_running_gate_its_own_word_counts(tmp_path: Path) -> None:
    assert local.ledger(tmp_path, ready=200).state == "ok"
    assert local.ledger(tmp_path, ready=503).state == "failed"


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert local.ledger(tmp_path / "data", ready=None).state == "failed"


@pytest.mark.parametrize(("free", "state"), [(2**40, "ok"), (2**29, "warning"), (2**20, "failed")])
def test_little_room_is_a_warning_and_none_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    monkeypatch.setattr(local.shutil, "disk_usage", lambda folder: Usage(2**41, 0, free))
    assert local.disk(tmp_path / "not" / "there").state == state


def test_a_port_is_free_taken_or_a_gates() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        spot = local.Spot("data port", "127.0.0.1", holder.getsockname()[1], "--port", "/health/ready")
        taken = local.port(spot, answers=None)
        assert (taken.state, taken.remedy) == ("failed", "stop it, or choose another one with --port")
        assert local.port(spot, answers=200).state == "ok"
    assert local.port(spot, answers=None).state == "ok"
    assert local.port(replace(spot, host="192.0.2.1"), answers=None).state == "failed"


def test_keys_are_counted_by_who_can_still_use_them(tmp_path: Path) -> None:
    assert "none yet" in local.keys(config(tmp_path), {}).words
    assert list(tmp_path.iterdir()) == []  # no pepper is made
    store = KeyStore(tmp_path, load_pepper(tmp_path, {}), SystemClock().wall)
    store.create("a")
    record, _ = store.create("b")
    store.revoke(record.id)
    assert "1 made with" in local.keys(config(tmp_path), {}).words
    wrong = local.keys(config(tmp_path), {"HEADGATE_PEPPER": "another pepper than before"})
    assert wrong.state == "failed"


def test_a_gate_whose_last_key_is_revoked_is_not_called_open(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, load_pepper(tmp_path, {}), SystemClock().wall)
    record, _ = store.create("a")
    store.revoke(record.id)
    found = local.keys(config(tmp_path), {})
    assert (found.state, "all calls are refused" in found.words) == ("warning", True)


async def test_a_gate_on_other_ports_says_itself_where_it_is(tmp_path: Path) -> None:
    async def about(request: AdminRequest) -> Reply:
        return json_reply({"version": "1", "base_url": "http://127.0.0.1:9100/v1"})

    guard = Guard(Rules(lambda audit: None, None, frozenset(), ()), [Route("GET", "/about", about)])
    async with listening(guard) as address:
        found = await asyncio.to_thread(local.named, address, "")
    assert found is not None
    data, admin = found
    assert (data.host, data.port, data.health) == ("127.0.0.1", 9100, "/health/ready")
    assert (f"http://{admin.host}:{admin.port}", admin.health) == (address, "/health/live")
    assert local.named("http://127.0.0.1:1", "") is None


def test_a_model_without_a_price_is_a_warning(tmp_path: Path) -> None:
    priced = [*local.prices(config(tmp_path))]
    assert [found.state for found in priced] == ["ok"]
    found = [*local.prices(config(tmp_path, {"m": {"targets": ["sim/unpriced"]}}))]
    assert [each.state for each in found] == ["ok", "warning"]
    assert "sim/unpriced" in found[1].words


def test_an_old_price_book_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = local.prices(config(tmp_path))
    monkeypatch.setattr(SystemClock, "wall", lambda self: 4e9)
    assert next(found).state == "warning"


def test_a_wrong_token_is_told_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "get", lambda *asked: (401, b""))
    spot = local.Spot("admin port", "127.0.0.1", 1, "--admin-port", "/health/live")
    assert "wants its token" in local.scrape(spot, "", runs=True).words
    assert "another token" in local.scrape(spot, "wrong", runs=True).words


def test_without_a_gate_there_is_nothing_to_scrape() -> None:
    spot = local.Spot("admin port", "127.0.0.1", 1, "--admin-port", "/health/live")
    assert local.health(spot) is None
    assert local.scrape(spot, "", runs=False).state == "skipped"
    assert local.scrape(spot, "", runs=True).state == "failed"
