"""Canaries in a gate that keeps words: a real one, with two workers and everything on that writes anything down.

Each agent has another content policy, and each word its own marker, so whatever is found says whose it is. A key may be
nowhere; a word only where its agent's policy, a cache for replies, or the folder of batches has a place for it. The
gate of `test_canary` keeps nothing; here the table `ALLOWED` is what is promised, and a planted leak into each sink
proves that it holds.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from msgspec import Struct

from tests.flow.world import DONE, FINISH, Peer, Upstream, token
from tests.test_canary import ask
from tests.test_canary import found as found_as
from tests.workers.fleet import free_port
from tests.workers.test_stuck import STUCK

ROOT = Path(__file__).parents[1]
POLICIES = ("off", "digest", "redacted", "full")
WISHES = ("wish", "omit")  # agents that keep all, and callers that do not want it: nothing; no reply
AGENTS = (*POLICIES, *WISHES)
NIGHT = "night"  # an agent whose words are kept, and whose calls are the lines of a batch
EVERYONE = (*AGENTS, NIGHT)
HEADERS = {"wish": "X-Headgate-Content: off\r\n", "omit": "Helicone-Omit-Response: true\r\n"}
PATIENCE_S = 30.0
STUCK_S = 4

ADMIN_TOKEN = "adm-canary/token+sink=30f7"
PROVIDER_KEY = "sk-canary/provider+sink=77ab"
PROVIDER_HEADER = "org-canary/header+sink=51de"
COLLECTOR_KEY = "otlp-canary/header+sink=9a3c"
WRONG_KEY = "hg-canary/wrong+sink=9c02"
CLIENT_KEYS = {agent: f"hg-canary/{agent}+key=4f81" for agent in EVERYONE}
KEYS = (ADMIN_TOKEN, PROVIDER_KEY, PROVIDER_HEADER, COLLECTOR_KEY, WRONG_KEY, *CLIENT_KEYS.values())

ROUTES = ("/", "/about", "/metrics", "/metrics?view=otel", "/spend", "/agents", "/usage", "/runs", "/requests", "/keys")
ROUTES += ("/config", "/targets", "/gates", "/budgets", "/caches", "/content", "/ledger/verify", "/ledger/attempts")
ROUTES += ("/batches",)


def prompt(agent: str) -> str:
    return f'asked "by"/an é {agent} canary 6d1e'


def reply(agent: str) -> str:
    return f'told "to"/an é {agent} canary b2a9'


def picture(agent: str) -> str:
    return f"drawn-by/{agent}-canary-77c0"


def header(agent: str) -> str:
    return f"header-of/{agent}-canary-1f4d"


def shaped(agent: str) -> str:
    """A key that somebody has pasted into a prompt."""
    return f"sk-proj-canary{agent}0123456789abcdef"


def shown(agent: str) -> str:
    """A key that a model repeats."""
    return f"ghp_canary{agent}0123456789abcdefghij"


ALLOWED = {  # where a word may be found, by what the name of the sink begins with
    **{prompt(agent): ("disk content/", "words ") for agent in ("redacted", "omit")},
    **{make(agent): ("disk caches.db",) for agent in AGENTS for make in (reply, shown)},
    **{make(NIGHT): ("disk batches/", "disk caches.db") for make in (reply, shown)},
    **{make(NIGHT): ("disk batches/file-",) for make in (prompt, shaped)},
    **{make(NIGHT): ("disk batches/batches.db",) for make in (picture, header)},  # as name of the file, and metadata
    prompt("full"): ("disk content/", "words ", "traces"),
    reply("redacted"): ("disk caches.db", "disk content/", "words "),
    reply("full"): ("disk caches.db", "disk content/", "words ", "traces"),
    shown("full"): ("disk caches.db", "disk content/", "words ", "traces"),
    shaped("full"): ("disk content/", "words ", "traces"),
    shaped("omit"): ("disk content/", "words ", "traces"),
}
ALLOWED[prompt("omit")] = (*ALLOWED[prompt("omit")], "traces")
WORDS = tuple(make(agent) for agent in EVERYONE for make in (prompt, reply, picture, header, shaped, shown))


class Sinks(Struct):
    """What could be read afterwards, by where it was; and what went through, so that nothing is looked for in vain."""

    written: dict[str, bytes]
    upstream: bytes
    clients: bytes


def found(canaries: tuple[str, ...], data: bytes) -> list[str]:
    """In any form, and in any of them as it stands in a text of JSON, as an entry holds the JSON that was said; and as
    a terminal without letters beyond ASCII shows it."""
    within = data.replace(b"\\\\", b"\\").replace(b'\\"', b'"')
    return found_as(canaries, b"\n".join((data, within, within.replace(rb"\xe9", "é".encode()))))


def leaks(written: dict[str, bytes]) -> list[tuple[str, str]]:
    """(sink, canary) of all that is where it may not be."""
    there = [(sink, canary) for sink, data in written.items() for canary in found((*KEYS, *WORDS), data)]
    return [(sink, canary) for sink, canary in there if not sink.startswith(ALLOWED.get(canary, ("nowhere",)))]


# --- the world around the gate ---------------------------------------------------------------------------------------


async def vendor(peer: Peer) -> None:
    """Answers with the words of whoever asks; repeats what it was told where it fails."""
    heard = (peer.head + peer.body).decode("utf-8", "replace")
    agent = next(agent for agent in EVERYONE if f"[{agent}]" in heard)
    if "[fail]" in heard:
        await peer.reply(json.dumps({"error": {"message": heard, "code": PROVIDER_KEY}}).encode(), status="500 Bad")
        return
    if "[wait]" in heard:
        await asyncio.sleep(STUCK_S + 1)
    said = reply(agent)
    if '"stream":true' not in heard.replace(" ", ""):
        message = {"role": "assistant", "content": f"{said} {shown(agent)}"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {"object": "chat.completion", "choices": [choice], "usage": usage}
        await peer.reply(
            json.dumps(body).encode(), headers=f"Set-Cookie: k={PROVIDER_KEY}\r\nX-Leak: {PROVIDER_KEY}\r\n"
        )
        return
    await peer.stream_head()
    for piece in (said[:9], said[9:], f" {shown(agent)[:12]}", shown(agent)[12:]):
        await peer.chunk(token(piece))
    await peer.chunk(FINISH + DONE)
    await peer.end()


async def collector(peer: Peer) -> None:
    await peer.reply(b"{}")


def configuration(folder: Path, ports: tuple[int, int], vendor_port: int, collector_port: int) -> Path:
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    policies = {agent: agent if agent in POLICIES else "full" for agent in EVERYONE}
    file = folder / "headgate.json"
    file.write_text(
        json.dumps(
            {
                "server": {"port": ports[0], "workers": 2},
                "admin": {"port": ports[1], "token": ADMIN_TOKEN},
                "data_dir": str(folder / "data"),
                "keys": [{"key": key, "agent": agent} for agent, key in CLIENT_KEYS.items()],
                "providers": {
                    "up": {
                        "kind": "openai",
                        "base_url": f"http://127.0.0.1:{vendor_port}/v1",
                        "traceparent": True,
                        "api_key": PROVIDER_KEY,
                        "headers": {"X-Org": PROVIDER_HEADER},
                    }
                },
                "models": {"m": "up/real"},
                "pricing": {"overrides": {"up/real": price}},
                "defaults": {"cache": {"exact": "on"}},
                "agents": {
                    agent: {"content": policy, "cache": {"exact": "on"}, "budget": [{"usd": 5, "per": "day"}]}
                    for agent, policy in policies.items()
                },
                "ledger": {"strict": True},
                "telemetry": {
                    "log_format": "json",
                    "content": {"on_spans": True},
                    "otlp": {
                        "url": f"http://127.0.0.1:{collector_port}",
                        "share": 1.0,
                        "headers": {"X-Key": COLLECTOR_KEY},
                        "profile": ["genai", "langfuse"],
                    },
                },
            }
        )
    )
    return file


FORM_TYPE = "Content-Type: multipart/form-data; boundary=b1\r\n"


def upload() -> bytes:
    """The input of a batch, in a form."""
    words = f"[{NIGHT}] {prompt(NIGHT)} {shaped(NIGHT)}"
    body = {"model": "m", "messages": [{"role": "user", "content": words}]}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    lines = "\n".join([json.dumps(line | {"custom_id": custom_id}) for custom_id in ("one", "two")])
    named = f'Content-Disposition: form-data; name="file"; filename="{picture(NIGHT)}"'
    purpose = 'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch'
    return f"--b1\r\n{purpose}\r\n--b1\r\n{named}\r\n\r\n{lines}\r\n--b1--\r\n".encode()


class Running:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vendor, self.collector = Upstream(vendor), Upstream(collector)
        self.ports = free_port(), free_port()
        self.told: list[bytes] = []
        self.written: dict[str, bytes] = {}
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        await self.vendor.start()
        await self.collector.start()
        file = configuration(self.folder, self.ports, self.vendor.port, self.collector.port)
        (self.folder / "sitecustomize.py").write_text(STUCK.format(seconds=STUCK_S))
        command = [sys.executable, "-m", "proxy", "serve", "--config", str(file)]
        with (self.folder / "log").open("wb") as log:
            around = {**os.environ, "PYTHONPATH": str(self.folder)}
            self.process = subprocess.Popen(  # noqa: ASYNC220  # it outlives the loop
                command, cwd=ROOT, stdout=log, stderr=log, env=around
            )
        async with asyncio.timeout(PATIENCE_S):
            while not await self._ready():  # noqa: ASYNC110  # of another process
                await asyncio.sleep(0.1)

    async def _ready(self) -> bool:
        with suppress(OSError, asyncio.IncompleteReadError):
            return (await ask(self._url(0), "/health/ready")).status == 200
        return False

    def _url(self, which: int) -> str:
        return f"http://127.0.0.1:{self.ports[which]}"

    async def admin(self, path: str) -> bytes:
        return (await ask(self._url(1), path, key=ADMIN_TOKEN)).body

    async def call(self, agent: str, *, way: str = "", stream: bool = False, key: str = "") -> str:
        """One call with every canary of its agent in it; its id."""
        data = base64.b64encode(b"\x89PNG" + picture(agent).encode() * 60).decode()
        words = f"[{agent}] {way} {prompt(agent)} {shaped(agent)} my key is {CLIENT_KEYS[agent]}"
        parts = [
            {"type": "text", "text": words},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        ]
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}], "stream": stream})
        more = f"X-Custom: {header(agent)}\r\nCookie: c={header(agent)}\r\n{HEADERS.get(agent, '')}"
        given = key or CLIENT_KEYS[agent]
        answer = await ask(
            self._url(0), "/v1/chat/completions", method="POST", key=given, body=body.encode(), more=more
        )
        self.told.append(answer.body)
        return answer.headers["x-headgate-request-id"]

    async def night(self) -> None:
        """A batch of two lines; its files are read back, and all that is said of it."""
        url, key = self._url(0), CLIENT_KEYS[NIGHT]
        file = await ask(url, "/v1/files", method="POST", key=key, body=upload(), more=FORM_TYPE)
        order = {"input_file_id": file.json["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        order["metadata"] = {"of": header(NIGHT)}
        made = (await ask(url, "/v1/batches", method="POST", key=key, body=json.dumps(order).encode())).json
        async with asyncio.timeout(PATIENCE_S):
            while made["status"] != "completed":
                await asyncio.sleep(0.1)
                made = (await ask(url, f"/v1/batches/{made['id']}", key=key)).json
        for name in (made["input_file_id"], made["output_file_id"]):
            self.told.append((await ask(url, f"/v1/files/{name}/content", key=key)).body)
        stranger = CLIENT_KEYS["full"]
        self.written["content for a stranger"] = (
            await ask(url, f"/v1/files/{made['output_file_id']}/content", key=stranger)
        ).body
        self.written["files of a stranger"] = (await ask(url, "/v1/files", key=stranger)).body
        self.written["admin batch"] = await self.admin(f"/batches/{made['id']}")

    async def events(self) -> None:
        """What a viewer of the console is sent until it is cancelled."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[1])
        writer.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode())
        try:
            while data := await reader.read(65_536):
                self.written["events"] = self.written.get("events", b"") + data
        finally:
            writer.close()

    async def live(self) -> None:
        viewer = asyncio.get_running_loop().create_task(self.events())
        ids = {agent: await self.call(agent) for agent in AGENTS}
        for agent in AGENTS:
            await self.call(agent)  # out of the cache
            await self.call(agent, stream=True)
            await self.call(agent, key=WRONG_KEY)
        await self.night()
        await self.get_stuck()
        for agent in AGENTS:
            await self.call(agent, way="[fail]")  # last: the upstream is out after a few of them
        for path in ROUTES:
            self.written[f"admin {path}"] = await self.admin(path)
        for agent, id in ids.items():
            self.written[f"admin request of {agent}"] = await self.admin(f"/requests/{id}")
            self.written[f"words of {agent}"] = await self.admin(f"/requests/{id}?content=on")
            self.written[f"explain {agent}"] = await self.explain(id)
            self.written[f"words told of {agent}"] = await self.explain(id, "--content")
        self.written["no token"] = (await ask(self._url(1), f"/requests/{ids['full']}?content=on")).body
        viewer.cancel()
        with suppress(asyncio.CancelledError):
            await viewer

    async def get_stuck(self) -> None:
        """One worker, in the middle of a call: its watchdog tells where its threads stand."""
        calls = asyncio.gather(*[self.call("full", way=f"[wait] {number}") for number in range(4)])
        await asyncio.sleep(0.5)
        os.kill(self.worker(), signal.SIGUSR1)
        await calls

    def worker(self) -> int:
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    async def explain(self, id: str, *more: str) -> bytes:
        command = [sys.executable, "-m", "proxy", "explain", id, *more, "--admin", self._url(1)]
        around = {**os.environ, "HEADGATE_ADMIN_TOKEN": ADMIN_TOKEN}
        asked = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=around, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, _ = await asked.communicate()
        return said

    async def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        await asyncio.to_thread(self.process.wait, PATIENCE_S)
        await self.vendor.stop()
        await self.collector.stop()

    def sinks(self) -> Sinks:
        data = self.folder / "data"
        for file in data.rglob("*"):
            if file.is_file():
                self.written[f"disk {file.relative_to(data)}"] = file.read_bytes()
        self.written["log"] = (self.folder / "log").read_bytes()
        self.written["traces"] = b"\n".join(body for _, body in self.collector.requests)
        heard = b"".join(head + body for head, body in self.vendor.requests)
        return Sinks(self.written, heard, b"\n".join(self.told))


