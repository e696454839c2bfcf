"""What targets were expected to have in memory stands beside what they said, as it is at each scrape."""

from __future__ import annotations

from policies.affinity import Affinity
from policies.prefix import BLOCK_TOKENS, Prefix
from proxy.telemetry.affinity_metrics import AffinityMetrics
from proxy.telemetry.metrics import Metrics
from proxy.types import Traits
from tests.build import target, with_traits
from tests.proxy.telemetry.test_breaker_metrics import lines

HOME = with_traits(target("p/a"), Traits(prefix_cache=True, kv_tokens=100_000))


def test_expected_and_reported_tokens_are_those_of_the_moment() -> None:
    metrics, affinity = Metrics(("m",), (HOME, target("p/b"))), Affinity()
    AffinityMetrics(metrics.table).watch(["p/a"], affinity)
    asked = Prefix(1, list(range(10)), 10 * BLOCK_TOKENS, run=True)
    affinity.ended(affinity.started(asked, HOME, 1.0), 0, 3_000)
    affinity.ended(affinity.started(asked, HOME, 2.0), 2_000, 3_000)
    tokens = lines(metrics, "prefix_tokens_total")
    assert tokens['basis="expected",target="p/a"'] == 3_000
    assert tokens['basis="reported",target="p/a"'] == 2_000
    assert tokens['basis="expected",target="p/b"'] == 0
    assert lines(metrics, "prefix_index_tokens")['target="p/a"'] == 10 * BLOCK_TOKENS
