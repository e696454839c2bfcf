"""What one call asks of its provider's prompt cache: a key for its session, markers and for how long, or nothing.

Nothing that a client sent is moved or changed, and what it says of caching itself is the last word. A longer life is
bought where it pays: it costs `write_1h - write_5m` for each newly written token, and saves `write_5m - read` for each
token of the prompt if the next call comes too late for the short life and in time for the long one. How often that
happens is the run's own count, with the share of recorded agent runs as the prior. Where a provider does not confirm
that a longer life covers what is only read, runs with tools buy it always, all others never: a life that changes from
call to call would pay twice. Prices, minimum and control of each provider stand in `pricing.prompt_caches`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from msgspec import DecodeError, Raw, Struct, json, structs

from policies.prefix_break import Prompt, Seen
from policies.recent import Recent
from pricing.prompt_caches import CacheRule
from proxy.cache_hints import CacheHints, Ttl
from proxy.types import Call, Usage

RUNS_MAX: Final = 4_096
SHORT_S: Final = 300.0
LONG_S: Final = 3_600.0
PRIOR: Final = 0.064  # of the gaps between the calls of recorded agent runs: 5 to 60 minutes long
PRIOR_WEIGHT: Final = 10.0  # gaps
BRACKET: Final = ord("[")
LOOKED_BACK: Final = 20  # parts before a marker in which an earlier entry is found
KEY_CHARS: Final = 32
OWN: Final = frozenset({"prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "cache_control"})
OWN_MARKS: Final = (b'"cache_control"', b'"prompt_cache_breakpoint"', b'"cachePoint"')
CACHE: Final = b"cache"  # which all of them hold: most prompts are read through once
ESCAPE: Final = b"\\u00"
LETTERS: Final = (b"\\u005", b"\\u006", b"\\u007")  # and the underscore
ENDPOINTS: Final = frozenset({"chat", "responses"})
FRONT_ROLES: Final = frozenset({"system", "developer"})

_LIST = json.Decoder(list[Raw])


class _Message(Struct):
    role: str = ""
    content: Raw = Raw(b"null")


class _Part(Struct):
    type: str = ""
    text: str = ""


_MESSAGE, _PARTS = json.Decoder(_Message), json.Decoder(list[_Part])


class Advice(Struct, frozen=True):
    """`hints` None: nothing is added, and `reason` says why."""

    hints: CacheHints | None
    reason: str


class Asked(Struct, frozen=True):
    """A call, as far as it matters here."""

    call: Call
    run: str | None  # whose session it belongs to, beyond all doubt about whose run that is
    prompt: Prompt | None = None  # None: it cannot be compared
    seen: Seen = Seen()


class _Session:
    """What one run has in the cache of one target, and how its calls follow each other."""

    __slots__ = ("gaps", "last_at", "late", "long_tokens", "long_until", "short_until", "target", "tokens")

    def __init__(self) -> None:
        self.gaps = 0
        self.late = 0  # gaps that only the long life outlasts
        self.last_at: float | None = None
        self.target = ""
        self.tokens = 0  # of the last prompt
        self.short_until = 0.0
        self.long_tokens = 0  # the part of it that was written for the long life
        self.long_until = 0.0

    def follow(self, now: float) -> None:
        if self.last_at is not None:
            self.gaps += 1
            self.late += SHORT_S < now - self.last_at <= LONG_S
        self.last_at = now

    @property
    def late_share(self) -> float:
        return (self.late + PRIOR * PRIOR_WEIGHT) / (self.gaps + PRIOR_WEIGHT)

    def kept_tokens(self, target: str, common: int, now: float) -> int:
        """Tokens of the next prompt that are probably still there."""
        if target != self.target:
            return 0
        if now <= self.short_until:
            return min(common, self.tokens)
        return min(common, self.long_tokens) if now <= self.long_until else 0

    def write(self, target: str, tokens: int, *, kept: int, ttl: Ttl, covers: bool, now: float) -> None:
        if ttl == "1h":
            self.long_tokens = tokens if covers or kept <= self.long_tokens or not kept else self.long_tokens
        else:
            self.long_tokens = min(self.long_tokens, kept)
        if self.long_tokens:
            self.long_until = now + LONG_S  # reading it begins its life anew
        self.target, self.tokens, self.short_until = target, tokens, now + SHORT_S


class PromptCaches:
    """One a process."""

    def __init__(self) -> None:
        self._sessions: Recent[str, _Session] = Recent(RUNS_MAX, _Session)

    def __repr__(self) -> str:
        return f"PromptCaches({len(self._sessions)} runs)"

    def began(self, run: str, now: float) -> None:
        """One of its calls has come. Once for each."""
        self._sessions.get(run).follow(now)

    def advise(self, asked: Asked, target: str, rule: CacheRule, now: float) -> Advice:
        """For one attempt."""
        call = asked.call
        if rule.kind == "automatic":
            return Advice(None, "it caches by itself")
        if call.endpoint not in ENDPOINTS or call.head.fields is None:
            return Advice(None, "its prompt is not one of messages")
        if call.input_tokens_estimate < rule.minimum_tokens:
            return Advice(None, f"its prompt is below {rule.minimum_tokens} tokens")
        if not OWN.isdisjoint(call.head.fields) or (rule.kind == "markers" and has_markers(call)):
            return Advice(None, "the client's own word on caching stands")
        if rule.kind == "key":
            return _by_key(asked, rule)
        return self._by_markers(asked, target, rule, now)

    def ttl(self, asked: Asked, target: str, rule: CacheRule, now: float) -> Ttl:
        """For how long what this call writes is to be kept, by what each would cost."""
        session = None if asked.run is None else self._sessions.find(asked.run)
        if rule.write_1h is None or session is None or not _has_tools(asked.call):
            return "5m"
        tokens = asked.call.input_tokens_estimate
        kept = session.kept_tokens(target, round(tokens * asked.seen.kept_share), now)
        covers = rule.longer_ttl_covers_prefix
        ttl: Ttl = "1h"
        if covers:
            saved = session.late_share * (rule.write_5m - rule.read) * tokens
            ttl = "1h" if saved > (rule.write_1h - rule.write_5m) * (tokens - kept) else "5m"
        session.write(target, tokens, kept=kept, ttl=ttl, covers=covers, now=now)
        return ttl

    def _by_markers(self, asked: Asked, target: str, rule: CacheRule, now: float) -> Advice:
        fields = asked.call.head.fields
        if asked.call.endpoint != "chat" or fields is None:
            return Advice(None, "markers stand in messages")
        try:
            messages = _LIST.decode(fields["messages"])
            front = _front_end(messages)
            alone = len(messages) - front <= 1 and not _has_tools(asked.call)
            if alone and (asked.run is None or asked.seen.kept_messages is None):
                return Advice(None, "it asks once: nobody will read what it would write")
            marked = tuple([at for at in _places(len(messages), front, asked.seen) if _carries(messages[at])])
        except DecodeError:
            return Advice(None, "its messages cannot be read")
        whole = rule.whole and (not marked or marked[-1] != len(messages) - 1)
        marked = marked[max(0, len(marked) + whole - rule.markers_max) :]  # the later ones hold more
        if not marked and not whole:
            return Advice(None, "its messages are texts, which carry no marker")
        return _advice(CacheHints(ttl=self.ttl(asked, target, rule, now), marked=marked, whole=whole))


def has_markers(call: Call) -> bool:
    """Whether the client has marked anything itself; where an escape may hide it, it has."""
    raw = call.raw
    if CACHE in raw and any(mark in raw for mark in OWN_MARKS):
        return True
    return ESCAPE in raw and any(letter in raw for letter in LETTERS)


def billed(usage: Usage, call: Call) -> Usage:
    """What a provider says was written, in the class of the life that was asked for, where it does not say which. Of a
    prompt with both lives all of it counts as the dearer."""
    written, hints = usage.input_cache_write_5m, call.hints
    if not written:
        return usage
    asked = (
        hints.ttl == "1h" if hints is not None and hints.marks else call.raw.find(b'"1h"') >= 0 and has_markers(call)
    )
    if not asked:
        return usage
    return structs.replace(usage, input_cache_write_5m=0, input_cache_write_1h=usage.input_cache_write_1h + written)


def session_key(run: str) -> str:
    """What the provider is told: the same for all calls of a run, and nothing that could be read from it."""
    return "hg-" + blake2b(run.encode("utf-8", "surrogateescape"), digest_size=KEY_CHARS // 2).hexdigest()


def _by_key(asked: Asked, rule: CacheRule) -> Advice:
    if asked.run is None:
        return Advice(None, "it belongs to no run")
    return _advice(CacheHints(key=session_key(asked.run), retention=rule.retention))


def _advice(hints: CacheHints) -> Advice:
    said = []
    if hints.key:
        said.append("a key of its run")
    if hints.retention:
        said.append(f"kept for {hints.retention}")
    if hints.marks:
        places = [f"message {at}" for at in hints.marked] + ["the whole prompt"] * hints.whole
        said.append(f"marked for {hints.ttl}: {', '.join(places)}")
    return Advice(hints, "; ".join(said))


def _places(count: int, front: int, seen: Seen) -> list[int]:
    """The end of the instructions, which covers the tools before them; the end of the prompt before; the newest
    message; and one between these two where they are too far apart."""
    last = count - 1
    places = {front - 1, last}
    if seen.kept_messages is not None:
        places.add(seen.kept_messages - 1)
        if last - (seen.kept_messages - 1) > LOOKED_BACK:
            places.add(seen.kept_messages - 1 + LOOKED_BACK)
    return sorted(at for at in places if 0 <= at <= last)


def _front_end(messages: list[Raw]) -> int:
    """How many instructions stand before the conversation."""
    for at, message in enumerate(messages):
        if _MESSAGE.decode(message).role not in FRONT_ROLES:
            return at
    return len(messages)


def _carries(message: Raw) -> bool:
    """Whether its last part is a text, on which a marker can stand; an empty one may bear none."""
    content = _MESSAGE.decode(message).content
    if memoryview(content)[0] != BRACKET:
        return False
    parts = _PARTS.decode(content)
    return bool(parts) and parts[-1].type == "text" and not parts[-1].text.isspace() and parts[-1].text != ""


def _has_tools(call: Call) -> bool:
    tools = (call.head.fields or {}).get("tools")
    return tools is not None and memoryview(tools)[:2].tobytes() not in (b"[]", b"nu")
