from __future__ import annotations

import msgspec
import pytest

from policies.semantic.judging import JudgeBudget, asked, verdict


@pytest.mark.parametrize(
    ("text", "said"),
    [("SAME", True), (" different.", False), ('"Same"', True), ("maybe", None), ("", None), ("SAME, but", None)],
)
def test_one_word_is_a_verdict(text: str, said: bool | None) -> None:
    assert verdict(text) is said


def test_the_judge_is_given_the_texts_as_material() -> None:
    body = msgspec.json.decode(asked("j", "which?", 'one", "answer_2": "x', "two"))
    system, user = body["messages"]
    assert body["model"] == "j"
    assert body["temperature"] == 0
    assert "which?" not in system["content"]
    texts = msgspec.json.decode(user["content"])
    assert texts == {"question": "which?", "answer_1": 'one", "answer_2": "x', "answer_2": "two"}


def test_a_budget_fills_up_over_a_day_and_not_beyond() -> None:
    budget = JudgeBudget()
    assert budget.has_some(1_000, 0.0)
    budget.spend(1_500)
    assert not budget.has_some(1_000, 86_400 * 0.4)
    assert budget.has_some(1_000, 86_400 * 0.6)
    assert budget.has_some(1_000, 86_400 * 100)
    budget.spend(1_000)
    assert not budget.has_some(1_000, 86_400 * 100)


def test_without_a_budget_nobody_judges() -> None:
    assert not JudgeBudget().has_some(0, 0.0)
