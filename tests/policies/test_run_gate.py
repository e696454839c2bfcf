"""Which runs a pool works on: what they are charged, who goes on, who waits, who is parked."""

from __future__ import annotations

from random import Random

import pytest

from policies.gate_line import Ask, Run
from policies.run_gate import RUNS_MAX, GateRules, RunGate
from proxy.tenancy import run_id

MEMORY = 1_000_000
STANDARD = 2


def gate(share: float = 1.0, kv_tokens: int | None = MEMORY, **rules: float) -> RunGate:
    return RunGate(GateRules(share=share, **rules), kv_tokens)  # type: ignore[arg-type]  # whole numbers among them


def ask(run: str, tokens: int = 100_000, *, tier: int = STANDARD, above: tuple[str, ...] = (), steps: int = 0) -> Ask:
    return Ask(run, "agent", tier, tokens, steps=steps, above=above)


def enter(to: RunGate, run: str, tokens: int = 100_000, now: float = 0.0, **more: object) -> Run:
    entered = to.enter(ask(run, tokens, **more), now)  # type: ignore[arg-type]  # as `ask` has them
    assert entered is not None
    return entered


def step(to: RunGate, run: Run, tokens: int = 100_000, cached: int | None = None, now: float = 0.0) -> None:
    to.ended(run, now, input_tokens=tokens, cached_tokens=cached)


def test_runs_are_let_in_while_their_prompts_fit_into_the_share_of_the_memory() -> None:
    one = gate(0.5)
    assert [enter(one, str(number)).state for number in range(6)] == ["active"] * 5 + ["waiting"]
    assert (one.active, one.in_use, one.queued, one.waiting) == (5, 500_000, 1, 1)


def test_a_short_prompt_is_charged_as_a_run_that_will_grow() -> None:
    one = gate()
    enter(one, "short", 200)
    assert one.in_use == 60_000


def test_a_run_is_charged_with_its_last_prompt_as_it_was_answered() -> None:
    one = gate()
    run = enter(one, "r", 100_000)
    step(one, run, 130_000)
    assert one.in_use == 130_000
    enter(one, "r", 140_000)
    assert one.in_use == 140_000


def test_after_fifty_runs_the_least_charge_is_a_part_of_their_mean_last_prompt() -> None:
    one = gate(4.0)
    for number in range(50):
        step(one, enter(one, f"small{number}", 10_000, now=float(number)), 10_000, now=float(number))
    enter(one, "stays", now=340.0)
    one.expire(348.0)
    assert (one.finished, one.floor) == (49, 60_000)
    one.expire(349.0)
    assert (one.finished, one.floor) == (50, 7_000)
    enter(one, "new", 10, now=349.0)
    assert one.in_use == 107_000


def test_a_run_that_fits_nowhere_goes_alone() -> None:
    one = gate()
    assert enter(one, "huge", 5_000_000).state == "active"
    assert enter(one, "other").state == "waiting"


def test_a_run_that_was_let_in_goes_on_whoever_waits() -> None:
    one = gate(0.1)
    run = enter(one, "in")
    enter(one, "out")
    step(one, run)
    assert enter(one, "in").state == "active"


def test_nobody_passes_one_who_waits() -> None:
    one = gate(0.2)
    run = enter(one, "in")
    assert enter(one, "large", 150_000).state == "waiting"
    assert enter(one, "small", 10).state == "waiting", "it would fit"
    step(one, run)
    assert one.admit(1.0) == []
    assert [each.id for each in one.admit(300.0)] == ["large"]


def test_who_was_idle_for_long_counts_no_more_and_who_has_calls_does() -> None:
    one = gate(0.1)
    busy = enter(one, "busy")
    enter(one, "waits", now=1.0)
    assert one.due_at() == 300.0
    assert one.admit(400.0) == [], "its call has run for so long"
    step(one, busy, now=500.0)
    assert one.admit(799.9) == []
    assert [run.id for run in one.admit(800.0)] == ["waits"]
    assert enter(one, "busy", now=801.0, steps=1).state == "parked", "back after a pause: it waits, and before new ones"


def test_all_calls_of_a_run_go_on_with_it() -> None:
    one = gate(0.1)
    run = enter(one, "in")
    waits = enter(one, "out")
    assert enter(one, "out") is waits
    assert (one.waiting, waits.waiting) == (2, 2)
    one.finish(run)
    one.finish(run)
    assert one.admit(0.0) == [waits]
    assert (waits.calls, waits.waiting, one.waiting) == (2, 0, 0)


