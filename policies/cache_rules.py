"""What an answer that is known already may be used for: whose it is, which calls have one answer, what may be kept.

A hit is right, or it is not served. So the key of a call is made of everything that is forwarded of it and of all that
decides who may see the answer (RFC 9111 calls the latter the secondary key); a call that leaves anything but an answer
at its provider has no key, and a reply is kept only where it is complete, unshortened and from the model that was asked
for. How replies are stored and how long is no business of this file.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, Literal

from msgspec import DecodeError, Raw, Struct, json

from policies.repeatable import STATE, why_once, why_tools_once
from policies.semantic.rules import SemanticRules
from proxy.reuse import Reuse
from proxy.tenancy import tenant
from proxy.types import Call, Identity, Plan

Exact = Literal["off", "deterministic", "on"]
Replay = Literal["off", "keyed", "run"]
Scope = Literal["agent", "team"]

VERSION: Final = b"headgate 1"  # of the key's form: another one finds nothing of the old
KEEPING: Final = frozenset({"chat", "completions", "embeddings", "moderations", "rerank", "responses"})
ALWAYS_THE_SAME: Final = frozenset({"embeddings", "moderations", "rerank"})
CONTROLS: Final = frozenset({"cache"})  # members of a body that are not forwarded
TTL_MAX_S: Final = 604_800.0  # that a caller can ask for: what expires last makes room for others last
EARLY: Final = 0.1  # of its life, at whose end an entry may be renewed before it is stale

_ZERO = re.compile(rb"-?0+(\.0+)?([eE][+-]?\d+)?").fullmatch
_FINISHED = re.compile(rb'"finish_reason": ?"(?!error")').findall
_COMPLETED = re.compile(rb'"type": ?"response\.completed"').search


class _Choice(Struct):
    finish_reason: str | None = None


class _Reply(Struct):
    """What a reply that is no stream says of its end."""

    choices: list[_Choice] = []
    data: list[Raw] = []
    status: str | None = None


_REPLY = json.Decoder(_Reply)
_LIST = json.Decoder(list[Raw])


class CacheRules(Struct, frozen=True):
    """What one agent wants. Seconds."""

    exact: Exact = "off"  # `deterministic`: at temperature 0, and embeddings
    ttl_s: float = 3_600.0
    stale_s: float = 0.0  # so much older may an answer be that is served while a new one is fetched
    scope: Scope = "agent"
    replay: Replay = "keyed"  # `run`: any body that its run has sent before
    semantic: SemanticRules | None = None  # None: only the same question has the same answer

    @property
    def asks(self) -> bool:
        """Whether calls are looked at that say nothing of it themselves."""
        return self.exact != "off" or self.replay == "run"


class Wanted(Struct, frozen=True):
    """The names of what may answer one call. None: nothing may."""

    exact: bytes | None
    replay: bytes | None
    digest: bytes  # of what is asked, for a name that the client chose
    read: bool = True
    write: bool = True

    @property
    def names(self) -> tuple[bytes, ...]:
        return tuple([name for name in (self.exact, self.replay) if name is not None])


def wanted(call: Call, rules: CacheRules, revision: str) -> Wanted | None:
    """`revision` names what the configuration makes of a model: the same question of another one is another. It is no
    part of a name in the journal: a step that is taken again after a reload is the same step."""
    says, fields = call.reuse, call.head.fields
    if fields is None:
        return None
    read, write = (True, True) if says is None else (says.read, says.write)
    key = None if says is None else says.key
    caches = rules.exact != "off" and (read or write) and why_not(call, rules) is None
    keyed = rules.replay != "off" and key is not None
    by_run = not keyed and rules.replay == "run" and call.identity.run is not None and read and write
    if not (caches or keyed or by_run):
        return None
    digest = question(call, fields)
    name = (b"key", key.encode()) if keyed and key is not None else (b"body", digest)
    replay = _digest(owner(call.identity, "run"), *name) if keyed or by_run else None
    about = (VERSION, revision.encode(), call.route.encode("utf-8", "surrogatepass"))
    exact = _digest(owner(call.identity, rules.scope), *about, digest) if caches else None
    return Wanted(exact, replay, digest, read=read, write=write)


def why_not(call: Call, rules: CacheRules) -> str | None:
    """Why the exact cache is not for this call; None: it is."""
    if rules.exact == "off":
        return "its agent has no exact cache"
    if call.endpoint not in KEEPING:
        return f"replies of {call.endpoint} are not kept"
    fields = call.head.fields
    if fields is None:
        return "its body is not JSON"
    if call.endpoint not in ALWAYS_THE_SAME:
        if (why := why_once(call) or why_tools_once(call)) is not None:
            return why
        if rules.exact == "deterministic" and not _ZERO(bytes(fields.get("temperature", b""))):
            return "its temperature is not 0"
    elif not fields.keys().isdisjoint(STATE):
        return "it keeps or uses state at the provider"
    return None


def why_not_kept(call: Call, plan: Plan | None, body: bytes, *, shortened: bool, served_elsewhere: bool) -> str | None:
    """Why a reply that a client got whole answers nobody else; None: it may."""
    if shortened or (plan is not None and plan.degraded):
        return "a budget had shortened it"
    if served_elsewhere:
        return "another model had answered"
    if call.endpoint in ("chat", "completions") and not _finished(body, call.head.choices):
        return "it had no finish reason"
    if call.endpoint == "responses" and not _completed(body):
        return "it was not completed"
    if call.endpoint == "embeddings" and len(_read(body).data) < _inputs(call.head.fields):
        return "it had fewer vectors than inputs"
    return None


def ttl_s(rules: CacheRules, says: Reuse | None) -> float:
    """How long an answer is fresh: as its caller says, else as its agent's rules do."""
    asked_s = None if says is None else says.ttl_s
    return rules.ttl_s if asked_s is None else max(0.0, min(asked_s, TTL_MAX_S))


