"""A whole gate in front of fault servers, and what must hold after any fault that befalls it.

`tests.flow.world` is the gate; the upstreams are `loadtests.upstream`, whose own bill is the truth that the gate's
books are held against. Places without a server behind them (no name, no listener, no answer, no certificate) stand in
for an upstream as well.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from types import TracebackType
from typing import Protocol

import msgspec
from msgspec import structs

from loadtests.fault_proxy import Fault, FaultProxy
from loadtests.upstream import Settings, Stage, read, start
from loadtests.upstream.bill import Entry
from loadtests.upstream.request import Request
from loadtests.upstream.script import Step
from policies.plan import Planner, Route, Routes
from proxy.providers.openai_compatible import Account, OpenAICompatible
from proxy.snapshot import AgentRules, Limits
from proxy.telemetry.log import json_form
from proxy.types import AbortRule, Balance, Outcome
from tests.faults.rows import DEADLINE_S
from tests.flow.world import KEY, PROVIDER_KEY, World

RULES = AgentRules(deadline_s=DEADLINE_S, first_token_timeout_s=10.0, idle_timeout_s=5.0)
LIMITS = Limits(write_timeout_s=5.0)
ANSWER_TOKENS = 12
PEM = Path(__file__).parents[1] / "proxy" / "providers" / "localhost.pem"


class Place(Protocol):
    """Where a target is."""

    port: int

    @property
    def base_url(self) -> str: ...

    @property
    def entries(self) -> list[Entry]: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Watched(Stage):
    """Keeps what it was sent."""

    def script(self, request: Request) -> tuple[Step, ...] | None:
        assert KEY.encode() not in request.head + request.body, "the client's key went upstream"
        return super().script(request)


class Server:
    """A fault server; `through`: what the network between does."""

    def __init__(
        self,
        scenario: object,
        *,
        abort: AbortRule = "stops",
        through: Fault | None = None,
        send_bytes: int | None = None,
    ) -> None:
        told = {"rules": [{"steps": scenario}] if scenario else []} if isinstance(scenario, list) else scenario
        assert isinstance(told, dict)
        self.stage = Watched(
            read({"abort": "stops" if abort == "stops" else "continues"} | told), answer_tokens=ANSWER_TOKENS
        )
        self.port = 0
        self._through = through
        self._send_bytes = send_bytes  # what its sockets take that nobody has read; None: as the system likes
        self._proxy: FaultProxy | None = None
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def entries(self) -> list[Entry]:
        return list(self.stage.books.entries)

    async def start(self) -> None:
        self._server = await start("127.0.0.1", 0, settings=Settings(), stage=self.stage)
        self.port = self._server.sockets[0].getsockname()[1]
        if self._send_bytes is not None:
            self._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_bytes)
        if self._through is not None:
            self._proxy = FaultProxy("127.0.0.1", self.port, self._through)
            await self._proxy.start()
            self.port = self._proxy.port

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        if self._proxy is not None:
            await self._proxy.stop()


class Nowhere:
    """A place where no request is ever read."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.port = 0
        self.entries: list[Entry] = []
        self._socket = socket.socket()
        self._fillers: list[socket.socket] = []
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        if self.kind == "no name":
            return "http://no-such-host.invalid/v1"
        return f"https://localhost:{self.port}/v1" if self.kind in TLS_KINDS else f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        if self.kind == "black hole":
            self._socket.listen(0)
            self._fill()
        elif self.kind == "unknown authority":
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(PEM)
            self._server = await asyncio.start_server(_never, sock=self._socket, ssl=context)
        elif self.kind == "no tls":
            self._server = await asyncio.start_server(_plain_words, sock=self._socket)
        else:
            self._socket.close()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for filler in self._fillers:
            filler.close()
        self._socket.close()

    def _fill(self) -> None:
        """Until its queue is full: who connects from then on gets no answer at all."""
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)


TLS_KINDS = frozenset({"unknown authority", "no tls"})


async def _never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raise AssertionError("a request was sent over a connection that could not be verified")


async def _plain_words(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    data = await reader.read(65536)
    assert PROVIDER_KEY.encode() not in data, "the credential went out in the clear"
    writer.close()


class FaultWorld(World):
    """The real gate in front of `places`, in order of preference."""

    def __init__(
        self,
        *places: Place,
        limits: Limits = LIMITS,
        abort: AbortRule = "stops",
        balance: Balance = "ordered",
        continues: bool = False,
    ) -> None:
        super().__init__(rules=RULES, limits=limits, abort=abort, continues=continues)
        self._balance = balance
        self.places = places
        self.upstreams = list(places)  # type: ignore[arg-type]  # they are started, stopped and asked for their port
        self.log: list[bytes] = []

    async def __aenter__(self) -> FaultWorld:
        await super().__aenter__()
        for number, place in enumerate(self.places):
            old = self.snapshot.providers[f"up{number}"]
            account = Account(base_url=place.base_url, api_key=PROVIDER_KEY)
            new = OpenAICompatible(old.name, account, dialect=old.dialect, transport=self.transport, clock=self.clock)
            self.snapshot.providers[f"up{number}"] = new  # type: ignore[index]  # a dict behind the mapping
        route = self.snapshot.planner.routes.find("m")
        assert route is not None
        routes = Routes((Route("m", route.targets, balance=self._balance),))
        self.snapshot = structs.replace(self.snapshot, planner=Planner(routes))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        if kind is None:
            assert self.transport.open_connections == 0
            self._check_sinks()

    @property
    def outcome(self) -> Outcome:
        (found,) = self.outcomes
        return found

    @property
    def entries(self) -> list[Entry]:
        return [entry for place in self.places for entry in place.entries]

    def observe(self, outcome: Outcome) -> None:
        super().observe(outcome)
        self.log.append(json_form(outcome))

    def _check_sinks(self) -> None:
        """No credential in what is logged, shown or kept."""
        for outcome, line in zip(self.outcomes, self.log, strict=True):
            shown = line + repr(outcome).encode() + msgspec.json.encode(outcome.attempts)
            assert PROVIDER_KEY.encode() not in shown
            assert KEY.encode() not in shown
