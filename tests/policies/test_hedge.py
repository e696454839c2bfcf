"""When a late call is sent again, where to, and what it may cost: by cases first, by laws after."""

from __future__ import annotations

import statistics
from random import Random

import pytest
from msgspec import Raw, structs

from policies.first_token import FirstTokens
from policies.hedge import FIRST_LOOK_S, Candidate, Hedge, HedgeRules, Hedges, NoHedge, Overdue
from policies.hedge_credit import USD, CreditRules
from proxy.types import Call, Head, Identity, Target
from tests import build
from tests.policies.hedge_laws import CALL, LAWS, SESSIONS, Flaky, LogNormal, mean, played, poisson, recorded
from tests.policies.hedge_laws import recorded_groups as groups_of
from tests.policies.hedge_world import Breaker, Report

A = build.target("a/m")
B = build.target("b/m")
A_TOO = build.target("c/m", domain="a")  # fails together with A
NOW = 1000.0
PROMPT = [0.2] * 97
STRAGGLERS = [2.0] * 3


def learnt(rules: HedgeRules | None = None, **seconds: list[float]) -> Hedges:
    """Seconds to the first content of targets a, b and c."""
    known = FirstTokens()
    for name, values in seconds.items():
        for value in values:
            known.learn(CALL, build.target(f"{name}/m"), value, NOW)
    return Hedges(rules or HedgeRules(), known)


def fired(
    hedges: Hedges, age_s: float, *targets: Target, call: Call = CALL, cost: int = 0, left: int | None = None
) -> Hedge | NoHedge:
    candidates = tuple(Candidate(target, cost_usd_nanos=cost) for target in targets)
    return hedges.fire(Overdue(call, A, age_s, candidates, left), NOW)


def late(hedges: Hedges, target: Target, count: int = 30) -> None:
    hedges.delay_s(CALL, target, (B,), NOW)
    for _ in range(count):
        hedges.primary_ended(CALL, target, 60.0, NOW)


# --- whether and when ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "call", "alternatives", "word"),
    [
        (HedgeRules(), CALL, (), "only one target"),
        (HedgeRules(), build.call(endpoint="images"), (B,), "images"),
        (HedgeRules(), build.call(head=Head(model="m", fields={"store": Raw(b"true")})), (B,), "state"),
    ],
)
def test_what_is_never_hedged_is_not_armed_and_says_why(
    rules: HedgeRules, call: Call, alternatives: tuple[Target, ...], word: str
) -> None:
    hedges = learnt(rules, a=PROMPT + STRAGGLERS, b=PROMPT)
    assert hedges.delay_s(call, A, alternatives, NOW) is None
    assert word in (hedges.why_not(call, alternatives) or "")
    answer = fired(hedges, 5.0, *alternatives, call=call)
    assert isinstance(answer, NoHedge) and answer.again_s is None and word in answer.reason


def test_stragglers_are_waited_for_about_two_medians() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT)
    assert hedges.delay_s(CALL, A, (B,), NOW) == pytest.approx(0.38, rel=0.03)


def test_stragglers_of_which_each_is_given_up_stay_a_kind_of_their_own() -> None:
    """A hedge that wins hides how late the first copy would have come: all that is known is three medians and more."""
    known = FirstTokens()
    for number in range(400):
        known.learn(CALL, A, 0.2, NOW)
        known.learn(CALL, B, 0.2, NOW)
        if number % 33 == 0:
            known.censored(CALL, A, 0.6, NOW)
    assert Hedges(HedgeRules(), known).delay_s(CALL, A, (B,), NOW) == pytest.approx(0.38, rel=0.03)


def test_delays_scale_with_the_class() -> None:
    slow = learnt(a=[100 * value for value in PROMPT + STRAGGLERS], b=[20.0] * 50)
    assert slow.delay_s(CALL, A, (B,), NOW) == pytest.approx(38.0, rel=0.03)


def test_nobody_waits_less_because_the_other_is_slow() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=[5.0] * 50)
    delay = hedges.delay_s(CALL, A, (B,), NOW)
    assert delay is not None and delay > 2.0  # nothing that A ever did is worth 5 s of B
    assert isinstance(fired(hedges, 0.5, B), NoHedge)


def test_a_thin_tail_is_left_alone_and_a_hang_is_not() -> None:
    hedges = learnt(a=[0.2 + 0.002 * number for number in range(100)], b=[0.25] * 50)
    assert isinstance(fired(hedges, 0.39, B), NoHedge)
    assert isinstance(fired(hedges, 5.0, B), Hedge)


def test_an_unknown_class_is_looked_at_and_asked_again() -> None:
    hedges = learnt()
    assert hedges.delay_s(CALL, A, (B,), NOW) == FIRST_LOOK_S
    answer = fired(hedges, 0.25, B)
    assert isinstance(answer, NoHedge) and "too few" in answer.reason
    assert answer.again_s == pytest.approx(0.05)


