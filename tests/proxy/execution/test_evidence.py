"""What a process has seen decides what it accepts, how much it compares, and where calls begin."""

from __future__ import annotations

from msgspec import structs

from policies.accept import Evidence as Asked
from policies.accept import FirstRung
from policies.accept_rules import CascadeRules
from policies.conformal import Label, Standing
from proxy.clock import SystemClock
from proxy.execution.evidence import Evidence
from proxy.execution.given import Feedback
from proxy.types import Identity, Plan
from tests.build import call, target

MEMBERS = tuple(Plan("single", ((target(f"p/{name}"),),), "", model=name) for name in ("small", "large"))
PLAN = Plan("cascade", MEMBERS[0].steps, "", members=MEMBERS, model="smart")
FLOOR = CascadeRules(max_loss=0.1, shadow=0.05)


class Watching:
    def __init__(self) -> None:
        self.labels: list[bool] = []
        self.standings: list[Standing] = []

    def labelled(self, model: str, *, agreed: bool) -> None:
        self.labels.append(agreed)

    def stands(self, standing: Standing) -> None:
        self.standings.append(standing)


class Seen:
    def __init__(self, rules: CascadeRules = FLOOR) -> None:
        self.rules, self.told, self.watch = {"smart": rules}, list[Label](), Watching()
        self.evidence = Evidence(SystemClock(seed=1), lambda: self.rules, self.told.append, self.watch)

    def learn(self, times: int, *, agreed: bool = True) -> None:
        for _ in range(times):
            self.evidence.learn(Label("a", "smart", 0, 1.0, agreed, kind="7 text latin"))


def test_it_is_what_cascades_ask() -> None:
    asked: Asked = Seen().evidence
    first: FirstRung = Seen().evidence
    assert asked.threshold(call(), PLAN, 0, score=1.0, now=0.0) is not None
    assert first.first(call(), PLAN, 0.0) == (0, "")


def test_without_a_bound_nothing_is_to_be_said() -> None:
    seen = Seen(CascadeRules())
    assert seen.evidence.threshold(call(), PLAN, 0, score=1.0, now=0.0) is None
    seen.learn(1)
    assert seen.evidence.share("a", "smart", 0) == 0.0


def test_a_bound_that_is_reloaded_holds_for_the_next_call() -> None:
    seen = Seen()
    seen.learn(60)
    for bound, accepted in ((0.1, True), (0.01, False), (0.05, True)):
        seen.rules["smart"] = structs.replace(FLOOR, max_loss=bound)
        verdict = seen.evidence.threshold(call(), PLAN, 0, score=1.0, now=0.0)
        assert verdict is not None
        assert verdict.accepted is accepted


def test_all_is_compared_until_something_is_accepted_and_then_a_share() -> None:
    seen = Seen()
    assert seen.evidence.share("a", "smart", 0) == 1.0
    seen.learn(60)
    assert seen.evidence.share("a", "smart", 0) == 0.05
    assert seen.evidence.share("b", "smart", 0) == 1.0
    assert Seen(CascadeRules()).evidence.share("a", "smart", 0) == 0.0


def test_own_labels_are_told_and_counted_and_those_of_others_only_heard() -> None:
    seen = Seen()
    seen.learn(1)
    seen.evidence.hear(Label("a", "smart", 0, 1.0, agreed=False))
    assert (len(seen.told), seen.watch.labels) == (1, [True])
    assert [standing.labels for standing in seen.watch.standings] == [1, 2]
    assert len(seen.evidence.labels) == 2


def test_what_is_reset_is_shown_as_nothing() -> None:
    seen = Seen()
    seen.learn(60)
    seen.learn(2, agreed=False)
    assert seen.watch.standings[-1].withdrawn
    assert seen.evidence.reset("b", None) == 0
    assert seen.evidence.reset("a", "smart") == 1
    assert not seen.watch.standings[-1].withdrawn
    assert seen.evidence.standings == []


def test_of_the_last_rung_only_the_learnt_choice_hears() -> None:
    seen = Seen(structs.replace(FLOOR, dear_share=0.5))
    asked = call(identity=Identity(key_id="k", agent="a", run="r"))
    seen.evidence.answered(asked, PLAN, 1, escalated=True, now=0.0)
    assert seen.evidence.feedback(Feedback(0.0, run="team:red/r")) == 0, "another tenant's of that name"
    assert seen.evidence.feedback(Feedback(0.0, run="key:k/r")) == 1
    assert [(label.rung, label.last, label.kind) for label in seen.told] == [(1, True, "7 text latin")]
    assert seen.evidence.standings == []
    assert seen.watch.labels == []


def test_a_choice_is_learnt_from_gates_where_nothing_is_compared() -> None:
    seen = Seen(CascadeRules(dear_share=0.9))
    for number in range(200):
        asked = structs.replace(call(), id=str(number))
        rung, _ = seen.evidence.first(asked, PLAN, 0.0)
        seen.evidence.answered(asked, PLAN, 1, escalated=rung == 0, now=0.0)
    begun = [seen.evidence.first(call(), PLAN, 0.0)[0] for _ in range(50)]
    assert sum(begun) > 35
    assert repr(seen.evidence).startswith("Evidence(Conformal(")
