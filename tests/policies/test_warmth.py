"""Only targets that keep prompts are looked at, only where there are two of them, and only for calls with prompts."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from policies.affinity import Affinity
from policies.balance import EXPLORED, Router
from policies.load import Loads
from policies.prefix import BLOCK_BYTES, BLOCK_TOKENS, Prefix, Prefixes
from policies.warmth import POOLED_MAX, Warmth
from proxy.dialects.openai_request import read
from proxy.types import Call, Identity, Traits
from tests.build import call, target, with_traits

KEEPS = Traits(prefix_cache=True, kv_tokens=1_000 * BLOCK_TOKENS)
ONE, TWO = (with_traits(target(f"{name}/m"), KEEPS) for name in ("one", "two"))
SOLD = target("sold/m")


class Counted:
    """Prompts, and how often somebody looked."""

    def __init__(self) -> None:
        self.looked = 0
        self._prefixes = Prefixes()

    def of(self, call: Call) -> Prefix | None:
        self.looked += 1
        return self._prefixes.of(call)


def asked(run: str | None = "r", blocks: int = 40, id: str = "1", key: str = "k") -> Call:
    raw = b'{"model":"m","messages":["' + b"x" * (blocks * BLOCK_BYTES) + b'"]}'
    who = Identity(key_id=key, agent="a", run=run)
    made = call(head=read("chat", raw, "application/json"), raw=raw, identity=who)
    return replace(made, id=id, input_tokens_estimate=blocks * BLOCK_TOKENS)


def test_a_step_with_one_target_that_keeps_prompts_is_none_of_its_business() -> None:
    seen = Counted()
    warmth = Warmth(Affinity(), seen)
    assert warmth.of(asked(), (ONE, SOLD), 1.0) is None
    assert warmth.started(asked(), ONE, 1.0) is None
    assert warmth.cached(asked(), (ONE, SOLD), 1.0) is None
    assert seen.looked == 0


def test_a_prompt_is_expected_where_it_was_sent_and_nowhere_else() -> None:
    warmth = Warmth(Affinity())
    assert warmth.of(asked(), (ONE, TWO), 1.0) is not None
    warmth.started(asked(), TWO, 1.0)
    warm = warmth.of(asked(id="2", blocks=50), (ONE, SOLD, TWO), 2.0)
    assert warm is not None
    assert warm.targets == (ONE, TWO, SOLD)
    assert list(warm.cached) == [0, 40 * BLOCK_TOKENS, None]
    assert warmth.cached(asked(id="2", blocks=50), (SOLD, TWO), 2.0) == [None, 40 * BLOCK_TOKENS]


def test_another_tenants_call_finds_nothing() -> None:
    warmth = Warmth(Affinity())
    warmth.of(asked(), (ONE, TWO), 1.0)
    warmth.started(asked(), TWO, 1.0)
    warm = warmth.of(asked(id="2", key="other"), (ONE, TWO), 2.0)
    assert warm is not None
    assert warm.cached == (0, 0)


def test_switched_off_it_looks_at_nothing() -> None:
    seen = Counted()
    warmth = Warmth(Affinity(), seen)
    warmth.of(asked(), (ONE, TWO), 1.0)
    warmth.on = False
    looked = seen.looked
    assert warmth.of(asked(), (ONE, TWO), 1.0) is None
    assert warmth.started(asked(), ONE, 1.0) is None
    assert warmth.cached(asked(), (ONE, TWO), 1.0) is None
    assert seen.looked == looked


def test_a_call_without_a_prompt_goes_by_load() -> None:
    warmth = Warmth(Affinity())
    warmth.of(asked(), (ONE, TWO), 1.0)
    assert warmth.of(call(), (ONE, TWO), 1.0) is None
    assert warmth.started(call(), ONE, 1.0) is None
    assert repr(warmth).startswith("Warmth(Affinity(")


def test_names_that_clients_choose_are_bounded() -> None:
    warmth = Warmth(Affinity())
    for number in range(POOLED_MAX):
        warmth.of(asked(), (with_traits(target(f"{number}/m"), KEEPS), TWO), 1.0)
    assert len(warmth._pooled) <= POOLED_MAX


# --- what is chosen by it --------------------------------------------------------------------------------------------


def routed() -> tuple[Router, Loads, Warmth]:
    loads, warmth = Loads(), Warmth(Affinity())
    for each in (ONE, TWO):
        loads.warming(each.id, 0.0, 0.001)
    return Router("score", loads, warmth), loads, warmth


def test_a_call_goes_where_its_prompt_is_and_says_so() -> None:
    router, _, warmth = routed()
    router.choose(asked(), (ONE, TWO), tried=(), now=1.0, rng=Random(1))
    warmth.started(asked(), TWO, 1.0)
    for seed in range(100):
        choice = router.choose(asked(id="2", blocks=50), (ONE, TWO), tried=(), now=2.0, rng=Random(seed))
        assert choice.target is TWO
    assert choice.reason == "lowest in score, with 10,240 of 12,800 prompt tokens expected in its memory"


def test_a_home_that_is_overloaded_is_left() -> None:
    router, loads, warmth = routed()
    router.choose(asked(), (ONE, TWO), tried=(), now=1.0, rng=Random(1))
    warmth.started(asked(), TWO, 1.0)
    for _ in range(5):
        loads.started(replace(asked(), input_tokens_estimate=100_000), TWO, 1.0)
    assert router.choose(asked(), (ONE, TWO), tried=(), now=1.1, rng=Random(2)).target is ONE


def test_a_home_that_has_just_failed_is_left() -> None:
    router, _, warmth = routed()
    warmth.of(asked(), (ONE, TWO), 1.0)
    warmth.started(asked(), TWO, 1.0)
    assert router.choose(asked(), (ONE, TWO), tried=(TWO,), now=2.0, rng=Random(1)).target is ONE


def test_only_calls_that_find_little_anyway_are_sent_anywhere_to_learn() -> None:
    router, _, warmth = routed()
    drawn = sum(
        router.choose(asked(), (ONE, TWO), tried=(), now=1.0, rng=Random(seed)).reason == "drawn to learn of it"
        for seed in range(3_000)
    )
    assert 0.3 * EXPLORED < drawn / 3_000 < 3 * EXPLORED
    critical = replace(asked(), priority="critical")
    reasons = {router.choose(critical, (ONE, TWO), tried=(), now=1.0, rng=Random(at)).reason for at in range(500)}
    assert len(reasons) == 1
    warmth.started(asked(), TWO, 1.0)
    reasons = {router.choose(asked(), (ONE, TWO), tried=(), now=2.0, rng=Random(at)).reason for at in range(500)}
    assert len(reasons) == 1


def test_other_strategies_do_not_ask_what_is_in_memory() -> None:
    seen = Counted()
    router = Router("lowest_latency", Loads(), Warmth(Affinity(), seen))
    router.choose(asked(), (ONE, TWO), tried=(), now=1.0, rng=Random(1))
    assert seen.looked == 0


def test_a_miss_counts_the_more_the_busier_the_targets_are() -> None:
    _, loads, _ = routed()
    idle = loads.warm_scores(asked(), (ONE, TWO), (0.0, 10_240.0), 1.0)
    for each in (ONE, TWO):
        ticket = loads.started(asked(), each, 1.0)
        loads.first_event(ticket, 500.0)  # it has read all the time
        loads.ended(ticket, 500.0, None)
    busy = loads.warm_scores(asked(), (ONE, TWO), (0.0, 10_240.0), 500.0)
    assert busy[0] - busy[1] > 4 * (idle[0] - idle[1])
