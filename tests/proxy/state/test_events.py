from __future__ import annotations

import pytest
from msgspec import DecodeError, json

from proxy.state.events import Change, Changes, Checkpoint, Expired, TopUp, change, charged, charges_of, text
from proxy.types import Charge, Period

DAY = Period("key:k", "usd", "day", 20_000, "key:k")


def test_a_charge_adds_its_overrun_apart_from_what_was_spent() -> None:
    assert charged((Charge(DAY, 10, 3),)) == (Change("key:k", "usd", "day", 20_000, "key:k", spent=7, overrun=3),)


def test_charges_are_read_as_they_are_written_and_as_they_were() -> None:
    charges = (Charge(DAY, 10, 3), Charge(DAY, 4))
    assert charges_of(json.encode(charges).decode()) == charges
    assert charges_of('[["key:k","usd","day",20000,"key:k",10,3],["key:k","usd","day",20000,"key:k",4,0]]') == charges
    assert charges_of("[]") == ()


@pytest.mark.parametrize("damaged", ["", "[[1]]", '[["key:k","usd","day",20000,"key:k",10]]', "{}"])
def test_charges_that_are_none_are_refused(damaged: str) -> None:
    with pytest.raises(DecodeError):
        charges_of(damaged)


def test_a_change_knows_its_period_and_whether_it_counts() -> None:
    assert change(DAY, forgiven=1).period == DAY
    assert change(DAY, forgiven=1).counts
    assert not change(DAY).counts


def test_whatever_has_changes_can_be_read_for_them_alone() -> None:
    changes = (change(DAY, granted=5),)
    for body in (TopUp("id", "usd", 5, changes), Expired("crash", ("key:k",), 1.0, changes)):
        assert json.decode(text(body), type=Changes).changes == changes
    assert json.decode(text({"by": "someone"}), type=Changes).changes == ()


def test_a_checkpoint_comes_back_as_it_went() -> None:
    body = Checkpoint(3, 4, True, (change(DAY, spent=1, overrun=2, unresolved=3, granted=4, forgiven=5),))
    assert json.decode(text(body), type=Checkpoint) == body
