"""What calls ask of the gate of their pool, and what it learns from their outcomes."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from policies.gate_line import Ask
from policies.run_gate import GateRules
from policies.runs import Run
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.execution.gate_desk import Pass, Pool
from proxy.execution.gating import Gating, ungated
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.execution.running import Running
from proxy.types import Attempt, Identity, Lesson, Outcome, Plan, Usage
from tests.build import call, target
from tests.money import WIDE, WatchedBudgets

UP, OTHER = target("up/m"), target("other/m")
POOL = Pool("m", frozenset({"up/m"}), 1_000_000, GateRules())
PLAN = Plan("single", ((UP,), (OTHER,)), "as asked")


class Desk:
    """Writes down what it is asked."""

    def __init__(self, said: str = "", error: ProxyError | None = None) -> None:
        self.said, self.error = said, error
        self.asked: list[tuple[str, Ask, float]] = []
        self.over: list[tuple[int, int, int | None]] = []
        self.dead: list[int] = []

    async def enter(self, pool: str, ask: Ask, left_s: float) -> Pass:
        self.asked.append((pool, ask, left_s))
        if self.error is not None:
            raise self.error
        return Pass(len(self.asked), self.said)

    def ended(self, number: int, *, input_tokens: int, cached_tokens: int | None) -> None:
        self.over.append((number, input_tokens, cached_tokens))

    def killed(self, number: int) -> None:
        self.dead.append(number)


def gating(desk: Desk, *pools: Pool) -> Gating:
    made = Gating(desk, SystemClock(now=loop_time), lambda who: 7)
    made.use(pools or (POOL,))
    return made


def running(identity: Identity, run: Run | None = None, id: str = "c0ffee") -> Running:
    asked = structs.replace(call(identity=identity, deadline=loop_time() + 100.0), id=id)
    return Running(Record(asked, Purse(WatchedBudgets(SystemClock(now=loop_time), WIDE), id, (), 60.0)), run)


def who(run: str | None = None, parent: str | None = None) -> Identity:
    return Identity("k", "agent", run=run, parent_run=parent)


def attempt(of: str = "up/m", lesson: Lesson = "success", **usage: object) -> Attempt:
    used = Usage(**usage) if usage else None  # type: ignore[arg-type]  # its own fields
    return Attempt(1, "first", target(of), 0.0, 1.0, lesson, usage=used)


def outcome(*attempts: Attempt, id: str = "c0ffee", code: str | None = None) -> Outcome:
    return Outcome(structs.replace(call(), id=id), PLAN, attempts, 200, 1.0, error_code=code)


async def test_a_call_asks_with_its_run_those_above_it_and_what_it_is() -> None:
    desk = Desk()
    above = Run("key:k/top", (), 0.0, None)
    run = Run("key:k/r", (above,), 0.0, None)
    await gating(desk).enter(running(who("r", "top"), run), PLAN)
    assert desk.asked == [("m", Ask("key:k/r", "agent", 2, 100, steps=7, above=("key:k/top",)), pytest.approx(100.0))]


async def test_a_call_that_names_only_its_parent_is_the_parents_and_one_without_any_is_its_keys() -> None:
    desk = Desk()
    here = gating(desk)
    await here.enter(running(who(parent="p"), Run("key:k/p", (), 0.0, None)), PLAN)
    await here.enter(running(who()), PLAN)
    (_, parents, _), (_, keys, _) = desk.asked
    assert (parents.run, parents.named) == ("key:k/p", True)
    assert (keys.run, keys.named) == ("key:k/", False)


@pytest.mark.parametrize("plan", [Plan("single", ((OTHER,), (UP,)), ""), Plan("single", (), "")])
async def test_a_call_that_begins_elsewhere_is_not_asked(plan: Plan) -> None:
    desk = Desk()
    here = gating(desk)
    await here.enter(running(who("r")), plan)
    here.observe(outcome(attempt(input_uncached=5)))
    assert (desk.asked, desk.over) == ([], [])
    await ungated(running(who("r")), plan)


async def test_a_wait_and_a_refusal_are_among_the_decisions_of_the_call() -> None:
    waited, refused = running(who("r")), running(who("r"))
    await gating(Desk("its run waited")).enter(waited, PLAN)
    with pytest.raises(ProxyError):
        await gating(Desk(error=ProxyError("run_gate_full", "Too many."))).enter(refused, PLAN)
    told = [[each.said for each in one.record.decisions or ()] for one in (waited, refused)]
    assert told == [["its run waited"], ["not let in: Too many."]]


async def test_the_end_of_a_call_tells_what_was_answered_once_the_target_is_known_to_report() -> None:
    desk = Desk()
    here = gating(desk)
    for number, cached in enumerate((0, 60, 0), 1):
        await here.enter(running(who("r"), id=str(number)), PLAN)
        here.observe(outcome(attempt(input_uncached=100 - cached, input_cached=cached), id=str(number)))
    here.observe(outcome(id="1"))
    assert desk.over == [(1, 100, None), (2, 100, 60), (3, 100, 0)]
    assert repr(here) == "Gating(['m'], 0 passes)"


@pytest.mark.parametrize(
    "attempts",
    [
        (),
        (attempt(),),
        (attempt(lesson="failure", input_uncached=9),),
        (attempt("other/m", input_uncached=9),),
    ],
)
async def test_a_call_that_was_not_answered_by_the_pool_says_nothing_of_it(attempts: tuple[Attempt, ...]) -> None:
    desk = Desk()
    here = gating(desk)
    await here.enter(running(who("r")), PLAN)
    here.observe(outcome(*attempts))
    assert desk.over == [(1, 0, None)]


async def test_what_was_only_estimated_is_no_report() -> None:
    desk = Desk()
    here = gating(desk)
    await here.enter(running(who("r")), PLAN)
    here.observe(outcome(attempt(input_uncached=40, input_cached=60, source="estimated")))
    assert desk.over == [(1, 100, None)]


async def test_a_killed_run_is_over() -> None:
    desk = Desk()
    here = gating(desk)
    await here.enter(running(who("r")), PLAN)
    here.observe(outcome(code="run_killed"))
    assert (desk.dead, desk.over) == ([1], [])


async def test_a_pass_outlives_its_pool() -> None:
    desk = Desk()
    here = gating(desk)
    await here.enter(running(who("r")), PLAN)
    here.use(())
    here.observe(outcome(attempt(input_uncached=9)))
    assert desk.over == [(1, 0, None)]
    await asyncio.sleep(0)
