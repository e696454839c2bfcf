"""Whose words may be kept, and a client whose reply is heard as it goes out.

The agent's policy says what is kept at most; a caller can only take from that: with `X-Headgate-Content`, or with
what other tools have for it (Helicone, Portkey, LiteLLM, Cloudflare's AI Gateway). Of a request's headers those are
kept that name a client, never one that a credential may stand in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, get_args

from msgspec import Raw

from proxy.content.heard import Heard, Keeping
from proxy.execution.flight import Flight
from proxy.surfaces.client import Client
from proxy.surfaces.identify import KEY_HEADERS
from proxy.surfaces.wire import Headers
from proxy.types import Call, ContentPolicy

OWN: Final = "x-headgate-content"
POLICIES: Final[tuple[ContentPolicy, ...]] = get_args(ContentPolicy)  # the least first
OMIT_REQUEST: Final = "helicone-omit-request"
OMIT_REPLY: Final = "helicone-omit-response"
OMIT_BOTH: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("x-portkey-debug", frozenset({"false"})),
    ("x-litellm-enable-message-redaction", frozenset({"true"})),
    ("litellm-enable-message-redaction", frozenset({"true"})),
    ("cf-aig-collect-log", frozenset({"false"})),
    ("cf-aig-collect-log-payload", frozenset({"false"})),
)
NO_LOG: Final = "no-log"  # a field of the body, LiteLLM's
YES: Final = frozenset({"on", "yes", "true", "1"})  # whatever the policy is
KEPT: Final = ("user-agent", "content-type", "accept", "x-title", "traceparent")
KEPT_PREFIX: Final = "x-stainless-"
KEPT_CHARS_MAX: Final = 256
PRESENTED_LEAST: Final = 8  # characters: shorter ones would be found in any text


class Keeps(Protocol):
    """See `content.keeper.Keeper`."""

    def begin(self, call: Call, keeping: Keeping, *, headers: dict[str, str], presented: tuple[str, ...]) -> Heard: ...

    def end(self, heard: Heard) -> None: ...


def keeping(policy: ContentPolicy, headers: Mapping[str, str], fields: Mapping[str, Raw] | None) -> Keeping | None:
    """None: nothing is kept. Names are in lower case."""
    policy = _less(policy, headers.get(OWN, policy))
    if policy == "off" or any(headers.get(name, "").strip().lower() in words for name, words in OMIT_BOTH):
        return None
    if fields is not None and NO_LOG in fields and bytes(fields[NO_LOG]).strip() == b"true":
        return None
    request, reply = _wanted(headers, OMIT_REQUEST), _wanted(headers, OMIT_REPLY)
    return Keeping(policy, request, reply) if request or reply else None


def _less(policy: ContentPolicy, wish: str) -> ContentPolicy:
    """Nothing where nobody knows what the caller wishes: a mistake in a wish for less is no leave for more."""
    wish = wish.strip().lower()
    if wish in YES:
        return policy
    allowed = POLICIES[: POLICIES.index(policy) + 1]
    return next((known for known in allowed if known == wish), policy if wish in POLICIES else "off")


def _wanted(headers: Mapping[str, str], omit: str) -> bool:
    return headers.get(omit, "").strip().lower() != "true"


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value[:KEPT_CHARS_MAX] for name, value in headers.items() if name in KEPT or name.startswith(KEPT_PREFIX)
    }


def presented(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The credentials that came with a request, wherever they may turn up again."""
    given = [headers.get("authorization", "").rpartition(" ")[2], *[headers.get(name, "") for name in KEY_HEADERS]]
    return tuple([each for each in given if len(each) >= PRESENTED_LEAST])


class Overheard:
    """The client's half of a call, as `client.Client` is; all that goes to the client is heard."""

    def __init__(self, client: Client, heard: Heard) -> None:
        self._client = client
        self._heard = heard

    def __repr__(self) -> str:
        return f"Overheard({self._heard!r})"

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        self._begun(status, headers)
        self._heard.add(body)
        self._heard.complete = True
        await self._client.whole(status, headers, body)

    async def start(self, status: int, headers: Headers) -> None:
        self._begun(status, headers)
        await self._client.start(status, headers)

    async def write(self, data: bytes) -> None:
        self._heard.add(data)
        await self._client.write(data)

    async def end(self) -> None:
        self._heard.complete = True
        await self._client.end()

    def heartbeat(self) -> None:
        self._client.heartbeat()

    def abort(self) -> None:
        self._client.abort()

    @property
    def left(self) -> bool:
        return self._client.left

    def share(self, flight: Flight | None) -> None:
        self._client.share(flight)

    def stay(self) -> None:
        self._client.stay()

    def go(self) -> None:
        self._client.go()

    def _begun(self, status: int, headers: Headers) -> None:
        self._heard.status = status
        self._heard.content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
