"""The configuration in force and what was made of it: key ring, providers, targets with prices, routes, limits.

Both kinds of process have one: the one that owns the books, to check a configuration and to answer questions about it;
and each that serves calls. What outlives a configuration (connections to upstreams, simulated worlds) stands here too.
Nothing is started; what cannot be made leaves the present one as it was.
"""

from __future__ import annotations

import os

from proxy.assemble import Assembled, Tools, Transports, assemble
from proxy.clock import Clock
from proxy.config.check import is_loopback
from proxy.config.load import Config
from proxy.dialects.openai_chat import OpenAI
from proxy.money.gpus import Gpus
from proxy.money.shared_board import Boards, OwnBoards, SharedBoards
from proxy.snapshot import Snapshot
from proxy.state.keys import Keyring, KeyStore, load_pepper


class Assembly:
    def __init__(self, config: Config, clock: Clock, worker: int | None = None) -> None:
        """`worker`: its number; None in the process that owns the books. Raises KeyStoreError, ValueError, OSError."""
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._loopback = is_loopback(config.server.host)
        self._pepper = load_pepper(config.data_dir, os.environ)
        self.keys = KeyStore(config.data_dir, self._pepper, clock.wall)
        gpus = Gpus(clock, _boards(config, worker))
        self.tools = Tools(clock=clock, dialect=OpenAI(), transports=Transports(), simulations={}, gpus=gpus)
        self.worker = worker
        self.config = config
        self.present = self.made(config)

    def __repr__(self) -> str:
        return f"Assembly({self.config.version})"

    @property
    def snapshot(self) -> Snapshot:
        return self.present.snapshot

    def made(self, config: Config) -> Assembled:
        """Raises KeyStoreError, ValueError, OSError."""
        return assemble(config, self.tools, self.keyring(config))

    def use(self, config: Config, assembled: Assembled) -> None:
        self.config, self.present = config, assembled

    def keyring(self, config: Config) -> Keyring:
        return Keyring(self.keys, self._pepper, configured=config.configured_keys(), loopback=self._loopback)

    def secret(self, purpose: bytes) -> bytes:
        """Known to all that have the same pepper, and to nobody else."""
        return self._pepper.digest(b"headgate: " + purpose)

    def agents(self, config: Config) -> tuple[str, ...]:
        """Every agent that is known by name before its first call."""
        configured = (key.agent for key in config.keys if key.agent != "any")
        made = (stored.record.agent for stored in self.keys.list() if stored.record.agent is not None)
        return tuple(dict.fromkeys((*config.agents, *configured, *made)))


def _boards(config: Config, worker: int | None) -> Boards:
    workers = config.server.workers
    return OwnBoards() if workers == 1 else SharedBoards(config.data_dir, workers, worker)
