"""Files and batches over sockets: a `World` whose gate runs batches, and short ways to ask it for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from msgspec import structs

from proxy.batches.archive import Archive
from proxy.batches.keeper import Keeper, Kit
from proxy.batches.lines import Lines
from proxy.clock import SystemClock, loop_time
from proxy.dialects.openai_chat import OpenAI
from proxy.snapshot import BatchRules
from proxy.surfaces.batches import BatchSurface
from proxy.surfaces.connection import Edges
from proxy.surfaces.llm import Services, Surface
from proxy.surfaces.server import Server
from tests.flow.world import KEY, Response, World

BOUNDARY = "8b2f0c"
CHAT = "/v1/chat/completions"


def line(custom_id: str = "one", *, url: str = CHAT, **body: Any) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": custom_id}], **body}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def lines(count: int) -> str:
    return "\n".join(line(f"n{number}") for number in range(count)) + "\n"


def form(content: bytes, *, name: str = "in.jsonl", **fields: str) -> bytes:
    """A multipart body as the SDKs send it."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    kind = "Content-Type: application/octet-stream\r\n\r\n"
    return "".join(parts).encode() + head.encode() + kind.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


FORM_TYPE = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"


class Batches:
    """As an async context: the gate of `world` runs batches, kept in `folder`."""

    def __init__(self, world: World, folder: Path, rules: BatchRules | None = None) -> None:
        self.world = world
        self.rules = rules or BatchRules()
        self.archive = Archive(folder / "batches")
        self.answered: list[bool] = []
        self.ended: list[str] = []
        self.reported: list[str] = []
        self._server: Server | None = None
        self._listening: asyncio.Server | None = None
        self.keeper = self._new_keeper()

    async def __aenter__(self) -> Batches:
        world = self.world
        world.snapshot = structs.replace(world.snapshot, batches=self.rules)
        surface = BatchSurface(self.archive, world.clock, OpenAI(), self.keeper.wake)
        services = Services(
            world.clock, OpenAI(), world.pipeline, lambda: world.snapshot, lambda: True, batches=surface
        )
        self._server = Server(Surface(services).handle, Edges(), world.clock.id)
        self._listening = await asyncio.get_running_loop().create_server(self._server, "127.0.0.1", 0)
        world.port = self._listening.sockets[0].getsockname()[1]
        self.keeper.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._listening is not None
        self._listening.close()
        await self._server.shutdown(1.0)
        await self.keeper.close()

    async def upload(self, content: str | bytes, *, key: str = KEY, path: str = "/v1/files", **fields: str) -> Response:
        raw = content.encode() if isinstance(content, str) else content
        return await self.world.request(
            form(raw, **{"purpose": "batch", **fields}), path=path, headers=FORM_TYPE, key=key
        )

    async def create(self, content: str, *, path: str = "/v1/batches", **fields: Any) -> dict[str, Any]:
        file = await self.upload(content)
        return await self.order(str(file.json["id"]), path=path, **fields)

    async def order(self, file: str, *, path: str = "/v1/batches", **fields: Any) -> dict[str, Any]:
        body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **fields}
        return (await self.world.request(json.dumps(body).encode(), path=path)).json

    async def get(self, path: str, key: str = KEY) -> Response:
        return await self.world.request(b"", path=path, method="GET", key=key)

    async def batch(self, id: str) -> dict[str, Any]:
        return (await self.get(f"/v1/batches/{id}")).json

    async def cancel(self, id: str, key: str = KEY) -> Response:
        return await self.world.request(b"", path=f"/v1/batches/{id}/cancel", key=key)

    async def over(self, id: str, within_s: float = 3_600) -> dict[str, Any]:
        """Once it has ended."""
        for _ in range(int(within_s / 0.1)):
            batch = await self.batch(id)
            if batch["status"] in ("completed", "failed", "expired", "cancelled"):
                return batch
            await asyncio.sleep(0.1)
        raise AssertionError(batch)

    async def output(self, batch: dict[str, Any], name: str = "output_file_id") -> list[dict[str, Any]]:
        content = await self.get(f"/v1/files/{batch[name]}/content")
        assert content.status == 200, content
        assert content.complete
        return [json.loads(text) for text in content.body.splitlines()]

    async def restart(self, between: Callable[[], Awaitable[None]] | None = None) -> None:
        """The process that runs batches dies at once, and another one takes over."""
        for task in [*self.keeper._flying, *self.keeper._busy.values(), self.keeper._keeping]:
            assert task is not None
            task.cancel()
        await asyncio.sleep(0.01)
        await self.keeper.close()
        if between is not None:
            await between()
        self.keeper = self._new_keeper()
        self.keeper.start()

    def _new_keeper(self) -> Keeper:
        world = self.world

        async def serve(*call: Any) -> Any:
            return await world.pipeline.serve(*call)

        return Keeper(
            Kit(
                archive=self.archive,
                lines=Lines(world.clock, OpenAI(), serve, lambda: world.snapshot),
                tasks=world.tasks,
                clock=world.clock,
                rules=lambda: world.snapshot.batches,
                answered=self.answered.append,
                ended=self.ended.append,
                report=self.reported.append,
            )
        )


class WallClock(SystemClock):
    """Its date can be set forward."""

    def __init__(self) -> None:
        super().__init__(seed=7, now=loop_time)
        self.ahead_s = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead_s


def refusal(response: Response) -> tuple[int, object, object]:
    """Status, code and param."""
    return response.status, response.error["code"], response.error["param"]
