from __future__ import annotations

from msgspec.structs import replace

from proxy.observed import Decision, Voted
from tests.proxy.telemetry.samples import ATTEMPT, OUTCOME, Found, metrics, scrape, value


def counted(voted: Voted) -> Found:
    member = replace(ATTEMPT, role="member")
    made = metrics(replace(OUTCOME, attempts=(member,), decisions=(Decision(1.0, "vote"),), voted=voted))
    return scrape(made, "quorum", "debates", "upstream_attempts")


def test_a_vote_is_counted_by_what_it_came_to() -> None:
    found = counted(Voted("tie_broken", (2, 2), 5, 4))
    assert value(found, "quorum_calls_total", route="smart", result="tie_broken") == 1
    assert value(found, "quorum_calls_total", route="smart", result="agreed") == 0
    assert value(found, "quorum_answers_total", route="smart") == 4
    assert value(found, "debates_total", route="smart", first_vote="same") == 0
    assert value(found, "upstream_attempts_total", target="p1/fast", role="member", result="ok") == 1


def test_a_debate_is_counted_by_what_it_changed() -> None:
    found = counted(Voted("agreed", (3,), 3, 6, rounds=2, changed=True))
    assert value(found, "debates_total", route="smart", first_vote="other") == 1
    assert value(found, "debates_total", route="smart", first_vote="same") == 0
