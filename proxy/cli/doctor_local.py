"""What `headgate doctor` looks at on this machine: prices, keys, the ledger's file, the disk, the two ports.

Nothing is made that stays: a file that is written to prove that it can be is gone again, and the ledger is locked and
let go. Whether a gate runs is told from its health, so that its own files are not taken for trouble.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final
from urllib.parse import urlsplit

from msgspec import DecodeError, Struct, json

from proxy.cli.doctor_finding import Finding
from proxy.clock import SystemClock, day_wall, today
from proxy.config.load import Config
from proxy.config.unpayable import unpayable, unpriced
from proxy.state.key_file import KeyStoreError
from proxy.state.keys import KeyStore, has_keys, load_pepper
from proxy.targets import Targets, prices_of

TIMEOUT_S: Final = 5.0
BOOK_OLD_DAYS: Final = 60.0  # vendors change prices every few months
DAY_S: Final = 86_400.0
GIB: Final = 1024**3
DISK_LOW, DISK_EMPTY = GIB, GIB // 10
SAID_MAX: Final = 3  # warnings of one kind that are spelled out


class Spot(Struct, frozen=True):
    """One listener, and whether a gate answers there."""

    name: str
    host: str
    port: int
    option: str
    health: str  # a path that only a gate has


class _About(Struct):
    base_url: str


def spots(config: Config) -> tuple[Spot, Spot]:
    server, admin = config.server, config.admin
    return (
        Spot("data port", server.host, server.port, "--port", "/health/ready"),
        Spot("admin port", admin.host, admin.port, "--admin-port", "/health/live"),
    )


def named(url: str, token: str) -> tuple[Spot, Spot] | None:
    """Where a gate listens that runs at this admin address, by its own word. None: there is none that says so."""
    there = urlsplit(url)
    host, number = there.hostname or "", there.port or 80
    try:
        data = urlsplit(json.decode(get(host, number, "/about", token)[1], type=_About).base_url)
    except DecodeError:
        return None
    return (
        Spot("data port", data.hostname or "", data.port or 80, "--port", "/health/ready"),
        Spot("admin port", host, number, "--admin-port", "/health/live"),
    )


def prices(config: Config) -> Iterator[Finding]:
    clock = SystemClock()
    targets = Targets(config, prices_of(config, today(clock)))
    date = targets.book_about.date
    days = (clock.wall() - day_wall(date)) / DAY_S
    words, old = f"the price book is of {date}", days > BOOK_OLD_DAYS
    remedy = f"that is {days:.0f} days ago; a newer release of headgate has newer prices"
    yield Finding("prices", "warning" if old else "ok", words, remedy if old else "")
    trouble = [*targets.warnings, *unpriced(config, targets.price), *unpayable(config, targets.price)]
    for warning in trouble[:SAID_MAX]:
        yield Finding("prices", "warning", warning, "`headgate check` shows all of them")


def keys(config: Config, environment: Mapping[str, str]) -> Finding:
    """Those that callers present."""
    written = sum(key.key is not None for key in config.keys)
    made = live = 0
    if has_keys(config.data_dir):  # only then is there a pepper: nothing is made here
        wall = SystemClock().wall
        try:
            stored = KeyStore(config.data_dir, load_pepper(config.data_dir, environment), wall).list()
        except KeyStoreError as error:
            return Finding("keys", "failed", f"the stored keys cannot be used: {error}", "see `headgate keys list`")
        ends = [(key.revoked_wall, key.expires_wall) for key in stored]
        made = len(stored)
        live = sum(revoked is None and (expires is None or expires > wall()) for revoked, expires in ends)
    if written + live:
        return Finding("keys", "ok", f"{written} in the configuration, {live} made with `headgate keys create`")
    if made:
        words = f"every key is revoked or expired ({made} in all), and a gate that has had a key stays closed"
        return Finding("keys", "warning", f"{words}: all calls are refused", "make one: `headgate keys create`")
    return Finding("keys", "ok", "there is none yet: whoever reaches the loopback address may call")


def disk(folder: Path) -> Finding:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    words = f"{free / GIB:.1f} GiB are free for {folder}"
    if free < DISK_EMPTY:
        return Finding("disk", "failed", words, "a gate whose ledger cannot grow takes no calls: make room")
    return Finding("disk", "warning" if free < DISK_LOW else "ok", words, "make room" if free < DISK_LOW else "")


def ledger(folder: Path, *, ready: int | None) -> Finding:
    """`ready`: the status by which a running gate says whether its ledger takes calls."""
    if ready is not None:
        if ready == 200:
            return Finding("ledger", "ok", "the running gate writes it")
        return Finding("ledger", "failed", f"the running gate takes no calls ({ready})", "its log says why")
    try:
        _writes(folder)
    except FileNotFoundError:
        return Finding("ledger", "ok", f"{folder} will be made at the start")
    except (OSError, sqlite3.Error) as error:
        if "locked" in str(error):
            words = f"{folder} is in use, perhaps by a gate on other ports"
            return Finding("ledger", "warning", words, "name it with --admin URL; a second gate needs another data_dir")
        mend = "its owner must be who runs headgate"
        return Finding("ledger", "failed", f"{folder} cannot be written: {error}", mend)
    return Finding("ledger", "ok", f"{folder} can be written")


def _writes(folder: Path) -> None:
    if not folder.exists():
        if not os.access(next(path for path in folder.absolute().parents if path.exists()), os.W_OK):
            raise PermissionError(errno.EACCES, "its parent folder is not yours")
        raise FileNotFoundError
    with TemporaryFile(dir=folder) as file:
        file.write(b"headgate")
    path = folder / "ledger.db"
    if path.exists():
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=1.0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()


def port(spot: Spot, *, answers: int | None) -> Finding:
    """`answers`: the status of its health, None when no gate is there."""
    where = f"{spot.host}:{spot.port}"
    if answers is not None:
        return Finding(spot.name, "ok", f"a gate answers at {where}")
    try:
        _bindable(spot.host, spot.port)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        words = f"something else listens at {where}" if taken else f"{where} cannot be had: {error.strerror or error}"
        return Finding(spot.name, "failed", words, f"stop it, or choose another one with {spot.option}")
    return Finding(spot.name, "ok", f"{where} is free")


def _bindable(host: str, number: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def health(spot: Spot) -> int | None:
    """The status that a gate answers there; None for whatever is no gate."""
    status, body = get(spot.host, spot.port, spot.health)
    return status if b'"status"' in body else None


def get(host: str, number: int, path: str, token: str = "") -> tuple[int | None, bytes]:
    if number == 0:  # a free one, at the start
        return None, b""
    there = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # nothing is bound here
    connection = HTTPConnection(there, number, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        reply = connection.getresponse()
        return reply.status, reply.read()
    except (OSError, HTTPException):
        return None, b""
    finally:
        connection.close()


def scrape(spot: Spot, token: str, *, runs: bool) -> Finding:
    """What Prometheus would get."""
    if not runs:
        return Finding("scrape", "skipped", "no gate answers at the admin port")
    status, body = get(spot.host, spot.port, "/metrics", token)
    if status == 401:
        why = "has another token" if token else "wants its token"
        return Finding("scrape", "failed", f"the admin listener {why}", "set HEADGATE_ADMIN_TOKEN to the gate's own")
    series = sum(line.startswith(b"headgate_") for line in body.splitlines())
    if status != 200 or not series:
        return Finding("scrape", "failed", f"/metrics answered {status} with {series} series", "its log says why")
    return Finding("scrape", "ok", f"/metrics gives {series} series")
