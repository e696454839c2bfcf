"""The parts of the benchmark that are no measurements hold in every run."""

from __future__ import annotations

from tests.caches import exact


async def test_calls_at_once_are_one_call() -> None:
    assert await exact.at_once(50) == (1, 50)


def test_no_pair_of_requests_shares_an_answer_across_tenants() -> None:
    pairs, foreign = exact.cross_tenant(1_000)
    assert pairs == 499_500
    assert foreign == 0


async def test_a_hit_is_measured_where_it_is_one() -> None:
    assert 0 < await exact.hit_us(1_000) < 5_000
