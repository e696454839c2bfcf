"""`/v1/batches`, and the door to these and to `/v1/files`: who asks for what, and in which form it is answered.

OpenAI's forms and errors (API reference, "Batch"). Nothing here is a call: what a batch costs is said by the calls of
its lines. Whoever has a key sees what the team of the key, or the key itself, has put here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Final
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Meta, Struct

from proxy.batches import tables
from proxy.batches.archive import Archive
from proxy.batches.objects import ENDPOINTS, WINDOW, WINDOW_S, Batch, batch_form
from proxy.batches.tables import Conflict, Full
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.dialects.json_body import top_level
from proxy.errors import ProxyError
from proxy.execution.flights import conflict
from proxy.snapshot import Limits, Snapshot
from proxy.surfaces.body import length_of, read_body
from proxy.surfaces.client import Client
from proxy.surfaces.connection import Connection
from proxy.surfaces.controls import reuse_of
from proxy.surfaces.files import Expiry, Files, listed, page
from proxy.surfaces.identify import Place, authenticate, identity
from proxy.surfaces.request import Request
from proxy.surfaces.upload_room import UploadRoom
from proxy.surfaces.wire import Headers
from proxy.tenancy import tenant
from proxy.types import Identity, KeyRecord

FORM_BYTES: Final = 64 * 1024  # of an upload beside its file
ORDER_BYTES_MAX: Final = 64 * 1024
PIECE: Final = 256 * 1024
RETRY_COUNT: Final = "x-stainless-retry-count"  # OpenAI's SDKs number their retries, and send no idempotency key
LIST_DEFAULT: Final = 20
LIST_MAX: Final = 100

Word = Annotated[str, Meta(max_length=64)]
Value = Annotated[str, Meta(max_length=512)]


class Order(Struct, frozen=True):
    """The body of POST /v1/batches."""

    input_file_id: Annotated[str, Meta(max_length=256)]
    endpoint: str
    completion_window: str
    metadata: Annotated[dict[Word, Value], Meta(max_length=16)] | None = None
    output_expires_after: Expiry | None = None


_ORDER: Final = msgspec.json.Decoder(Order)


class Visit(Struct, frozen=True):
    """One request, and who asks."""

    request: Request
    connection: Connection
    client: Client
    where: Place
    key: KeyRecord
    snapshot: Snapshot
    id: str  # of the file or the batch that it is about

    @property
    def owner(self) -> str:
        return tenant(identity(self.key, self.where, self.request.headers, None))

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.request.target.partition("?")[2], keep_blank_values=True))

    def limits(self, bytes_max: int) -> Limits:
        return msgspec.structs.replace(self.snapshot.limits, body_bytes_max=bytes_max)

    async def body(self, limits: Limits) -> bytes:
        """Raises ProxyError."""
        longest_s = self.snapshot.default_rules.deadline_s
        return await read_body(self.request, self.connection, limits=limits, seconds_allowed=longest_s)


Handler = Callable[[Visit], Awaitable[dict[str, object] | None]]  # None: it has answered


class BatchSurface:
    def __init__(self, archive: Archive, clock: Clock, dialect: Dialect, wake: Callable[[], None]) -> None:
        """`wake`: whoever runs batches is to look for a change."""
        self._archive = archive
        self._clock = clock
        self._dialect = dialect
        self._wake = wake
        self._files = Files(archive, clock)
        self._uploads = UploadRoom()
        self.rows: Mapping[str, Mapping[str, Handler]] = {
            "/files": {"GET": self._list_files, "POST": self._upload},
            "/files/{id}": {"GET": self._show_file, "DELETE": self._delete_file},
            "/files/{id}/content": {"GET": self._content},
            "/batches": {"GET": self._list, "POST": self._create},
            "/batches/{id}": {"GET": self._show},
            "/batches/{id}/cancel": {"POST": self._cancel},
        }

    def __repr__(self) -> str:
        return f"BatchSurface({self._archive!r})"

    async def answered(
        self, request: Request, connection: Connection, client: Client, *, where: Place, snapshot: Snapshot
    ) -> bool:
        """False: the path is none of these."""
        parts = where.path.removeprefix("/v1").split("/")
        rows = self.rows.get(_pattern(parts)) if snapshot.batches.concurrency else None
        if rows is None:
            return False
        if request.method == "OPTIONS":
            await client.whole(204, [*self._headers("application/json"), ("Allow", _allow(rows))], b"")
            return True
        try:
            key = authenticate(request.headers, snapshot.keyring)
            handler = _chosen(rows, request.method)
            id = unquote(parts[2]) if len(parts) > 2 else ""
            form = await handler(Visit(request, connection, client, where, key, snapshot, id))
        except ProxyError as error:
            status, body = self._dialect.error(error)
            await client.whole(status, self._headers("application/json", error), body)
            return True
        if form is not None:
            await client.whole(200, self._headers("application/json"), msgspec.json.encode(form))
        return True

    def _headers(self, content_type: str, error: ProxyError | None = None) -> Headers:
        headers = [("Content-Type", content_type), ("x-request-id", self._clock.id())]
        if error is not None:
            headers += error.headers
            headers.append(("x-should-retry", "true" if error.client_may_retry else "false"))
            if error.retry_after_s is not None:
                headers.append(("Retry-After", str(int(error.retry_after_s) or 1)))
        return headers

    # --- files -------------------------------------------------------------------------------------------------------

    async def _upload(self, visit: Visit) -> dict[str, object]:
        rules, headers = visit.snapshot.batches, visit.request.headers
        limits = visit.limits(rules.file + FORM_BYTES)
        with self._uploads.held(visit.owner, length_of(headers, limits), limits.body_bytes_max):
            raw = await visit.body(limits)
            return await self._files.upload(visit.owner, raw, headers.get("content-type", ""), rules)

    async def _list_files(self, visit: Visit) -> dict[str, object]:
        return await self._files.list(visit.owner, visit.query)

    async def _show_file(self, visit: Visit) -> dict[str, object]:
        return await self._files.show(visit.owner, visit.id)

    async def _delete_file(self, visit: Visit) -> dict[str, object]:
        return await self._files.delete(visit.owner, visit.id)

    async def _content(self, visit: Visit) -> None:
        file, client = await self._files.find(visit.owner, visit.id), visit.client
        if visit.request.method == "HEAD":
            await client.whole(200, self._headers("application/jsonl"), b"")
            return
        piece = await self._archive.piece(file.id, 0, PIECE)
        await client.start(200, self._headers("application/jsonl"))
        try:
            at = 0
            while piece:
                async with asyncio.timeout(visit.snapshot.limits.write_timeout_s):
                    await client.write(piece)
                at += len(piece)
                piece = await self._archive.piece(file.id, at, PIECE)
        except (TimeoutError, ProxyError):
            client.abort()
            return
        await client.end()

    # --- batches -----------------------------------------------------------------------------------------------------

    async def _create(self, visit: Visit) -> dict[str, object]:
        raw = await visit.body(visit.limits(ORDER_BYTES_MAX))
        fields = top_level(raw)
        order = _read(raw)
        file = await self._files.find(visit.owner, order.input_file_id, "input_file_id")
        if file.purpose != "batch":
            raise ProxyError("invalid_request", "The input file's purpose must be 'batch'.", param="input_file_id")
        headers = visit.request.headers
        says = reuse_of(headers, None)
        named = None if says is None else says.key
        batch = self._batch(order, identity(visit.key, visit.where, headers, fields), named)
        again = headers.get(RETRY_COUNT, "0") != "0"
        try:
            batch = await self._archive.ask(partial(tables.add_batch, batch=batch, again=again))
        except Conflict:
            raise conflict() from None
        except Full as full:
            raise ProxyError("rate_limit_exceeded", f"This batch cannot be taken: {full}.") from full
        self._wake()
        return batch_form(batch)

    def _batch(self, order: Order, who: Identity, named: str | None) -> Batch:
        now = int(self._clock.wall())
        expiry = order.output_expires_after
        return Batch(
            id=f"batch_{self._clock.id()}",
            owner=tenant(who),
            endpoint=order.endpoint,
            input_file_id=order.input_file_id,
            identity=who,
            created_at=now,
            expires_at=now + WINDOW_S,
            metadata=order.metadata,
            output_s=None if expiry is None else expiry.checked("output_expires_after"),
            named=named,
        )

    async def _list(self, visit: Visit) -> dict[str, object]:
        wanted = page(visit.query, LIST_DEFAULT, LIST_MAX)
        found = await self._archive.ask(partial(tables.batches, owner=visit.owner, page=wanted))
        return listed([batch_form(batch) for batch in found], wanted)

    async def _show(self, visit: Visit) -> dict[str, object]:
        found = await self._archive.ask(partial(tables.batch_of, owner=visit.owner, id=visit.id))
        if found is None:
            raise ProxyError("not_found", f"There is no batch {visit.id[:128]!r}.", param="batch_id")
        return batch_form(found)

    async def _cancel(self, visit: Visit) -> dict[str, object]:
        batch = await cancelled(self._archive, visit.owner, visit.id, self._clock.wall())
        self._wake()
        return batch_form(batch)


async def cancelled(archive: Archive, owner: str | None, id: str, wall: float) -> Batch:
    """On its way to its end. `owner` None: whosever it is. Raises ProxyError."""
    found = await archive.ask(partial(tables.batch_of, owner=owner, id=id))
    if found is None:
        raise ProxyError("not_found", f"There is no batch {id[:128]!r}.", param="batch_id")
    changed = await archive.ask(partial(tables.change, id=id, to=partial(Batch.moved, status="cancelling", wall=wall)))
    if changed is not None:
        return changed
    found = await archive.ask(partial(tables.batch_of, owner=owner, id=id)) or found
    if found.status in ("cancelling", "cancelled"):
        return found
    raise ProxyError("invalid_request", f"A batch that is {found.status} cannot be cancelled.", param="batch_id")


def _pattern(parts: list[str]) -> str:
    return "/".join(["{id}" if at == 2 and part else part for at, part in enumerate(parts)])


def _chosen(rows: Mapping[str, Handler], method: str) -> Handler:
    """Raises ProxyError."""
    handler = rows.get("GET" if method == "HEAD" else method)
    if handler is None:
        what = f"{method[:16]} is not served here; use {_allow(rows)}."
        raise ProxyError("method_not_allowed", what, headers=(("Allow", _allow(rows)),))
    return handler


def _allow(rows: Mapping[str, Handler]) -> str:
    return ", ".join([*rows, *(("HEAD",) if "GET" in rows else ()), "OPTIONS"])


def _read(raw: bytes) -> Order:
    """Raises ProxyError."""
    try:
        order = _ORDER.decode(raw)
    except msgspec.ValidationError as error:
        what = str(error)
        field = what.partition("field `")[2] or what.partition("`$.")[2]
        raise ProxyError("invalid_request", f"{what}.", param=field.partition("`")[0] or None) from error
    except ValueError as error:
        raise ProxyError("invalid_json", f"The request body is not valid JSON: {error}.") from error
    if order.endpoint not in ENDPOINTS:
        what = f"The endpoint must be one of {', '.join(ENDPOINTS)}."
        raise ProxyError("invalid_request", what, param="endpoint")
    if order.completion_window != WINDOW:
        raise ProxyError("invalid_request", f"The completion window must be {WINDOW!r}.", param="completion_window")
    return order
