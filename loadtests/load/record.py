"""Every sample of a load test as a line of JSON: Locust rounds what it shows, and forgets what it has summed.

One line for each call that has ended: kind, name, status, seconds to the first token and to the end, the longest gap,
tokens, whether the answer was whole, and what the gate said in its headers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import IO


@dataclass(slots=True)
class Sample:
    kind: str  # of user
    at: float  # seconds since 1970, when it was sent
    status: int
    e2e_s: float
    first_s: float | None = None
    longest_gap_s: float = 0.0
    tokens: int = 0
    whole: bool = True
    left: bool = False  # the client itself went away
    error: str = ""
    served_by: str = ""
    cache: str = ""
    run: str = ""

    @property
    def failed(self) -> bool:
        """What a user would call a failure; a refusal with a reason is told apart by its status."""
        return not self.left and (self.status == 0 or self.status >= 500 or (self.status == 200 and not self.whole))


class Recorder:
    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("a")
        self._lock = Lock()

    def add(self, sample: Sample) -> None:
        with self._lock:
            self._file.write(json.dumps(asdict(sample)) + "\n")
            self._file.flush()


def samples(path: Path) -> Iterator[Sample]:
    with path.open() as lines:
        for line in lines:
            yield Sample(**json.loads(line))


def quantile(values: list[float], share: float) -> float:
    """0 of nothing. The nearest rank."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]
