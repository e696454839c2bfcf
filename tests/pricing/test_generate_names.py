"""Match rules become names that match no more than they did."""

from __future__ import annotations

from types import SimpleNamespace as Rule

import pytest

from pricing.generate_names import Irreducible, names_of

NO_SPEECH = Rule(regex=r"^(?!.*-[tT][tT][sS](?:$|-))")


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (Rule(equals="GPT-4o"), ("gpt-4o",)),
        (Rule(starts_with="claude-3"), ("claude-3*",)),
        (Rule(contains="claude"), ("*claude*",)),
        (Rule(ends_with="-fast"), ("*-fast",)),
        (Rule(or_=[Rule(equals="a"), Rule(starts_with="b"), Rule(equals="a")]), ("a", "b*")),
        (Rule(regex=r"^grok-4\.3-\d{8}$"), ("grok-4.3-########",)),
        (Rule(regex=r"^claude-opus-5[-@]\d{8}$"), ("claude-opus-5-########", "claude-opus-5@########")),
        (Rule(regex=r"^gpt-6-\d{4}-\d{2}-\d{2}$"), ("gpt-6-####-##-##",)),
        (Rule(regex=r"^g-\d"), tuple(f"g-{digit}*" for digit in range(10))),
        (
            Rule(and_=[Rule(starts_with="g"), NO_SPEECH]),
            ("g", "g-preview", "g-0*", "g-1*", "g-preview-0*", "g-preview-1*", "g-exp-0*", "g-exp-1*"),
        ),
    ],
)
def test_a_rule_becomes_names(rule: Rule, names: tuple[str, ...]) -> None:
    assert names_of("maker/model", rule) == names


@pytest.mark.parametrize(
    "rule",
    [
        Rule(regex=r"grok"),
        Rule(regex=r"^(a|b)$"),
        Rule(regex=r"^a.b$"),
        Rule(equals="a*b"),
        Rule(equals="a#b"),
        Rule(starts_with=""),
        Rule(and_=[Rule(starts_with="a"), Rule(contains="b")]),
        Rule(and_=[NO_SPEECH, Rule(starts_with="a")]),
    ],
)
def test_a_rule_without_equivalent_is_refused(rule: Rule) -> None:
    with pytest.raises(Irreducible):
        names_of("maker/model", rule)


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("amazon.nova-lite", ("amazon.nova-lite*", "us.amazon.nova-lite*", "*/us.amazon.nova-lite*")),
        ("eu.amazon.nova-2-lite", ("*eu.amazon.nova-2-lite*",)),
        ("claude-3-haiku-20240307", ("*claude-3-haiku-20240307*",)),
    ],
)
def test_bedrocks_prices_are_those_of_their_region(rule: str, names: tuple[str, ...]) -> None:
    assert names_of("aws/model", Rule(contains=rule)) == names


def test_settled_by_hand_wins() -> None:
    assert names_of("azure/o4-mini", Rule(contains="o4-mini")) == ("o4-mini", "o4-mini-2025-04-16")