def test_who_gives_up_leaves_the_line_with_its_last_call() -> None:
    one = gate(0.1)
    enter(one, "in")
    waits = enter(one, "out")
    enter(one, "out")
    one.gave_up(waits)
    assert (one.queued, one.waiting) == (1, 1)
    one.gave_up(waits)
    assert (one.queued, one.waiting, waits.state) == (0, 0, "gone")


def test_children_of_runs_that_were_let_in_pass_and_so_do_critical_calls() -> None:
    one = gate(0.1)
    enter(one, "parent")
    assert enter(one, "child", above=("parent",)).state == "active"
    assert enter(one, "grandchild", above=("parent", "child")).state == "active"
    assert enter(one, "urgent", tier=0).state == "active"
    assert enter(one, "orphan", above=("nobody",)).state == "waiting"
    assert enter(one, "nephew", above=("orphan",)).state == "waiting", "its parent was not let in"
    assert one.active == 4


def test_a_run_that_waits_passes_once_it_turns_out_to_be_a_child() -> None:
    one = gate(0.1)
    enter(one, "parent")
    waits = enter(one, "child")
    assert waits.state == "waiting"
    assert enter(one, "child", above=("parent",)) is waits
    assert (waits.state, waits.calls, one.waiting) == ("active", 2, 0)


def test_a_parent_counts_while_its_children_work() -> None:
    one = gate(0.3)
    step(one, enter(one, "parent"))
    for now in (200.0, 400.0):
        step(one, enter(one, "child", now=now, above=("parent",)), now=now)
    one.expire(600.0)
    assert one.lets_in("parent")
    one.expire(700.0)
    assert not one.lets_in("parent")


def test_too_many_that_wait_are_turned_away() -> None:
    one = gate(0.1, waiting_max=1)
    enter(one, "in")
    enter(one, "out")
    assert one.enter(ask("late"), 0.0) is None
    assert one.enter(ask("in"), 0.0) is not None


def grown(to: RunGate, *sizes: int) -> list[Run]:
    """Runs with so long prompts by now, the first the farthest."""
    runs = [enter(to, f"r{number}", 60_000) for number in range(len(sizes))]
    for number, (run, size) in enumerate(zip(runs, sizes, strict=True)):
        for _ in range(len(sizes) - number):
            step(to, run, size)
            run.calls += 1
        step(to, run, size)
    return runs


def test_where_prompts_have_grown_beyond_the_limit_the_half_that_is_behind_is_parked_between_steps() -> None:
    one = gate(0.4)
    runs = grown(one, 120_000, 120_000, 120_000, 120_000)
    assert one.in_use == 480_000
    assert enter(one, "r0", 120_000).state == "active"
    assert enter(one, "r3", 120_000).state == "parked"
    assert (one.in_use, one.parked, one.queued) == (360_000, 1, 0)
    assert enter(one, "r2", 120_000).state == "active", "the others fit by now"
    enter(one, "new", 10)
    assert one.admit(0.0) == []
    one.finish(runs[1])
    assert [run.id for run in one.admit(0.0)] == ["r3"], "before the new one, which would have fit too"
    assert one.admit(0.0) == []


def test_a_step_that_runs_is_not_followed_by_parking() -> None:
    one = gate(0.15)
    runs = grown(one, 120_000, 120_000)
    runs[1].calls += 1
    assert enter(one, "r1", 120_000).state == "active"


def test_nobody_is_parked_where_that_would_turn_its_call_away() -> None:
    one = gate(0.15, waiting_max=0)
    grown(one, 120_000, 120_000)
    assert enter(one, "r1", 120_000).state == "active"


def test_children_of_a_parked_run_go_on() -> None:
    one = gate(0.15)
    grown(one, 120_000, 120_000)
    assert enter(one, "r1", 120_000).state == "parked"
    assert enter(one, "child", above=("r1",)).state == "active"


def test_one_run_alone_is_never_parked() -> None:
    one = gate(0.1)
    grown(one, 900_000)
    assert enter(one, "r0", 900_000).state == "active"


def test_calls_that_go_on_where_their_run_stopped_teach_the_limit() -> None:
    one = gate(0.9)
    run = enter(one, "r")
    enter(one, "waits", 2_000_000)
    for number in range(51):  # the first of them goes on from nothing
        run.calls += 1
        step(one, run, 100_000 + number, cached=90_000)
    assert one.limit.share == pytest.approx(0.95)


@pytest.mark.parametrize("why", ["no report", "shorter", "grown", "unnamed", "unanswered"])
def test_other_calls_teach_nothing(why: str) -> None:
    one = gate(0.9)
    enter(one, "other", 300_000)
    run = one.enter(Ask("r", "a", STANDARD, 500_000, named=why != "unnamed"), 0.0)
    assert run is not None
    for number in range(120):
        run.calls += 1
        tokens = {"shorter": 500_000 - number, "grown": 10 + 500 * (number % 2), "unanswered": 0}.get(why, 500_000)
        step(one, run, tokens, cached=None if why == "no report" else 0)
    assert one.limit.share == 0.9


