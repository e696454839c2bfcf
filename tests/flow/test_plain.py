"""A plain call through the whole gate: what the upstream hears, what the client gets, what is written down."""

from __future__ import annotations

from tests.flow.world import KEY, PROVIDER_KEY, REPLY, Peer, World, plain, streaming


async def test_a_reply_comes_back_byte_for_byte_and_is_priced() -> None:
    async with World(plain) as world:
        response = await world.request()
        assert (response.status, response.body) == (200, REPLY)
        assert response.headers["x-headgate-cost-usd"] == "0.000020"
        assert response.headers["x-headgate-target"] == "up0/real"
        assert response.headers["x-headgate-served-by"] == "primary"
        (outcome,) = world.outcomes
        assert outcome.cost_usd_nanos == 10 * 1000 + 5 * 2000
        assert outcome.attempts[0].usage is not None
        assert outcome.attempts[0].usage.source == "reported"


async def test_only_the_model_name_changes_on_the_way_up() -> None:
    sent = b'{ "model" : "m",  "messages":[], "seed":9223372036854775807, "x":1.10, "s":"\\ud800" }'
    async with World(plain) as world:
        await world.request(sent)
        ((_, body),) = world.upstreams[0].requests
        assert body == sent.replace(b'"m"', b'"real"')


async def test_the_clients_key_stays_here_and_the_providers_key_stays_there() -> None:
    async with World(plain) as world:
        response = await world.request(headers="X-Api-Key: another\r\nCookie: a=b\r\n")
        ((head, _),) = world.upstreams[0].requests
        assert KEY.encode() not in head
        assert b"cookie" not in head.lower()
        assert PROVIDER_KEY.encode() in head
        assert PROVIDER_KEY not in str(response.headers)


async def test_an_upstreams_cookie_and_internal_headers_are_dropped_and_its_hints_passed() -> None:
    async def chatty(peer: object) -> None:
        await peer.reply(  # type: ignore[attr-defined]
            REPLY, headers="Set-Cookie: s=1\r\nServer: up\r\nX-Internal: 1\r\nx-ratelimit-remaining-requests: 7\r\n"
        )

    async with World(chatty) as world:
        response = await world.request()
        assert response.headers["x-ratelimit-remaining-requests"] == "7"
        assert not {"set-cookie", "x-internal"} & set(response.headers)


async def test_agent_and_run_come_from_the_path() -> None:
    async with World(plain) as world:
        response = await world.request(path="/agents/planner/runs/r%2F1/v1/chat/completions")
        assert response.headers["x-headgate-agent"] == "planner"
        assert response.headers["x-headgate-run"] == "r/1"
        who = world.outcomes[0].call.identity
        assert (who.agent, who.agent_source, who.run, who.run_source) == ("planner", "path", "r/1", "path")


async def test_a_stream_in_answer_to_a_plain_request_is_folded() -> None:
    async with World(streaming) as world:
        response = await world.request()
        assert response.status == 200
        choices = response.json["choices"]
        assert isinstance(choices, list)
        assert choices[0]["message"]["content"] == "hello"
        assert response.json["usage"]["completion_tokens"] == 5  # type: ignore[index]
        assert world.outcomes[0].cost_usd_nanos == 20_000


async def test_a_plain_reply_to_a_stream_request_is_unfolded() -> None:
    async with World(plain) as world:
        response = await world.stream()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert b'"content":"hello"' in response.body
        assert response.body.endswith(b"data: [DONE]\n\n")


async def test_a_second_request_on_one_connection_is_served() -> None:
    async with World(plain) as world:
        from tests.flow.world import head, read_response

        reader, writer = await world.connect()
        body = b'{"model":"m","messages":[]}'
        writer.write((head(body, path="/v1/chat/completions") + body) * 2)
        first, second = await read_response(reader), await read_response(reader)
        assert (first.body, second.body) == (REPLY, REPLY)
        assert len(world.outcomes) == 2


async def test_a_flood_of_hints_is_not_passed_on() -> None:
    async def flood(peer: Peer) -> None:
        hints = "".join(f"x-ratelimit-{number}: {'y' * 900}\r\n" for number in range(100))
        await peer.reply(REPLY, headers=hints + f"x-ratelimit-long: {'z' * 5000}\r\n")

    async with World(flood) as world:
        response = await world.request()
        passed = [name for name in response.headers if name.startswith("x-ratelimit-")]
        assert len(passed) <= 32
        assert "x-ratelimit-long" not in passed
