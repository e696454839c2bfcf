"""What the upstream did and what it would charge for it: sums for every request, an entry for each scripted one.

An entry grows while its answer is made, so it is right at any instant, however the exchange ends. By the abort rule
`stops` an answer costs what was made until the client's leaving was seen; by `continues` all of it.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass
from typing import IO

ENTRIES_MAX = 100_000


@dataclass(slots=True)
class Bill:
    connections: int = 0
    connections_open: int = 0
    requests: int = 0
    errors: int = 0
    streams: int = 0
    streams_open: int = 0
    streams_cancelled: int = 0  # closed by the other side before their end
    streams_cut: int = 0  # by the upstream
    replies_cancelled: int = 0  # not streamed, closed before they were there
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Entry:
    """One scripted exchange. Instants are the loop's seconds."""

    number: int
    path: str
    model: str
    nonce: str
    streamed: bool
    asked_at: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    status: int = 0  # 0: no head was sent
    told: bool = False  # the client was sent a usage
    ended: str = "open"  # whole: to its end; cut: broken off by the script; left: the client closed it
    ended_at: float | None = None


class Books:
    """The entries, oldest first, and the file that each is written to when it has ended."""

    def __init__(self, bill: Bill, file: IO[str] | None = None) -> None:
        self.entries: deque[Entry] = deque(maxlen=ENTRIES_MAX)
        self._bill = bill
        self._file = file
        self._count = 0

    def open(self, *, path: str, model: str, nonce: str, streamed: bool, asked_at: float) -> Entry:
        self._count += 1
        entry = Entry(self._count, path, model, nonce, streamed, asked_at)
        self.entries.append(entry)
        self._bill.streams += streamed
        self._bill.streams_open += streamed
        return entry

    def close(self, entry: Entry, *, ended: str, at: float) -> None:
        entry.ended, entry.ended_at = ended, at
        bill = self._bill
        bill.prompt_tokens += entry.prompt_tokens
        bill.completion_tokens += entry.completion_tokens
        bill.errors += entry.status >= 400
        bill.streams_open -= entry.streamed
        bill.streams_cut += entry.streamed and ended == "cut"
        bill.streams_cancelled += entry.streamed and ended == "left"
        bill.replies_cancelled += not entry.streamed and ended == "left"
        if self._file is not None:
            self._file.write(json.dumps(asdict(entry)) + "\n")
            self._file.flush()

    def told(self) -> dict[str, object]:
        """Sums of what has ended, and every entry."""
        return {"totals": asdict(self._bill), "requests": [asdict(entry) for entry in self.entries]}
