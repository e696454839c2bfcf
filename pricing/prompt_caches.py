"""What is known of the prompt caches of commercial APIs: how they are asked for, what they cost, how long they last.

A dated table by host and model; the first row that fits decides. A host that is not in it is told nothing, because an
unknown field is an error to many. Prices are relative to input that is not cached and serve decisions only: what a call
cost is said by the price book. What a call is given is decided by `policies.prompt_cache`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from importlib import resources
from typing import Literal

import msgspec
from msgspec import Struct

Kind = Literal["automatic", "key", "markers"]


class CacheRule(Struct, frozen=True, forbid_unknown_fields=True):
    """The prompt cache of some models at some hosts; `*` in a pattern stands for anything."""

    hosts: tuple[str, ...]
    models: tuple[str, ...]
    kind: Kind  # how it is asked for: not at all, by a key for each session, by markers in the prompt
    read: float
    minimum_tokens: int  # shorter prompts are not cached, and nobody says so
    life_s: float  # of what is not used
    write_5m: float = 1.0
    write_1h: float | None = None  # None: there is no longer life to buy
    retention: str = ""  # what asks for the longest life, where that costs nothing more
    markers_max: int = 0
    whole: bool = False  # one marker beside the messages stands for one at their end
    longer_ttl_covers_prefix: bool = False  # a longer life is that of all before the marker, also where it is only read

    def __post_init__(self) -> None:
        """Raises ValueError for figures that no vendor could mean."""
        if not 0 < self.read <= 1 <= self.write_5m <= (self.write_1h or self.write_5m):
            raise ValueError("reading must be cheaper than input, writing dearer, and a longer life dearest")
        if self.minimum_tokens < 1 or self.life_s <= 0 or not (0 <= self.markers_max <= 4):
            raise ValueError("minimum_tokens, life_s or markers_max is out of range")


class About(Struct, frozen=True, forbid_unknown_fields=True):
    date: str
    source: str


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    about: About
    rules: tuple[CacheRule, ...]

    def of(self, host: str) -> tuple[CacheRule, ...]:
        """The rows of one host; empty: nothing is known of it."""
        return tuple([rule for rule in self.rules if _any(rule.hosts, host)])


def load(data: bytes | None = None) -> Table:
    """The table in `data`; None: the shipped one. Raises ValueError."""
    if data is None:
        data = resources.files("pricing").joinpath("prompt_caches.json").read_bytes()
    try:
        return msgspec.json.decode(data, type=Table)
    except msgspec.MsgspecError as error:
        raise ValueError(f"prompt caches: {error}") from None


def rule_of(rules: tuple[CacheRule, ...], model: str) -> CacheRule | None:
    """The first that fits; None: nothing is known of it."""
    return next((rule for rule in rules if _any(rule.models, model)), None)


def _any(patterns: tuple[str, ...], name: str) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
