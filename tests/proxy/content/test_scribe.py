"""What becomes of words: nothing more than the policy says, whatever form they came in."""

from __future__ import annotations

import base64

import pytest
from msgspec import json

from proxy.content.heard import Keeping, Room
from proxy.content.scribe import CREDENTIAL, END, MARGIN, PARSED_MAX, Scribe
from proxy.dialects.openai_chat import OpenAI
from proxy.state.content_report import ContentEntry, Side
from proxy.types import ContentPolicy
from tests.proxy.content.build import EVENTS, KEY, event, heard, says

SECRET = "sk-proj-abcdefghijklmnop1234"
SCRIBE = Scribe(b"k" * 32, OpenAI(), ("mail",))


def of(side: Side | None) -> object:
    assert side is not None
    assert side.text is not None, side.why_not
    return json.decode(side.text)


def written(entry: ContentEntry) -> str:
    return json.encode(entry).decode()


def test_redacted_keeps_the_text_without_what_is_nobodys() -> None:
    entry = SCRIBE.entry(heard(says(f"use {SECRET}, my own {KEY}, write to a@example.org"), json.encode({"a": SECRET})))
    assert of(entry.request) == says("use [key], my own [presented key], write to [mail]")
    assert of(entry.reply) == {"a": "[key]"}
    assert (entry.id, entry.agent, entry.policy) == ("c0ffee", "a", "redacted")


def test_full_keeps_it_as_it_was_but_for_the_key_that_came_with_it() -> None:
    entry = SCRIBE.entry(heard(says(f"use {SECRET}, my own {KEY}, write to a@example.org"), policy="full"))
    assert of(entry.request) == says(f"use {SECRET}, my own [presented key], write to a@example.org")


def test_a_digest_tells_equal_from_unequal_and_nothing_else() -> None:
    one, same, other = (
        SCRIBE.entry(heard(says(text), b'"reply"', policy="digest")) for text in ("words", "words", "other words")
    )
    assert one.request is not None and other.request is not None
    assert one.request == same.request
    assert one.request.digest != other.request.digest
    assert "words" not in written(one) and "reply" not in written(one).replace('"reply":', "")
    strange = Scribe(b"another key", OpenAI()).entry(heard(says("words"), policy="digest"))
    assert strange.request is not None
    assert strange.request.digest != one.request.digest, "whoever knows the text could test guesses"


@pytest.mark.parametrize("policy", ["redacted", "full"])
def test_a_picture_is_kept_as_a_note(policy: ContentPolicy) -> None:
    picture = base64.b64encode(b"pixels" * 1_000).decode()
    asked = {"messages": [{"content": [{"image_url": {"url": f"data:image/png;base64,{picture}"}}]}]}
    entry = SCRIBE.entry(heard(asked, json.encode({"data": [{"b64_json": picture}]}), policy=policy))
    assert picture[:40] not in written(entry)
    assert "[image/png, 8022 characters, digest " in written(entry)
    assert "[base64, 8000 characters, digest " in written(entry)


def test_a_secret_that_was_streamed_in_pieces_is_found() -> None:
    stream = b"".join(event(content=piece) for piece in ("use ", "sk-proj-", "abcdefgh", "ijklmnop1234"))
    entry = SCRIBE.entry(heard(reply=stream, kind=EVENTS))
    assert entry.reply is not None and entry.reply.text is not None
    assert '"content":"use [key]"' in entry.reply.text
    assert "abcdefgh" not in written(entry) and "ijklmnop" not in written(entry)


def test_arguments_of_tools_are_put_together_as_well() -> None:
    pieces = ('{"pass', 'word": "hunter', '2hunter2"}')
    calls = [event(tool_calls=[{"index": 0, "id": "c", "function": {"arguments": piece}}]) for piece in pieces]
    entry = SCRIBE.entry(heard(reply=b"".join(calls), kind=EVENTS))
    assert entry.reply is not None and entry.reply.text is not None
    assert "[credential]" in entry.reply.text
    assert "hunter" not in written(entry)


