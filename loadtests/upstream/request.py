"""One request as the upstream reads it: what a canned answer needs by regular expressions, all of it on demand.

A request may carry a nonce (`x-nonce`, or the body's `user`), which goes back into its reply: a swapped reply shows.
"""

from __future__ import annotations

import json
import re

NONCE = re.compile(rb"[\w.\-]{1,128}")
USER = re.compile(rb'"user"\s*:\s*"([\w.\-]{1,128})"')
MODEL = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.){0,256}")')
STREAM = re.compile(rb'"stream"\s*:\s*true')
INCLUDE_USAGE = re.compile(rb'"include_usage"\s*:\s*true')


class Request:
    """`nonce`, `model` and `wants_usage` go back into the reply."""

    __slots__ = ("body", "head", "model", "nonce", "path", "prompt_tokens", "streamed", "wants_usage")

    def __init__(self, head: bytes, lowered: bytes, body: bytes) -> None:
        self.head = head
        self.body = body
        self.path = [*head.split(b" ", 2), b"", b""][1]
        self.prompt_tokens = max(1, len(body) // 4)
        model = MODEL.search(body)
        self.model = model[1] if model else b'"bench"'
        asked = b'"stream"' in body and STREAM.search(body) is not None  # a plain search rules most bodies out, fast
        self.streamed = asked and self.path.endswith(b"/completions")
        self.wants_usage = self.streamed and INCLUDE_USAGE.search(body) is not None
        named = lowered.find(b"\r\nx-nonce:")
        nonce = NONCE.search(head, named + 10, head.find(b"\r\n", named + 2)) if named >= 0 else None
        user = USER.search(body) if nonce is None and b'"user"' in body else None
        self.nonce = nonce[0] if nonce else user[1] if user else b"none"

    @property
    def generates(self) -> bool:
        """Whether it asks for something that costs money."""
        return self.path.endswith((b"/completions", b"/embeddings"))

    @property
    def json(self) -> dict[str, object]:
        """The body; {} when it is no JSON object."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
