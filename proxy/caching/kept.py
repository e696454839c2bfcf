"""One reply that is kept: what a client was given, whole, and what it had cost. Prompts are not kept, only digests.

The form on the disk is MessagePack after a sum of it and of the name it stands under, for a disk may give back what was
never written. An entry that cannot be read is no entry.
"""

from __future__ import annotations

from hashlib import blake2b

from msgspec import DecodeError, Struct, msgpack

from proxy.types import Call

SUM_BYTES = 8
ENTRY_OVERHEAD = 300  # bytes that an entry takes beside its reply


class Kept(Struct, frozen=True):
    body: bytes  # of a stream, all of its events
    content_type: str
    target: str
    stored_wall: float
    until_wall: float  # fresh so long
    agent: str
    route: str
    tokens: int  # of input and output
    cost_usd_nanos: int | None  # None: it had no price

    def __repr__(self) -> str:
        """Without the body: it is the answer."""
        return f"Kept({len(self.body)} bytes, {self.target}, until {self.until_wall:.0f})"

    @property
    def size(self) -> int:
        return len(self.body) + ENTRY_OVERHEAD

    def age_s(self, wall: float) -> float:
        return max(0.0, wall - self.stored_wall)


_DECODER = msgpack.Decoder(Kept)


def packed(kept: Kept, name: bytes) -> bytes:
    data = msgpack.encode(kept)
    return _sum(data, name) + data


def unpacked(found: object, name: bytes) -> Kept | None:
    """`found` is whatever stood in the column."""
    if not isinstance(found, bytes) or found[:SUM_BYTES] != _sum(found[SUM_BYTES:], name):
        return None
    try:
        return _DECODER.decode(found[SUM_BYTES:])
    except DecodeError:  # written by another version
        return None


def _sum(data: bytes, name: bytes) -> bytes:
    digest = blake2b(name, digest_size=SUM_BYTES)
    digest.update(data)
    return digest.digest()


def belongs(kept: Kept, agent: str | None, route: str | None) -> bool:
    """Whether a purge of an agent or of a model means it."""
    return (agent is None or kept.agent == agent) and (route is None or kept.route == route)


def kept_of(call: Call, body: bytes, content_type: str, *, target: str, wall: float, ttl_s: float) -> Kept:
    """Before it is known what it had cost."""
    return Kept(
        body=body,
        content_type=content_type,
        target=target,
        stored_wall=wall,
        until_wall=wall + ttl_s,
        agent=call.identity.agent,
        route=call.route,
        tokens=0,
        cost_usd_nanos=None,
    )
