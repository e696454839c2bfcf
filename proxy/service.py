"""The gate as a command: start, tell where it is, serve until a signal, reload on SIGHUP, drain on SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from proxy.app import Gate, Load
from proxy.banner import banner, command
from proxy.clock import SystemClock
from proxy.config.load import Config, ConfigError
from proxy.errors import ProxyError
from proxy.listeners import ListenError
from proxy.memory import settle
from proxy.state.keys import KeyStoreError
from proxy.watchdog import Watchdog


def run(load: Load, notices: tuple[str, ...]) -> int:
    """`headgate up` and `serve`: until SIGTERM or SIGINT. Returns the exit code."""
    try:
        config = load()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, load, notices))


async def _serve(config: Config, load: Load, notices: tuple[str, ...]) -> int:
    try:
        gate = Gate(config, load, SystemClock())
    except (ListenError, KeyStoreError, ProxyError, ValueError) as error:
        print(f"headgate: {error}", file=sys.stderr)
        return 1
    watchdog = Watchdog(gate.log.event, gate.metrics.loop_blocked)
    watchdog.start()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: gate.tasks.start("reload", gate.reload_from_file()))
    await gate.start()
    urls = (gate.data_url, gate.admin_url)
    notices, run = (*notices, *gate.unpriced), command(sys.argv[0])
    print(banner(gate.config, urls, notices, open_gate=gate.open, run=run), flush=True)
    settle()
    await stopping.wait()
    print("stopping: calls that run may end first; once more to stop at once", file=sys.stderr)
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, _end_now, gate, name)
    await gate.stop()
    watchdog.close()
    return 0


def _end_now(gate: Gate, name: signal.Signals) -> None:
    """By the signal, as if nobody had listened for it."""
    gate.kill()
    asyncio.get_running_loop().remove_signal_handler(name)
    os.kill(os.getpid(), name)
