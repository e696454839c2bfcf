"""`/v1/files`: what batches read and write, uploaded, listed, read and deleted by those whose it is.

OpenAI's forms (API reference, "Files"). A file is for batches: the gate keeps none for an upstream. What is not its
owner's is not there. An upload is held in memory until it is on the disk, so its size is bounded by the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from msgspec import Struct

from proxy.batches import tables
from proxy.batches.archive import Archive
from proxy.batches.objects import File, file_form
from proxy.batches.tables import Full, Page
from proxy.clock import Clock
from proxy.dialects.multipart import file_name, find_fields
from proxy.errors import ProxyError
from proxy.snapshot import BatchRules
from proxy.surfaces.query import number

FIELDS: Final = frozenset({"file", "purpose", "expires_after[anchor]", "expires_after[seconds]"})
NAME_CHARS_MAX: Final = 255
LIST_MAX: Final = 10_000
EXPIRES_LEAST_S: Final = 3_600
UNNAMED: Final = "upload.jsonl"


class Files:
    def __init__(self, archive: Archive, clock: Clock) -> None:
        self._archive = archive
        self._clock = clock

    def __repr__(self) -> str:
        return f"Files({self._archive!r})"

    async def upload(self, owner: str, raw: bytes, content_type: str, rules: BatchRules) -> dict[str, object]:
        """Here and below: the form of what is answered. Raises ProxyError."""
        found = find_fields(raw, content_type, FIELDS)
        content = found.get("file")
        if content is None:
            raise ProxyError("invalid_request", "The form has no file.", param="file")
        purpose = _text(raw, found, "purpose")
        if purpose != "batch":
            what = f"The purpose must be 'batch', not {purpose[:64]!r}: this gate keeps files for batches."
            raise ProxyError("invalid_request", what, param="purpose")
        size = content.stop - content.start
        if size > rules.file:
            raise ProxyError("request_too_large", f"The file is larger than {rules.file} bytes.", param="file")
        wall = self._clock.wall()
        file = File(
            id=f"file-{self._clock.id()}",
            owner=owner,
            filename=_printable(file_name(raw, content)),
            purpose="batch",
            bytes=size,
            created_at=int(wall),
            expires_at=int(wall + _kept_s(raw, found, rules.kept_s)),
        )
        try:
            await self._archive.write(file, (memoryview(raw)[content],), rules.files)
        except Full as full:
            raise ProxyError("request_too_large", f"This file cannot be kept: {full}.", param="file") from full
        return file_form(file)

    async def list(self, owner: str, query: Mapping[str, str]) -> dict[str, object]:
        wanted = page(query, LIST_MAX, LIST_MAX)
        wall = self._clock.wall()
        found = await self._archive.ask(partial(tables.files, owner=owner, page=wanted, wall=wall))
        return listed([file_form(file) for file in found], wanted)

    async def show(self, owner: str, id: str) -> dict[str, object]:
        return file_form(await self.find(owner, id))

    async def delete(self, owner: str, id: str) -> dict[str, object]:
        reader = await self._archive.remove((await self.find(owner, id)).id)
        if reader is not None:
            what = f"The file is the input of {reader}, which has not ended: cancel that first."
            raise ProxyError("invalid_request", what, param="file_id")
        return {"id": id, "object": "file", "deleted": True}

    async def find(self, owner: str, id: str, param: str = "file_id") -> File:
        """Raises ProxyError."""
        file = await self._archive.ask(partial(tables.file_of, owner=owner, id=id, wall=self._clock.wall()))
        if file is None:
            raise ProxyError("not_found", f"There is no file {id[:128]!r}.", param=param)
        return file


class Expiry(Struct, frozen=True):
    """How long after its creation a file goes."""

    seconds: int
    anchor: str = "created_at"

    def checked(self, param: str) -> int:
        """Raises ProxyError."""
        if self.anchor != "created_at":
            raise ProxyError("invalid_request", "The anchor must be 'created_at'.", param=f"{param}.anchor")
        if self.seconds < EXPIRES_LEAST_S:
            what = f"A file is kept for at least {EXPIRES_LEAST_S} seconds."
            raise ProxyError("invalid_request", what, param=f"{param}.seconds")
        return self.seconds


def page(query: Mapping[str, str], default: int, most: int) -> Page:
    """Raises ProxyError."""
    limit, order = number(query, "limit"), query.get("order", "desc")
    if limit is not None and not 1 <= limit <= most:
        raise ProxyError("invalid_request", f"limit must be between 1 and {most}", param="limit")
    if order not in ("asc", "desc"):
        raise ProxyError("invalid_request", "order must be asc or desc", param="order")
    return Page(limit or default, query.get("after"), newest_first=order == "desc", purpose=query.get("purpose"))


def listed(forms: list[dict[str, object]], page: Page) -> dict[str, object]:
    """`forms`: one more than the page has, if there is one."""
    shown = forms[: page.limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(forms) > len(shown),
    }


def _text(raw: bytes, found: Mapping[str, slice], name: str) -> str:
    return str(raw[found[name]], "utf-8", "replace") if name in found else ""


def _kept_s(raw: bytes, found: Mapping[str, slice], most_s: float) -> float:
    """As the form asks, and not longer than any file is kept."""
    seconds = _text(raw, found, "expires_after[seconds]")
    if not seconds:
        return most_s
    if not (seconds.isascii() and seconds.isdecimal() and len(seconds) < 12):
        raise ProxyError("invalid_request", "It must be a whole number.", param="expires_after[seconds]")
    anchor = _text(raw, found, "expires_after[anchor]") or "created_at"
    return min(Expiry(int(seconds), anchor).checked("expires_after"), most_s)


def _printable(name: str) -> str:
    shown = "".join(character for character in name if character.isprintable())
    return shown[:NAME_CHARS_MAX] or UNNAMED
