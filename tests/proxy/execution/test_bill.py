"""What is charged to whom when an attempt ends, and what is learnt from it."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies import budget
from policies.estimate import Expected
from pricing.gpu import GpuShare
from proxy.execution import bill
from proxy.execution.bill import Facts
from proxy.holds import Left
from proxy.types import Amounts, Head, Usage
from tests.build import PRICE, call, target

EXPECTED = Expected(input_tokens=100, input_margin=214, watched=True)
CALL = call(head=Head(model="m", stream=True, fields={}, output_tokens_max=4_000))
HELD = Usage(input_uncached=100, output=4_000, source="estimated", flags=("held",))
REPORTED = Usage(input_uncached=100, output=40)


def facts(*, left: Left = Left(), seen: int = 10, priced: bool = True) -> Facts:  # noqa: B008  (frozen)
    at = target() if priced else target(price=None)
    return Facts(CALL, at, EXPECTED, budget.allowance(CALL, at, EXPECTED, left), None, seen)


def test_nothing_billed_costs_nothing_and_no_price_is_not_zero() -> None:
    assert bill.cost(facts(), None) == 0
    assert bill.cost(facts(priced=False), REPORTED) is None
    assert bill.spent(facts(), None, 0) == Amounts()


def test_what_is_taken_to_have_run_to_its_limit_costs_at_least_its_hold() -> None:
    known = facts()
    assert known.held is not None
    assert bill.cost(known, HELD) == known.held.amounts.usd_nanos > 100 * 1_000 + 4_000 * 2_000
    assert bill.cost(known, REPORTED) == 100 * 1_000 + 40 * 2_000


def test_a_limit_in_tokens_is_charged_its_own_smaller_hold() -> None:
    known = facts(left=Left(10**12, hard=True, tokens=True))
    assert bill.spent(known, HELD, 1).tokens == 214 + 1_024
    assert bill.spent(structs.replace(known, output_seen=2_000), HELD, 1).tokens == 2_100
    assert bill.spent(known, REPORTED, 1).tokens == 140


def test_only_a_soft_hold_that_nobody_can_check_is_exposed() -> None:
    soft = facts(left=Left(10**12, soft=True))
    assert bill.exposure_usd_nanos(soft, HELD) == (4_000 - 1_024) * 2_000
    assert bill.exposure_usd_nanos(soft, REPORTED) == 0
    assert bill.exposure_usd_nanos(facts(left=Left(10**12, hard=True)), HELD) == 0


def test_figures_that_are_odd_or_our_own_teach_nothing() -> None:
    known = facts()
    assert bill.sample(known, "complete", REPORTED, stream_s=0.0) is not None
    assert bill.sample(known, "complete", structs.replace(REPORTED, flags=("clamped",)), stream_s=0.0) is None
    assert bill.sample(known, "abandoned", HELD, stream_s=0.0) is None
    assert bill.sample(known, "complete", None, stream_s=0.0) is None


def test_time_that_was_used_is_charged_whatever_came_of_it() -> None:
    timed = structs.replace(facts(), share=GpuShare(0.5, 700))
    for billed in (None, REPORTED, HELD):
        assert bill.cost(timed, billed) == 700
        assert bill.spent(timed, billed, 700).usd_nanos == 700
        assert bill.exposure_usd_nanos(timed, billed) == 0
    assert bill.spent(timed, REPORTED, 700).tokens == 140


class Served:
    """A reply as far as the bill looks at it."""

    def __init__(self, tier: str | None) -> None:
        self.usage, self.tier, self.finished, self.relayed, self.events = REPORTED, tier, True, 100, 1


class Read:
    cut_short, reply = False, None

    def __init__(self, tier: str | None) -> None:
        self.passage = Served(tier)


@pytest.mark.parametrize(
    ("tier", "output_usd_nanos", "price_id"),
    [(None, 4_000, "fast"), ("default", 2_000, "test"), ("priority", 4_000, "fast"), ("turbo", 4_000, "fast")],
)
def test_the_tier_that_was_served_decides_what_is_charged(
    tier: str | None, output_usd_nanos: int, price_id: str
) -> None:
    fast = structs.replace(PRICE, id="fast", output=2 * PRICE.output)
    held = structs.replace(target(price=fast), tiers=(("standard", PRICE), ("priority", fast)))
    known = structs.replace(facts(), target=held, reading=Read(tier))
    billed = bill.to_bill(known, "complete", None)
    assert billed is not None
    assert billed.flags == (("unknown_tier",) if tier == "turbo" else ())
    assert bill.cost(known, billed) == 100 * 1_000 + 40 * output_usd_nanos
    assert known.sold.price is not None and known.sold.price.id == price_id