def test_streams_of_responses_are_kept_whole_or_as_far_as_they_came() -> None:
    deltas = b"".join(
        b"data: " + json.encode({"type": "response.output_text.delta", "delta": piece}) + b"\n\n"
        for piece in ("he", "y")
    )
    done = b"data: " + json.encode({"type": "response.completed", "response": {"output": "hey"}}) + b"\n\n"
    assert of(SCRIBE.entry(heard(reply=deltas, kind=EVENTS, endpoint="responses")).reply) == {"output_text": "hey"}
    assert of(SCRIBE.entry(heard(reply=deltas + done, kind=EVENTS, endpoint="responses")).reply) == {"output": "hey"}


def test_what_a_field_is_called_counts() -> None:
    entry = SCRIBE.entry(heard({"metadata": {"password": "short", "token": "t", "max_tokens": 5}}))
    assert of(entry.request) == {"metadata": {"password": CREDENTIAL, "token": CREDENTIAL, "max_tokens": 5}}
    entry = SCRIBE.entry(heard({"api_keys": ["one", ["two"]], "aws_secret_access_key": "x", "SECRET_KEY": 12345}))
    assert of(entry.request) == {
        "api_keys": [CREDENTIAL, [CREDENTIAL]],
        "aws_secret_access_key": CREDENTIAL,
        "SECRET_KEY": CREDENTIAL,
    }
    schema = {"properties": {"password": {"type": "string"}, "secret": True}}
    assert of(SCRIBE.entry(heard(schema)).request) == schema


def test_words_of_an_answer_with_their_odds_are_no_credentials() -> None:
    said = {"logprobs": {"content": [{"token": " the", "logprob": -0.5, "password": "p"}]}}
    kept = {"logprobs": {"content": [{"token": " the", "logprob": -0.5, "password": CREDENTIAL}]}}
    assert of(SCRIBE.entry(heard(reply=json.encode(said))).reply) == kept


def test_arguments_and_results_of_tools_are_looked_into() -> None:
    arguments = '{"password":"hunter2","nested":{"api_key":"abc","secret_key":"zzz"},"city":"Rome"}'
    tool = {"role": "tool", "content": '{"password": "correct horse"}'}
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "login", "arguments": arguments}}]}
    entry = SCRIBE.entry(heard({"messages": [called, tool]}, json.encode({"choices": [{"message": called}]})))
    assert not any(secret in written(entry) for secret in ("hunter2", "abc", "zzz", "horse"))
    assert written(entry).count("Rome") == 2


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"torn": "sk-proj-abcdefghijklmnop1234', "application/json"),
        (b"ID3\x04sk-proj-abcdefghijklmnop1234", "audio/mpeg"),
        (b"--b\r\n\r\nsk-proj-abcdefghijklmnop1234\r\n--b--", "multipart/form-data; boundary=b"),
        (b"data: sk-proj-abcdefghijklmnop1234\n\n", EVENTS),
        (b"[" * 100_000, "application/json"),
        (b'{"a":"' + b"x y" * PARSED_MAX + b'"}', "application/json"),
    ],
    ids=["torn", "sound", "form", "no events", "deep", "large"],
)
@pytest.mark.parametrize("policy", ["redacted", "full"])
def test_what_cannot_be_taken_apart_is_not_kept_as_text(body: bytes, kind: str, policy: ContentPolicy) -> None:
    entry = SCRIBE.entry(heard(body, body, kind=kind, policy=policy))
    assert entry.request is not None and entry.reply is not None
    assert (entry.request.text, entry.request.bytes) == (None, len(body))
    assert entry.reply.text is None
    assert entry.request.digest and entry.reply.digest and entry.reply.why_not
    assert "abcdefghijklmnop" not in written(entry)


def test_plain_text_is_text() -> None:
    assert of(SCRIBE.entry(heard(reply=f"heard: {SECRET}".encode(), kind="text/plain")).reply) == "heard: [key]"


