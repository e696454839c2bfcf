"""What broke the prefix that one call of a run shares with the call before: named, so that somebody can mend it.

Providers and engines keep a prompt by its beginning; one changed byte near its front makes all behind it new. Of each
prompt only digests are kept: of its tools, of the settings that stand before the messages, of each message, and of the
first messages with every digit masked, which tells a clock from a change of words. A run may hold several conversations
(agents below agents); a prompt belongs to the one with which it shares at least half of that one's messages.
"Don't Break the Cache" (2026) lists the culprits. Whether a cache was there at all is not asked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import DecodeError, Raw, Struct, ValidationError, json

from policies.recent import Recent
from proxy.observed import Culprit
from proxy.types import Call

RUNS_MAX: Final = 1_024
LINES_MAX: Final = 4  # conversations of one run
MESSAGES_MAX: Final = 512  # of a prompt; what comes later is not compared
BYTES_MAX: Final = 8 * 1024 * 1024
LOST_LEAST: Final = 1_024  # tokens; less is not cached by anybody
FRONT: Final = 2  # messages that may hold a clock
NAME_MAX: Final = 64  # characters of a tool's name that are shown
MESSAGES: Final = {"chat": "messages", "responses": "input"}  # endpoint -> the field that holds them
SETTINGS: Final = ("model", "instructions", "tool_choice", "parallel_tool_calls", "response_format", "text", "thinking",
                   "reasoning", "reasoning_effort", "verbosity")  # fmt: skip
NAMED: Final[Mapping[str, Culprit]] = {"model": "model", "tool_choice": "tool_choice", "instructions": "system"}
DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")

_LIST = json.Decoder(list[Raw])


class _Message(Struct):
    role: str = ""
    type: str = ""


class _Function(Struct):
    name: str = ""


class _Tool(Struct):
    function: _Function | None = None
    name: str = ""
    type: str = ""


_MESSAGE, _TOOL = json.Decoder(_Message), json.Decoder(_Tool)


class Prompt(Struct, frozen=True):
    """Digests of one prompt, in the order in which providers read it. Never leaves the process."""

    tools: tuple[int, ...]
    settings: tuple[tuple[str, int], ...]
    messages: tuple[int, ...]
    sizes: tuple[int, ...]  # bytes of each message
    masked: tuple[int, ...]  # the first messages, without their digits
    front_bytes: int  # of tools and settings

    def __repr__(self) -> str:
        return f"Prompt({len(self.tools)} tools, {len(self.messages)} messages, {self.size} bytes)"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.front_bytes + sum(self.sizes)

    @property
    def front(self) -> int:
        """Of all that stands before the messages."""
        return hash((self.tools, self.settings))


class Break(Struct, frozen=True):
    """`lost_tokens`: of the prompt before, from the culprit on, by estimate."""

    culprit: Culprit
    words: str
    lost_tokens: int


class Seen(Struct, frozen=True):
    """A prompt beside the one before it. `kept_messages` None: it is the first of its conversation."""

    kept_messages: int | None = None
    kept_share: float = 0.0  # of its bytes
    broke: Break | None = None


def read(call: Call) -> Prompt | None:
    """None: there is nothing that could be compared."""
    name, fields = MESSAGES.get(call.endpoint), call.head.fields
    if name is None or fields is None or name not in fields or len(call.raw) > BYTES_MAX:
        return None
    try:
        messages = _LIST.decode(fields[name])[:MESSAGES_MAX]
        tools = _LIST.decode(fields["tools"]) if "tools" in fields else []
    except DecodeError:  # a text, null, or a lone surrogate
        return None
    texts = [bytes(message) for message in messages]
    settings = [(setting, bytes(fields[setting])) for setting in SETTINGS if setting in fields]
    return Prompt(
        tools=tuple([hash(bytes(tool)) for tool in tools]),
        settings=tuple([(setting, hash(value)) for setting, value in settings]),
        messages=tuple(map(hash, texts)),
        sizes=tuple(map(len, texts)),
        masked=tuple([hash(text.translate(DIGITS)) for text in texts[:FRONT]]),
        front_bytes=sum(len(value) for _, value in settings) + sum(len(memoryview(tool)) for tool in tools),
    )


class Prefixes:
    """What the calls of runs have begun with; one a process."""

    def __init__(self) -> None:
        self._runs: Recent[str, list[Prompt]] = Recent(RUNS_MAX, list)

    def __repr__(self) -> str:
        return f"Prefixes({len(self._runs)} runs, {sum(map(len, self._runs.values()))} conversations)"

    def look(self, run: str, call: Call, prompt: Prompt) -> Seen:
        """What the prompt shares with the one before it, which it takes the place of."""
        lines = self._runs.get(run)
        before = _line_of(lines, prompt)
        if before is not None:
            lines.remove(before)
        elif len(lines) >= LINES_MAX:
            del lines[0]
        lines.append(prompt)
        return Seen() if before is None else _compared(before, prompt, call)


def _line_of(lines: list[Prompt], prompt: Prompt) -> Prompt | None:
    """The newest first: most calls go on with it."""
    for line in reversed(lines):
        if prompt.messages[: len(line.messages)] == line.messages:
            return line
    has = set(prompt.messages)
    shared = [(sum(message in has for message in line.messages), line) for line in reversed(lines)]
    if not shared:
        return None
    most, nearest = max(shared, key=_first)
    return nearest if 2 * most >= min(len(nearest.messages), len(prompt.messages)) > 0 else None


def _first(pair: tuple[int, Prompt]) -> int:
    return pair[0]


def _compared(before: Prompt, prompt: Prompt, call: Call) -> Seen:
    found = _front(before, prompt, call)
    if found is not None:
        kept, kept_bytes, lost_bytes = 0, 0, before.size
    else:
        kept = _common(before.messages, prompt.messages)
        kept_bytes, lost_bytes = prompt.front_bytes + sum(prompt.sizes[:kept]), sum(before.sizes[kept:])
        if kept < min(len(before.messages), len(prompt.messages)):
            found = _message(before, prompt, call, kept)
    share = kept_bytes / max(1, prompt.size)
    lost = round(lost_bytes * call.input_tokens_estimate / max(1, prompt.size))
    if found is None or lost < LOST_LEAST:
        return Seen(kept, share)
    return Seen(kept, share, Break(*found, lost))


def _front(before: Prompt, prompt: Prompt, call: Call) -> tuple[Culprit, str] | None:
    """What differs before the messages."""
    if before.tools != prompt.tools:
        return _tools(before.tools, prompt.tools, call)
    if before.settings == prompt.settings:
        return None
    old, new = dict(before.settings), dict(prompt.settings)
    for name in SETTINGS:
        if old.get(name) != new.get(name):
            how = "is gone" if name not in new else "is new" if name not in old else "has changed"
            return NAMED.get(name, "setting"), f"the field `{name}` {how}"
    return None


def _tools(old: tuple[int, ...], new: tuple[int, ...], call: Call) -> tuple[Culprit, str]:
    if sorted(old) == sorted(new):
        return "tool_order", f"the {len(new)} tools stand in another order"
    at = _common(old, new)
    if at == len(new):
        return "tools", f"{len(old) - at} of {len(old)} tools are gone"
    fields = call.head.fields or {}
    name = _tool_name(_LIST.decode(fields["tools"])[at])
    return "tools", f"tool {at}{name} {'is new' if at == len(old) else 'is not what stood there before'}"


def _message(before: Prompt, prompt: Prompt, call: Call, at: int) -> tuple[Culprit, str]:
    role = _role(call, at)
    clock = at < min(len(before.masked), len(prompt.masked)) and before.masked[at] == prompt.masked[at]
    if clock:
        return "clock", f"only digits differ in message {at}{role}: a time, a date or a counter"
    if at == 0 and role in (" (system)", " (developer)"):
        return "system", f"message {at}{role} has changed"
    return "message", f"message {at}{role} has changed"


def _common(old: tuple[int, ...], new: tuple[int, ...]) -> int:
    for at, (one, other) in enumerate(zip(old, new, strict=False)):
        if one != other:
            return at
    return min(len(old), len(new))


def _role(call: Call, at: int) -> str:
    fields = call.head.fields or {}
    try:
        message = _MESSAGE.decode(_LIST.decode(fields[MESSAGES[call.endpoint]])[at])
    except (DecodeError, ValidationError):
        return ""
    shown = message.role or message.type
    return f" ({shown})" if shown.isalpha() and len(shown) <= NAME_MAX else ""


def _tool_name(tool: Raw) -> str:
    try:
        found = _TOOL.decode(tool)
    except (DecodeError, ValidationError):
        return ""
    name = found.function.name if found.function is not None else found.name or found.type
    return f" `{name[:NAME_MAX]}`" if name.isprintable() and name else ""
