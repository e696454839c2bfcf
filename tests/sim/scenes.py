"""What a scripted upstream can do to a call, drawn at random: the fault matrix as far as bytes and time can show it.

Every scene says truly what it charges. Times are seconds of virtual time, lengths are tokens of four bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

from msgspec import Struct

from proxy.errors import ProxyError
from proxy.providers.base import UpstreamRequest
from tests.sim.vendor import End, Script, Step

EVENTS = (("Content-Type", "text/event-stream"),)
JSON = (("Content-Type", "application/json"),)
DONE = b"data: [DONE]\n\n"

# Name -> how often, among the faults.
SCENES = (
    "refused", "reset", "no head", "no event", "silence", "cut", "cut early", "truncated", "no end marker",
    "error first", "error later", "429", "429 storm", "500", "503", "401", "400", "404", "302", "html", "not json",
    "torn json", "no usage", "wrong usage", "after the end", "other form", "split", "twice done", "slow",
)  # fmt: skip

# Figures that are no bill; None stands for a usage object that is not there.
WRONG = (
    0, -5, 1.5, "12", None, 10**18, True, [], {"x": 1},
)  # fmt: skip


class Asked(Struct, frozen=True):
    stream: bool
    choices: int
    tokens_max: int | None
    wants_usage: bool
    size: int

    @classmethod
    def of(cls, request: UpstreamRequest) -> Asked:
        body = json.loads(request.body)
        options = body.get("stream_options") or {}
        return cls(
            stream=bool(body.get("stream")),
            choices=body.get("n") or 1,
            tokens_max=body.get("max_tokens"),
            wants_usage=bool(options.get("include_usage")),
            size=len(json.dumps(body["messages"])),
        )


class Generation:
    """One generation: its text, its true figures, and its wire forms."""

    def __init__(self, id: str, asked: Asked, rng: Random) -> None:
        length = rng.randint(1, 40)
        self.length = length if asked.tokens_max is None else min(length, asked.tokens_max)
        self.id = id
        self.asked = asked
        self.prompt = max(1, asked.size // 8)
        self.cached = rng.choice((0, 0, self.prompt // 2))
        self.output = self.length * asked.choices

    def usage(self) -> dict[str, object]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.output,
            "total_tokens": self.prompt + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }

    def piece(self, number: int, choice: int) -> bytes:
        return self.event({"index": choice, "delta": {"content": text_of(number)}, "finish_reason": None})

    def role(self) -> bytes:
        return self.event({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})

    def finish(self) -> bytes:
        choices = range(self.asked.choices)
        return b"".join(self.event({"index": at, "delta": {}, "finish_reason": "stop"}) for at in choices)

    def usage_event(self, usage: object) -> bytes:
        return _data({"id": self.id, "object": "chat.completion.chunk", "model": "real", "choices": [], "usage": usage})

    def event(self, choice: dict[str, object]) -> bytes:
        return _data({"id": self.id, "object": "chat.completion.chunk", "model": "real", "choices": [choice]})

    def whole(self, usage: object) -> bytes:
        text = "".join(map(text_of, range(self.length)))
        choices = [
            {"index": at, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for at in range(self.asked.choices)
        ]
        reply = {"id": self.id, "object": "chat.completion", "model": "real", "choices": choices}
        return json.dumps(reply if usage is None else {**reply, "usage": usage}).encode()


class Scenes:
    """Writes the script of each request. `enabled` are the faults of this seed, `share` how often one strikes."""

    def __init__(self, name: str, rng: Random, *, enabled: tuple[str, ...], share: float) -> None:
        self._name = name
        self._rng = rng
        self._enabled = enabled
        self._share = share
        self._count = 0
        self._storm_until = -1

    def __call__(self, request: UpstreamRequest) -> Script:
        self._count += 1
        rng = self._rng
        kind = rng.choice(self._enabled) if self._enabled and rng.random() < self._share else "good"
        if self._count <= self._storm_until:
            kind = "429"
        if kind == "429 storm":
            self._storm_until = self._count + 6
            kind = "429"
        generation = Generation(f"gen-{self._name}-{self._count:06d}", Asked.of(request), rng)
        if kind in FAILURES:
            return FAILURES[kind](kind, rng)
        return _reply(kind, generation, rng)


def text_of(number: int) -> str:
    return f"{number:03d} "


# --- replies that are none -------------------------------------------------------------------------------------------


def _connection(code: str, *, sent: bool) -> Callable[[str, Random], Script]:
    def write(kind: str, rng: Random) -> Script:
        def fault() -> ProxyError:
            return ProxyError(code, f"scripted: {kind}", sent=sent)

        return Script(kind, head_at=rng.uniform(0, 0.5), fault=fault, billed=False)

    return write


def _status(status: int, code: str, *headers: tuple[str, str]) -> Callable[[str, Random], Script]:
    def write(kind: str, rng: Random) -> Script:
        body = json.dumps({"error": {"message": "scripted", "type": "x", "param": None, "code": code}}).encode()
        shown = tuple(header for header in headers if rng.random() < 0.7)
        return Script(kind, status, (*JSON, *shown), (Step(0.0, body),), head_at=rng.uniform(0, 0.5), billed=False)

    return write


def _page(kind: str, rng: Random) -> Script:
    page = b"<html><body>504 Gateway Time-out</body></html>"
    return Script(kind, 200, (("Content-Type", "text/html"),), (Step(0.1, page),), billed=False)


def _no_json(kind: str, rng: Random) -> Script:
    body = rng.choice((b"[]", b"null", b"7", b"{", b"", b'{"object":"chat.completion"}'))
    return Script(kind, 200, JSON, (Step(0.1, body),), billed=False)


FAILURES = {
    "refused": _connection("upstream_unreachable", sent=False),
    "reset": _connection("upstream_unreachable", sent=True),
    "429": _status(429, "rate_limit_exceeded", ("retry-after", "2"), ("retry-after-ms", "700")),
    "500": _status(500, "server_error"),
    "503": _status(503, "overloaded", ("retry-after", "1")),
    "401": _status(401, "invalid_api_key"),
    "400": _status(400, "context_length_exceeded"),
    "404": _status(404, "model_not_found"),
    "302": _status(302, "moved", ("location", "/elsewhere")),
    "html": _page,
    "not json": _no_json,
}


# --- replies ---------------------------------------------------------------------------------------------------------


def _reply(kind: str, made: Generation, rng: Random) -> Script:
    usage = _reported(kind, made, rng)
    streams = made.asked.stream != (kind == "other form")
    steps = _stream(kind, made, usage, rng) if streams else _plain(kind, made, usage, rng)
    end: End = "clean"
    if kind in ("cut", "cut early", "torn json"):
        end = "cut"
    elif kind in ("silence", "no event", "no head"):
        end = "silence"
    return Script(
        kind,
        headers=EVENTS if streams else JSON,
        steps=tuple(step for step in steps if step.data),  # an empty piece would be the end
        end=end,
        head_at=1e6 if kind == "no head" else rng.uniform(0.0, 0.3),
        prompt=made.prompt,
        cached=made.cached,
        output=made.output,
        honest=kind != "wrong usage",
        # An error instead of an answer costs nothing; one in the middle of it does not undo what was made.
        billed=not (streams and kind.startswith("error") and not steps[-1].tokens),
    )


def _reported(kind: str, made: Generation, rng: Random) -> object:
    if kind == "no usage":
        return None
    if kind != "wrong usage":
        return made.usage()
    wrong = {name: rng.choice(WRONG) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return rng.choice((wrong, {**made.usage(), "completion_tokens": rng.choice(WRONG)}, "many", [1]))


def _plain(kind: str, made: Generation, usage: object, rng: Random) -> tuple[Step, ...]:
    gap = rng.uniform(0.01, 0.2)
    body = made.whole(usage)
    at = gap * made.length
    # Tokens are generated while nothing can be read, and then all come at once, or in two pieces.
    making = tuple(Step(gap * turn, b" ", made.asked.choices * turn) for turn in range(1, made.length))
    if kind in ("cut", "cut early", "torn json", "silence", "no event", "truncated"):
        torn = body[: rng.randint(0, len(body) - 2)]
        return (*making, Step(at, torn, made.output)) if torn else making
    if kind == "split":
        half = len(body) // 2
        return (*making, Step(at, body[:half], made.output), Step(at + 0.2, body[half:], made.output))
    return (*making, Step(at, body, made.output))


def _stream(kind: str, made: Generation, usage: object, rng: Random) -> tuple[Step, ...]:
    gap = rng.uniform(0.01, 0.3) * (20 if kind == "slow" else 1)
    at = rng.uniform(0.0, 1.0)
    steps = [Step(at, made.role())]
    if kind == "no event":
        return tuple(steps)
    if kind == "error first":
        return (*steps, Step(at, _data({"error": {"message": "scripted", "type": "x", "code": "server_error"}})))
    stop = _turns(kind, made, rng)
    for turn in range(stop):
        pieces = b"".join(made.piece(turn, choice) for choice in range(made.asked.choices))
        steps.append(Step(at, pieces, made.asked.choices * (turn + 1)))
        at += gap
    if stop == made.length:
        steps += _endings(kind, made, usage, at)
    elif kind == "truncated":
        steps.append(Step(at, made.piece(stop, 0)[:-9], steps[-1].tokens))
    elif kind == "error later":
        steps.append(Step(at, _data({"error": {"message": "scripted", "code": "server_error"}}), steps[-1].tokens))
    return _split(steps, rng) if kind == "split" else tuple(steps)


def _turns(kind: str, made: Generation, rng: Random) -> int:
    """How many turns of the generation are sent."""
    if kind == "cut early":
        return 0
    if kind in ("cut", "silence", "truncated", "error later", "torn json"):
        return rng.randint(0 if kind == "silence" else 1, made.length - 1) if made.length > 1 else made.length - 1
    return made.length


def _endings(kind: str, made: Generation, usage: object, at: float) -> list[Step]:
    output = made.output
    told = made.usage_event(usage) if usage is not None and made.asked.wants_usage else b""
    if kind == "no end marker":
        return [Step(at, made.finish() + told, output)]
    if kind == "after the end":
        return [Step(at, made.finish() + DONE, output), Step(at + 0.4, told + made.piece(999, 0), output)]
    if kind == "twice done":
        return [Step(at, made.finish() + told + DONE, output), Step(at, DONE + DONE, output)]
    return [Step(at, made.finish(), output), Step(at, told, output), Step(at, DONE, output)]


def _split(steps: list[Step], rng: Random) -> tuple[Step, ...]:
    """The same bytes, cut anywhere."""
    torn = []
    for step in steps:
        cut = rng.randint(0, len(step.data))
        torn += [Step(step.at, step.data[:cut], step.tokens), Step(step.at, step.data[cut:], step.tokens)]
    return tuple(step for step in torn if step.data)


def _data(said: dict[str, object]) -> bytes:
    return b"data: %b\n\n" % json.dumps(said, separators=(",", ":")).encode()
