from __future__ import annotations

from policies.prefix_break import read
from policies.siblings import KEPT_S, KNOWN_MAX, Boundaries, Siblings, boundaries
from tests.prompts import Json, asking

FRONT: Json = {"role": "system", "content": "s" * 40_000}


def cuts(*messages: Json, tokens: int = 10_000, scope: str = "k") -> Boundaries:
    prompt = read(asking([FRONT, *messages], tokens=tokens))
    assert prompt is not None
    return boundaries(prompt, tokens, scope=scope)


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def test_a_prompt_is_cut_where_those_who_share_it_cut_it_too() -> None:
    one, other = cuts(user("first")), cuts(user("second"))
    assert one == other
    assert 9_900 < one[-1][1] < 10_000
    assert one[0][0] in dict(cuts(user("a" * 40_000), user("b"), tokens=20_000))


def test_prompts_of_others_and_other_prompts_share_nothing() -> None:
    assert not dict(cuts(user("x"))).keys() & dict(cuts(user("x"), scope="other")).keys()
    prompt = read(asking([{**FRONT, "content": "t" * 40_000}, user("x")]))
    assert prompt is not None
    assert not dict(cuts(user("x"))).keys() & dict(boundaries(prompt, 10_000, scope="k")).keys()


def test_short_prompts_have_no_cuts_and_long_ones_few() -> None:
    assert cuts(user("x"), tokens=4_095) == ()
    many = cuts(*[user("y" * 4_000)] * 200, tokens=210_000)
    assert 4 <= len(many) <= 9
    assert [tokens for _, tokens in many] == sorted(tokens for _, tokens in many)


def test_the_first_goes_the_others_wait_until_it_can_be_read() -> None:
    siblings, shared = Siblings(), cuts(user("x"))
    assert siblings.enter(shared, 0.0) is None
    lead = siblings.lead(shared, 0.0)
    assert siblings.enter(shared, 1.0) is lead
    siblings.written(lead, 2.0)
    assert lead.over
    assert siblings.enter(shared, 2.0) is None
    assert siblings.lead(shared, 2.0).digests == [], "it writes nothing that is there"


def test_when_the_first_fails_the_next_leads() -> None:
    siblings, shared = Siblings(), cuts(user("x"))
    lead = siblings.lead(shared, 0.0)
    siblings.failed(lead)
    assert siblings.enter(shared, 1.0) is None
    second = siblings.lead(shared, 1.0)
    assert siblings.enter(shared, 1.0) is second
    siblings.failed(lead)
    assert siblings.enter(shared, 1.0) is second, "the second end of the first is nobody's"


def test_nobody_waits_for_the_little_that_is_new() -> None:
    siblings = Siblings()
    siblings.written(siblings.lead(cuts(user("x")), 0.0), 1.0)
    longer = cuts(user("z" * 8_000), user("1"), tokens=12_000)
    siblings.lead(longer, 2.0)
    assert siblings.enter(longer, 2.0) is None
    much_longer = cuts(user("z" * 40_000), user("1"), tokens=20_000)
    lead = siblings.lead(much_longer, 2.0)
    assert siblings.enter(much_longer, 2.0) is lead


def test_what_was_written_long_ago_is_new_again() -> None:
    siblings, shared = Siblings(), cuts(user("x"))
    siblings.written(siblings.lead(shared, 0.0), 1.0)
    assert siblings.lead(shared, KEPT_S).digests == []
    lead = siblings.lead(shared, KEPT_S + 2.0)
    assert siblings.enter(shared, KEPT_S + 2.0) is lead


def test_only_so_many_prefixes_are_known() -> None:
    siblings = Siblings()
    for number in range(KNOWN_MAX + 50):
        siblings.written(siblings.lead(((number, 5_000),), 0.0), 1.0)
    assert repr(siblings) == f"Siblings(0 being written, {KNOWN_MAX} known)"
    for number in range(KNOWN_MAX + 50):
        siblings.lead(((-number - 1, 5_000),), 1.0)
    assert repr(siblings) == f"Siblings({KNOWN_MAX} being written, {KNOWN_MAX} known)"
