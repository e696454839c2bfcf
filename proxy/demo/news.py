"""What the gate does about the faults while they last, in a line for each event: only what any caller or operator sees.

Who goes out and comes back stands in the gate's log; whose second copy was the faster one, in the headers of replies.
That a target is being tried again is left out: a strip of events has to be quiet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from proxy.demo.figures import quantile
from proxy.demo.fleet import Tally

RECENT = 60  # replies from which the fastest provider is told
KNOWN_LEAST = 3  # of one provider


class _Line(Struct, frozen=True):
    """Of the log."""

    event: str = ""
    state: str = ""
    why: str = ""


_LINE = Decoder(_Line)


class News:
    """`log` is the gate's, `tally` that of its clients."""

    def __init__(self, log: Path, tally: Tally) -> None:
        self._log = log.open("rb")
        self._rest = b""  # of a line that is being written
        self._tally = tally
        self._heard = 0  # calls of the tally that were looked at

    def __repr__(self) -> str:
        return f"News({self._log.name}, {self._heard} calls)"

    def close(self) -> None:
        self._log.close()

    def look(self) -> Iterator[str]:
        """What has happened since the last look."""
        yield from self._hedges()
        yield from self._breakers()

    def _hedges(self) -> Iterator[str]:
        heard = self._tally.heard
        replies = [call.reply for call in heard[self._heard :] if call.reply is not None]
        self._heard = len(heard)
        won = sum(reply.served_by == "hedge" for reply in replies)
        if won:
            calls = "a call that was late" if won == 1 else f"{won} calls that were late"
            yield f"hedged {calls}: the second copy was faster{self._fastest()}"

    def _fastest(self) -> str:
        times = defaultdict[str, list[float]](list)
        for call in self._tally.heard[-RECENT:]:
            if call.reply is not None and call.reply.served_by == "primary":
                times[call.reply.target.partition("/")[0]].append(call.reply.first_token_s)
        medians = [(quantile(0.5, known) or 0.0, name) for name, known in times.items() if len(known) >= KNOWN_LEAST]
        return f"; fastest now: {min(medians)[1]}" if medians else ""

    def _breakers(self) -> Iterator[str]:
        *lines, self._rest = (self._rest + self._log.read()).split(b"\n")
        for line in lines:
            if b'"breaker"' not in line:
                continue
            try:
                turn = _LINE.decode(line)
            except DecodeError:
                continue
            if turn.event == "breaker" and turn.state != "half_open":
                yield turn.why
