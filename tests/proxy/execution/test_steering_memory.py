"""What targets have in memory follows what happens to attempts: sent, reported, unreachable, out, back."""

from __future__ import annotations

from msgspec.structs import replace

from policies.hedge import Hedge, NoHedge
from proxy.dialects.openai_request import read
from proxy.execution.steering import Steering, Trip
from proxy.types import Attempt, Call, Identity, Lesson, Role, Target, Traits, Usage
from tests.build import call as a_call
from tests.build import target, with_traits
from tests.proxy.execution.test_steering import Stopped

KEEPS = Traits(prefix_cache=True, kv_tokens=1_000_000, abort="stops")
ONE, TWO, THREE = POOL = tuple(with_traits(target(f"{name}/m"), KEEPS) for name in ("one", "two", "three"))
BLOCKS = 40


def asked(id: str = "1", blocks: int = BLOCKS) -> Call:
    raw = b'{"model":"m","stream":true,"messages":["' + b"x" * (blocks * 1_024) + b'"]}'
    head = read("chat", raw, "application/json")
    made = a_call(head=head, raw=raw, identity=Identity(key_id="k", agent="a", run="r"))
    return replace(made, id=id, input_tokens_estimate=blocks * 256, deadline=10_000.0)


def begun(steering: Steering, call: Call, target: Target, role: Role = "first") -> Trip:
    steering.choose(call, POOL, "score", ())
    trip = steering.begin(call, target, role)
    trip.asked = True
    return trip


def ended(steering: Steering, trip: Trip, *, cached: int = 0, code: str | None = None) -> None:
    usage = Usage(input_uncached=10_240 - cached, input_cached=cached) if code is None else None
    lesson: Lesson = "success" if code is None else "failure"
    steering.end(trip, Attempt(1, trip.role, trip.target, 1.0, 1.0, lesson, usage=usage, error_code=code))


def test_what_was_expected_and_what_was_reported_are_told_apart() -> None:
    steering = Steering(Stopped())
    ended(steering, begun(steering, asked(), ONE))
    ended(steering, begun(steering, asked("2"), ONE), cached=9_000)
    told = steering.warmth.affinity.told(ONE.id)
    assert (told.expected, told.reported) == (10_240, 9_000)


def test_what_is_expected_in_memory_is_not_waited_for_by_others() -> None:
    steering = Steering(Stopped())
    cold = begun(steering, asked(), ONE)
    warm = begun(steering, asked("2", BLOCKS + 4), ONE)
    assert cold.ticket is not None
    assert warm.ticket is not None
    assert (cold.ticket.tokens, warm.ticket.tokens) == (BLOCKS * 256, 4 * 256)


def test_a_target_that_cannot_be_reached_has_lost_its_memory() -> None:
    steering = Steering(Stopped())
    ended(steering, begun(steering, asked(), ONE), code="upstream_error")
    assert steering.warmth.affinity.held_tokens(ONE.id) > 0
    ended(steering, begun(steering, asked("2"), ONE), code="upstream_unreachable")
    assert steering.warmth.affinity.held_tokens(ONE.id) == 0


def test_a_run_comes_back_to_a_home_that_was_out() -> None:
    steering = Steering(Stopped())
    ended(steering, begun(steering, asked(), ONE))
    for number in range(5):
        ended(steering, begun(steering, asked(f"f{number}"), ONE), code="upstream_unreachable")
    assert steering.breakers.state(ONE.id) == "open"
    ended(steering, begun(steering, asked("2"), TWO))
    home = steering.warmth.affinity._homes.find(begun_key(steering), steering._clock.now())
    assert home is not None
    assert home.target == steering.warmth.affinity._of(ONE).id


def begun_key(steering: Steering) -> int:
    prefix = steering.warmth._prefixes.of(asked("key"))
    assert prefix is not None
    return prefix.key


def test_the_second_copy_of_a_late_call_goes_where_its_prompt_is() -> None:
    clock = Stopped()
    steering = Steering(clock)
    for number in range(60):
        for each in POOL:
            trip = begun(steering, asked(f"{number}{each.id}", 1), each)
            clock.at += 0.2
            steering.content(trip)
            ended(steering, trip)
    ended(steering, begun(steering, asked("before"), TWO))
    late = begun(steering, asked("late"), ONE)
    clock.at += 5.0
    fired = steering.hedge(late, (THREE, TWO), free_usd_nanos=None)
    assert isinstance(fired, Hedge), fired.reason if isinstance(fired, NoHedge) else fired
    assert fired.target is TWO