def test_too_early_says_when() -> None:
    answer = fired(learnt(a=PROMPT + STRAGGLERS, b=PROMPT), 0.3, B)
    assert isinstance(answer, NoHedge) and answer.again_s is not None
    assert "not late before" in answer.reason
    assert 0.3 + answer.again_s > 0.38


def test_a_delay_follows_what_is_learnt() -> None:
    known = FirstTokens()
    hedges = Hedges(HedgeRules(), known)
    for seconds in (0.2, 1.0):
        for number in range(400):
            known.learn(CALL, A, 10 * seconds if number % 33 == 0 else seconds, NOW + 1000 * seconds + number)
            known.learn(CALL, B, seconds, NOW + 1000 * seconds + number)
            hedges.primary_ended(CALL, A, seconds, NOW)
            delay = hedges.delay_s(CALL, A, (B,), NOW)
        assert delay is not None
        assert 1.5 * seconds < delay < 5.0 * seconds


def test_nothing_is_armed_that_the_deadline_would_overtake() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT)
    assert hedges.delay_s(structs.replace(CALL, deadline=NOW + 0.3), A, (B,), NOW) is None


def test_a_class_that_is_new_waits_as_those_of_its_provider_taught() -> None:
    """Ten samples of its own tell what is usual, not how stragglers are; other models of the provider have had some."""
    known = FirstTokens()
    hedges, other = Hedges(HedgeRules(), known), build.target("a/other")
    for _ in range(10):
        for seconds in PROMPT + STRAGGLERS:
            known.learn(CALL, other, seconds, NOW)
            hedges.primary_ended(CALL, other, seconds, NOW)
            hedges.delay_s(CALL, other, (B,), NOW)
    alone = FirstTokens()
    for _ in range(10):
        known.learn(CALL, A, 20.0, NOW)
        alone.learn(CALL, A, 20.0, NOW)
    taught, untaught = hedges.delay_s(CALL, A, (B,), NOW), Hedges(HedgeRules(), alone).delay_s(CALL, A, (B,), NOW)
    assert taught == pytest.approx(38.0, rel=0.05)
    assert untaught is not None and untaught > 1.1 * 20.0
    assert isinstance(fired(hedges, 39.0, B), Hedge)


# --- where to --------------------------------------------------------------------------------------------------------


def test_the_hedge_goes_where_content_is_expected_first() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=[0.3] * 50, c=[0.1] * 50)
    answer = fired(hedges, 0.6, B, A_TOO)
    assert isinstance(answer, Hedge) and answer.target is A_TOO
    assert answer.reason == "hedged after 0.60 s (q97 of 100 calls); c/m expected in 0.10 s"


def test_a_candidates_own_word_counts_above_what_was_learnt() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT, c=PROMPT)
    candidates = (Candidate(B, expected_s=0.3), Candidate(A_TOO, expected_s=0.2))
    answer = hedges.fire(Overdue(CALL, A, 0.6, candidates), NOW)
    assert isinstance(answer, Hedge) and answer.target is A_TOO


def test_a_second_copy_that_would_not_be_sooner_is_not_sent() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT)
    for expected_s, sooner in ((1.1, True), (1.3, False)):  # 1.4 s are to come on average
        answer = hedges.fire(Overdue(CALL, A, 0.6, (Candidate(B, expected_s=expected_s),)), NOW)
        assert isinstance(answer, Hedge) is sooner
    assert "sooner" in answer.reason


def test_while_a_domain_is_in_trouble_another_one_is_asked() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=[0.3] * 50, c=[0.1] * 50)
    late(hedges, A)
    answer = fired(hedges, 0.6, B, A_TOO)
    assert isinstance(answer, Hedge) and answer.target is B
    answer = fired(hedges, 0.6, A_TOO)
    assert isinstance(answer, Hedge) and answer.target is A_TOO  # better than none


def test_the_brake_holds_where_the_whole_class_is_slow() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT + STRAGGLERS)
    late(hedges, A)
    late(hedges, B)
    answer = fired(hedges, 0.6, B)
    assert isinstance(answer, NoHedge) and "whole class" in answer.reason
    assert answer.again_s is not None


def test_no_hedge_begins_that_the_deadline_would_not_see_through() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT)
    answer = fired(hedges, 0.6, B, call=structs.replace(CALL, deadline=NOW + 0.1))
    assert isinstance(answer, NoHedge) and "deadline" in answer.reason and answer.again_s is None


