"""The runs of one process: who is in flight, what is restored, and that answers of several processes add up."""

from __future__ import annotations

from policies.run_refusal import RETRY_PAUSED_S
from policies.runs import NO_LIMITS, RunLimits
from proxy.errors import ProxyError
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.execution.running import Running
from proxy.runs.registry import Applied, Kind, RunCommand, Runs, RunState, Seen
from proxy.types import Identity
from tests import build
from tests.sim.gate import SmallGate


class Place:
    """Runs, and calls of theirs that never end by themselves."""

    def __init__(self) -> None:
        self.gate = SmallGate()
        self.runs = Runs(self.gate.clock)

    def call(self, run: str | None, parent: str | None = None, limits: RunLimits = NO_LIMITS) -> Running | ProxyError:
        who = Identity(key_id="k", agent="planner", run=run, parent_run=parent)
        record = Record(build.call(identity=who), Purse(self.gate.store, "c", (), 60.0))
        running = Running(record, self.runs.of(who))
        return self.runs.admit(running, limits) or running

    def begun(self, run: str, parent: str | None = None) -> Running:
        running = self.call(run, parent)
        assert isinstance(running, Running)
        return running


def mine(run: str) -> str:
    return f"key:k/{run}"


def order(kind: Kind, run: str) -> RunCommand:
    return RunCommand(kind, run if kind == "topup" else mine(run), "id", "me", 0.0)


async def test_a_call_without_a_run_of_its_own_belongs_to_its_parent() -> None:
    place = Place()
    assert place.runs.of(Identity(key_id="k", agent="a")) is None
    run = place.runs.of(Identity(key_id="k", agent="a", parent_run="p"))
    assert run is not None
    assert run.accounts == ("run:key:k/p",)


async def test_the_state_of_a_run_is_that_of_its_calls_and_of_those_above_it() -> None:
    place = Place()
    top, low = place.begun("top"), place.begun("low", "top")
    assert (place.runs.active, place.runs.in_flight) == (2, 2)
    assert place.runs.state(mine("top")) == RunState(
        mine("top"), "running", None, None, ("planner",), 1, (mine("low"),)
    )
    place.runs.leave(low)
    assert place.runs.state(mine("low")) == RunState(mine("low"), "idle", None, mine("top"))
    await place.runs.apply(order("pause", "top"))
    assert (place.runs.state(mine("top")).state, place.runs.state(mine("top")).in_flight) == ("paused", 1)
    assert (place.runs.state(mine("low")).state, place.runs.state(mine("low")).stopped_by) == ("paused", mine("top"))
    place.runs.leave(top)
    assert place.runs.active == 0
    place.runs.leave(top)  # a second time: nothing
    assert place.runs.in_flight == 0


async def test_a_refused_call_was_never_in() -> None:
    place = Place()
    await place.runs.apply(order("pause", "top"))
    refused = place.call("top")
    assert isinstance(refused, ProxyError)
    assert (refused.code, refused.retry_after_s) == ("run_paused", RETRY_PAUSED_S)
    assert place.runs.in_flight == 0


async def test_limits_are_those_of_the_agent_that_calls() -> None:
    place = Place()
    first = place.call("top", limits=RunLimits(width=1))
    assert isinstance(first, Running)
    refused = place.call("top", limits=RunLimits(width=1))
    assert isinstance(refused, ProxyError)
    assert refused.code == "run_width_exceeded"
    assert isinstance(place.call("top", limits=RunLimits(width=2)), Running)


async def test_what_was_known_before_a_restart_is_known_after_it() -> None:
    place = Place()
    now, wall = place.gate.clock.now(), place.gate.clock.wall()
    seen = [Seen(mine("top"), None, wall - 100, wall - 50), Seen(mine("low"), mine("top"), wall - 90, wall - 40)]
    place.runs.restore([(mine("top"), "killed")], seen)
    run = place.runs.of(Identity(key_id="k", agent="a", run="low"))
    assert run is not None
    assert run.accounts == ("run:key:k/top", "run:key:k/low")
    assert abs(run.first_at - (now - 90)) < 1e-3
    assert run.stop() is not None


async def test_what_one_process_remembers_another_can_begin_with() -> None:
    one, other = Place(), Place()
    one.begun("low", "top")
    other.runs.restore([(mine("top"), "killed")], one.runs.seen)
    refused = other.call("low")
    assert isinstance(refused, ProxyError)
    assert refused.code == "run_killed"


async def test_who_is_looked_at_comes_first_and_whoever_is_busy_too() -> None:
    place = Place()
    place.begun("busy")
    states = await place.runs.look([mine("asked"), mine("busy")])
    assert [(state.run, state.state) for state in states] == [(mine("asked"), "idle"), (mine("busy"), "running")]


async def test_another_process_is_told_of_each_link_once_and_learns_it() -> None:
    told: list[tuple[str, str]] = []
    gate = SmallGate()
    one, other = Runs(gate.clock, linked=lambda run, parent: told.append((run, parent))), Runs(gate.clock)
    for parent in (None, "top", "top", None, "elsewhere"):
        one.of(Identity(key_id="k", agent="a", run="low", parent_run=parent))
    one.of(Identity(key_id="k", agent="a", run="top", parent_run="low"))  # a circle: not heard, not told
    assert told == [(mine("low"), mine("top"))]
    for run, parent in told:
        other.learn(run, parent)
    await other.apply(order("kill", "top"))
    assert (other.state(mine("low")).state, other.state(mine("low")).stopped_by) == ("killed", mine("top"))


def test_answers_of_several_processes_add_up() -> None:
    assert Applied(1, 2, 3, 4).plus(Applied(10, 20, 30, 40)) == Applied(11, 22, 33, 44)


async def test_a_command_on_money_is_not_the_runs_business() -> None:
    place = Place()
    place.begun("top")
    assert await place.runs.apply(order("topup", "run:key:k/top")) == Applied()
    assert place.runs.state(mine("top")).state == "running"


async def test_steps_are_the_answers_that_a_run_has_had_and_not_its_tries() -> None:
    place = Place()
    who = Identity(key_id="k", agent="planner", run="r")
    assert place.runs.steps(who) == 0
    answered, refused, gone = (place.begun("r") for _ in range(3))
    answered.record.committed = True
    refused.record.error = ProxyError("overloaded", "m")
    for running in (answered, refused, gone):
        place.runs.leave(running)
    assert place.runs.steps(who) == 1
    assert place.runs.steps(Identity(key_id="k", agent="planner", parent_run="r")) == 1, "the call is its parent's"
    assert place.runs.steps(Identity(key_id="k", agent="planner")) == 0


async def test_runs_are_found_by_their_name_whoevers_they_are() -> None:
    place = Place()
    place.begun("r")
    place.begun("other/r")
    place.runs.of(Identity(key_id="k", agent="a", team="red", run="r"))
    await place.runs.apply(RunCommand("kill", "team:blue/r", "id", "me", 0.0))
    states = await place.runs.look([], "r")
    assert [state.run for state in states] == [mine("r"), "team:red/r", "team:blue/r", mine("other/r")]


async def test_a_parent_is_one_of_the_same_tenant() -> None:
    place = Place()
    place.begun("top")
    low = place.runs.of(Identity(key_id="other", agent="a", run="low", parent_run="top"))
    assert low is not None
    assert low.accounts == ("run:key:other/top", "run:key:other/low")
    place.runs.mark(order("kill", "top"))
    assert low.stop() is None