def test_of_a_long_text_both_ends_are_kept() -> None:
    text = "".join(f"{number:07} " for number in range(40_000))
    entry = SCRIBE.entry(heard(says(text)))
    kept = of(entry.request)
    assert isinstance(kept, dict)
    said = kept["messages"][0]["content"]
    head, _, rest = said.partition(" [")
    note, _, tail = rest.partition("] ")
    assert text.startswith(head) and text.endswith(tail)
    assert (len(head), len(tail)) == (END, END)
    assert note == f"{len(text) - 2 * END} characters left out"


def test_of_many_texts_both_ends_of_all_are_kept() -> None:
    entry = SCRIBE.entry(heard({"messages": [{"content": "word " * 2_000}] * 40}))
    side = entry.request
    assert side is not None and side.text is not None and side.tail is not None
    assert (len(side.text), len(side.tail)) == (END, END)
    assert side.text.startswith('{"messages":[') and side.tail.endswith("]}")


@pytest.mark.parametrize("at", [0, END - 20, END - 5, END, END + 5, END + 20])
@pytest.mark.parametrize("from_end", [False, True])
def test_a_secret_where_a_text_is_cut_does_not_show_its_half(at: int, from_end: bool) -> None:
    filler = "word " * (END // 5 * 4)
    place = len(filler) - at - len(SECRET) if from_end else at
    entry = SCRIBE.entry(heard(says(f"{filler[:place]} {SECRET} {filler[place:]}")))
    assert not any(SECRET[part : part + 6] in written(entry) for part in range(len(SECRET) - 5))


@pytest.mark.parametrize("at", range(-60, 60, 7))
@pytest.mark.parametrize("piece_begins", [END, END + MARGIN])
def test_a_long_password_where_a_text_is_cut_does_not_show_its_end(at: int, piece_begins: int) -> None:
    secret = 'password = "' + "zq, " * 1_990 + '"'
    filler = "word " * (END // 5 * 4)
    place = len(filler) + len(secret) - piece_begins + at
    entry = SCRIBE.entry(heard(says(filler[:place] + secret + filler[place:])))
    assert "zq" not in written(entry)


def test_a_side_that_its_caller_wants_left_out_is() -> None:
    entry = SCRIBE.entry(heard(says("asked"), b'"told"', keeping=Keeping("full", request=False)))
    assert entry.request is None and of(entry.reply) == "told"
    entry = SCRIBE.entry(heard(says("asked"), b'"told"', keeping=Keeping("full", reply=False)))
    assert entry.reply is None and "told" not in written(entry)


def test_a_reply_that_was_too_long_says_so() -> None:
    made = heard(reply=b"x" * (5 * 1024 * 1024), kind="text/plain", policy="full")
    entry = SCRIBE.entry(made)
    assert entry.reply is not None and entry.reply.why_not is not None
    assert (entry.reply.bytes, entry.reply.text) == (5 * 1024 * 1024, None)


def test_headers_are_masked_as_texts_are() -> None:
    made = heard(room=Room())
    made.headers = {"x-title": f"run with {SECRET} or {KEY}"}
    entry = SCRIBE.entry(made)
    assert entry.request is not None
    assert entry.request.headers == {"x-title": "run with [key] or [presented key]"}


def test_a_span_gets_values_as_they_were_said_and_none_of_what_is_left_out() -> None:
    request, reply = SCRIBE.said(heard(says(f"{SECRET} {KEY}"), b'"told"', keeping=Keeping("full", reply=False)))
    assert request == says(f"{SECRET} [presented key]")
    assert reply is None


def test_half_of_a_letter_is_no_hindrance() -> None:
    stream = b'data: {"choices":[{"index":0,"delta":{"content":"hi \\ud83d"}}]}\n\n'
    entry = SCRIBE.entry(heard(reply=stream, kind=EVENTS))
    assert entry.reply is not None and entry.reply.text is not None
    assert "hi ?" in entry.reply.text