async def lived(folder: Path) -> Sinks:
    running = Running(folder)
    try:
        await running.start()
        await running.live()
        await running.stop()
    finally:
        if running.process is not None and running.process.poll() is None:
            running.process.kill()
    return running.sinks()


@pytest.fixture(scope="module")
def sinks(tmp_path_factory: pytest.TempPathFactory) -> Sinks:
    return asyncio.run(lived(tmp_path_factory.mktemp("sinks")))


pytestmark = pytest.mark.slow


SEVERAL = ("disk content/", "disk caches.db", "disk batches/")  # files each


def kinds(sinks: Sinks) -> dict[str, list[str]]:
    """The canaries of each kind of sink."""
    joined: dict[str, bytes] = {}
    for sink, data in sinks.written.items():
        kind = next((part for part in SEVERAL if sink.startswith(part)), sink)
        joined[kind] = joined.get(kind, b"") + data
    return {kind: found((*KEYS, *WORDS), data) for kind, data in joined.items()}


def test_nothing_is_where_it_may_not_be(sinks: Sinks) -> None:
    assert leaks(sinks.written) == []


def test_all_of_it_went_through(sinks: Sinks) -> None:
    spoken = {make(agent) for agent in AGENTS for make in (prompt, picture, shaped)} | {PROVIDER_KEY, PROVIDER_HEADER}
    assert spoken <= set(found((*KEYS, *WORDS), sinks.upstream))
    assert {reply(agent) for agent in AGENTS} <= set(found(WORDS, sinks.clients))


