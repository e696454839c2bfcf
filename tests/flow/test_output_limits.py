"""An output limit under any name: what a strict budget holds is what the upstream can be made to produce."""

from __future__ import annotations

import msgspec
import pytest

from policies.limits import Limit, LimitsByName
from tests.flow.world import Peer, World

STRICT = LimitsByName({"key:key-1": (Limit("usd", 10**9, hold="strict"),)})
OWN = {"/v1/chat/completions": "max_tokens", "/v1/completions": "max_tokens", "/v1/responses": "max_output_tokens"}
ASKED = {
    "/v1/chat/completions": '"messages":[]',
    "/v1/completions": '"prompt":"a"',
    "/v1/responses": '"input":"a"',
}


async def obedient(peer: Peer) -> None:
    """Knows one name for the limit, as an older engine does, and writes until it."""
    path = peer.head.split(b" ", 2)[1].decode()
    most = peer.json.get(OWN[path])
    made = most if isinstance(most, int) else 100_000
    usage = {"prompt_tokens": 1, "completion_tokens": made, "total_tokens": 1 + made}
    if "responses" in path:
        usage = {"input_tokens": 1, "output_tokens": made, "total_tokens": 1 + made}
    await peer.reply(msgspec.json.encode({"id": "c1", "choices": [], "output": [], "usage": usage}))


@pytest.mark.parametrize("path", OWN)
@pytest.mark.parametrize(
    "limits",
    [
        '"max_completion_tokens":10',
        '"max_output_tokens":10',
        '"max_tokens":10',
        '"max_completion_tokens":10,"max_tokens":5000',
        '"max_completion_tokens":10,"max_output_tokens":5000',
        '"max_completion_tokens":null,"max_tokens":null',
        '"max_output_tokens":null',
    ],
)
async def test_a_strict_budget_holds_all_that_the_upstream_makes_of_the_limits(path: str, limits: str) -> None:
    async with World(obedient, limits_of=STRICT) as world:
        body = f'{{"model":"m",{ASKED[path]},{limits}}}'.encode()
        reply = await world.request(body, path=path)
        assert reply.status == 200, reply.body
        (attempt,) = world.outcomes[0].attempts
        assert attempt.cost_usd_nanos is not None
        assert attempt.cost_usd_nanos <= attempt.held_usd_nanos, (attempt, world.upstreams[0].requests[0][1])
