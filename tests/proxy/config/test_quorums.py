from __future__ import annotations

import pytest
from pydantic import ValidationError

from policies.answers import Extraction
from policies.vote import VoteRules
from proxy.config.models import Model


def model(**given: object) -> Model:
    return Model.model_validate({"mode": "quorum", "members": ["a", "b"], **given})


def test_the_defaults_are_those_of_the_rules() -> None:
    assert model().votes() == VoteRules()
    assert model(mode="debate").votes() == VoteRules()


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ({"ask": 5}, VoteRules(sizes=(5,))),
        ({"ask": [3, 5]}, VoteRules(sizes=(3, 5))),
        ({"rule": "unanimous"}, VoteRules(rule="unanimous")),
        ({"rule": 2}, VoteRules(rule=2)),
        ({"answer": {"regex": "ANSWER: (.*)"}}, VoteRules(extraction=Extraction("regex", "ANSWER: (.*)"))),
        ({"answer": {"json_path": "items[0].value"}}, VoteRules(extraction=Extraction("json", "items[0].value"))),
        ({"answer": {"take": "last_line"}}, VoteRules(extraction=Extraction("last_line"))),
        ({"mode": "debate", "rounds": 3, "max_cost_ratio": 5.0}, VoteRules(rounds=3, cost_ratio_max=5.0)),
    ],
)
def test_what_is_written_is_what_holds(given: dict[str, object], rules: VoteRules) -> None:
    assert model(**given).votes() == rules


@pytest.mark.parametrize(
    "given",
    [
        {"ask": 0},
        {"ask": []},
        {"ask": [5, 3]},
        {"ask": [3, 3]},
        {"ask": 99},
        {"ask": "3"},
        {"rule": "some"},
        {"rule": 4},
        {"rule": 0},
        {"answer": {"regex": "("}},
        {"answer": {"regex": "a", "take": "text"}},
        {"answer": {"json_path": "a..b"}},
        {"answer": {"take": "all"}},
        {"members": ["a"] * 10},
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        model(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "quorum", "members": ["a"], "rounds": 2}, "a quorum has no rounds"),
        ({"mode": "quorum", "members": ["a"], "answer": {"regex": "("}}, "it is no regular expression: missing"),
        ({"mode": "debate", "members": ["a", "b"], "rule": 2}, "a debate has no rule"),
        ({"mode": "debate", "members": ["a"]}, "a debate has 2 to 5 members"),
        ({"mode": "debate", "members": ["a"] * 6}, "a debate has 2 to 5 members"),
        ({"targets": [{"provider": "p", "model": "m"}], "ask": 3}, "only a quorum or a debate has ask"),
        ({"mode": "cascade", "steps": ["a"], "answer": {"take": "text"}}, "only a quorum or a debate has answer"),
    ],
)
def test_a_field_of_another_mode_is_refused_with_words(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Model.model_validate(given)
