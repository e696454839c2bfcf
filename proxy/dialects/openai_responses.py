"""Streams of the responses endpoint: typed events, of which the last carries the whole reply.

Every `.delta` is generated output; `response.completed` and `response.incomplete` end the stream and report usage;
`response.failed` and `error` are faults. OpenAI API reference, "Streaming events".
"""

from __future__ import annotations

import re
from typing import Any

from proxy.dialects.openai_cut import response_end
from proxy.dialects.openai_passage import StreamPassage
from proxy.dialects.openai_text import texts_in
from proxy.types import Usage

ENDS = frozenset({"response.completed", "response.incomplete"})

_LOUD = re.compile(rb"response\.(?:completed|incomplete|failed)|error|\[DONE\]").search


def failed(payload: dict[str, Any]) -> dict[str, Any] | None:
    """A failing event in the form that errors have elsewhere."""
    kind, response = payload.get("type"), payload.get("response")
    if kind == "response.failed":
        return {"error": (response.get("error") if isinstance(response, dict) else None) or {}}
    return {"error": payload} if kind == "error" and not payload.get("error") else None


class ResponsesPassage(StreamPassage):
    __slots__ = ()

    @staticmethod
    def loud(data: bytes) -> bool:
        return _LOUD(data) is not None

    def fault_in(self, name: bytes, payload: dict[str, Any]) -> dict[str, Any] | None:
        return failed(payload) or super().fault_in(name, payload)

    def cut(self, usage: Usage) -> bytes:
        return response_end(self._opening, usage)

    def report(self, payload: dict[str, Any]) -> None:
        response = payload.get("response")
        super().report(response if isinstance(response, dict) else payload)

    def inspect(self, name: bytes, payload: dict[str, Any], size: int) -> bool:
        kind, response = str(payload.get("type")), payload.get("response")
        if self.model is None and isinstance(response, dict) and isinstance(response.get("model"), str):
            self.model = response["model"]
        if kind.endswith((".delta", ".partial_image")) and (payload.get("delta") or kind.endswith("image")):
            self.generated(list(texts_in(payload.get("delta"))), size)
        if kind in ENDS:
            self.report(payload)
            self.finished = self.terminal = True
        return True
