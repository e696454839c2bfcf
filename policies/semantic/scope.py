"""Which questions may be compared at all: those in which everything is equal but the last user turn's wording.

The scope is a digest of the owner, the route, what the configuration makes of it, and of all that is forwarded: system
prompt, tools, earlier turns, sampling, format, and members that nobody knows. What is not forwarded, such as a header
with a locale, cannot change an answer, and so parts nothing. Two tenants never have a scope in common.
"""

from __future__ import annotations

import hashlib
from typing import Final

from msgspec import DecodeError, Raw, Struct, json

from policies.cache_rules import CONTROLS
from policies.semantic import guard
from policies.semantic.guard import Features
from proxy.types import Call

VERSION: Final = b"headgate semantic 1"  # of the form of scopes: another one finds nothing of the old
ROUTED: Final = frozenset({"model", "messages"})  # the route stands for the model's name


class _Part(Struct):
    type: str
    text: str | None = None


class _Turn(Struct):
    role: str
    content: str | list[_Part] | None = None


_TURNS = json.Decoder(list[Raw])
_TURN = json.Decoder(_Turn)
_MEMBERS = json.Decoder(dict[str, Raw])


class Question(Struct, frozen=True):
    """The last user turn of one call. `scope`: what it may be compared within."""

    text: str
    scope: bytes
    features: Features

    def __repr__(self) -> str:
        """Without the text: it is the prompt."""
        return f"Question({len(self.text)} characters, {self.scope.hex()[:12]})"


def question_of(call: Call, owner: bytes, revision: str) -> Question | str:
    """Or why there is none. `owner` says who may be given the answer; `revision` what the configuration makes of the
    model, its policies included."""
    fields = call.head.fields
    if call.endpoint != "chat" or fields is None or "messages" not in fields:
        return "only chats are looked up"
    try:
        turns = _TURNS.decode(fields["messages"])
        last = _TURN.decode(turns[-1]) if turns else _Turn("")
        beside = _MEMBERS.decode(turns[-1]) if turns else {}
    except DecodeError:
        return "its messages cannot be read"
    if last.role != "user":
        return "its last turn is not a user's"
    text = _text(last)
    if text is None:
        return "its last turn holds more than text"
    beside.pop("content", None)
    digest = hashlib.sha256(_framed(VERSION, owner, revision.encode(), call.route.encode(), call.endpoint.encode()))
    for name in sorted(fields.keys() - ROUTED - CONTROLS):
        digest.update(_framed(name.encode("utf-8", "surrogatepass"), _compact(fields[name])))
    digest.update(_framed(*[_compact(turn) for turn in turns[:-1]]))
    for name in sorted(beside):
        digest.update(_framed(name.encode("utf-8", "surrogatepass"), _compact(beside[name])))
    digest.update(_framed(call.model.encode("utf-8", "surrogatepass")))  # of a wildcard route, which one
    return Question(text, digest.digest(), guard.read(text))


def _text(turn: _Turn) -> str | None:
    if isinstance(turn.content, str):
        return turn.content.strip()
    parts = turn.content or []
    if not parts or any(part.type != "text" or part.text is None for part in parts):
        return None
    return "\n".join([part.text for part in parts if part.text is not None]).strip()


def _compact(value: Raw) -> bytes:
    """Without the space that some serialisers put between values."""
    try:
        return json.format(bytes(value), indent=-1)
    except DecodeError:  # a lone surrogate: as it came, so it equals nothing but itself
        return bytes(value)


def _framed(*parts: bytes) -> bytes:
    """How many, and each with its length before it: no two lists of parts read the same."""
    return b"%d;" % len(parts) + b"".join([b"%d:%b" % (len(part), part) for part in parts])
