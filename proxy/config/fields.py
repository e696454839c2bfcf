"""What the schema says about itself: which names are valid where, and the list of all fields for the docs.

A place in the schema is a path in which `*` stands for any name or number. Under `providers.*` the fields depend on the
kind, so a place may have several blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import get_args, get_origin

from msgspec import Struct
from pydantic.fields import FieldInfo

from proxy.config.providers import KINDS, Block
from proxy.config.schema import Config
from proxy.config.tree import Path, Value

NAMES_SHOWN = 8


class Field(Struct, frozen=True):
    """One field as the docs show it: `path` has `*` for names; `default` None: it must be given."""

    path: str
    default: str | None
    description: str
    kind: str | None = None  # of the only provider that has it


def fields(block: type[Block] = Config, path: tuple[str, ...] = (), kind: str | None = None) -> Iterator[Field]:
    for name, info in block.model_fields.items():
        below = (*path, name)
        yield Field(".".join(below), _default(info), info.description or "", kind)
        for stars, child in _inner(info.annotation):
            yield from fields(child, (*below, *stars), _kind_of(child) or kind)


def names_at(path: Path, values: Value) -> tuple[str, ...]:
    """The names that are valid inside the block at `path`; of a provider, those of its kind."""
    block = _block_at(path, values, Config)
    return tuple(block.model_fields) if block else ()


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or what there is if that is little, or nothing."""
    known = sorted(names)
    close = get_close_matches(name[:64], known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known here: {', '.join(known)}" if 0 < len(known) <= NAMES_SHOWN else ""


def below(values: Value, path: Path) -> Value:
    """The value at `path`, or None."""
    for part in path:
        if isinstance(values, dict) and isinstance(part, str):
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            return None
    return values


def _block_at(path: Path, values: Value, block: type[Block]) -> type[Block] | None:
    if not path:
        return block
    info = block.model_fields.get(str(path[0]))
    for stars, child in _inner(info.annotation) if info else ():
        here, rest = path[: 1 + len(stars)], path[1 + len(stars) :]
        kind = _kind_of(child)
        if len(here) == 1 + len(stars) and kind in (None, below(values, (*here, "kind"))):
            return _block_at(rest, below(values, here), child)
    return None


def _kind_of(block: type[Block]) -> str | None:
    return next((kind for kind, provider in KINDS.items() if provider is block), None)


def _inner(annotation: object, stars: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type[Block]]]:
    """The blocks inside a field's type, each with a `*` for the name or number that leads to it."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        yield stars, annotation
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        arguments, stars = arguments[1:], (*stars, "*")
    elif origin is tuple:
        stars = (*stars, "*")
    for argument in arguments:
        yield from _inner(argument, stars)


def _default(info: FieldInfo) -> str | None:
    if info.is_required():
        return None
    default = info.get_default()
    return "" if isinstance(default, Block) or default is None else str(default)
