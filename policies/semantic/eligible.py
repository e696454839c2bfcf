"""Which calls are never answered by a question that only means the same, and which answers are never kept for others.

Where chance, the clock or somebody's file has a say in the answer, no other call's answer is right.
"""

from __future__ import annotations

import re
from typing import Final

from policies.cache_rules import why_not_kept
from policies.repeatable import why_once, why_tools_once
from policies.semantic.answer import Answer
from policies.semantic.rules import SemanticRules
from policies.semantic.scope import Question
from proxy.types import Call, Plan

CHARACTERS_MAX: Final = 1_024  # about 256 tokens; what was cut off could be what differs
ONE_OF_MANY: Final = frozenset({"seed", "audio", "modalities", "logprobs", "top_logprobs"})
NOTHING: Final = frozenset({b"null", b"false"})

_ZERO = re.compile(rb"-?0+(\.0+)?([eE][+-]?\d+)?").fullmatch
_NOW = re.compile(
    r"\b(?:now|nowadays|today|tonight|tomorrow|yesterday|current|currently|latest|newest|recent|recently|upcoming|"
    r"ongoing|(?:this|last|next) (?:second|minute|hour|morning|evening|night|week|weekend|month|quarter|year)|"
    r"what time|what day|what date|so far|at the moment|right now|as of|live|breaking|ago|yet|these days)\b",
    re.IGNORECASE,
).search


def why_not_looked_up(call: Call) -> str | None:
    """Before its question is read; None: it may be."""
    says, fields = call.reuse, call.head.fields or {}
    if says is not None and not (says.read and says.semantic):
        return "the caller wants none"
    if call.head.choices != 1:
        return "it asks for several answers"
    if not _ZERO(bytes(fields.get("temperature", b""))):
        return "its temperature is not 0"
    for name in sorted(ONE_OF_MANY & fields.keys()):
        if bytes(fields[name]) not in NOTHING:
            return f"it has `{name}`"
    return why_once(call) or why_tools_once(call)


def why_not_asked(question: Question, rules: SemanticRules) -> str | None:
    """Once its question is read."""
    if not question.text:
        return "its last turn is empty"
    if len(question.text) > CHARACTERS_MAX:
        return "its last turn is too long"
    if rules.ttl_s is None and _NOW(question.text):
        return "it asks about the present, and no `ttl_s` says how long that lasts"
    return None


def why_not_stored(call: Call, plan: Plan | None, answer: Answer, *, shortened: bool, elsewhere: bool) -> str | None:
    """Of an answer that its client got whole. `elsewhere`: another model had answered."""
    if call.reuse is not None and not call.reuse.write:
        return "the caller wants it kept nowhere"
    if answer.finish_reason != "stop":
        return f"it finished by {answer.finish_reason or 'nothing'!r}"
    if answer.refused or answer.calls_tools or not answer.text.strip():
        return "it is no answer in words"
    return why_not_kept(call, plan, answer.body, shortened=shortened, served_elsewhere=elsewhere)
