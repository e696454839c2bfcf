"""The benchmark of prompt caches, on made-up agents: what it promises holds, and it can tell when it does not."""

from __future__ import annotations

from random import Random

import pytest
from msgspec import structs

from loadtests.replay.prompt_caches import runs, share
from tests.caches.prompt_caches import SEED, SPOILS, Policy, always, culprits, duplicates, rows, spoiled, writes
from tests.caches.row import missed
from tests.prompts import MARKERS
from tests.sim import virtual


def test_every_culprit_is_named_and_no_other() -> None:
    assert missed(culprits(2)) == []
    assert not spoiled("clock", SPOILS["system"], Random(1)), "a wrong name is no name"


def test_siblings_pay_once() -> None:
    assert missed(writes()) == []
    assert virtual.run(duplicates(gate=False)) > 100


@pytest.mark.slow
def test_made_up_agents_pay_no_more_with_the_policy_than_with_one_life() -> None:
    made = runs(None, SEED)[:20]
    confirmed = structs.replace(MARKERS, longer_ttl_covers_prefix=True)
    fixed = [share(made, always("5m"), covers=True), share(made, always("1h"), covers=True)]
    assert share(made, Policy(confirmed), covers=True) < min(fixed)


@pytest.mark.slow
def test_all_rows_are_printed_without_recorded_traffic_too() -> None:
    assert len(list(rows(None))) == 10
