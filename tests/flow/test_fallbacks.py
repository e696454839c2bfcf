"""Another model answers where the one that was asked for cannot: by the word of operator or client; and it shows."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies.plan import Planner, Route, Routes
from policies.retry import Retry
from proxy.types import Condition, KeyRecord, Outcome
from tests.flow.world import KEY, REPLY, Peer, Script, World, plain


def refusing(status: str, code: str = "c") -> Script:
    async def script(peer: Peer) -> None:
        body = b'{"error":{"message":"no","type":"t","code":"%b"}}' % code.encode()
        await peer.reply(body, status=status)

    return script


def told(world: World, *fallbacks: tuple[Condition, str]) -> World:
    """Every upstream is a model of its own: `m`, `n`, `o`."""
    targets = world.snapshot.planner.routes.fixed_targets
    routes = [Route(name, (target,)) for name, target in zip("mno", targets, strict=False)]
    routes[0] = structs.replace(routes[0], fallbacks=fallbacks)
    world.snapshot = structs.replace(world.snapshot, planner=Planner(Routes(tuple(routes))))
    return world


def codes(outcome: Outcome) -> list[str | None]:
    return [attempt.error_code for attempt in outcome.attempts]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        ("400 Bad", "context_length_exceeded", "context_window"),
        ("400 Bad", "content_filter", "content_filter"),
        ("429 Slow", "rate_limit_exceeded", "overload"),
        ("503 Busy", "c", "overload"),
        ("404 Gone", "model_not_found", "any"),
        ("500 Oops", "c", "any"),
    ],
)
async def test_the_model_that_is_for_the_error_answers_and_the_reply_says_so(
    status: str, code: str, kind: Condition
) -> None:
    async with World(refusing(status, code), refusing("400 Bad"), plain) as world:
        others: list[Condition] = ["context_window", "content_filter", "overload"]
        told(world, *[(other, "n") for other in others if other != kind], (kind, "o"))
        response = await world.request()
        assert (response.status, response.body) == (200, REPLY)
        assert response.headers["x-headgate-model"] == "m"
        assert response.headers["x-headgate-target"] == "up2/real"
        assert response.headers["x-headgate-served-by"] == "fallback"
        assert response.headers["x-headgate-fallback"] == f"o {kind}"
        (outcome,) = world.outcomes
        assert codes(outcome)[-1] is None
        assert {attempt.target.id for attempt in outcome.attempts} == {"up0/real", "up2/real"}


async def test_where_every_target_is_out_its_fallback_is_asked_at_once_for_as_long_as_that_lasts() -> None:
    """An outage is when a fallback is needed most: it is not paid for out of what retries may cost."""
    async with World(refusing("500 Oops"), plain, retry=Retry(attempts=1)) as world:
        told(world, ("any", "n"))
        while world.attempt_budget.withdraw(world.clock.now()):
            pass
        for _ in range(40):
            assert (await world.request()).status == 200
        assert len(world.upstreams[0].requests) == 5  # until its breaker opened
        last = world.outcomes[-1]
        assert [(each.role, each.target.id) for each in last.attempts] == [("first", "up1/real")]
        assert last.served_by == "fallback"
        assert last.decisions[0].said == "all targets are out: falls back to 'n' at once"


async def test_a_mistake_in_the_request_is_passed_on_whatever_is_configured() -> None:
    async with World(refusing("400 Bad", "unsupported_parameter"), plain) as world:
        response = await told(world, ("any", "n")).request()
        assert (response.status, response.error["code"]) == (400, "unsupported_parameter")
        assert len(world.upstreams[1].requests) == 0


async def test_when_the_last_fallback_fails_as_well_its_error_is_the_answer() -> None:
    async with World(refusing("400 Bad", "context_length_exceeded"), refusing("400 Bad", "content_filter")) as world:
        response = await told(world, ("context_window", "n")).request()
        assert (response.status, response.error["code"]) == (400, "content_filter")
        assert "x-headgate-fallback" not in response.headers
        assert codes(world.outcomes[0]) == ["context_length_exceeded", "content_filter"]


@pytest.mark.parametrize("field", ["models", "fallbacks"])
async def test_a_client_names_its_own_and_no_upstream_hears_of_it(field: str) -> None:
    async with World(refusing("404 Gone", "model_not_found"), plain) as world:
        body = b'{"model":"m","messages":[],"%b":["m","n"]}' % field.encode()
        response = await told(world).request(body)
        assert response.status == 200
        assert response.headers["x-headgate-fallback"] == "n any"
        for upstream in world.upstreams:
            assert upstream.requests[0][1] == b'{"model":"real","messages":[]}'


@pytest.mark.parametrize(
    ("named", "status", "code"), [("n", 403, "not_allowed"), ("nobody", 404, "model_not_found"), ("m", 200, None)]
)
async def test_a_client_names_only_what_it_may_ask_for(named: str, status: int, code: str | None) -> None:
    async with World(plain, plain) as world:
        world.keys.records[KEY] = KeyRecord("key-1", models=("m",))
        body = b'{"model":"m","messages":[],"models":["%b"]}' % named.encode()
        response = await told(world).request(body)
        assert response.status == status
        assert world.outcomes[0].error_code == code


async def test_money_is_held_for_each_model_and_only_the_one_that_answered_is_paid() -> None:
    async with World(refusing("400 Bad", "content_filter"), plain) as world:
        await told(world, ("content_filter", "n")).request()
        first, second = world.outcomes[0].attempts
        assert (first.cost_usd_nanos, second.cost_usd_nanos) == (0, 20_000)
