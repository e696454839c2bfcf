from __future__ import annotations

import pytest

from policies.answers import CHARS_MAX, Extraction, answer_of, canonical, folded, never, normalised
from proxy.execution.patterns import last_match
from proxy.observed import Said, ToolCall


@pytest.mark.parametrize(
    "texts",
    [
        ("18", "18.", " 18.0 ", "$18", "**18**", "018", "+18", "`18`", "１８"),
        ("1234.5", "1,234.50", "$1,234.5", "€1 234.5".replace(" ", ",")),
        ("-3", "-3.00", "$-3", "-$3"),
        ("0", "-0", "0.00", ".0"),
        ("50%", "50 %", "50.0%"),
        ("B", "b", "(B)", "b)", "B.", "[b]", "Option B", "The answer is (B).", "Answer: B", "choice b:"),
        ("Paris", "paris", " PARIS. ", "“Paris”", '"paris"!', "**Paris**"),
        ("New York", "new\n york", "New  York."),
        ('{"a": 1, "b": [1, 2.0]}', '{"b":[1.0,2],"a":1}'),
        ("straße", "STRASSE"),
    ],
    ids=lambda texts: str(texts[0]),
)
def test_these_are_one_answer(texts: tuple[str, ...]) -> None:
    assert {folded(text) for text in texts} == {folded(texts[0])}
    assert folded(texts[0]) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("18", "18.5"),
        ("18", "-18"),
        ("50", "50%"),
        ("1,23", "123"),
        ("1e3", "1000"),
        ("18 eggs", "18"),
        ("B", "C"),
        ("paris", "london"),
        ('{"a": 1}', '{"a": 2}'),
        ("[1, 2]", "[2, 1]"),
        ('{"a": "x"}', '{"a": "X"}'),
        ("12345678901234567890123456789012", "12345678901234567890123456789013"),
    ],
)
def test_these_are_two(one: str, other: str) -> None:
    assert folded(one) != folded(other)


@pytest.mark.parametrize("text", ["", "  ", "...", "**", '""'])
def test_nothing_said_is_no_answer(text: str) -> None:
    assert folded(text) is None
    assert normalised(Said(text)) == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("She has 9 eggs.\n9 * 2 = 18\n#### 18", "18"),
        ("We get **Answer:** $18.00", "18"),
        ("The answer is 3. No, wait: the answer is 4.", "4"),
        ("#### Answer:\n\n18\nas shown", "18"),
        ("Answer:", "answer"),
        ("Answer: Mt. Everest", "mt. everest"),
        ("Thus \\boxed{42} and nothing else.", "42"),
        ("The final answer is (B).", "B"),
        ('```json\n{"a": 1.0}\n```', '{"a":1}'),
        ('{"answer": 3}', '{"answer":3}'),
        ("an essay of some words", "an essay of some words"),
        ("{no json", "{no json"),
        ("[" * 5_000, "[" * 5_000),
    ],
)
def test_a_text_is_compared_by_what_it_marks_or_as_a_whole(text: str, answer: str) -> None:
    assert normalised(Said(text)) == answer


@pytest.mark.parametrize(
    ("by", "text", "answer"),
    [
        (Extraction("last_line"), "so\n\n 18 \n\n---\n", None),
        (Extraction("last_line"), "so\n\n 18 \n\n", "18"),
        (Extraction("regex", r"ANSWER: (.*)"), "ANSWER: 1\nANSWER: $2.00\nbye", "2"),
        (Extraction("regex", r"[A-Z]{4}"), "ABCD EFGH", "efgh"),
        (Extraction("regex", r"ANSWER: (.*)"), "18", None),
        (Extraction("regex", r"(a)|b"), "a b", None),
        (Extraction("regex", "("), "18", None),
        (Extraction("json", "result.items[1].value"), '{"result":{"items":[0,{"value":"B"}]}}', "B"),
        (Extraction("json", "$.a"), '```json\n{"a": 18.0}\n```', "18"),
        (Extraction("json", "a"), '{"a": {"y": 1, "x": 2}}', '{"x":2,"y":1}'),
        (Extraction("json", "a"), '{"a": true}', "true"),
        (Extraction("json", "a"), '{"a": null}', None),
        (Extraction("json", "a.b"), '{"a": [1]}', None),
        (Extraction("json", "[3]"), "[1]", None),
        (Extraction("json", "a"), "18", None),
        (Extraction("json", "a"), "no json", None),
        (Extraction("json", ""), '{"a":1}', '{"a":1}'),
        (Extraction("tool_call"), "18", None),
    ],
)
def test_an_answer_is_looked_for_where_the_operator_says(by: Extraction, text: str, answer: str | None) -> None:
    if (by.how, text[-4:-1]) == ("last_line", "---"):
        answer = "---"
    assert answer_of(Said(text), by, last_match) == answer


def test_tools_are_an_answer_whatever_is_looked_for_and_in_whatever_order() -> None:
    one = Said(tool_calls=(ToolCall("f", '{"a": 1, "b": 2}'), ToolCall("g", "{}")))
    same = Said("text", tool_calls=(ToolCall("g", " {} "), ToolCall("f", '{"b":2.0,"a":1}')))
    other = Said(tool_calls=(ToolCall("f", '{"a": 1}'), ToolCall("g", "{}")))
    broken = Said(tool_calls=(ToolCall("f", "{a"), ToolCall("g", "{}")))
    for by in (Extraction(), Extraction("tool_call"), Extraction("regex", "x")):
        assert answer_of(one, by, last_match) == answer_of(same, by, last_match)
        assert len({answer_of(said, by, last_match) for said in (one, other, broken)}) == 3


def test_a_refusal_is_no_answer() -> None:
    assert answer_of(Said("no", refusal="I will not"), Extraction(), never) is None


def test_of_a_long_text_its_end_is_looked_at() -> None:
    assert normalised(Said("answer: 1\n" + "x" * CHARS_MAX)) != "1"
    assert normalised(Said("x" * CHARS_MAX + "\nanswer: 1")) == "1"


def test_a_text_made_to_be_slow_is_read_in_time() -> None:
    marks = ("answer " * 9_000, "answer" + " " * 60_000, "\\boxed{" * 9_000, "#" * 60_000)
    for text in (*marks, "```\n" * 15_000, "1," * 30_000):
        assert normalised(Said(text)) is not None


def test_numbers_in_json_are_one_whatever_their_form() -> None:
    assert folded('{"a": 1.0, "b": 1e2, "c": 1e400}') == '{"a":1,"b":100,"c":Infinity}'
    assert canonical({"b": "ä", "a": 1}) == '{"a":1,"b":"ä"}'
