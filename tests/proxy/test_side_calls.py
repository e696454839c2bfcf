"""What the gate asks because of a call is paid by that call's agent and run, is limited by them, and ends with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from policies.limits import Limit, LimitsByName
from proxy.errors import ProxyError
from proxy.side_calls import SideCalls, SideReply
from proxy.snapshot import AgentRules
from proxy.state.export import attempts
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import LedgerReports
from proxy.types import Identity
from tests.build import call
from tests.flow.world import REPLY, Peer, World, plain

BODY = b'{"model":"m","messages":[]}'
CAUSE = call(identity=Identity(key_id="key-1", agent="a", run="r", models=("other",)), deadline=1e9)


def side_calls(world: World) -> SideCalls:
    from_pipeline = world.pipeline
    return SideCalls(world.clock, from_pipeline._parts.dialect, world.tasks, from_pipeline.serve)


async def test_the_agent_behind_it_pays() -> None:
    async with World(plain, rules=AgentRules(models=frozenset({"other"}))) as world:
        reply = await side_calls(world).ask(CAUSE, "chat", BODY, snapshot=world.snapshot, seconds=10)
        assert isinstance(reply, SideReply)
        assert (reply.status, reply.body) == (200, REPLY)
        [outcome] = world.outcomes
        assert (outcome.call.identity.agent, outcome.call.identity.run) == ("a", "r")
        assert outcome.call.cause == CAUSE.id
        assert reply.cost_usd_nanos == outcome.cost_usd_nanos


async def test_an_error_is_a_value() -> None:
    limits = LimitsByName({"agent:a": (Limit("usd", 0, "total"),)})
    async with World(plain, limits_of=limits) as world:
        ask = side_calls(world).ask
        refused = await ask(CAUSE, "chat", BODY, snapshot=world.snapshot, seconds=10)
        assert isinstance(refused, ProxyError)
        assert refused.code == "budget_exceeded"
        unknown = await ask(CAUSE, "chat", BODY.replace(b'"m"', b'"x"'), snapshot=world.snapshot, seconds=10)
        assert isinstance(unknown, ProxyError)
        assert unknown.code == "model_not_found"
        broken = await ask(CAUSE, "chat", b"{", snapshot=world.snapshot, seconds=10)
        assert isinstance(broken, ProxyError)
        assert broken.code == "invalid_json"


async def silent(peer: Peer) -> None:
    await asyncio.sleep(100)


async def test_it_has_its_own_time() -> None:
    async with World(silent) as world:
        reply = await side_calls(world).ask(CAUSE, "chat", BODY, snapshot=world.snapshot, seconds=2)
        assert isinstance(reply, ProxyError)
        assert reply.code == "deadline_exceeded"


async def test_who_stops_waiting_stops_it() -> None:
    async with World(silent) as world:
        asking = asyncio.ensure_future(  # noqa: TID251
            side_calls(world).ask(CAUSE, "chat", BODY, snapshot=world.snapshot, seconds=60)
        )
        await asyncio.sleep(1)
        asking.cancel()
        await asyncio.sleep(1)
        assert world.pipeline.in_flight == 0
        first, *_, last = [decision.said for decision in world.outcomes[0].decisions]
        assert first.startswith("made by the gate itself because of request ")
        assert last == "given up: whoever had asked for it waits no more"


async def test_it_says_that_no_client_has_made_it(tmp_path: Path) -> None:
    async with World(plain) as world:
        await side_calls(world).ask(CAUSE, "chat", BODY, snapshot=world.snapshot, seconds=10)
        [outcome] = world.outcomes
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.append(outcome)
    detail = await LedgerReports(ledger).request(outcome.call.id)
    assert detail is not None
    said = f"after 0.000 s: made by the gate itself because of request {CAUSE.id}; no client hears it"
    assert detail.decision[1] == said
    [row] = (await LedgerReports(ledger).requests({}, 10)).rows
    assert (row.agent, row.by, row.served_by) == ("a", "gate", "primary")
    [attempt] = (await ledger.query(attempts)).rows
    assert attempt.agent_source == "gate"
