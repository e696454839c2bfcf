"""Calls that are alike are of one kind, and what sets them apart is seen from a few bytes."""

from __future__ import annotations

import json

import pytest
from msgspec import Raw, structs

from policies.call_kind import kind_of
from proxy.types import Call, Head
from tests.build import call


def asked(text: str, *, tokens: int = 100, fields: tuple[str, ...] = (), ascii: bool = False) -> Call:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}, ensure_ascii=ascii)
    head = Head("m", fields=dict.fromkeys(fields, Raw(b"[]")))
    return structs.replace(call(head=head, raw=body.encode()), input_tokens_estimate=tokens)


@pytest.mark.parametrize(
    ("text", "matter"),
    [
        ("What is the capital of France?", "text"),
        ("Mend this:\n```python\nprint(1\n```", "code"),
        ("def f(x):\n  return x", "code"),
        ("Weng earns $12 an hour. How much did she earn?", "maths"),
        ("What is 3 * 7?", "maths"),
        (r"Simplify \frac{a}{b} + c", "maths"),
    ],
)
def test_matter_is_told_from_the_text(text: str, matter: str) -> None:
    assert kind_of(asked(text)) == f"7 {matter} latin"


def test_tools_and_json_are_told_from_the_request() -> None:
    assert kind_of(asked("What is 3 * 7?", fields=("tools", "response_format"))) == "7 tools latin"
    assert kind_of(asked("What is 3 * 7?", fields=("response_format",))) == "7 json latin"


@pytest.mark.parametrize(("tokens", "octave"), [(0, 0), (1, 1), (1_023, 10), (1_024, 11), (2_047, 11), (2_048, 12)])
def test_length_goes_by_octaves(tokens: int, octave: int) -> None:
    assert kind_of(asked("hello", tokens=tokens)) == f"{octave} text latin"


@pytest.mark.parametrize("ascii", [True, False])
@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Where does the train leave tomorrow morning?", "latin"),
        ("Où va le train à l'été, près du château?", "latin"),
        ("Куда идёт поезд завтра утром, и когда он придёт?", "cyrillic"),
        ("Πού πηγαίνει το τρένο αύριο το πρωί;", "greek"),
        ("明日の朝、電車はどこへ行きますか。そしていつ着きますか。", "cjk"),
        ("기차는 내일 아침 어디로 갑니까? 언제 도착합니까?", "cjk"),
        ("कल सुबह ट्रेन कहाँ जाती है और कब पहुँचती है?", "indic"),
        ("إلى أين يذهب القطار صباح الغد ومتى يصل؟", "semitic"),
    ],
)
def test_script_is_told_however_it_is_written(text: str, script: str, ascii: bool) -> None:
    assert kind_of(asked(text, ascii=ascii)).split()[2] == script


def test_only_the_end_of_a_long_prompt_is_read() -> None:
    assert kind_of(asked("```" + 10_000 * "word ")).split()[1] == "text"
