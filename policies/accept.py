"""Is a cheap answer good enough? The free gates of a cascade, and what others may add to their word.

A gate looks at what an answer says and at what its request asked for, and names the first thing that is wrong; an
answer that passes all of them is accepted. Gates cost nothing but the time to read; agreement, judges and verifiers
cost calls and stand in `execution.second_look`. Nothing here knows whether an answer is right: what evidence there is
of that is asked for through `Evidence`. After "FrugalGPT" (Chen, Zaharia and Zou, 2023), whose scorer is learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Final, Literal, Protocol

from msgspec import Struct, json

from policies.accept_rules import CascadeRules, GateName
from proxy.observed import Demand, Said
from proxy.types import Call, Plan

FINISHED: Final = frozenset({"stop", "tool_calls", "function_call"})
JSON_CHARS_MAX: Final = 1024 * 1024
TEXT_CHARS_MAX: Final = 256 * 1024  # of an answer, for a pattern
REFUSALS: Final = (
    *("i'm sorry, but i can't", "i'm sorry, but i cannot", "i'm sorry, i can't", "i'm sorry, i cannot"),
    *("i am sorry, but i can't", "i am sorry, but i cannot", "i can't help with", "i cannot help with"),
    *("i can't assist with", "i cannot assist with", "i'm unable to help", "i am unable to help"),
    *("i'm unable to assist", "i am unable to assist", "i won't be able to help"),
    *("sorry, i can't", "sorry, but i can't"),
)
SURE: Final = 1.0

Reason = GateName | Literal["agree", "judge", "verify", "evidence", "passed"]


class Verdict(Struct, frozen=True):
    """`by`: the check that decided; `reason`: a part of a sentence, without any of the answer's text but its names."""

    accepted: bool
    by: Reason
    reason: str


PASSED: Final = Verdict(True, "passed", "passed every gate")


class Forms(Protocol):
    """What tells whether a text has a form: bounded in size and steps. See `execution.forms`."""

    def fault(self, schema: bytes, text: str) -> str | None:
        """Why the JSON text does not conform to the JSON schema; None: it does."""
        ...

    def finds(self, pattern: str, text: str) -> bool | str:
        """Whether the text has a match; or why that cannot be told."""
        ...


class Usually(Protocol):
    """What answers of one model to one agent usually are: see `logprobs`."""

    def is_low(self, agent: str, model: str, logprob: float) -> bool: ...

    def learn(self, agent: str, model: str, logprob: float) -> None: ...


class Evidence(Protocol):
    """What was seen of answers that a rung gave before: whether one with such a score may be accepted."""

    def threshold(self, call: Call, plan: Plan, rung: int, *, score: float, now: float) -> Verdict | None:
        """Asked once all else has accepted it. `score`: in 0..1, see `score`. None: nothing is to be said."""
        ...


class FirstRung(Protocol):
    """Which rung a call begins at, and what became of it: a run may stay at where its last step was answered."""

    def first(self, call: Call, plan: Plan, now: float) -> tuple[int, str]:
        """The number of the rung, 0 is the cheapest; and why, a part of a sentence where it is not 0."""
        ...

    def answered(self, call: Call, plan: Plan, rung: int, *, escalated: bool, now: float) -> None:
        """`escalated`: a rung below was asked for nothing."""
        ...


class Judged(Struct, frozen=True):
    """One answer before the gates. `model`: the rung's name; `whole`: all of it is there, not only its beginning."""

    said: tuple[Said, ...]  # of each choice
    demand: Demand
    agent: str
    model: str
    whole: bool = True


class Tools(Struct, frozen=True):
    """What gates work with; made once."""

    forms: Forms
    usually: Usually


def repeated(errors: Sequence[tuple[str, str]]) -> Verdict | None:
    """What rejects a cheap answer before it is asked for: a run that has met the same error of the same tool twice
    among its last messages. None: it has not."""
    name = next((name for at, (name, text) in enumerate(errors) if (name, text) in errors[:at]), None)
    if name is None:
        return None
    return Verdict(False, "repeated_tool_error", f"the run has met the same error of the tool {name[:64]!r} twice")


def judge(judged: Judged, rules: CascadeRules, tools: Tools) -> Verdict:
    """The first gate that says no, in the order of the rules. Of several choices each has to pass."""
    if not judged.said and judged.whole:
        return Verdict(False, "not_empty", "it says nothing that can be read")
    names = rules.accept if judged.whole else tuple([name for name in rules.accept if name in EARLY])
    found = next((verdict for name in names if (verdict := _asked(name, judged, rules, tools)) is not None), PASSED)
    if judged.whole:
        _learn(judged, tools)  # whatever was found: a tenth of all answers is to lie below
    return found


