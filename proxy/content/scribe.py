"""The one place where words of a call become something that is kept: it redacts, shortens and gives them their form.

Nothing else in the gate may write content. `digest` keeps a keyed digest of each side; `redacted` the text without what
`masks` knows, attachments as notes; `full` the text as it was said, but for attachments and the key that the call came
with. Only what can be taken apart is kept as text (JSON, event streams, plain text): of anything else nobody could say
what is in it. Runs in the writer's thread.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from hashlib import sha256
from typing import Final

from msgspec import Struct, json

from proxy.content.attachments import Digest, put_away, put_away_within
from proxy.content.heard import Heard
from proxy.content.masks import Optional, Shape, is_secret_name, masked, shapes
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.state.content_report import ContentEntry, Side
from proxy.telemetry.line import utc_text

PARSED_MAX: Final = 1024 * 1024  # bytes, attachments not counted: parsing holds up the whole process
END: Final = 32 * 1024  # characters that are kept of each end of a text
MARGIN: Final = 8 * 1024  # beyond it: what is masked there is not cut in two
DIGEST_DIGITS: Final = 32
CREDENTIAL: Final = "[credential]"


class Scribe:
    """`key`: of the digests."""

    def __init__(self, key: bytes, dialect: Dialect, optional: Collection[Optional] = ()) -> None:
        self._key = key
        self._dialect = dialect
        self._shapes = shapes(optional)

    def __repr__(self) -> str:
        return "Scribe()"

    def entry(self, heard: Heard) -> ContentEntry:
        call, keeping = heard.call, heard.keeping
        return ContentEntry(
            id=call.id,
            at=utc_text(call.arrived_wall),
            agent=call.identity.agent,
            model=call.model,
            endpoint=call.endpoint,
            policy=keeping.policy,
            run=call.identity.run,
            request=self._request(heard) if keeping.request else None,
            reply=self._reply(heard) if keeping.reply else None,
        )

    def said(self, heard: Heard) -> tuple[object, object]:
        """Request and reply as values, for a span; None: not kept as text."""
        keeping = heard.keeping
        request = self._json(heard.call.raw) if keeping.request else None
        reply = self._replied(heard, heard.body) if keeping.reply else None
        pen = self._pen(heard)
        return pen.walked(request), pen.walked(reply)

    def _request(self, heard: Heard) -> Side:
        raw, policy = heard.call.raw, heard.keeping.policy
        if policy == "digest":
            return Side(len(raw), digest=self._digest(raw))
        pen = self._pen(heard)
        headers = {name: pen.masked(value) for name, value in heard.headers.items()}
        side = self._side(raw, self._json(raw), pen)
        return Side(side.bytes, side.digest, side.text, side.tail, side.why_not, headers)

    def _reply(self, heard: Heard) -> Side:
        body, policy = heard.body, heard.keeping.policy
        if body is None:
            side = Side(heard.size, why_not="it is too long, or there was no room")
        elif policy == "digest":
            side = Side(heard.size, digest=self._digest(body))
        else:
            side = self._side(body, self._replied(heard, body), self._pen(heard))
        kind = {"content-type": heard.content_type} if heard.content_type else {}
        return Side(
            *(heard.size, side.digest, side.text, side.tail, side.why_not, kind),
            status=heard.status,
            complete=heard.complete,
        )

    def _pen(self, heard: Heard) -> _Pen:
        hidden = self._shapes if heard.keeping.policy == "redacted" else ()
        return _Pen(hidden, heard.presented, self._digest)

    def _side(self, body: bytes, value: object, pen: _Pen) -> Side:
        if value is None:
            return Side(len(body), digest=self._digest(body), why_not="it is empty, too large or no text")
        text = json.encode(pen.walked(value)).decode()
        if len(text) <= 2 * END + MARGIN:  # one long text among short ones is cut once
            return Side(len(body), text=text)
        return Side(len(body), text=text[:END], tail=text[-END:])

    def _replied(self, heard: Heard, body: bytes | None) -> object:
        if not body:
            return None
        kind = heard.content_type.partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            try:
                return self._dialect.so_far(heard.call.endpoint, body)
            except (ProxyError, RecursionError):
                return None
        if kind.startswith("text/"):
            return body.decode("utf-8", "replace") if len(body) <= PARSED_MAX else None
        return self._json(body)

    def _json(self, body: bytes) -> object:
        """None: it is too large, or no JSON."""
        small = put_away(body, self._digest)
        if len(small) > PARSED_MAX:
            return None
        try:
            return json.decode(small)
        except (ValueError, RecursionError):
            return None

    def _digest(self, data: bytes) -> str:
        return hmac.new(self._key, data, sha256).hexdigest()[:DIGEST_DIGITS]


class _Pen(Struct, frozen=True):
    """How the words of one call are written."""

    hidden: tuple[Shape, ...]
    presented: tuple[str, ...]
    digest: Digest

    def walked(self, value: object) -> object:
        """The value with every text in it shortened and masked."""
        if isinstance(value, str):
            return self.short(value)
        if isinstance(value, list):
            return [self.walked(each) for each in value]
        if isinstance(value, dict):
            words = "logprob" in value  # then `token` is a word of the answer
            return {
                self.short(str(name)): self.walked(each) if words and name == "token" else self._named(str(name), each)
                for name, each in value.items()
            }
        return value

    def _named(self, name: str, value: object) -> object:
        return self._put_away(value) if self.hidden and is_secret_name(name) else self.walked(value)

    def _put_away(self, value: object) -> object:
        """What a secret's name stands before; an object has names of its own, such as a schema's."""
        if isinstance(value, list):
            return [self._put_away(each) for each in value]
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return CREDENTIAL
        return self.walked(value)

    def short(self, text: str) -> str:
        """Both ends of a long one. What is masked may reach over an end, so more is looked at than is kept."""
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()  # half of a letter, where a stream was cut in it
        text = put_away_within(text, self.digest)
        if len(text) <= 2 * (END + MARGIN):
            return self.masked(text)
        head, tail = self.masked(text[: END + MARGIN]), self.masked(text[-END - MARGIN :])
        return f"{head[:-MARGIN]} [{len(text) - 2 * END} characters left out] {tail[MARGIN:]}"

    def masked(self, text: str) -> str:
        return masked(text, self.hidden, self.presented)
