"""What was kept of the words of calls: the shape of an entry on the disk, as the admin listener sends it. Declarations
only; what goes into one is decided in `content.scribe`."""

from __future__ import annotations

from msgspec import Struct


class Side(Struct, frozen=True, omit_defaults=True):
    """Of a request, or of a reply. `bytes` as they went over the wire."""

    bytes: int
    digest: str | None = None  # keyed: equal for equal bytes, in one gate
    text: str | None = None
    tail: str | None = None  # its end, where what lies between was left out
    why_not: str | None = None  # there is no text, though one was wanted
    headers: dict[str, str] = {}
    status: int | None = None  # of a reply
    complete: bool | None = None  # of a reply: it went out to its end


class ContentEntry(Struct, frozen=True, omit_defaults=True):
    """One call. A side that its caller wanted left out is None."""

    id: str  # first, so that an entry is found by its beginning
    at: str
    agent: str
    model: str
    endpoint: str
    policy: str
    run: str | None = None
    request: Side | None = None
    reply: Side | None = None


class ContentReport(Struct, frozen=True):
    """What lies on the disk."""

    segments: int
    bytes: int
    oldest: str | None  # a day (UTC)


class ContentPurged(Struct, frozen=True):
    segments: int
    bytes: int
