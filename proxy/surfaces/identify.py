"""Whose call is it? The key first, then what the caller says of itself: path, own headers, other tools' headers,
body.

Only the key authorises; agent and run names correlate, so a wrong one can mislabel a call but not open a door. Values
are cut to 128 printable characters, longer ones are replaced by a digest, so that no client can grow the ledger's
names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct

from proxy.dialects.json_body import object_of
from proxy.errors import ProxyError
from proxy.snapshot import Keyring
from proxy.types import AgentSource, Identity, KeyRecord, RunSource

NAME_MAX = 128
TAGS_MAX = 16
METADATA_BYTES_MAX = 64 * 1024
UNATTRIBUTED = "unattributed"

# Headers that existing users bring along, in order of trust.
RUN_HEADERS = (
    "x-session-id",
    "x-litellm-trace-id",
    "x-litellm-session-id",
    "x-portkey-trace-id",
    "helicone-session-id",
    "x-claude-code-session-id",
    "thread-id",
    "session-id",
)
AGENT_HEADERS = (
    "x-litellm-agent-id",
    "x-claude-code-agent-type",
    "helicone-session-name",
    "x-openrouter-title",
    "x-title",
)
PARENT_HEADERS = ("x-parent-session-id", "x-codex-parent-thread-id")
KEY_HEADERS = ("x-api-key", "api-key", "x-goog-api-key")
OWN_HEADERS = (
    "x-headgate-agent",
    "x-headgate-run",
    "x-headgate-parent-run",
    "x-headgate-step",
    "x-headgate-depth",
    "x-headgate-tags",
)
TELLING = frozenset((*OWN_HEADERS, *RUN_HEADERS, *AGENT_HEADERS, *PARENT_HEADERS))
TELLING_FIELDS = frozenset(("metadata", "session_id", "prompt_cache_key"))
NOTHING_TOLD: Mapping[str, str] = MappingProxyType({})

_BODY_NAMES = msgspec.json.Decoder(str)


class Place(Struct, frozen=True):
    """What the path says: the endpoint's own path and the names in front of it."""

    path: str
    agent: str | None = None
    run: str | None = None


@lru_cache(maxsize=1_024)
def place(path: str) -> Place:
    """Splits `/agents/NAME/runs/RUN/v1/...`; a path without that prefix is its own."""
    if not path.startswith("/agents/"):
        return Place(path)
    agent, _, rest = path[len("/agents/") :].partition("/")
    if not rest.startswith("runs/"):
        return Place("/" + rest, agent=unquote(agent))
    run, _, rest = rest[len("runs/") :].partition("/")
    return Place("/" + rest, agent=unquote(agent), run=unquote(run))


def presented_key(headers: Mapping[str, str]) -> str:
    """The client's key, wherever its SDK puts it; "" when there is none."""
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""
    for name in KEY_HEADERS:
        value = headers.get(name)
        if value:
            return value
    return ""


def authenticate(headers: Mapping[str, str], keyring: Keyring) -> KeyRecord:
    """Raises ProxyError."""
    presented = presented_key(headers)
    key = keyring.identify(presented)
    if key is None:
        missing = "No API key was sent" if not presented else "The API key is not valid"
        raise ProxyError("invalid_api_key", f"{missing}: use `Authorization: Bearer KEY` with a key of this gate.")
    return key


def identity(key: KeyRecord, where: Place, headers: Mapping[str, str], fields: Mapping[str, Raw] | None) -> Identity:
    """Names of headers are in lower case."""
    # As with most calls: one look at headers and fields instead of some twenty.
    body = None if fields is None or TELLING_FIELDS.isdisjoint(fields) else _Body(fields)
    if TELLING.isdisjoint(headers):
        headers = NOTHING_TOLD
    agent, agent_source = _agent(key, where, headers, body)
    run, run_source = _run(where, headers, body)
    if not headers:
        return Identity(
            key_id=key.id,
            team=key.team,
            agent=agent,
            agent_source=agent_source,
            run=run,
            run_source=run_source,
            models=key.models,
        )
    return Identity(
        key_id=key.id,
        team=key.team,
        agent=agent,
        agent_source=agent_source,
        run=run,
        run_source=run_source,
        parent_run=clean(headers.get("x-headgate-parent-run")) or _first(headers, PARENT_HEADERS),
        step=_number(headers.get("x-headgate-step")),
        depth=_number(headers.get("x-headgate-depth")) or 0,
        tags=_tags(headers.get("x-headgate-tags")),
        models=key.models,
    )


def clean(value: str | None) -> str | None:
    """A name fit for a row and a log line, or None when nothing is left of it."""
    if not value:
        return None
    if not value.isprintable():
        value = "".join(character for character in value if character.isprintable())
    value = value.strip()
    if len(value) > NAME_MAX:
        return "sha256-" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return value or None


def _agent(key: KeyRecord, where: Place, headers: Mapping[str, str], body: _Body | None) -> tuple[str, AgentSource]:
    if key.agent is not None:
        return clean(key.agent) or UNATTRIBUTED, "key"
    if where.agent is not None and (name := clean(where.agent)) is not None:
        return name, "path"
    if headers:
        if (name := clean(headers.get("x-headgate-agent"))) is not None:
            return name, "header"
        if (name := _first(headers, AGENT_HEADERS)) is not None:
            return name, "foreign"
    if body is not None and (name := body.metadata("agent")) is not None:
        return name, "body"
    return UNATTRIBUTED, "none"


def _run(where: Place, headers: Mapping[str, str], body: _Body | None) -> tuple[str | None, RunSource]:
    if where.run is not None and (name := clean(where.run)) is not None:
        return name, "path"
    if headers:
        if (name := clean(headers.get("x-headgate-run"))) is not None:
            return name, "header"
        if (name := _first(headers, RUN_HEADERS)) is not None:
            return name, "foreign"
    if body is None:
        return None, "none"
    name = (
        body.name("session_id") or body.metadata("run") or body.metadata("session_id") or body.name("prompt_cache_key")
    )
    return name, "none" if name is None else "body"


class _Body:
    """The few identifying fields of a request body, decoded only when they are there."""

    def __init__(self, fields: Mapping[str, Raw]) -> None:
        self._fields = fields
        self._metadata = _object(fields.get("metadata"))

    def name(self, field: str) -> str | None:
        return _text(self._fields, field)

    def metadata(self, field: str) -> str | None:
        return _text(self._metadata, field)


def _object(raw: Raw | None) -> Mapping[str, Raw] | None:
    if raw is None or len(memoryview(raw)) > METADATA_BYTES_MAX:
        return None
    try:
        return object_of(bytes(raw))
    except ValueError:
        return None  # of another type, which is the upstream's business


def _text(fields: Mapping[str, Raw] | None, field: str) -> str | None:
    raw = fields.get(field) if fields is not None else None
    if raw is None:
        return None
    try:
        return clean(_BODY_NAMES.decode(raw))
    except msgspec.DecodeError:
        return None  # not a text: the upstream's business


def _first(headers: Mapping[str, str], names: Iterable[str]) -> str | None:
    for name in names:
        value = headers.get(name)
        if value is not None and (cleaned := clean(value)) is not None:
            return cleaned
    return None


def _number(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return int(text)


def _tags(text: str | None) -> tuple[tuple[str, str], ...]:
    """`name=value, name=value`; a name alone counts as `name=`."""
    if text is None:
        return ()
    pairs = []
    for item in text.split(",")[:TAGS_MAX]:
        name, _, value = item.partition("=")
        if (cleaned := clean(name)) is not None:
            pairs.append((cleaned, clean(value) or ""))
    return tuple(pairs)