def why_not_shared(plan: Plan | None, *, shortened: bool) -> str | None:
    """Why a reply that is still on its way is not for another call that asks the same; None: it is."""
    return "a budget has shortened it" if shortened or (plan is not None and plan.degraded) else None


def question(call: Call, fields: dict[str, Raw]) -> bytes:
    """A digest of all that is forwarded, in one canonical form: members by name, no space between values. Numbers and
    strings stay as they were written, so nothing that a model could see is taken for the same."""
    text = hashlib.sha256()
    text.update(_framed(call.endpoint.encode()))
    for name in sorted(fields):
        if name not in CONTROLS:
            text.update(_framed(name.encode("utf-8", "surrogatepass"), _compact(bytes(fields[name]))))
    return text.digest()


def owner(identity: Identity, scope: Scope | Literal["run"]) -> bytes:
    """Who may be given the answer: the tenant always, below it the agent or its run."""
    below: tuple[str, ...] = ()
    if scope != "team":
        below = (identity.agent,) if scope == "agent" else (identity.agent, identity.run or "")
    names = (scope, tenant(identity), *below)
    return _framed(*[name.encode("utf-8", "surrogatepass") for name in names])


def renew_early(age_s: float, ttl_s: float, chance: float) -> bool:
    """Whether a hit, drawn by `chance` (0 to 1), fetches a new answer before the old one is stale: the more likely the
    nearer its end, so that no two processes do it at once (probabilistic early expiration; Vattani et al., VLDB 2015).
    """
    begins_s = (1 - EARLY) * ttl_s
    return age_s > begins_s and chance < ((age_s - begins_s) / (ttl_s - begins_s)) ** 2


def _compact(value: bytes) -> bytes:
    """Without the space that some serialisers put between values."""
    try:
        return json.format(value, indent=-1)
    except (DecodeError, RecursionError):  # a lone surrogate: as it came, so it equals nothing but itself
        return value


def _finished(body: bytes, choices: int) -> bool:
    """As many as were asked for. Of a stream its end marker was checked when it was read; text cannot fake a name, as
    its quotes are escaped."""
    if _streamed(body):
        return len(_FINISHED(body)) >= choices
    found = _read(body).choices
    return len(found) >= choices and all(choice.finish_reason not in (None, "error") for choice in found)


def _inputs(fields: dict[str, Raw] | None) -> int:
    """Of a call for embeddings: texts, or lists of tokens; a list of tokens is one."""
    try:
        inputs = _LIST.decode(fields["input"]) if fields is not None else []
    except (DecodeError, KeyError, RecursionError):
        return 1
    return len(inputs) if inputs and bytes(inputs[0])[:1] in (b'"', b"[") else 1


def _completed(body: bytes) -> bool:
    """The response itself: an item in it can be complete where the response is not."""
    return _COMPLETED(body) is not None if _streamed(body) else _read(body).status == "completed"


def _streamed(body: bytes) -> bool:
    return body.lstrip().startswith((b"data:", b"event:", b"id:", b":"))  # fields of an event, or a comment before one


def _read(body: bytes) -> _Reply:
    try:
        return _REPLY.decode(body)
    except (DecodeError, RecursionError):
        return _Reply()


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(_framed(*parts)).digest()


def _framed(*parts: bytes) -> bytes:
    """Each with its length before it: no two lists of parts read the same."""
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])
