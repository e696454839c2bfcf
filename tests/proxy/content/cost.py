"""What keeping words costs, of a prompt of 20 KB in 40 messages: printed, never asserted.

python -m tests.proxy.content.cost
"""

from __future__ import annotations

import time

from msgspec import json

from proxy.content.heard import Heard, Keeping, Room
from proxy.content.scribe import Scribe
from proxy.dialects.openai_chat import OpenAI
from proxy.types import ContentPolicy
from tests.proxy.content.build import EVENTS, event, heard

MESSAGES = 40
MESSAGE_BYTES = 500
STREAMED = 300
ROUNDS = 300
CHUNKS = 300_000
PROSE = "The next step is to read the file that the tool has found, and to say what is in it. "
REPLY = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"Read."}}]}'
POLICIES: tuple[ContentPolicy, ...] = ("digest", "full", "redacted")


def asked() -> dict[str, object]:
    text = (PROSE * (MESSAGE_BYTES // len(PROSE) + 1))[:MESSAGE_BYTES]
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[at % 2], "content": f"{at} {text}"} for at in range(MESSAGES)]}


def written_ms(made: Heard) -> float:
    """CPU of the writer's thread, its write to the file left out."""
    scribe = Scribe(b"key" * 10, OpenAI())
    began = time.process_time()
    for _ in range(ROUNDS):
        json.encode(scribe.entry(made))
    return (time.process_time() - began) / ROUNDS * 1e3


def chunk_us() -> float:
    """CPU of the loop, for a chunk that is remembered."""
    pieces = [event(content="word")] * STREAMED
    began = time.process_time()
    for _ in range(CHUNKS // STREAMED):
        made = heard(reply=b"", kind=EVENTS)
        for piece in pieces:
            made.add(piece)
    return (time.process_time() - began) / CHUNKS * 1e6


def main() -> None:
    request = asked()
    print(f"a prompt of {len(json.encode(request)):,} bytes")
    for policy in POLICIES:
        plain = heard(request, REPLY, policy=policy)
        streamed = heard(request, b"", keeping=Keeping(policy), room=Room(), kind=EVENTS)
        for _ in range(STREAMED):
            streamed.add(event(content="word "))
        print(
            f"{policy:9} {written_ms(plain):5.2f} ms, with a stream of {STREAMED} events {written_ms(streamed):5.2f} ms"
        )
    print(f"each chunk, in the loop: {chunk_us():.2f} us")


if __name__ == "__main__":
    main()