def test_what_may_be_kept_is_kept(sinks: Sinks) -> None:
    """Else the other tests would look where nothing is."""
    there = kinds(sinks)
    assert set(there["disk content/"]) == {prompt("redacted"), reply("redacted"), prompt("full"), reply("full")} | {
        *(shaped("full"), shown("full"), prompt("omit"), shaped("omit"))
    }
    of_full = {prompt("full"), reply("full"), shaped("full"), shown("full")}
    assert set(there["traces"]) == {*of_full, prompt("omit"), shaped("omit")}
    assert {reply(agent) for agent in AGENTS} <= set(there["disk caches.db"])
    assert set(there["words of full"]) == of_full
    assert prompt("redacted") in there["words told of redacted"]
    assert set(there["disk batches/"]) == {make(NIGHT) for make in (prompt, reply, picture, header, shaped, shown)}


def test_every_sink_has_something_in_it(sinks: Sinks) -> None:
    written = sinks.written
    segments = [name for name in written if name.endswith(".jsonl")]
    assert {name.split(".")[1].split("-")[0] for name in segments} <= {"worker0", "worker1"}
    assert b'"event":"event loop blocked"' in written["log"] and b"get_stuck" in written["log"]
    assert all(name in written for name in ("disk ledger.db", "disk caches.db", "disk content/key", "events", "traces"))
    assert all(written[f"admin {path}"] for path in ROUTES)
    assert b"gen_ai.usage.input_tokens" in written["traces"] and b'"name":"plan"' in written["traces"]
    assert b'"policy":"digest"' in b"".join(written[name] for name in segments)
    assert b"invalid_api_key" in written["no token"]


def planted(word: str) -> tuple[bytes, ...]:
    text = word.encode()
    shifted = tuple(base64.b64encode(b"x" * start + text + b"y" * 3) for start in range(3))
    return (text, *shifted, json.dumps(word)[1:-1].encode(), quote(word, safe="").encode())


@pytest.mark.parametrize(
    "word", [PROVIDER_KEY, CLIENT_KEYS["full"], prompt("off"), picture("full"), header("redacted")]
)
def test_a_leak_into_any_sink_would_be_found(sinks: Sinks, word: str) -> None:
    for sink in sinks.written:
        for form in planted(word):
            assert leaks({sink: b"before " + form + b" after"}) == [(sink, word)], (sink, form)
