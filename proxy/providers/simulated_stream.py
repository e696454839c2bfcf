"""The simulated upstream's streams, event by event, in the form of OpenAI's (API reference: streaming).

A turn is one token of every answer that still has one; the ending holds finish reasons, usage if it was asked for, and
the end marker. When a turn is due is decided elsewhere.
"""

from __future__ import annotations

from msgspec.json import encode

from proxy.providers.simulated_answer import Answer
from proxy.providers.simulated_reply import Bill
from proxy.providers.simulated_wire import Json, Naming, Question, head, response, usage
from proxy.types import Endpoint


def stream_of(naming: Naming, asked: Question, endpoint: Endpoint) -> ChatStream | ResponseStream:
    return ResponseStream(naming) if endpoint == "responses" else ChatStream(naming, asked, chat=endpoint == "chat")


class ChatStream:
    """The chunks of a chat or a completion."""

    def __init__(self, naming: Naming, asked: Question, *, chat: bool) -> None:
        self._naming = naming
        self._chat = chat
        self._head = head(naming, "chat.completion.chunk" if chat else "text_completion")
        self._usage: dict[str, object] = {"usage": None} if asked.wants_usage else {}

    def turn(self, answers: list[Answer], number: int) -> bytes:
        """The next token of every answer that still has one."""
        going = [(index, answer) for index, answer in enumerate(answers) if number < len(answer.pieces)]
        begun = [self._opening(index, answer) for index, answer in going if number == 0 and self._chat]
        return b"".join(begun + [self._piece(index, number, answer) for index, answer in going])

    def _opening(self, index: int, answer: Answer) -> bytes:
        delta: dict[str, object] = {"role": "assistant", "content": "" if answer.tool is None else None}
        return self._event(self._choice(index, {"delta": {**delta, "refusal": None}}))

    def _piece(self, index: int, number: int, answer: Answer) -> bytes:
        text = answer.pieces[number]
        if not self._chat:
            return self._event(self._choice(index, {"text": text}))
        if answer.tool is None:
            return self._event(self._choice(index, {"delta": {"content": text}}))
        call: dict[str, object] = {"index": 0, "function": {"arguments": text}}
        if number == 0:
            function = {"name": answer.tool, "arguments": text}
            call |= {"id": f"call_{self._naming.id}", "type": "function", "function": function}
        return self._event(self._choice(index, {"delta": {"tool_calls": [call]}}))

    def ending(self, answers: list[Answer], bill: Bill) -> bytes:
        rest: dict[str, object] = {"delta": {}} if self._chat else {"text": ""}
        events = [self._event(self._choice(index, rest, answer.finish_reason)) for index, answer in enumerate(answers)]
        if self._usage:
            events.append(_data({**self._head, "choices": [], "usage": usage(bill)}))
        return b"".join(events) + b"data: [DONE]\n\n"

    def _choice(self, index: int, said: Json, reason: str | None = None) -> Json:
        return {"index": index, **said, "logprobs": None, "finish_reason": reason}

    def _event(self, choice: Json) -> bytes:
        return _data({**self._head, "choices": [choice], **self._usage})


class ResponseStream:
    """The events of a Responses stream with one text."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._item = {"item_id": f"msg_{naming.id}", "output_index": 0}
        self._part = {**self._item, "content_index": 0}
        self._number = -1

    def turn(self, answers: list[Answer], number: int) -> bytes:
        begun = b"" if number else self._opening()
        return begun + self._event("response.output_text.delta", {**self._part, "delta": answers[0].pieces[number]})

    def _opening(self) -> bytes:
        begun = {"type": "message", "id": f"msg_{self._naming.id}", "status": "in_progress", "role": "assistant"}
        empty = {"type": "output_text", "text": "", "annotations": []}
        return (
            self._event("response.created", {"response": response(self._naming, "", None)})
            + self._event("response.output_item.added", {"output_index": 0, "item": {**begun, "content": []}})
            + self._event("response.content_part.added", {**self._part, "part": empty})
        )

    def ending(self, answers: list[Answer], bill: Bill) -> bytes:
        text = answers[0].text
        done = response(self._naming, text, bill)
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {"type": "message", "id": f"msg_{self._naming.id}", "status": "completed", "role": "assistant"}
        return (
            self._event("response.output_text.done", {**self._part, "text": text})
            + self._event("response.content_part.done", {**self._part, "part": part})
            + self._event("response.output_item.done", {"output_index": 0, "item": {**item, "content": [part]}})
            + self._event("response.completed", {"response": done})
        )

    def _event(self, kind: str, said: Json) -> bytes:
        self._number += 1
        body = encode({"type": kind, "sequence_number": self._number, **said})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)


def _data(said: Json) -> bytes:
    return b"data: %b\n\n" % encode(said)
