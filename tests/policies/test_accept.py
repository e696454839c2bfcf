from __future__ import annotations

from math import exp

import pytest

from policies.accept import GATES, Judged, Tools, judge, repeated, score
from policies.accept_rules import GATES_USUAL, CascadeRules, GateName
from proxy.observed import Demand, Said, ToolCall

STOP = "stop"
ADD = ToolCall("add", '{"n":1}')


class Written:
    """What is known of forms stands in the texts themselves."""

    def fault(self, schema: bytes, text: str) -> str | None:
        return None if text.startswith("{") else "it does not fit"

    def finds(self, pattern: str, text: str) -> bool | str:
        return "the pattern takes too long on it" if pattern == "slow" else pattern in text


class Doubtful:
    def __init__(self) -> None:
        self.learnt: list[tuple[str, str, float]] = []

    def is_low(self, agent: str, model: str, logprob: float) -> bool:
        return logprob < -1.0

    def learn(self, agent: str, model: str, logprob: float) -> None:
        self.learnt.append((agent, model, logprob))


def judged(*said: Said, whole: bool = True, **demand: object) -> Judged:
    return Judged(said, Demand(**demand), "a", "m", whole)  # type: ignore[arg-type]  # as a test names them


def gate(name: GateName, of: Judged, pattern: str = "") -> str | None:
    """Why one gate alone says no."""
    verdict = judge(of, CascadeRules(accept=(name,), pattern=pattern), Tools(Written(), Doubtful()))
    assert verdict.by == ("passed" if verdict.accepted else name)
    return None if verdict.accepted else verdict.reason


@pytest.mark.parametrize(
    ("finish", "why"),
    [
        ("stop", None),
        ("tool_calls", None),
        ("function_call", None),
        ("length", "it ended with 'length'"),
        ("content_filter", "it ended with 'content_filter'"),
        (None, "it did not say why it ended"),
    ],
)
def test_only_a_finished_answer_is_one(finish: str | None, why: str | None) -> None:
    assert gate("finished", judged(Said("x", finish_reason=finish))) == why


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (Said("four"), False),
        (Said(refusal="No."), True),
        (Said(finish_reason="content_filter"), True),
        (Said("  I\u2019m sorry, but I can\u2019t help with that."), True),
        (Said("I am unable to assist."), True),
        (Said("She said: I'm sorry, but I can't."), False),
        (Said("I cannot help with", (ADD,)), False),
    ],
)
def test_a_refusal_is_no_answer(said: Said, refused: bool) -> None:
    assert (gate("not_refused", judged(said)) is not None) == refused


@pytest.mark.parametrize(
    ("said", "empty"), [(Said(" \n"), True), (Said("x"), False), (Said("", (ADD,)), False), (Said(refusal="No"), False)]
)
def test_nothing_is_no_answer(said: Said, empty: bool) -> None:
    assert (gate("not_empty", judged(said)) == "it is empty") == empty


@pytest.mark.parametrize(
    ("text", "wanted", "why"),
    [
        ("{", True, "it is not JSON"),
        ("{", False, None),
        ('{"a":1}', True, None),
        ("[" * 5_000, True, "it is not JSON"),
        ('"' + "x" * 1024 * 1024 + '"', True, "it is too long to be read as JSON"),
    ],
)
def test_json_is_due_where_it_was_asked_for(text: str, wanted: bool, why: str | None) -> None:
    assert gate("valid_json", judged(Said(text), json=wanted)) == why


def test_a_tool_call_is_an_answer_of_another_form() -> None:
    call_alone = Said("", (ADD,))
    assert gate("valid_json", judged(call_alone, json=True)) is None
    assert gate("valid_schema", judged(call_alone, schema=b"{}")) is None
    assert gate("regex", judged(call_alone), pattern="x") is None


@pytest.mark.parametrize(
    ("schema", "text", "why"), [(b"{}", "x", "it does not fit"), (b"{}", "{}", None), (None, "x", None)]
)
def test_an_answer_fits_the_schema_that_was_asked_for(schema: bytes | None, text: str, why: str | None) -> None:
    assert gate("valid_schema", judged(Said(text), schema=schema)) == why


