"""Every endpoint beside chat: served under its path, metered, and passed through as it came."""

from __future__ import annotations

import asyncio

import pytest

from tests.flow.world import PROVIDER_KEY, Peer, Script, World

USAGE = b'"usage":{"prompt_tokens":8,"total_tokens":8}'
EMBEDDED = b'{"object":"list","data":[{"index":0,"embedding":"AACAPwAAAEA="}],"model":"real",%b}' % USAGE
COMPLETED = (
    b'{"object":"text_completion","choices":[{"index":0,"text":"hi","finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6}}'
)
ANSWERED = (
    b'{"object":"response","status":"completed","output":[],'
    b'"usage":{"input_tokens":7,"output_tokens":3,"total_tokens":10}}'
)
JUDGED = b'{"id":"modr-1","model":"omni","results":[{"flagged":false}]}'
RANKED = b'{"results":[{"index":0,"relevance_score":0.9}],"usage":{"total_tokens":12}}'
DELTA = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"a"}\n\n'
DRAWN = b'{"created":1,"data":[{"b64_json":"AAAA"}],"usage":{"input_tokens":5,"output_tokens":9,"total_tokens":14}}'


def answering(body: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.reply(body)

    return script


@pytest.mark.parametrize(
    ("path", "sent", "reply", "up", "tokens"),
    [
        ("/v1/embeddings", b'{"model":"m","input":"x","encoding_format":"base64"}', EMBEDDED, "/v1/embeddings", (8, 0)),
        ("/v1/completions", b'{"model":"m","prompt":"x"}', COMPLETED, "/v1/completions", (4, 2)),
        ("/v1/responses", b'{"model":"m","input":"x"}', ANSWERED, "/v1/responses", (7, 3)),
        ("/v1/images/generations", b'{"model":"m","prompt":"x"}', DRAWN, "/v1/images/generations", (5, 9)),
        ("/completions", b'{"model":"m","prompt":"x"}', COMPLETED, "/v1/completions", (4, 2)),
        ("/agents/a/v1/embeddings", b'{"model":"m","input":["x","y"]}', EMBEDDED, "/v1/embeddings", (8, 0)),
    ],
)
async def test_a_json_endpoint_is_metered_and_its_bytes_stay(
    path: str, sent: bytes, reply: bytes, up: str, tokens: tuple[int, int]
) -> None:
    async with World(answering(reply)) as world:
        response = await world.request(sent, path=path)
        assert (response.status, response.body) == (200, reply)
        ((head, body),) = world.upstreams[0].requests
        assert head.startswith(b"POST %b HTTP/1.1\r\n" % up.encode())
        assert body == sent.replace(b'"m"', b'"real"')
        usage = world.outcomes[0].attempts[0].usage
        assert usage is not None
        assert (usage.input_total, usage.output_total, usage.source) == (*tokens, "reported")


async def test_a_reply_without_usage_is_estimated_and_says_so() -> None:
    async with World(answering(JUDGED)) as world:
        response = await world.request(b'{"model":"m","input":"some text"}', path="/v1/moderations")
        assert response.body == JUDGED
        usage = world.outcomes[0].attempts[0].usage
        assert usage is not None
        assert (usage.source, usage.flags) == ("estimated", ("missing",))


async def test_an_endpoint_that_the_provider_does_not_have_is_refused_before_anything_is_sent() -> None:
    async with World(answering(RANKED)) as world:  # OpenAI itself has no rerank
        response = await world.request(b'{"model":"m","query":"q","documents":["d"]}', path="/v1/rerank")
        assert response.status == 404
        assert world.upstreams[0].requests == []


async def test_a_streamed_response_is_metered_by_its_last_event() -> None:
    events = (
        b'event: response.created\ndata: {"type":"response.created","response":{}}\n\n',
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"hi"}\n\n',
        b'event: response.completed\ndata: {"type":"response.completed","response":{"usage":'
        b'{"input_tokens":7,"output_tokens":3,"total_tokens":10}}}\n\n',
    )

    async def script(peer: Peer) -> None:
        await peer.stream_head()
        for event in events:
            await peer.chunk(event)
            await asyncio.sleep(0.1)
        await peer.end()

    async with World(script) as world:
        response = await world.request(b'{"model":"m","input":"x","stream":true}', path="/v1/responses")
        assert (response.complete, response.body) == (True, b"".join(events))
        await asyncio.sleep(1)
        usage = world.outcomes[0].attempts[0].usage
        assert usage is not None
        assert (usage.input_total, usage.output_total) == (7, 3)


async def test_a_cut_response_stream_ends_in_its_own_kind_of_error_event() -> None:
    async def script(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(DELTA)
        await asyncio.sleep(0.1)
        peer.reset()

    async with World(script) as world:
        response = await world.request(b'{"model":"m","input":"x","stream":true}', path="/v1/responses")
        assert not response.complete
        assert b"event: error\n" in response.body


async def test_speech_passes_through_as_bytes_while_it_is_made() -> None:
    audio = bytes(range(256)) * 100

    async def script(peer: Peer) -> None:
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(audio), 5000):
            await peer.chunk(audio[start : start + 5000])
            await asyncio.sleep(0.1)
        await peer.end()

    async with World(script) as world:
        response = await world.request(b'{"model":"m","input":"say it","voice":"alloy"}', path="/v1/audio/speech")
        assert (response.body, response.complete) == (audio, True)
        assert response.headers["content-type"] == "audio/mpeg"
        assert world.outcomes[0].attempts[0].usage is not None


async def test_a_credential_cut_over_pieces_of_audio_does_not_get_through() -> None:
    spoken = b"ID3" + PROVIDER_KEY.encode() + b"tail" + PROVIDER_KEY[:10].encode()

    async def script(peer: Peer) -> None:
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(spoken), 7):
            await peer.chunk(spoken[at : at + 7])
            await asyncio.sleep(0.01)
        await peer.end()

    async with World(script) as world:
        response = await world.request(b'{"model":"m","input":"say it"}', path="/v1/audio/speech")
        assert response.complete
        assert response.body == spoken.replace(PROVIDER_KEY.encode(), b"*" * len(PROVIDER_KEY))


async def test_cut_speech_is_an_aborted_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.chunk(b"x" * 1000)
        await asyncio.sleep(0.1)
        peer.reset()

    async with World(script) as world:
        response = await world.request(b'{"model":"m","input":"say it"}', path="/v1/audio/speech")
        assert (response.body, response.complete) == (b"x" * 1000, False)


async def test_an_uploaded_file_keeps_its_boundary_and_only_the_model_changes() -> None:
    form = (
        b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
        b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n\x00\xffRIFF\r\n--xyz--\r\n"
    )
    async with World(answering(b'{"text":"hello there"}')) as world:
        response = await world.request(
            form, path="/v1/audio/transcriptions", headers="Content-Type: multipart/form-data; boundary=xyz\r\n"
        )
        assert response.status == 200
        ((head, body),) = world.upstreams[0].requests
        assert b"multipart/form-data; boundary=xyz" in head
        assert body == form.replace(b"\r\nm\r\n", b"\r\nreal\r\n")
