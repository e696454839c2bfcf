"""A pool is known again by being the same object, and by nothing else."""

from __future__ import annotations

from policies.pools import POOLS_MAX, Pools
from tests.build import target


def test_equal_pools_are_not_the_same() -> None:
    pools: Pools[str] = Pools()
    one, other = (target("p/a"), target("p/b")), (target("p/a"), target("p/b"))
    assert pools.find(one) is None
    assert pools.keep(one, "made") == "made"
    assert (pools.find(one), pools.find(other)) == ("made", None)


def test_a_new_pool_in_the_place_of_one_that_is_gone_is_not_taken_for_it() -> None:
    pools: Pools[int] = Pools()
    for number in range(10 * POOLS_MAX):
        fresh = (target("p/a"), target(f"p/{number}"))
        assert pools.find(fresh) is None
        pools.keep(fresh, number)
    assert repr(pools) == f"Pools({POOLS_MAX} of {POOLS_MAX})"
    pools.clear()
    assert repr(pools) == f"Pools(0 of {POOLS_MAX})"