def _asked(name: GateName, judged: Judged, rules: CascadeRules, tools: Tools) -> Verdict | None:
    gate = GATES.get(name)
    if gate is None:
        return None
    for said in judged.said:
        why = gate(said, judged, rules, tools)
        if why is not None:
            return Verdict(False, name, why)
    return None


def score(said: tuple[Said, ...]) -> float:
    """How sure a model was of what it said, in 0..1: the geometric mean of its tokens' probabilities where it tells
    them, else SURE. What a judge says goes before."""
    means = [one.logprob_mean for one in said if one.logprob_mean is not None]
    return exp(min(0.0, min(means))) if means else SURE


# --- the gates: why an answer does not pass, None: it does -----------------------------------------------------------


def _finished(said: Said, judged: Judged, rules: CascadeRules, tools: Tools) -> str | None:
    if said.finish_reason in FINISHED:
        return None
    return f"it ended with {said.finish_reason!r}" if said.finish_reason else "it did not say why it ended"


def _not_refused(said: Said, judged: Judged, rules: CascadeRules, tools: Tools) -> str | None:
    if said.refusal or said.finish_reason == "content_filter":
        return "the model refused"
    begins = said.text.lstrip()[:80].lower().replace("\u2019", "'")
    return "it reads like a refusal" if begins.startswith(REFUSALS) and not said.tool_calls else None


def _not_empty(said: Said, judged: Judged, rules: CascadeRules, tools: Tools) -> str | None:
    return None if said.text.strip() or said.tool_calls or said.refusal else "it is empty"


def _valid_json(said: Said, judged: Judged, rules: CascadeRules, tools: Tools) -> str | None:
    """Where the request asks for JSON. A tool call is an answer of another form."""
    if not judged.demand.json or said.tool_calls:
        return None
    return _json_fault(said.text)


def _valid_schema(said: Said, judged: Judged, rules: CascadeRules, tools: Tools) -> str | None:
    schema = judged.demand.schema
    if schema is None or said.tool_calls:
        return None
    return tools.forms.fault(schema, said.text)


def _valid_tools(said: Said, judged: Judged, rules: CascadeRules, tools: Tools) -> str | None:
    known = judged.demand.tools
    for call in said.tool_calls:
        if call.name not in known:
            return f"it calls a tool {call.name[:64]!r} that there is not"
        schema = known[call.name]
        why = None if schema is None else tools.forms.fault(schema, call.arguments or "{}")
        if why is not None:
            return f"the arguments of {call.name[:64]!r} do not fit: {why}"
    if judged.demand.tool_due and not said.tool_calls:
        return "it calls no tool, where the request wants one called"
    return None


def _regex(said: Said, judged: Judged, rules: CascadeRules, tools: Tools) -> str | None:
    if not rules.pattern or said.tool_calls:
        return None
    found = tools.forms.finds(rules.pattern, said.text[:TEXT_CHARS_MAX])
    return None if found is True else found or "it has no match of the pattern"


def _logprob(said: Said, judged: Judged, rules: CascadeRules, tools: Tools) -> str | None:
    mean = said.logprob_mean
    if mean is None or not tools.usually.is_low(judged.agent, judged.model, mean):
        return None
    return "the model was less sure of it than of nine in ten of its answers"


def _json_fault(text: str) -> str | None:
    if len(text) > JSON_CHARS_MAX:
        return "it is too long to be read as JSON"
    try:
        json.decode(text)
    except (ValueError, RecursionError):
        return "it is not JSON"
    return None


def _learn(judged: Judged, tools: Tools) -> None:
    for said in judged.said:
        if said.logprob_mean is not None:
            tools.usually.learn(judged.agent, judged.model, said.logprob_mean)


Gate = Callable[[Said, Judged, CascadeRules, Tools], str | None]
GATES: Final[Mapping[GateName, Gate]] = {
    "finished": _finished,
    "not_refused": _not_refused,
    "not_empty": _not_empty,
    "valid_json": _valid_json,
    "valid_schema": _valid_schema,
    "valid_tools": _valid_tools,
    "regex": _regex,
    "logprob": _logprob,
}
EARLY: Final = frozenset({"not_refused"})  # the gates that can judge a beginning
