from __future__ import annotations

import json

from proxy.providers.simulated_answer import Answer
from proxy.providers.simulated_reply import Bill
from proxy.providers.simulated_stream import stream_of
from proxy.providers.simulated_wire import Naming, question

NAMING = Naming("x1", 1_700_000_000, "m")
HELLO = Answer(("Hel", "lo"), "stop")
BILL = Bill("m", "chat", 3, 0, 2)


def test_a_chat_stream_has_the_form_of_the_real_one_to_the_byte() -> None:
    asked = question(b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}')
    assert asked is not None
    stream = stream_of(NAMING, asked, "chat")
    head = '{"id":"chatcmpl-x1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":['
    said = (stream.turn([HELLO], 0) + stream.turn([HELLO], 1) + stream.ending([HELLO], BILL)).decode().split("\n\n")
    assert said[0] == (
        f'data: {head}{{"index":0,"delta":{{"role":"assistant","content":"","refusal":null}},'
        '"logprobs":null,"finish_reason":null}],"usage":null}'
    )
    assert said[1] == (
        f'data: {head}{{"index":0,"delta":{{"content":"Hel"}},"logprobs":null,"finish_reason":null}}],"usage":null}}'
    )
    assert said[3] == f'data: {head}{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop"}}],"usage":null}}'
    assert json.loads(said[4].removeprefix("data: "))["usage"]["total_tokens"] == 5
    assert said[5:] == ["data: [DONE]", ""]


def test_a_shorter_choice_falls_silent_while_the_others_go_on() -> None:
    asked = question(b'{"model":"m"}')
    assert asked is not None
    stream = stream_of(NAMING, asked, "completions")
    answers = [Answer(("a",), "stop"), Answer(("b", "c"), "length")]
    assert stream.turn(answers, 0).count(b"data:") == 2
    assert stream.turn(answers, 1).count(b'"text":"c"') == 1
    assert stream.turn(answers, 1).count(b"data:") == 1
    assert stream.ending(answers, BILL).count(b"finish_reason") == 2


def test_a_responses_stream_numbers_its_events_and_ends_with_the_whole() -> None:
    asked = question(b'{"model":"m","input":"x"}')
    assert asked is not None
    stream = stream_of(NAMING, asked, "responses")
    said = stream.turn([HELLO], 0) + stream.turn([HELLO], 1) + stream.ending([HELLO], BILL)
    events = [event.split("\ndata: ") for event in said.decode().removesuffix("\n\n").split("\n\n")]
    bodies = [json.loads(body) for _, body in events]
    assert [kind.removeprefix("event: ") for kind, _ in events] == [body["type"] for body in bodies]
    assert [body["sequence_number"] for body in bodies] == list(range(len(bodies)))
    assert bodies[0]["response"]["status"] == "in_progress"
    last = bodies[-1]["response"]
    assert (last["status"], last["output"][0]["content"][0]["text"]) == ("completed", "Hello")
    assert last["usage"]["output_tokens"] == 2