def test_tools_of_the_provider_are_looked_at_before_a_hedge() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT)
    call = structs.replace(CALL, head=Head(model="m", stream=True, fields={"tools": Raw(b'[{"type":"mcp"}]')}))
    assert hedges.delay_s(call, A, (B,), NOW) is not None
    answer = fired(hedges, 0.6, B, call=call)
    assert isinstance(answer, NoHedge) and "mcp" in answer.reason


# --- what it may cost ------------------------------------------------------------------------------------------------


def test_hedges_stop_when_the_routes_credit_is_spent_and_come_back_with_its_primaries() -> None:
    rules = HedgeRules(credit=CreditRules(burst=5.0, start=2.0))
    hedges = learnt(rules, a=PROMPT + STRAGGLERS, b=PROMPT)
    answers = [fired(hedges, 0.6, B) for _ in range(3)]
    assert [type(answer) for answer in answers] == [Hedge, Hedge, NoHedge]
    assert "used up" in answers[2].reason
    for _ in range(20):  # of which one in twenty may be hedged: there are stragglers
        hedges.primary_ended(CALL, A, 0.2, NOW)
    assert isinstance(fired(hedges, 0.6, B), Hedge)
    assert isinstance(fired(hedges, 0.6, B), NoHedge)


def test_a_class_without_stragglers_earns_less() -> None:
    rules = HedgeRules(credit=CreditRules(burst=5.0, start=0.0))
    hedges = learnt(rules, a=[0.2] * 100, b=[0.2] * 100)
    assert hedges.delay_s(CALL, A, (B,), NOW) is not None
    for ended, kind in ((49, NoHedge), (1, Hedge)):
        for _ in range(ended):
            hedges.primary_ended(CALL, A, 0.2, NOW)
        assert isinstance(fired(hedges, 5.0, B), kind)


def test_the_less_credit_there_is_the_later_a_hedge_comes() -> None:
    hedges = learnt(HedgeRules(credit=CreditRules(burst=5.0, start=5.0)), a=PROMPT + STRAGGLERS, b=PROMPT)
    delay_s = hedges.delay_s(CALL, A, (B,), NOW)
    assert delay_s is not None
    for times, kind in ((1.0, Hedge), (1.0, NoHedge), (1.05, Hedge), (1.05, NoHedge), (1.1, Hedge)):
        assert isinstance(fired(hedges, times * delay_s, B), kind)


