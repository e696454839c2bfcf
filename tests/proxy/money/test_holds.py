"""What a journal says of calls without an end: all that was held, or what was marked, and never more than was held."""

from __future__ import annotations

import pytest
from msgspec import DecodeError, msgpack

from proxy.money.holds import HELD, HELD_BEFORE, MARKED, HoldRecord, expired, holds, mark
from proxy.types import Amounts

TAKEN = [
    (("key:k", "usd", "day", 7, "key:k"), 500),
    (("key:k", "tokens", "total", 0, "key:k"), 90),
    (("key:k", "requests", "total", 0, "key:k"), 1),
    (("key:k", "concurrency", "total", 0, "key:k"), 1),
    (("run:r", "usd", "run", 0, "agent:a"), 200),
]


def held(id: str, usd: int = 500) -> tuple[int, bytes]:
    names, taken = zip(*TAKEN, strict=True)
    return HELD, msgpack.encode((id, 1.0, ("key:k", "run:r"), names, (usd, *taken[1:])))


def marked(id: str, usd: int, tokens: int) -> tuple[int, bytes]:
    return MARKED, mark(id, Amounts(usd, tokens))


def due(record: HoldRecord) -> list[int]:
    return [amount for _, amount in record.due()]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([held("c")], [500, 90, 1, 200]),
        ([held("c"), marked("c", 300, 40)], [300, 40, 1, 200]),
        ([held("c"), marked("c", 100, 40), marked("c", 150, 60)], [150, 60, 1, 150]),
        ([held("c"), marked("c", 9_000, 9_000)], [500, 90, 1, 200]),
        ([held("c"), marked("c", 450, 40), held("c", 700)], [450, 40, 1, 200]),
        ([held("c"), marked("other", 1, 1)], [500, 90, 1, 200]),
        ([held("c"), marked("c", 0, 0)], [1]),
    ],
    ids=["no mark", "marked", "the last mark", "at most the hold", "raised after", "of another", "nothing used"],
)
def test_the_last_mark_is_charged_and_at_most_the_hold(records: list[tuple[int, bytes]], expected: list[int]) -> None:
    assert due(holds(records)["c"]) == expected


def test_what_an_older_gate_left_is_read_as_well() -> None:
    before = HELD_BEFORE, msgpack.encode(("c", 1.0, ("key:k", "run:r"), TAKEN))
    assert holds([before]) == holds([held("c")])


def test_other_kinds_are_somebody_elses_and_damage_is_told() -> None:
    assert holds([(2, b"\xff")]) == {}
    for kind in (HELD, HELD_BEFORE, MARKED):
        with pytest.raises(DecodeError):
            holds([(kind, b"\x91\x01")])


def test_the_event_names_the_hold_where_less_was_charged() -> None:
    whole, part = holds([held("a"), held("b"), marked("b", 100, 1)]).values()
    assert expired(whole, whole.changes()).held_usd_nanos is None
    assert expired(part, part.changes()).held_usd_nanos == 500
    assert [change.unresolved for change in part.changes() if change.unit == "usd"] == [100, 100]
