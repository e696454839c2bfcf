"""What the gate adds to a request for the sake of its provider's prompt cache, and nothing else of it.

Values alone: which of them a provider takes stands in `pricing.prompt_caches`, which a call gets is decided by
`policies.prompt_cache`, and where they stand in a body is the dialect's business.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Ttl = Literal["5m", "1h"]


class CacheHints(Struct, frozen=True):
    """`key` and `retention` are values of fields; a marker says: all up to here is worth keeping for `ttl`."""

    key: str = ""  # calls with the same one go to the same machine
    retention: str = ""
    ttl: Ttl = "5m"
    marked: tuple[int, ...] = ()  # messages whose last part carries a marker
    whole: bool = False  # one marker stands for the whole prompt

    @property
    def marks(self) -> bool:
        return self.whole or bool(self.marked)