def test_money_earned_by_settlements_pays_for_dear_hedges() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT)
    assert isinstance(fired(hedges, 0.6, B, cost=USD // 2), Hedge)
    assert isinstance(fired(hedges, 0.6, B, cost=USD // 2), NoHedge)
    hedges.settled(CALL, A, 10 * USD)  # a twentieth of it: there are stragglers
    assert isinstance(fired(hedges, 0.6, B, cost=USD // 2), Hedge)


def test_a_hedge_that_eats_the_budget_is_not_sent() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT)
    assert isinstance(fired(hedges, 0.6, B, cost=1_000, left=10_000), NoHedge)
    assert isinstance(fired(hedges, 0.6, B, cost=1_000, left=20_000), Hedge)


def test_a_run_has_two() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT)
    call = structs.replace(CALL, identity=Identity(key_id="k", agent="a", run="r"))
    assert [type(fired(hedges, 0.6, B, call=call)) for _ in range(3)] == [Hedge, Hedge, NoHedge]


def test_an_outage_is_not_answered_with_hedges() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT + STRAGGLERS)
    fires = 0
    for number in range(2_400):  # 40 a second for a minute, nothing answers, each is given up after ten seconds
        now = NOW + number / 40
        primary, other = (A, B) if number % 2 else (B, A)
        hedges.delay_s(CALL, primary, (other,), now)
        late = Overdue(CALL, primary, 0.6, (Candidate(other),))
        fires += isinstance(hedges.fire(late, now), Hedge)
        if number >= 400:
            hedges.primary_ended(CALL, primary, 10.0, now)
    assert 5 <= fires <= 5 + 0.02 * 2_400
    assert "Hedges(2 classes" in repr(hedges)


# --- laws ------------------------------------------------------------------------------------------------------------


def reports(law: LogNormal, rules: HedgeRules | float | None, seeds: int = 3) -> list[Report]:
    return [played(poisson(law, requests=4_000, rng=Random(seed)), Random(~seed), rules) for seed in range(seeds)]


@pytest.mark.parametrize(
    ("law", "p99", "extra"),
    [
        (LogNormal(), 3.5, 0.052),
        (LogNormal(sigma=0.2), 3.4, 0.045),
        (LogNormal(median=20.0 / 3, times=20.0), 3.8, 0.052),
        (LogNormal(median=0.05), 3.5, 0.052),
        (LogNormal(stragglers=0.01, times=50.0), 3.0, 0.045),
    ],
)
def test_stragglers_are_cut_off_whatever_their_scale(law: LogNormal, p99: float, extra: float) -> None:
    """From a cold start. What a share of 5 % can reach at all under the first law is 3.2."""
    found = [played(poisson(law, rate=8 / law.median, requests=4_000, rng=Random(1)), Random(2), HedgeRules())]
    assert mean(found, lambda report: report.ratio(0.99)) <= p99
    assert mean(found, lambda report: report.extra) <= extra
    assert all(len(report.took) == 4_000 for report in found)


def test_it_comes_near_the_best_delay_that_a_hand_could_have_set() -> None:
    by_hand, own = reports(LogNormal(), 0.41), reports(LogNormal(), HedgeRules())
    assert mean(own, lambda report: report.extra) <= 0.05
    assert mean(own, lambda r: r.quantile(0.99)) <= 1.08 * mean(by_hand, lambda r: r.quantile(0.99))


def test_without_stragglers_next_to_nothing_is_sent_twice() -> None:
    for report in reports(LogNormal(stragglers=0.0), HedgeRules(), seeds=1):
        assert report.extra <= 0.003


def test_a_replica_that_fails_and_hangs_goes_unnoticed() -> None:
    report = played(poisson(Flaky(), requests=4_000, rng=Random(1)), Random(2), HedgeRules(), Breaker())
    assert len(report.took) == 4_000
    assert report.ratio(0.99) <= 2.4
    assert report.ratio(0.999) <= 3.4
    assert report.extra <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "extra", "p99", "p999"),
    [  # at most so many extra calls, and so much of each quantile without hedges
        ("as recorded", 0.022, 1.0, 1.0),
        ("1 % stalls", 0.03, 1.0, 0.5),
        ("2 % x10", 0.04, 0.35, 1.0),
        ("5 % x10", 0.065, 0.3, 1.0),
    ],
)
def test_recorded_agent_calls_lose_their_tail(law: str, extra: float, p99: float, p999: float) -> None:
    if not SESSIONS.exists():
        pytest.skip(f"traces not found: set HEADGATE_TRACES to the folder that holds {SESSIONS.name}")
    groups = groups_of()
    rules = HedgeRules(budget_bimodal=0.07 if law == "5 % x10" else 0.05)
    own, bare = (
        [played(recorded(groups, LAWS[law], Random(seed)), Random(~seed), side) for seed in range(2)]
        for side in (rules, None)
    )
    assert mean(own, lambda report: report.extra) <= extra
    for share, part in ((0.99, p99), (0.999, p999)):
        took, before = (statistics.fmean(report.quantile(share) for report in side) for side in (own, bare))
        assert took <= part * before + 0.01


# --- what forbade it, as the metrics count it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "call", "alternatives", "kind"),
    [
        (HedgeRules(), CALL, (), "no_alternative"),
        (HedgeRules(), build.call(endpoint="images"), (B,), "side_effects"),
        (
            HedgeRules(),
            build.call(head=Head(model="m", fields={"tools": Raw(b'[{"type":"mcp"}]')})),
            (B,),
            "side_effects",
        ),
        (HedgeRules(), structs.replace(CALL, deadline=NOW + 0.1), (B,), "deadline"),
    ],
)
def test_what_is_never_hedged_has_a_kind(
    rules: HedgeRules, call: Call, alternatives: tuple[Target, ...], kind: str
) -> None:
    answer = fired(learnt(rules, a=PROMPT + STRAGGLERS, b=PROMPT), 5.0, *alternatives, call=call)
    assert isinstance(answer, NoHedge)
    assert answer.kind == kind


def test_a_call_that_is_not_late_has_none_and_one_that_is_unknown_has() -> None:
    early = fired(learnt(a=PROMPT + STRAGGLERS, b=PROMPT), 0.3, B)
    unknown = fired(learnt(), 0.25, B)
    dear = fired(learnt(a=PROMPT + STRAGGLERS, b=PROMPT), 0.6, B, cost=USD)
    slow = fired(learnt(a=PROMPT + STRAGGLERS, b=[5.0] * 50), 0.5, B)
    kinds = [answer.kind for answer in (early, unknown, dear, slow) if isinstance(answer, NoHedge)]
    assert kinds[:3] == [None, "unknown", "usd_budget"]
    assert kinds[3] in (None, "not_better")


def test_the_last_delay_of_each_route_is_kept() -> None:
    hedges = learnt(a=PROMPT + STRAGGLERS, b=PROMPT)
    delay = hedges.delay_s(structs.replace(CALL, route="smart"), A, (B,), NOW)
    hedges.delay_s(structs.replace(CALL, route="other", deadline=NOW), A, (B,), NOW)
    assert hedges.armed_s["smart"] == delay
    assert "other" not in hedges.armed_s
