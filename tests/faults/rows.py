"""The fault matrix as a table: what an upstream does, what the client sees, what the ledger says, how long it may take.

A row names its fault of the matrix. `script` is what the first target does to every request; a second target, where
there is one, is well. `view` is the client's: `next` (another target answers; alone, `status`), `passed` (`status`,
whatever other targets there are), `good` (a whole reply), `event` (content, an error event and a connection that is
aborted, never a false end), `cut` (a proper end with `length`). `ledger` is what the failed attempt is charged,
`bound_s` how long it may take. `later` says of a case why today's gate does not meet it.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from tests.flow.world import PROVIDER_KEY

View = Literal["next", "passed", "good", "event", "cut"]
Ledger = Literal["void", "in", "met", "hold", "use", "any"]
Form = Literal["stream", "plain"]

DEADLINE_S = 60.0
BOTH: tuple[Form, ...] = ("stream", "plain")
STREAM: tuple[Form, ...] = ("stream",)
PLAIN: tuple[Form, ...] = ("plain",)

TEXT = {"content-type": "text/html"}
EVENTS = {"content-type": "text/event-stream"}


class Row(Struct, frozen=True):
    id: str
    about: str
    script: object  # steps, a scenario, or the name of a place where nothing is
    view: View
    status: int = 200
    code: str | None = None  # the gate's, of the failed attempt
    ledger: Ledger = "void"
    forms: tuple[Form, ...] = BOTH
    targets: tuple[int, ...] = (1, 2)
    bound_s: float = 1.0
    later: dict[str, str] = {}  # case -> why today's code does not meet it

    @property
    def name(self) -> str:
        return f"{self.id} {self.about}"


def failing(status: int, code: str | None = None, headers: dict[str, str] | None = None, kind: str = "t") -> object:
    body = {"error": {"message": "no", "type": kind, "param": None, "code": code}}
    return [{"reply": {"status": status, "headers": headers or {}, "body": body}}]


def odd(*steps: object) -> list[object]:
    """A stream that is whole, with something odd in its middle."""
    return ["stream", "role", {"tokens": 3}, *steps, "finish", "usage", "done", "end"]


def hinting(value: str, name: str = "retry-after") -> object:
    return failing(429, "rate_limit_exceeded", {name: value})


def saying(choices: str, *, model: str = "real") -> object:
    usage = '{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}'
    body = f'{{"id":"c","object":"chat.completion","model":"{model}","choices":[{choices}],"usage":{usage}}}'
    return [{"bill": {"prompt": 9, "completion": 4}}, {"reply": {"body": body}}]


def chosen(content: str, finish: str = "stop", more: str = "") -> str:
    return f'{{"index":0,"message":{{"role":"assistant","content":{content}{more}}},"finish_reason":"{finish}"}}'


OK = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
EVENT = 'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}'
WHOLE = '{"id":"c","object":"chat.completion","choices":[' + chosen('"x"') + "]}"
HEARD = [{"wait": 0.1}]  # so that what was sent is read before the reset overtakes it

CONNECTION = (
    Row("F01", "no such name", "no name", "next", 502, "upstream_unreachable"),
    Row("F02", "refused", "refused", "next", 502, "upstream_unreachable"),
    Row("F03", "connecting goes unanswered", "black hole", "next", 504, "upstream_timeout", bound_s=2.1),
    Row("F04", "unknown authority", "unknown authority", "next", 502, "upstream_unreachable"),
    Row("F04", "no TLS where TLS is due", "no tls", "next", 502, "upstream_unreachable"),
    Row("F05", "reset before anything was sent", "reset at once", "next", 502, "upstream_unreachable", ledger="any"),
    Row("F07", "reset after the request", [*HEARD, "reset"], "next", 502, "upstream_unreachable", ledger="in"),
    Row("F07", "closed after the request", [*HEARD, "close"], "next", 502, "upstream_unreachable", ledger="in"),
    Row("F08", "no head", ["stall"], "next", 504, "upstream_timeout", "any", STREAM, bound_s=10.1),
    Row("F08", "no head, plain", ["stall"], "next", 504, "upstream_timeout", "any", PLAIN, bound_s=10.1, targets=(2,)),
    Row("F08", "no head until the deadline", ["stall"], "passed", 504, "deadline_exceeded", "any", PLAIN,
        bound_s=DEADLINE_S + 0.1, targets=(1,)),
    Row("F08", "no head, charged its input", ["stall"], "next", 504, "upstream_timeout", "in", STREAM, bound_s=10.1),
    Row("F09", "head, then nothing", ["stream", "stall"], "next", 504, "upstream_timeout", "in", STREAM, bound_s=10.1),
    Row(
        "F09", "a role, then nothing", ["stream", "role", "stall"], "next", 504, "upstream_timeout", "in", STREAM,
        bound_s=10.1,
    ),
)  # fmt: skip

HEADS = (
    Row("F10", "a flood of headers", [{"raw": OK}, {"raw": {"text": "x-y: z\r\n", "times": 20_000}}], "next", 502,
        "upstream_broken", "any"),
    Row("F10", "a header without end", [{"raw": OK + "x-y: "}, {"raw": {"text": "z" * 8192, "times": 200}}], "next",
        502, "upstream_broken", "any"),
    Row("F10", "illegal bytes", [{"raw": "HTTP/1.1 200 OK\r\nx\x00y: \x01\r\n\r\n"}], "next", 502, "upstream_broken",
        "any"),
    Row("F10", "no HTTP at all", [{"raw": "SSH-2.0-OpenSSH\r\n\r\n"}], "next", 502, "upstream_broken", "any"),
    Row("F11", "a redirect", [{"redirect": "http://127.0.0.1:1/steal"}], "next", 502, "unexpected_redirect"),
    Row("F12", "101", [{"raw": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"}],
        "next", 502, "upstream_broken", "any"),
    Row("F12", "a storm of interim heads", [{"raw": {"text": "HTTP/1.1 103 Early Hints\r\n\r\n", "times": 50}}],
        "next", 502, "upstream_broken", "any"),
    Row("F12", "204", [{"raw": "HTTP/1.1 204 No Content\r\n\r\n"}], "next", 502, "upstream_broken", "any"),
    Row("F12", "206", [{"raw": OK.replace("200 OK", "206 Partial") + "Content-Length: 2\r\n\r\n{}"}], "next", 502,
        "upstream_broken", "any"),
    Row("F24", "gzip that nobody asked for", [{"reply": {"body": WHOLE, "gzip": True}}], "next", 502,
        "upstream_broken", "any"),
)  # fmt: skip

BODIES = (
    Row("F13", "reset in a plain body", ["part", *HEARD, "reset"], "next", 502, "upstream_broken", "hold", PLAIN),
    Row("F13", "closed in a plain body", ["part", "close"], "next", 502, "upstream_broken", "hold", PLAIN),
    Row("F14", "reset after content", ["stream", "role", {"tokens": 4}, *HEARD, "reset"], "event", 200,
        "upstream_broken", "met", STREAM),
    Row("F15", "a clean end without a terminal event", ["stream", "role", {"tokens": 4}, "end"], "event", 200,
        "upstream_broken", "met", STREAM),
    Row("F15", "closed without a terminal event", ["stream", "role", {"tokens": 4}, *HEARD, "close"], "event", 200,
        "upstream_broken", "met", STREAM),
    Row("F16", "one byte a second", ["stream", {"tokens": 2}, {"drip": {"text": EVENT, "interval": 1.0}}, "stall"],
        "event", 200, "upstream_stalled", "met", STREAM, bound_s=5.2),
    Row("F17", "silence in mid-stream", ["stream", "role", {"tokens": 4}, "stall"], "event", 200, "upstream_stalled",
        "met", STREAM, bound_s=5.2),
    Row("F19", "broken JSON in the first event", ["stream", {"event": '{"choices":[{'}, *HEARD, "end"], "next", 502,
        "upstream_broken", "any", STREAM),
    Row("F19", "broken JSON later", ["stream", {"tokens": 2}, *HEARD, {"event": '{"choices":[{'}, "end"], "event", 200,
        "upstream_broken", "met", STREAM),
    Row("F19", "broken JSON in a reply", [{"reply": {"body": '{"choices":[{'}}], "next", 502, "upstream_broken", "any"),
    Row("F20", "HTML", [{"reply": {"body": "<html>", "headers": TEXT}}], "next", 502, "upstream_broken", "any"),
    Row("F20", "JSON for a stream", saying(chosen('"x"')), "good", ledger="use", forms=STREAM),
    Row("F20", "a stream for JSON", odd(), "good", ledger="use", forms=PLAIN),
    Row("F21", "an error before content", ["stream", {"event": {"error": {"message": "busy", "code": 503}}}, "end"],
        "next", 503, "upstream_error", "any", STREAM),
    Row("F21", "an error after content",
        ["stream", {"tokens": 2}, *HEARD, {"event": {"error": {"message": "busy", "code": 503}}}, "end"], "event", 200,
        "upstream_error", "met", STREAM),
    Row("F22", "two terminals", odd("finish", "done"), "good", ledger="any", forms=STREAM),
    Row("F22", "usage after the end", ["stream", {"tokens": 3}, "finish", "done", "usage", "end"], "good", 200, None,
        "use", STREAM),
    Row("F22", "events after the end", ["stream", {"tokens": 3}, "finish", "usage", "done", {"event": "{}"}, "end"],
        "good", 200, None, "use", STREAM),
    Row("F23", "endless", ["stream", {"endless": 0.01}], "cut", 200, None, "met", STREAM, bound_s=5),
    Row("F25", "HTTP/1.0 without a length",
        [{"bill": {"prompt": 9, "completion": 1}},
         {"raw": OK.replace("1.1", "1.0") + "\r\n" + WHOLE}, "close"], "good", 200, None, "any", PLAIN),
    Row("F25", "junk after the reply",
        [{"bill": {"prompt": 9, "completion": 1}},
         {"raw": OK + f"Content-Length: {len(WHOLE)}\r\n\r\n{WHOLE}junk"}, "stall"], "good", 200, None, "any", PLAIN),
    Row("F26", "a cookie", [{"bill": {"prompt": 9, "completion": 1}},
        {"reply": {"body": WHOLE, "headers": {"set-cookie": "a=b", "x-amzn-id": "7"}}}], "good", 200, None, "any",
        PLAIN),
    Row("F33", "an empty answer", saying(chosen('""')), "good", 200, None, "use", PLAIN),
    Row("F33", "a refusal", saying(chosen("null", more=',"refusal":"no"')), "good", 200, None, "use", PLAIN),
    Row("F33", "another model's name", saying(chosen('"x"'), model="other"), "good", 200, None, "use", PLAIN),
)  # fmt: skip

ODD_EVENTS = (
    *(Row("F18", about, odd({"chunk": text}), "good", ledger="use", forms=STREAM)
    for about, text in (
        ("lone CR", EVENT + "\r\r"),
        ("mixed ends", EVENT + "\r\n\n"),
        ("no space", EVENT.replace("data: ", "data:") + "\n\n"),
        ("data on several lines", EVENT.replace(',"choices"', ',\ndata: "choices"') + "\n\n"),
        ("id and retry", "id: 1\nretry: 5\n" + EVENT + "\n\n"),
        ("comments", ": still here\n\n: and here\n" + EVENT + "\n\n"),
        ("a field nobody knows", "foo: bar\n" + EVENT + "\n\n"),
        ("an empty event", "\n\n\n"),
    )),
    Row("F18", "a BOM", ["stream", {"chunk": "\xef\xbb\xbf"}, {"tokens": 2}, "finish", "usage", "done", "end"], "good",
        ledger="use", forms=STREAM),
    Row("F18", "split UTF-8", odd({"chunk": EVENT.replace('"x"', '"\xc3')}, {"wait": 0.1}, {"chunk": '\xa9"' +
        EVENT.partition('"x"')[2] + "\n\n"}), "good", ledger="use", forms=STREAM),
    Row("F18", "an event of 16 MiB", ["stream", {"tokens": 2}, *HEARD, {"chunk": 'data: {"x":"'},
        {"chunk": {"text": "x" * 65536, "times": 256}}, {"chunk": '"}\n\n'}, "finish", "done", "end"], "event", 200,
        "upstream_broken", "met", STREAM),
    Row("F18", "a hundred thousand empty events", odd({"chunk": {"text": ":\n\n" * 1000, "times": 100}}), "good",
        ledger="use", forms=STREAM),
)  # fmt: skip

HINTS = tuple(
    Row("F27", f"429, {about}", hinting(value, name), "next", 429, "upstream_overloaded")
    for about, value, name in (
        ("seconds", "3", "retry-after"),
        ("a float", "2.5", "retry-after"),
        ("a date long past", "Wed, 21 Oct 2015 07:28:00 GMT", "retry-after"),
        ("a date far off", "Wed, 21 Oct 2099 07:28:00 GMT", "retry-after"),
        ("milliseconds", "1500", "retry-after-ms"),
        ("6m0s", "6m0s", "x-ratelimit-reset-requests"),
        ("20ms", "20ms", "x-ratelimit-reset-requests"),
        ("RFC 3339", "2099-01-01T00:00:00Z", "anthropic-ratelimit-requests-reset"),
        ("negative", "-5", "retry-after"),
        ("NaN", "NaN", "retry-after"),
        ("10^9", "1000000000", "retry-after"),
        ("words", "soon", "retry-after"),
        ("none", "", "x-nothing"),
    )
)

SAID = f"the key {PROVIDER_KEY} is not known"
TOLD = {"x-request-id": PROVIDER_KEY, "content-type": "text/plain"}
INDISCREET = (
    Row("F31", "a refusal that repeats the credential",
        [{"reply": {"status": 401, "body": {"error": {"message": SAID, "type": "t", "code": PROVIDER_KEY}}}}], "next",
        502, "upstream_auth"),
    Row("F29", "an error that repeats the credential",
        [{"reply": {"status": 500, "body": SAID, "headers": TOLD}}],
        "next", 500, "upstream_error"),
    Row("F30", "a rejection that repeats the credential",
        [{"reply": {"status": 400, "body": {"error": {"message": SAID, "type": "t", "code": "c"}}}}], "passed", 400,
        "upstream_rejected"),
    Row("F21", "an error after content that repeats the credential",
        ["stream", {"tokens": 2}, *HEARD, {"event": {"error": {"message": SAID, "code": 500}}}, "end"], "event", 200,
        "upstream_error", "met", STREAM),
    Row("F20", "HTML that repeats the credential", [{"reply": {"body": SAID, "headers": TEXT}}], "next", 502,
        "upstream_broken", "any"),
    Row("F33", "an answer that repeats the credential", saying(chosen(f'"{SAID}"')), "good", 200, None, "use"),
)  # fmt: skip

REFUSALS = (
    *HINTS,
    Row("F27", "429, two that disagree", failing(429, None, {"retry-after": "90", "retry-after-ms": "2000"}), "next",
        429, "upstream_overloaded"),
    Row("F27", "429, in the body",
        [{"reply": {"status": 429, "body": {"error": {"message": "m", "details": [{"retryDelay": "2s"}]}}}}], "next",
        429, "upstream_overloaded"),
    Row("F28", "a quota", failing(429, "insufficient_quota", kind="insufficient_quota"), "next", 429, "upstream_quota"),
    *[Row("F29", f"{status}", failing(status), "next", status) for status in (500, 502, 503, 504, 529)],
    Row("F29", "503 with a hint", failing(503, headers={"retry-after": "2"}), "next", 503),
    Row("F30", "context length", failing(400, "context_length_exceeded", kind="invalid_request_error"), "passed", 400,
        "context_length_exceeded"),
    Row("F30", "content filter", failing(400, "content_filter", kind="invalid_request_error"), "passed", 400,
        "content_filter"),
    Row("F31", "401", failing(401), "next", 502, "upstream_auth"),
    Row("F31", "403", failing(403), "next", 502, "upstream_auth"),
    Row("F32", "the model is gone", failing(404, "model_not_found", kind="invalid_request_error"), "passed", 404,
        "upstream_model_missing"),
    Row("F35", "every other request fails", {"rules": [{"when": {"every": 2}, "steps": failing(500)}]}, "good", 200,
        None, "any"),
)  # fmt: skip

ROWS = (*CONNECTION, *HEADS, *BODIES, *ODD_EVENTS, *REFUSALS, *INDISCREET)

# What the gate cannot do yet: a row, or a file of its own, comes with the feature.
NOT_YET: dict[str, str] = {
    "F72": "equal calls become one",
    "F73": "caches",
    "F76": "shedding under overload",
    "F78": "cascades",
}
ELSEWHERE = {  # fault -> the tests that hold it
    "F06": "tests/faults/test_sockets.py",
    "F34": "tests/faults/test_hedges.py",
    "F36": "tests/faults/test_outages.py",
    "F37": "tests/faults/test_outages.py",
    "F47": "tests/faults/test_shared_store.py",
    "F48": "tests/faults/test_shared_store.py",
    "F50": "tests/faults/test_shared_store.py",
    "F60": "tests/workers/test_stuck.py",
    "F67": "tests/faults/test_clients.py",
    "F68": "tests/faults/test_clients.py",
    "F69": "tests/flow/test_joins.py",
    "F74": "tests/faults/test_outages.py",
    "F75": "tests/faults/test_outages.py",
    "F77": "tests/faults/test_hedges.py",
}
ASKED = (*range(1, 38), 47, 48, 50, 67, 68, 69, *range(72, 79))
