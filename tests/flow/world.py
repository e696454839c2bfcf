"""A whole gate over real loopback sockets in virtual time: scripted upstreams below, raw HTTP clients above.

Only the ledger, the log and the metrics are replaced, by a list of outcomes. `World` is an async context manager;
when it closes it checks what must hold after every flow: nothing held, nothing open, one outcome for each call begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType

import msgspec
from msgspec import structs

from policies.limits import Rulebook
from policies.plan import Planner, Route, Routes
from policies.provider_limits import TargetRules
from policies.rate_limit import RateRules
from policies.retry import AttemptBudget, Retry
from pricing.gpu import GpuMeter, GpuRate
from proxy.caching.semantic import Semantic
from proxy.caching.semantic_parts import Kit
from proxy.caching.stock import Bounds
from proxy.clock import Clock, SystemClock, loop_time
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.admission import Admission
from proxy.execution.bench import Bench
from proxy.execution.gate_desk import GateDesk, Pool
from proxy.execution.gating import Gating
from proxy.execution.line import Queueing
from proxy.execution.race import Race
from proxy.execution.steering import Steering
from proxy.execution.trials import Trials
from proxy.finish import Finish
from proxy.last_word import unwritten
from proxy.parts import Executor, Parts
from proxy.pipeline import Pipeline
from proxy.providers.openai_compatible import Account, OpenAICompatible
from proxy.providers.transport import HttpTransport
from proxy.runs.loop_guard import LoopGuard
from proxy.runs.registry import Runs
from proxy.side_calls import SideCalls
from proxy.snapshot import AgentRules, Limits, Snapshot
from proxy.surfaces.connection import Edges
from proxy.surfaces.llm import Services, Surface
from proxy.surfaces.overheard import Keeps
from proxy.surfaces.server import Server
from proxy.tasks import Tasks
from proxy.types import AbortRule, KeyRecord, Mode, Outcome, Price, Target, Traits
from tests.build import PRICE
from tests.known import caches
from tests.money import WIDE, WatchedBudgets
from tests.rates import permits, rate_limits

KEY = "hg-test-key"
PROVIDER_KEY = "sk-upstream-secret-credential"


class OneKey:
    """Knows `KEY`, and whatever else a test adds."""

    def __init__(self) -> None:
        self.records = {KEY: KeyRecord("key-1")}

    def identify(self, presented: str) -> KeyRecord | None:
        return self.records.get(presented)

    def of(self, id: str) -> KeyRecord | None:
        return next((record for record in self.records.values() if record.id == id), None)


class Peer:
    """The upstream's side of one connection: what it was sent, and a pen to answer with."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.head = b""
        self.body = b""

    async def receive(self) -> bool:
        """Reads one request; False when the gate has closed the connection."""
        try:
            self.head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.body = await self._reader.readexactly(int(self.header("content-length") or 0))
        return True

    def header(self, name: str) -> str | None:
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name.encode():
                return value.strip().decode()
        return None

    @property
    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.body, type=dict[str, object])

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self, body: bytes, *, status: str = "200 OK", headers: str = "") -> None:
        kind = "Content-Type: application/json\r\n" if "content-type" not in headers.lower() else ""
        head = f"HTTP/1.1 {status}\r\n{kind}{headers}Content-Length: {len(body)}\r\n\r\n"
        await self.write(head.encode() + body)

    async def stream_head(self, headers: str = "") -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{headers}Transfer-Encoding: chunked\r\n\r\n"
        await self.write(head.encode())

    async def chunk(self, data: bytes) -> None:
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.write(b"0\r\n\r\n")

    def reset(self) -> None:
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Returns when the gate has closed its side."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            return


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """One scripted upstream; every request is handed to `script`."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[bytes, bytes]] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        try:
            while await peer.receive():
                self.requests.append((peer.head, peer.body))
                await self.script(peer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


class Response(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool  # framed to its end

    @property
    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.body, type=dict[str, object])

    @property
    def error(self) -> dict[str, object]:
        found = self.json["error"]
        assert isinstance(found, dict)
        return found


MIB = 1024 * 1024


class Counted:
    """Of the semantic cache: what it would count, as it came."""

    def __init__(self) -> None:
        self.labels: list[bool] = []
        self.spend: dict[str, int] = {}
        self.off = False

    def labelled(self, route: str, *, same: bool) -> None:
        self.labels.append(same)

    def spent(self, purpose: str, usd_nanos: int) -> None:
        self.spend[purpose] = self.spend.get(purpose, 0) + usd_nanos

    def stands(self, route: str, owner: bytes, false_hit_ratio: float, *, off: bool) -> None:
        self.off = off


class World:
    def __init__(
        self,
        *scripts: Script,
        retry: Retry | None = None,
        rules: AgentRules | None = None,
        limits: Limits | None = None,
        edges: Edges | None = None,
        abort: AbortRule = "stops",
        price: Price | None = PRICE,
        gpu: GpuRate | None = None,
        unpriced_allowed: bool = False,
        stream_usage: bool = True,
        continues: bool = False,
        limits_of: Rulebook | None = None,
        rates: RateRules | None = None,
        target_rates: TargetRules | None = None,
        queueing: Queueing | None = None,
        clock: Clock | None = None,
        caches_at: Path | None = None,
        pools: tuple[Pool, ...] = (),
        also: tuple[str, ...] = (),
    ) -> None:
        self.upstreams = [Upstream(script) for script in scripts]
        self.outcomes: list[Outcome] = []
        self.defects: list[BaseException] = []
        self.keys = OneKey()
        self.accepting = True
        self.on_disk: Callable[[], Awaitable[None]] = unwritten
        self.ready = True
        self.clock: Clock = clock or SystemClock(seed=7, now=loop_time)
        self.rates = rate_limits(self.clock, rates, queueing)
        self.permits = permits(self.clock, target_rates, queueing)
        self.attempt_budget = AttemptBudget()
        self.store = WatchedBudgets(self.clock, limits_of or WIDE)
        self.gates = GateDesk(pools, self.clock, NoWaits())
        self.runs = Runs(self.clock, over=self.gates.over)
        self.loops = LoopGuard(self.clock, OpenAI())
        self.permits.progress = self.runs.steps
        self.gating = Gating(self.gates, self.clock, self.runs.steps)
        self.gating.use(pools)
        self.transport = HttpTransport()
        self.port = 0
        self._rules = rules or AgentRules(retry=retry or Retry(attempts=3))
        self._limits = limits or Limits()
        self._edges = edges or Edges()
        self._price = price if gpu is None else gpu.price
        self.gpu = None if gpu is None else GpuMeter(gpu, self.clock.now())  # one engine behind all upstreams
        self._unpriced_allowed = unpriced_allowed
        self._traits = Traits(
            abort=abort, stream_usage=stream_usage, vocabulary="o200k_base", continues_messages=continues
        )
        self.agents: dict[str, AgentRules] = {}
        self.tasks = Tasks(lambda name, error: self.defects.append(error))
        self.caches = caches(self.clock, caches_at, Bounds())
        self._also = also
        self.counted = Counted()
        self.executors: dict[Mode, Executor] = {}  # a test adds those that it needs
        self.sides = SideCalls(self.clock, OpenAI(), self.tasks, lambda *call: self.pipeline.serve(*call))
        self.trials: Trials | None = None  # the same
        self.semantic = Semantic(Kit(self.clock, OpenAI(), self.tasks, self.counted, self.sides), MIB)
        self.content: Keeps | None = None  # a test that keeps words brings one
        self._server: Server | None = None
        self._listening: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> World:
        for upstream in self.upstreams:
            await upstream.start()
        dialect = OpenAI()
        self.steering = Steering(self.clock)
        bench = Bench(self.clock, self._count_text, _ignore, _ignore, self.steering)
        self.admission = admission = Admission(self.permits, self.clock)
        self.race = Race(bench, self.attempt_budget, self.permits, self.tasks)
        self.pipeline = Pipeline(
            Parts(
                clock=self.clock,
                dialect=dialect,
                race=self.race,
                store=self.store,
                rates=self.rates,
                admission=admission,
                runs=self.runs,
                caches=self.caches,
                semantic=self.semantic,
                loops=self.loops,
                finish=Finish(
                    self.clock,
                    {"list": self, "admission": admission, "gates": self.gating},
                    lambda name, error: self.defects.append(error),
                    trials=self.trials,
                ),
                trials=self.trials,
                tasks=self.tasks,
                ledger_accepting=lambda: self.accepting,
                started=lambda route: None,
                on_defect=self.defects.append,
                let_in=self.gating.enter,
                recorded=self._recorded,
                executors=self.executors,
            )
        )
        self.snapshot = self._new_snapshot(dialect)
        services = Services(
            self.clock, dialect, self.pipeline, lambda: self.snapshot, lambda: self.ready, content=self.content
        )
        surface = Surface(services)
        self._server = Server(surface.handle, self._edges, self.clock.id)
        self._listening = await asyncio.get_running_loop().create_server(self._server, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers:
            writer.close()
        assert self._listening is not None
        assert self._server is not None
        self._listening.close()
        await self._server.shutdown(1.0)
        await self.tasks.close(grace_s=120.0)
        await self.caches.close()
        for upstream in self.upstreams:
            await upstream.stop()
        await self.transport.close()
        if kind is None:
            self.check()

    def check(self) -> None:
        assert self.defects == []
        assert self.pipeline.in_flight == 0, f"{self.pipeline.in_flight} calls without an outcome"
        assert len(self.outcomes) == self.pipeline.begun
        assert self.store.live == 0, "money still held"
        assert self.gpu is None or self.gpu.in_flight == 0, "an engine is still thought to be busy"
        assert (self.rates.running, self.rates.waiting) == (0, 0), "a limit still counts a call"
        assert (self.permits.held, self.permits.waiting) == (0, 0), "a permit was not given back"
        assert self.runs.in_flight == 0, "a run still counts a call"
        assert self.gates.passes == 0, "a gate still counts a call"
        assert all(row.calls == 0 for row in self.gates.rows()), "a gate thinks that a call waits"
        assert len({outcome.call.id for outcome in self.outcomes}) == len(self.outcomes)

    def observe(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    async def _recorded(self) -> None:
        await self.on_disk()

    async def _count_text(self, text: str, encoding: str) -> int:
        return len(text.split())

    def _new_snapshot(self, dialect: OpenAI) -> Snapshot:
        providers, targets = {}, []
        for number, upstream in enumerate(self.upstreams):
            account = Account(base_url=f"http://127.0.0.1:{upstream.port}/v1", api_key=PROVIDER_KEY)
            name = f"up{number}"
            providers[name] = OpenAICompatible(
                name, account, dialect=dialect, transport=self.transport, clock=self.clock
            )
            providers[name].gpu = self.gpu
            targets.append(
                Target(
                    id=f"{name}/real",
                    provider=name,
                    model="real",
                    price=self._price,
                    traits=self._traits,
                    order=number,
                    failure_domain=name,
                )
            )
        routes = Routes(tuple([Route(name, tuple(targets), balance="ordered") for name in ("m", *self._also)]))
        return Snapshot(
            version="v1",
            planner=Planner(routes, unpriced_allowed=self._unpriced_allowed),
            providers=providers,
            keyring=self.keys,
            agents=self.agents,
            default_rules=self._rules,
            limits=self._limits,
        )

    def change_rules(self, **changes: object) -> None:
        self.snapshot = structs.replace(
            self.snapshot, default_rules=structs.replace(self.snapshot.default_rules, **changes)
        )

    # --- the client's side ---------------------------------------------------------------------------------------

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=16 * 1024 * 1024)
        self._writers.append(writer)
        return reader, writer

    async def request(
        self,
        body: bytes = b'{"model":"m","messages":[]}',
        *,
        path: str = "/v1/chat/completions",
        method: str = "POST",
        headers: str = "",
        key: str | None = KEY,
    ) -> Response:
        reader, writer = await self.connect()
        writer.write(head(body, path=path, method=method, headers=headers, key=key) + body)
        response = await read_response(reader, bodiless=method == "HEAD")
        writer.close()
        return response

    async def stream(self, body: bytes = b'{"model":"m","messages":[],"stream":true}', headers: str = "") -> Response:
        return await self.request(body, headers=headers)


class NoWaits:
    """Nobody looks at the gates' waits."""

    def watch(self, pools: Iterable[str], gates: GateDesk) -> None:
        return

    def ended(self, pool: str, waited_s: float) -> None:
        return