def test_where_the_memory_is_unknown_runs_are_counted() -> None:
    one = gate(kv_tokens=None, runs=2)
    assert [enter(one, run, 10**9).state for run in "abc"] == ["active", "active", "waiting"]
    assert (one.in_use, one.limit.size) == (2, 2)


def test_other_rules_hold_from_now_on_and_what_was_learned_stays_with_the_same_memory() -> None:
    one = gate(0.2)
    one.limit.share = 0.3
    enter(one, "a")
    one.replace(GateRules(share=0.2, idle_s=10.0), MEMORY)
    assert (one.limit.share, one.rules.idle_s) == (0.3, 10.0)
    one.replace(GateRules(share=0.2), 2 * MEMORY)
    assert one.limit.size == 400_000
    one.replace(GateRules(share=0.2), None)
    assert (one.in_use, one.limit.size) == (1.0, 32.0)


def test_so_many_runs_are_known_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.run_gate.RUNS_MAX", 3)
    one = gate()
    for number in range(5):
        enter(one, str(number), tier=0)
    assert one.active == 3
    assert one.in_use == 300_000
    assert RUNS_MAX == 20_000


def test_a_call_of_a_run_that_was_forgotten_ends_without_a_trace() -> None:
    one = gate()
    run = enter(one, "r")
    one.finish(run)
    step(one, run)
    assert (one.in_use, one.active) == (0.0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_the_sums_are_those_of_the_runs_and_nobody_is_held_for_nothing(seed: int) -> None:
    rng, now = Random(seed), 0.0
    one = gate(0.5, idle_s=50.0, waiting_max=20)
    going: list[Run] = []
    held: list[Run] = []
    for _ in range(2_000):
        now += rng.expovariate(1.0)
        choice = rng.random()
        if choice < 0.5:
            name = f"r{rng.randrange(40)}"
            parent = (f"r{rng.randrange(40)}",) if rng.random() < 0.1 else ()
            run = one.enter(ask(name, rng.randrange(1, 200_000), above=parent, tier=rng.randrange(4)), now)
            if run is not None:
                (going if run.state == "active" else held).append(run)
        elif choice < 0.9 and going:
            cached = rng.randrange(100_000)
            step(one, going.pop(rng.randrange(len(going))), rng.randrange(300_000), cached, now)
        elif held:
            one.gave_up(held.pop(rng.randrange(len(held))))
        one.admit(now)
        going += [run for run in held if run.state == "active"]
        held = [run for run in held if run.state != "active"]
        assert one.in_use == pytest.approx(sum(run.charge for run in one._active.values()))
        assert one.waiting == len(held)
        assert one.active or not held
    while going:
        step(one, going.pop(), 0, None, now)
    for _ in range(len(held)):
        now += 50.0
        one.admit(now)
        held = [run for run in held if run.state != "active"]
        for run in one._active.values():
            run.calls = 0
    assert not held, "in the end everybody goes"


def test_killed_runs_count_no_more_and_another_tenants_of_that_name_does() -> None:
    one = gate(1.0)
    for owner, name in (("t1", "r"), ("t2", "r"), ("t1", "other"), ("r", "")):
        enter(one, run_id(owner, name))
    one.killed(frozenset([run_id("t1", "r"), run_id("t1", "unknown")]))
    assert (one.active, one.in_use) == (3, 300_000)
    assert not one.holds(run_id("t1", "r"), 0.0)
    assert one.holds(run_id("t2", "r"), 0.0)


def test_a_run_that_waits_is_released_with_all_its_calls() -> None:
    one = gate(0.1)
    enter(one, "in")
    waits = enter(one, "out")
    enter(one, "out")
    assert one.release("nobody", 0.0) is None
    assert one.release("out", 0.0) is waits
    assert (waits.state, waits.calls, one.waiting, one.queued) == ("active", 2, 0, 0)
    assert one.release("out", 0.0) is None


def test_a_run_holds_its_place_until_it_has_been_idle_for_long() -> None:
    one = gate(0.1)
    step(one, enter(one, "in"))
    enter(one, "out")
    assert one.holds("in", 299.0)
    assert not one.holds("out", 299.0)
    assert not one.holds("in", 300.0)


def test_its_repr_counts() -> None:
    one = gate()
    enter(one, "r")
    assert repr(one) == "RunGate(1 active, 100000 of Limit(1.00 of 1e+06), 0 calls wait)"
