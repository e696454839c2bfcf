"""What a simulated model says: text, a call of an offered tool, or a value that fits a JSON schema.

The words depend on the seed and the request alone, so the same request has the same answer. Nothing here knows time,
faults, prices or the wire; a piece is what a real engine would send as one token.
"""

from __future__ import annotations

import hashlib
import math
import struct

from msgspec import DecodeError, Raw, Struct, field
from msgspec.json import Decoder, encode

DEPTH_MAX = 8  # of generated values; schemas may refer to themselves
PIECE_CHARS = 4
ITEMS_MAX = 64
WORDS = (
    *("the", "a", "of", "to", "and", "in", "that", "it", "is", "for", "on", "with", "as", "this", "by", "from", "at"),
    *("which", "one", "each", "more", "has", "than", "first", "next", "since", "after", "before", "while", "small"),
    *("answer", "plan", "step", "result", "model", "agent", "budget", "request", "token", "order", "large", "until"),
)
FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class Draw:
    """An endless row of numbers that depends on its key alone."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._count = 0
        self._left: list[int] = []

    def share(self) -> float:
        """Uniform in [0, 1)."""
        if not self._left:
            digest = hashlib.blake2b(self._count.to_bytes(8, "little"), key=hashlib.sha256(self._key).digest()).digest()
            self._left = list(struct.unpack("<8Q", digest))
            self._count += 1
        return (self._left.pop() >> 11) * 2.0**-53

    def below(self, count: int) -> int:
        return int(self.share() * count)

    def log_normal(self, median: float, sigma: float) -> float:
        normal = math.sqrt(-2.0 * math.log(1.0 - self.share())) * math.cos(2.0 * math.pi * self.share())
        return median * math.exp(sigma * normal)

    def word(self) -> str:
        return WORDS[self.below(len(WORDS))]


class Function(Struct, frozen=True):
    name: str
    parameters: Raw = Raw(b"{}")


class Tool(Struct, frozen=True):
    function: Function | None = None


class Format(Struct, frozen=True):
    """`response_format`."""

    type: str = "text"
    json_schema: dict[str, Raw] = {}


class Answer(Struct, frozen=True):
    pieces: tuple[str, ...]
    finish_reason: str
    tool: str | None = None  # its name; the pieces are then its arguments

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Schema(Struct, frozen=True):
    """The part of JSON Schema that is understood."""

    type: str | list[str] | None = None
    properties: dict[str, Schema | bool] = {}
    required: list[str] = []
    items: Schema | bool | None = None
    enum: list[Raw] = []
    const: Raw = Raw(b"")
    any_of: list[Schema] = field(default_factory=list, name="anyOf")
    one_of: list[Schema] = field(default_factory=list, name="oneOf")
    all_of: list[Schema] = field(default_factory=list, name="allOf")
    ref: str | None = field(default=None, name="$ref")
    defs: dict[str, Schema] = field(default_factory=dict, name="$defs")
    format: str | None = None
    min_length: int = field(default=0, name="minLength")
    min_items: int = field(default=1, name="minItems")
    minimum: float | None = None
    maximum: float | None = None


_SCHEMA = Decoder(Schema)


def in_words(draw: Draw, tokens: int, *, tokens_max: int | None) -> Answer:
    """`tokens` words, or as many as the request allows."""
    count = max(1, tokens if tokens_max is None else min(tokens, tokens_max))
    pieces = [draw.word().capitalize()]
    pieces += [f" {draw.word()}" if number % 12 else f". {draw.word().capitalize()}" for number in range(1, count)]
    return Answer(tuple(pieces), "length" if count < tokens else "stop")


def in_json(draw: Draw, schema: Raw | None, *, tokens_max: int | None) -> Answer:
    text = '{"answer": "yes"}' if schema is None else value_for(schema, draw).decode()
    return _cut(Answer(_pieces(text), "stop"), tokens_max)


def by_tool(draw: Draw, function: Function, *, tokens_max: int | None) -> Answer:
    arguments = value_for(function.parameters, draw).decode()
    return _cut(Answer(("", *_pieces(arguments)), "tool_calls", function.name), tokens_max)


def value_for(schema: Raw, draw: Draw) -> bytes:
    """A JSON value that fits the schema, as far as it is understood; `{}` for one that is not."""
    try:
        decoded = _SCHEMA.decode(schema)
    except (DecodeError, RecursionError):  # DecodeError: also of values in places where a schema has other ones
        return b"{}"
    if decoded.type is None and not (decoded.ref or decoded.any_of or decoded.one_of or decoded.all_of):
        return _object(decoded, draw, defs=decoded.defs, depth=0)
    return _value(decoded, draw, defs=decoded.defs, depth=0)


def _pieces(text: str) -> tuple[str, ...]:
    return tuple([text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS)])


def _cut(answer: Answer, tokens_max: int | None) -> Answer:
    if tokens_max is None or len(answer.pieces) <= tokens_max:
        return answer
    return Answer(answer.pieces[: max(1, tokens_max)], "length", answer.tool)


def _value(schema: Schema | bool, draw: Draw, *, defs: dict[str, Schema], depth: int) -> bytes:
    if isinstance(schema, bool) or depth > DEPTH_MAX:
        return b"null"
    if bytes(schema.const):
        return bytes(schema.const)
    if schema.enum:
        return bytes(schema.enum[draw.below(len(schema.enum))])
    if schema.ref is not None:
        return _value(defs.get(schema.ref.rpartition("/")[2], False), draw, defs=defs, depth=depth + 1)
    choices = schema.any_of or schema.one_of or schema.all_of[:1]
    if choices:
        return _value(choices[-1 if depth > DEPTH_MAX // 2 else 0], draw, defs=defs, depth=depth + 1)
    return _of_type(schema, draw, defs=defs, depth=depth)


def _of_type(schema: Schema, draw: Draw, *, defs: dict[str, Schema], depth: int) -> bytes:
    kinds = [schema.type] if isinstance(schema.type, str) else schema.type or []
    kind = next((kind for kind in kinds if kind != "null"), "object" if schema.properties else "null")
    if kind == "object":
        return _object(schema, draw, defs=defs, depth=depth)
    if kind == "array":
        count = min(schema.min_items, ITEMS_MAX) if depth < DEPTH_MAX else 0
        items = [_value(schema.items or False, draw, defs=defs, depth=depth + 1) for _ in range(count)]
        return b"[" + b",".join(items) + b"]"
    if kind == "string":
        text = FORMATS.get(schema.format or "", draw.word())
        return encode(text.ljust(min(schema.min_length, 10_000), "x"))
    if kind in ("integer", "number"):
        low = 0 if schema.minimum is None else math.ceil(schema.minimum)
        number = low + draw.below(10)
        return encode(number if schema.maximum is None else min(number, math.floor(schema.maximum)))
    return b"true" if kind == "boolean" else b"null"


def _object(schema: Schema, draw: Draw, *, defs: dict[str, Schema], depth: int) -> bytes:
    """All properties near the top; further down only those that must be there, so that it ends."""
    names = list(schema.properties) if depth < DEPTH_MAX // 2 else schema.required
    values = [_value(schema.properties.get(name, False), draw, defs=defs, depth=depth + 1) for name in names]
    members = [encode(name) + b":" + value for name, value in zip(names, values, strict=True)]
    return b"{" + b",".join(members) + b"}"
