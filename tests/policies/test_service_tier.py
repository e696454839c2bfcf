"""The tier asked for decides what is held, the tier served what is charged."""

from __future__ import annotations

import pytest
from msgspec import Raw, structs

from policies import service_tier
from proxy.types import Price, Target
from tests.build import PRICE, target

FAST = structs.replace(PRICE, id="fast", output=2 * PRICE.output)
SLOW = structs.replace(PRICE, id="slow", output=PRICE.output // 2)
ALL = (("standard", PRICE), ("priority", FAST), ("flex", SLOW))


def sold(*tiers: tuple[str, Price], at: Price = PRICE) -> Target:
    return structs.replace(target(), tiers=tiers, price=at)


@pytest.mark.parametrize(
    ("asked", "price"),
    [
        (b'"priority"', FAST),
        (b'"\\u0070riority"', FAST),
        (b'"fast"', FAST),
        (b'"flex"', PRICE),
        (b'"default"', PRICE),
        (b'"auto"', PRICE),
        (b'"\\ud800"', PRICE),
        (b"null", PRICE),
        (b"7", PRICE),
        (b"[]", PRICE),
    ],
)
def test_only_a_dearer_tier_changes_what_is_held(asked: bytes, price: Price) -> None:
    (found,) = service_tier.held(Raw(asked), (sold(*ALL),))
    assert found.price == price


@pytest.mark.parametrize(
    ("served", "price"),
    [
        ("default", PRICE),
        ("standard", PRICE),
        ("priority", FAST),
        ("fast", FAST),
        ("flex", SLOW),
        ("turbo", FAST),
    ],
)
@pytest.mark.parametrize("at", [PRICE, FAST], ids=["held at the usual price", "held at that of priority"])
def test_what_was_served_is_what_is_charged(served: str, price: Price, at: Price) -> None:
    assert service_tier.charged(sold(*ALL, at=at), served).price == price
    assert service_tier.unknown(sold(*ALL, at=at), served) == (served == "turbo")


@pytest.mark.parametrize("served", [None, "", "auto"])
@pytest.mark.parametrize("at", [PRICE, FAST])
def test_a_reply_that_does_not_say_is_taken_at_its_hold(served: str | None, at: Price) -> None:
    held = sold(*ALL, at=at)
    assert service_tier.charged(held, served) is held
    assert not service_tier.unknown(held, served)


def test_a_tier_without_a_price_of_its_own_costs_what_is_usual() -> None:
    two = (("standard", PRICE), ("priority", FAST))
    assert service_tier.charged(sold(*two, at=FAST), "flex").price == PRICE
    assert service_tier.charged(sold(), "priority").price == PRICE
    assert not service_tier.unknown(sold(), "turbo")
    (held,) = service_tier.held(Raw(b'"priority"'), (sold(),))
    assert held.price == PRICE
