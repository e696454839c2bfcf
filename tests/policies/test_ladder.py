"""Which rungs a pressure has reached, and what the rung `shorter` asks for."""

from __future__ import annotations

import pytest
from msgspec import Raw

from policies.ladder import Ladder, denied, only_known, reached, shortened, waits
from proxy.pressure import Pressure
from proxy.types import Endpoint, Head, Period
from tests.build import call
from tests.policies.rulebook import START

ALL: Ladder = ("cheaper", "shorter", "cache_only", "queue", "stop")
FIELDS = {"model": Raw(b'"m"')}


@pytest.mark.parametrize(
    ("felt", "rungs"),
    [
        (0, ()),
        (699, ()),
        (700, ("cheaper",)),
        (799, ("cheaper",)),
        (800, ("cheaper", "shorter")),
        (899, ("cheaper", "shorter")),
        (900, ("cheaper", "shorter", "cache_only")),
        (949, ("cheaper", "shorter", "cache_only")),
        (950, ("cheaper", "shorter", "cache_only", "queue")),
        (1_000, ALL),
        (3_000, ALL),
    ],
)
def test_a_rung_holds_from_its_share_on(felt: int, rungs: Ladder) -> None:
    assert reached(ALL, felt) == rungs
    assert waits(ALL, felt) is ("queue" in rungs)
    assert only_known(ALL, felt) is ("cache_only" in rungs)


def test_only_the_rungs_of_the_agents_own_ladder_hold_whatever_their_order() -> None:
    assert reached(("stop", "cheaper"), 960) == ("cheaper",)
    assert not waits(("stop", "cheaper"), 960)
    assert not only_known(("stop", "queue"), 960)
    assert reached((), 2_000) == ()


@pytest.mark.parametrize(
    ("stated", "model_max", "usual", "limit"),
    [
        (1_000, None, None, 500),
        (1_000, 300, None, 150),
        (1_000, None, 220, 220),
        (1_000, None, 20, 64),  # the floor
        (100, None, None, 64),
        (64, None, None, None),  # short enough already
        (30, None, None, None),
        (1_000, None, 4_000, None),  # such answers are longer than what it asks for
        (None, 2_000, None, 1_000),
        (None, None, None, 2_048),
    ],
)
def test_a_shorter_answer_is_half_of_what_was_asked_for_or_what_half_of_them_stay_below(
    stated: int | None, model_max: int | None, usual: int | None, limit: int | None
) -> None:
    asked = call(head=Head("m", output_tokens_max=stated, fields=FIELDS))
    assert shortened(asked, model_max, usual) == limit


@pytest.mark.parametrize(("endpoint", "fields"), [("embeddings", FIELDS), ("images", FIELDS), ("chat", None)])
def test_what_generates_no_text_or_cannot_be_told_is_left_alone(
    endpoint: Endpoint, fields: dict[str, Raw] | None
) -> None:
    asked = call(head=Head("m", output_tokens_max=1_000, fields=fields), endpoint=endpoint)
    assert shortened(asked, None) is None


@pytest.mark.parametrize(("resets_wall", "status", "retry_after_s"), [(START + 60, 429, 60.0), (None, 402, None)])
def test_waiting_in_vain_is_a_refusal_of_the_limit_that_was_waited_for(
    resets_wall: float | None, status: int, retry_after_s: float | None
) -> None:
    period = Period("agent:a", "usd", "day", 1, "agent:a")
    pressure = Pressure(960, 0, 100, 90, 6, period=period, resets_wall=resets_wall)
    refusal = denied(pressure, ("queue",), START)
    (shortfall,) = refusal.shortfalls
    assert (shortfall.period, shortfall.reason, shortfall.spent, shortfall.held) == (period, "queue", 90, 6)
    assert (refusal.status, refusal.retry_after_s, refusal.only_held) == (status, retry_after_s, False)
    assert denied(pressure, ALL, START).shortfalls[0].reason == "cache_only"
