from __future__ import annotations

from msgspec.structs import replace

from proxy.observed import LookedUp, Reused
from proxy.state.cache_report import Savings
from tests.proxy.telemetry.samples import OUTCOME, metrics, moved, scrape, value

HIT = replace(
    OUTCOME,
    attempts=(),
    served_by="cache",
    upstream_s=0.0,
    reused=Reused("exact", 5.0, 2_000_000_000, 100),
    looked_up=(LookedUp("replay", "miss"), LookedUp("exact", "hit")),
)
MISS = replace(OUTCOME, looked_up=(LookedUp("exact", "miss"),))
JOINED = replace(OUTCOME, attempts=(), served_by="join")


class Kept:
    in_memory = (3, 4_000, 5)
    disk = (6_000, 7)


def test_looks_are_counted_where_they_were_and_savings_by_agent() -> None:
    made = metrics(HIT, HIT, MISS, JOINED, OUTCOME)
    found = scrape(made, "cache_")
    assert moved(found, "cache_lookups_total") == {
        ("cache_lookups_total", "exact", "hit"): 2,
        ("cache_lookups_total", "exact", "miss"): 1,
        ("cache_lookups_total", "replay", "miss"): 2,
        ("cache_lookups_total", "join", "hit"): 1,
    }
    assert value(found, "cache_saved_usd_total", agent="planner", cache="exact") == 4.0
    assert value(found, "cache_saved_tokens_total", agent="planner", cache="exact") == 200
    assert sum(moved(found, "cache_saved_usd_total").values()) == 4.0
    assert made.caches.savings()["exact"] == Savings({"hit": 2, "stale": 0, "miss": 1, "bypass": 0}, 200, 4_000_000_000)
    assert made.caches.savings()["join"].looked_up == {"hit": 1}


def test_an_answer_without_a_price_saves_tokens_and_no_money() -> None:
    found = scrape(metrics(replace(HIT, reused=Reused("replay", 5.0, None, 100))), "cache_")
    assert value(found, "cache_saved_usd_total", agent="planner", cache="replay") == 0
    assert value(found, "cache_saved_tokens_total", agent="planner", cache="replay") == 100


def test_what_is_kept_is_asked_of_its_owner() -> None:
    made = metrics()
    made.caches.watch(Kept())
    found = scrape(made, "cache_")
    assert value(found, "cache_entries", cache="exact") == 3
    assert value(found, "cache_bytes", cache="exact") == 4_000
    assert value(found, "cache_evictions_total", cache="exact", reason="size") == 5
    assert value(found, "cache_disk_bytes") == 6_000
    assert value(found, "cache_disk_failures_total") == 7


def test_whether_the_semantic_cache_was_ever_wrong_stands_beside_what_it_saved() -> None:
    made = metrics()
    assert made.caches.savings()["semantic"].false_hit_ratio is None, "nothing was compared"
    made.caches.semantic.labelled("smart", same=True)
    made.caches.semantic.labelled("smart", same=False)
    made.caches.semantic.stands("smart", b"owner", 0.02, off=False)
    told = made.caches.savings()["semantic"]
    assert told.false_hit_ratio == 0.02
    assert told.compared == {"same": 1, "different": 1}
    assert made.caches.savings()["exact"].false_hit_ratio is None
