"""How the targets of a process that serves stand: its breakers, its places, what it has learned of speed, in one row.

It reads and decides nothing; what the rows of several processes come to is said in `state.target_report`.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from policies.breaker_report import Row
from policies.load import Loads
from policies.rooms import Rooms
from proxy.state.target_report import Standing


def standings(rows: Iterable[Row], rooms: Rooms, loads: Loads) -> list[Standing]:
    return [_standing(row, rooms, loads) for row in rows]


def _standing(row: Row, rooms: Rooms, loads: Loads) -> Standing:
    concurrency, speed = rooms.concurrency(row.target), loads.speed(row.target)
    return Standing(
        target=row.target,
        state=row.state,
        why=row.why,
        retry_s=row.retry_s,
        last_failure=row.last_failure,
        calls=row.calls,
        bad_share=row.bad_share,
        rejected=row.rejected,
        in_flight=rooms.running_at(row.target),
        concurrency=None if concurrency == inf else concurrency,
        first_token_s=speed.first_s,
        reply_s=speed.whole_s,
        prompt_tokens_a_second=speed.tokens_a_second,
        out_of=(int(row.state == "open"), 1),
    )
