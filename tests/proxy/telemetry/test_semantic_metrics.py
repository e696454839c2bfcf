from __future__ import annotations

from tests.proxy.telemetry.samples import metrics, scrape, value

ROUTE = "smart"


class Kept:
    evicted = 2
    size = 500

    def __len__(self) -> int:
        return 3


def test_labels_and_spend_are_counted() -> None:
    made = metrics()
    semantic = made.caches.semantic
    semantic.labelled(ROUTE, same=True)
    semantic.labelled(ROUTE, same=True)
    semantic.labelled("nobody configured this", same=False)
    semantic.spent("judge", 2_000_000_000)
    found = scrape(made, "semantic_")
    assert value(found, "semantic_labels_total", route=ROUTE, answer="same") == 2
    assert value(found, "semantic_labels_total", route="other", answer="different") == 1
    assert value(found, "semantic_spend_usd_total", purpose="judge") == 2.0
    assert value(found, "semantic_spend_usd_total", purpose="embedding") == 0.0


def test_of_several_owners_the_worst_is_shown() -> None:
    made = metrics()
    semantic = made.caches.semantic
    semantic.stands(ROUTE, b"one", 0.3, off=True)
    semantic.stands(ROUTE, b"two", 0.1, off=False)
    found = scrape(made, "semantic_")
    assert value(found, "semantic_false_hit_ratio", route=ROUTE) == 0.3
    assert value(found, "semantic_switched_off", route=ROUTE) == 1
    semantic.stands(ROUTE, b"one", 0.0, off=False)
    found = scrape(made, "semantic_")
    assert value(found, "semantic_false_hit_ratio", route=ROUTE) == 0.1
    assert value(found, "semantic_switched_off", route=ROUTE) == 0


def test_what_is_kept_is_asked_of_its_owner() -> None:
    made = metrics()
    made.caches.watch_semantic(Kept())
    found = scrape(made, "cache_")
    assert value(found, "cache_entries", cache="semantic") == 3
    assert value(found, "cache_bytes", cache="semantic") == 500
    assert value(found, "cache_evictions_total", cache="semantic", reason="size") == 2