def head(body: bytes, *, path: str, method: str = "POST", headers: str = "", key: str | None = KEY) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: gate"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if body and "content-length" not in headers.lower() and "transfer-encoding" not in headers.lower():
        lines.append(f"Content-Length: {len(body)}")
    if "content-type" not in headers.lower() and body:
        lines.append("Content-Type: application/json")
    return ("\r\n".join(lines) + "\r\n" + headers + "\r\n").encode()


async def read_response(reader: asyncio.StreamReader, *, bodiless: bool = False) -> Response:
    raw = await reader.readuntil(b"\r\n\r\n")
    lines = raw.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    status = int(lines[0].split()[1])
    if bodiless or status in (204, 304):
        return Response(status, headers, b"", True)
    if headers.get("transfer-encoding") == "chunked":
        body, complete = await _chunked(reader)
        return Response(status, headers, body, complete)
    try:
        return Response(status, headers, await reader.readexactly(int(headers["content-length"])), True)
    except asyncio.IncompleteReadError as error:
        return Response(status, headers, error.partial, False)


async def _chunked(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    body = bytearray()
    try:
        while True:
            size = int(await reader.readuntil(b"\r\n"), 16)
            data = await reader.readexactly(size + 2)
            if size == 0:
                return bytes(body), True
            body += data[:-2]
    except (asyncio.IncompleteReadError, ConnectionError):
        return bytes(body), False


def _ignore(target: Target) -> None:
    return


# --- what upstreams say ----------------------------------------------------------------------------------------------

REPLY = (
    b'{"id":"c1","object":"chat.completion","model":"real-2026","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"hello"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}'
)
ROLE = b'data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
FINISH = b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}\n\n'
DONE = b"data: [DONE]\n\n"


def token(text: str) -> bytes:
    delta = msgspec.json.encode({"content": text})
    return b'data: {"id":"c1","choices":[{"index":0,"delta":' + delta + b',"finish_reason":null}]}\n\n'


async def plain(peer: Peer) -> None:
    await peer.reply(REPLY)


async def streaming(peer: Peer) -> None:
    await peer.stream_head()
    for event in (ROLE, token("hel"), token("lo"), FINISH, USAGE, DONE):
        await peer.chunk(event)
    await peer.end()


async def long_stream(peer: Peer) -> None:
    """Half a minute between its first token and its end."""
    await peer.stream_head()
    for event in (ROLE, token("a")):
        await peer.chunk(event)
    await asyncio.sleep(30)
    for event in (FINISH, USAGE, DONE):
        await peer.chunk(event)
    await peer.end()
