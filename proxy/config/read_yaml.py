"""Reads YAML as the tree of `config.tree`, from the parser's events and never from its objects.

Reading events means that an alias is refused when it is met, not after it was followed (289 bytes can describe 43
million nodes), that a quoted scalar is known from a plain one, and that equal keys are all still there. Refused as
well: anchors, tags, merge keys, a second document, and nesting deeper than `DEPTH_MAX`.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from proxy.config.tree import DEPTH_MAX, Mapped, Node, Scalar, Sequence, SyntaxProblem

SKIPPED = (yaml.events.StreamStartEvent, yaml.events.DocumentEndEvent)


def read(text: str) -> Node:
    try:
        return _document(yaml.parse(text, Loader=yaml.CSafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SyntaxProblem(f"not valid YAML: {error.problem}", mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise SyntaxProblem(f"not valid YAML: {getattr(error, 'reason', 'unreadable')}") from None


def _document(events: Iterator[Event]) -> Node:
    tree: Node = Mapped((), 1)  # an empty file configures nothing
    documents = 0
    for event in events:
        if isinstance(event, StreamEndEvent):
            break
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise SyntaxProblem("only one document is read; remove the `---`", _line(event))
        elif not isinstance(event, SKIPPED):
            tree = _node(event, events, 0)
    return tree


def _node(event: Event, events: Iterator[Event], depth: int) -> Node:
    _refuse_what_is_not_plain_data(event)
    if depth > DEPTH_MAX:
        raise SyntaxProblem(f"nested deeper than {DEPTH_MAX} levels", _line(event))
    if isinstance(event, ScalarEvent):
        return Scalar(event.value, _line(event), plain=event.style is None or event.style == "")
    if isinstance(event, SequenceStartEvent):
        return Sequence(tuple(_items(events, depth + 1)), _line(event))
    if isinstance(event, MappingStartEvent):
        return Mapped(tuple(_pairs(events, depth + 1)), _line(event))
    raise SyntaxProblem("not valid YAML: unexpected structure", _line(event))


def _items(events: Iterator[Event], depth: int) -> Iterator[Node]:
    for event in events:
        if isinstance(event, SequenceEndEvent):
            return
        yield _node(event, events, depth)


def _pairs(events: Iterator[Event], depth: int) -> Iterator[tuple[Scalar, Node]]:
    for event in events:
        if isinstance(event, MappingEndEvent):
            return
        key = _node(event, events, depth)
        if not isinstance(key, Scalar):
            raise SyntaxProblem("the key of a mapping must be text", key.line)
        if key.plain and key.text == "<<":
            raise SyntaxProblem("merge keys are not read; write the keys out", key.line)
        yield key, _node(next(events), events, depth)


def _refuse_what_is_not_plain_data(event: Event) -> None:
    if isinstance(event, AliasEvent):
        raise SyntaxProblem("aliases are not read; write the value out", _line(event))
    if isinstance(event, NodeEvent) and event.anchor is not None:
        raise SyntaxProblem("anchors are not read; write the value out", _line(event))
    if getattr(event, "tag", None) is not None:
        raise SyntaxProblem("tags are not read; quote the value if it is text", _line(event))


def _line(event: Event) -> int | None:
    return event.start_mark.line + 1 if event.start_mark else None