@pytest.mark.parametrize(
    ("calls", "due", "why"),
    [
        ((ADD,), False, None),
        ((), False, None),
        ((), True, "it calls no tool, where the request wants one called"),
        ((ToolCall("sub", "{}"),), False, "it calls a tool 'sub' that there is not"),
        ((ToolCall("add", "x"),), False, "the arguments of 'add' do not fit: it does not fit"),
        ((ToolCall("add", ""),), False, None),  # no arguments
        ((ToolCall("free", "x"),), False, None),  # a tool whose input has no schema
        ((ADD, ToolCall("add", "x")), False, "the arguments of 'add' do not fit: it does not fit"),
    ],
)
def test_tools_are_called_as_they_are(calls: tuple[ToolCall, ...], due: bool, why: str | None) -> None:
    of = judged(Said("", calls), tools={"add": b"{}", "free": None}, tool_due=due)
    assert gate("valid_tools", of) == why


@pytest.mark.parametrize(
    ("pattern", "why"),
    [("four", None), ("five", "it has no match of the pattern"), ("slow", "the pattern takes too long on it")],
)
def test_a_pattern_has_a_match(pattern: str, why: str | None) -> None:
    assert gate("regex", judged(Said("four")), pattern=pattern) == why


@pytest.mark.parametrize(("mean", "low"), [(-0.5, False), (-1.5, True), (None, False)])
def test_a_doubtful_answer_does_not_pass(mean: float | None, low: bool) -> None:
    assert (gate("logprob", judged(Said("x", logprob_mean=mean))) is not None) == low


def test_whatever_is_decided_is_learnt_of() -> None:
    usually = Doubtful()
    rules, tools = CascadeRules(accept=("logprob",)), Tools(Written(), usually)
    for mean in (-0.5, -1.5, None):
        judge(judged(Said("x", logprob_mean=mean)), rules, tools)
    judge(judged(Said("x", logprob_mean=-0.7), whole=False), rules, tools)
    assert usually.learnt == [("a", "m", -0.5), ("a", "m", -1.5)]


def test_each_choice_has_to_pass() -> None:
    good, bad = Said("x", finish_reason=STOP), Said("", finish_reason=STOP)
    tools = Tools(Written(), Doubtful())
    assert judge(judged(good, good), CascadeRules(), tools).accepted
    assert judge(judged(good, bad), CascadeRules(), tools).by == "not_empty"


def test_the_first_gate_that_says_no_is_named() -> None:
    tools = Tools(Written(), Doubtful())
    of = judged(Said("", finish_reason="length"))
    assert judge(of, CascadeRules(accept=("finished", "not_empty")), tools).by == "finished"
    assert judge(of, CascadeRules(accept=("not_empty", "finished")), tools).by == "not_empty"
    assert judge(of, CascadeRules(accept=()), tools).accepted


def test_a_beginning_is_judged_by_what_can_judge_one() -> None:
    tools = Tools(Written(), Doubtful())
    beginning = judged(Said("The ans"), whole=False, json=True, tool_due=True)
    assert judge(beginning, CascadeRules(), tools).accepted
    assert not judge(judged(Said("I cannot help with it"), whole=False), CascadeRules(), tools).accepted
    assert judge(judged(whole=False), CascadeRules(), tools).accepted
    assert not judge(judged(whole=True), CascadeRules(accept=()), tools).accepted  # nothing that can be read


@pytest.mark.parametrize(
    ("errors", "found"),
    [
        ([], False),
        ([("add", "Error: a")], False),
        ([("add", "Error: a"), ("add", "Error: b")], False),
        ([("add", "Error: a"), ("sub", "Error: a")], False),
        ([("add", "Error: a"), ("sub", "x"), ("add", "Error: a")], True),
    ],
)
def test_the_same_error_of_the_same_tool_twice_is_one_too_many(errors: list[tuple[str, str]], found: bool) -> None:
    verdict = repeated(errors)
    assert (verdict is not None) == found
    assert verdict is None or (verdict.by, "'add'" in verdict.reason) == ("repeated_tool_error", True)


def test_how_sure_a_model_was() -> None:
    assert score((Said("x"),)) == 1.0
    assert score((Said("x", logprob_mean=-0.5), Said("x", logprob_mean=-2.0))) == pytest.approx(exp(-2.0))
    assert score((Said("x", logprob_mean=0.1),)) == 1.0


def test_every_gate_but_the_one_before_the_call_is_in_the_table() -> None:
    assert set(GATES_USUAL) <= set(GATES)
    assert "repeated_tool_error" not in GATES
