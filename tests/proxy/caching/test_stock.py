from __future__ import annotations

from proxy.caching.stock import Gone, Stock
from proxy.caching.tables import Standing

ONE = Stock(2, 200, 1, 0, {"reply": Standing(5, 500), "replay": Standing(1, 10)})
OTHER = Stock(3, 300, 0, 2, {"reply": Standing(5, 500), "replay": Standing(1, 10)})


def test_processes_that_share_a_file_have_it_once() -> None:
    total = Stock().plus(ONE, shared=True).plus(OTHER, shared=True)
    assert (total.entries, total.bytes, total.evicted, total.failed) == (5, 500, 1, 2)
    assert total.on_disk == ONE.on_disk


def test_those_that_have_each_their_own_are_added_up() -> None:
    assert ONE.plus(OTHER, shared=False).on_disk == {"reply": Standing(10, 1_000), "replay": Standing(2, 20)}


def test_one_whose_disk_said_nothing_hides_nothing() -> None:
    assert Stock().plus(ONE, shared=True).plus(Stock(), shared=True).on_disk == ONE.on_disk
    assert Gone(1, 2).plus(Gone(3, 4)) == Gone(4, 6)
