from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from policies.cache_rules import (
    TTL_MAX_S,
    CacheRules,
    Wanted,
    owner,
    question,
    renew_early,
    ttl_s,
    wanted,
    why_not,
    why_not_kept,
    why_not_shared,
)
from proxy.dialects.openai_request import read
from proxy.reuse import Reuse
from proxy.types import Call, Endpoint, Identity, Plan
from tests.proxy.telemetry.samples import CALL

ON, RUNS = CacheRules(exact="on"), CacheRules(replay="run")
PLAIN = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
PLAN = Plan("single", (), "a plan")
SOMEBODY = Identity(key_id="key-1", agent="planner", agent_source="key", run="run-1", run_source="header")


def call(
    body: bytes = PLAIN, *, endpoint: Endpoint = "chat", who: Identity = SOMEBODY, reuse: Reuse | None = None
) -> Call:
    head = read(endpoint, body, "application/json")
    return replace(CALL, endpoint=endpoint, head=head, raw=body, identity=who, reuse=reuse, route="m")


def names(asked: Call, rules: CacheRules = ON, revision: str = "r") -> Wanted:
    found = wanted(asked, rules, revision)
    assert found is not None
    return found


# --- which calls have one answer -------------------------------------------------------------------------------------

FIELDS = st.fixed_dictionaries(
    {"messages": st.sampled_from([[{"role": "user", "content": text}] for text in ("a", "b")])},
    optional={
        "temperature": st.sampled_from([0, 1, 0.5]),
        "seed": st.integers(0, 1),
        "stream": st.booleans(),
        "tools": st.sampled_from([[], [{"type": "function", "function": {"name": "f"}}]]),
        "an_unknown_field": st.sampled_from(["x", "y"]),
        "user": st.sampled_from(["u", "v"]),
    },
)
OWNERS = st.builds(
    Identity,
    key_id=st.sampled_from(["k1", "k2"]),
    agent=st.sampled_from(["a", "b"]),
    agent_source=st.just("key"),
    run=st.sampled_from([None, "r1", "r2"]),
    team=st.sampled_from([None, "k1", "t"]),
)
MODELS = st.sampled_from(["m", "n"])
ASKED = st.tuples(MODELS, FIELDS, OWNERS)


def written(model: str, fields: dict[str, object], *, backwards: bool) -> bytes:
    items = [("model", model), *fields.items()]
    body = msgspec.json.encode(dict(reversed(items) if backwards else items))
    return msgspec.json.format(body, indent=2) if backwards else body


def tenant(who: Identity) -> tuple[str, str]:
    return ("key", who.key_id) if who.team is None else ("team", who.team)


@given(ASKED, ASKED, st.booleans(), st.sampled_from(["agent", "team"]))
def test_two_requests_share_a_key_only_if_owner_and_every_field_agree(
    one: tuple[str, dict[str, object], Identity],
    other: tuple[str, dict[str, object], Identity],
    backwards: bool,
    scope: str,
) -> None:
    rules = msgspec.convert({"exact": "on", "scope": scope}, CacheRules)
    first = names(call(written(one[0], one[1], backwards=False), who=one[2]), rules).exact
    second = names(call(written(other[0], other[1], backwards=backwards), who=other[2]), rules).exact
    owners = [(tenant(who), who.agent if scope == "agent" else "") for _, _, who in (one, other)]
    bodies = [msgspec.json.encode((model, fields), order="sorted") for model, fields, _ in (one, other)]
    assert (first == second) == (owners[0] == owners[1] and bodies[0] == bodies[1])


def test_owners_cannot_be_put_together_from_parts_of_others() -> None:
    names_ = ["a", "b", "ab", "", "1:a", "a1:b"]
    identities = [
        Identity(key_id=key, agent=agent, agent_source="key", run=run, team=team)
        for key, agent, run, team in itertools.product(names_, names_, (None, "a"), (None, "a", "key a"))
    ]
    meant = {(tenant(who), who.agent) for who in identities}
    assert len({owner(who, "agent") for who in identities}) == len(meant)
    assert len({owner(who, "team") for who in identities}) == len({tenant(who) for who in identities})


@pytest.mark.parametrize("text", [b'"\\ud800"', b"[" * 3_000 + b"]" * 3_000, b'"caf\xc3\xa9"', b"1e400"])
def test_odd_values_have_a_key_of_their_own_and_break_nothing(text: bytes) -> None:
    fields = {"model": msgspec.Raw(b'"m"'), "x": msgspec.Raw(text)}
    asked = call()
    assert question(asked, fields) == question(asked, dict(fields))
    assert question(asked, fields) != question(asked, {**fields, "x": msgspec.Raw(text + b" 1")})


def test_another_configuration_is_another_question_to_the_cache_and_not_to_the_journal() -> None:
    asked = call(reuse=Reuse(key="step-1"))
    old, new = names(asked, ON, "old"), names(asked, ON, "new")
    assert old.exact != new.exact
    assert (old.replay, old.digest) == (new.replay, new.digest)


def test_the_gates_own_word_is_no_part_of_the_question() -> None:
    assert names(call(PLAIN[:-1] + b',"cache":{"ttl":5}}')).exact == names(call()).exact


@pytest.mark.parametrize(
    ("rules", "reuse", "has"),
    [
        (CacheRules(), None, (False, False)),
        (CacheRules(), Reuse(key="k"), (False, True)),
        (CacheRules(replay="off"), Reuse(key="k"), None),
        (ON, None, (True, False)),
        (ON, Reuse(read=False, write=False), None),
        (ON, Reuse(key="k"), (True, True)),
        (RUNS, None, (False, True)),
        (RUNS, Reuse(read=False), None),
    ],
)
def test_what_is_looked_for(rules: CacheRules, reuse: Reuse | None, has: tuple[bool, bool] | None) -> None:
    found = wanted(call(reuse=reuse), rules, "r")
    given_ = None if found is None else (found.exact is not None, found.replay is not None)
    assert given_ == (None if has == (False, False) else has)


def test_a_run_replays_its_own_calls_and_nobody_elses() -> None:
    other = replace(SOMEBODY, run="run-2")
    assert names(call(), RUNS).replay != names(call(who=other), RUNS).replay
    assert wanted(call(who=replace(SOMEBODY, run=None)), RUNS, "r") is None


def test_a_body_that_is_not_json_has_no_key() -> None:
    form = replace(call(), head=replace(call().head, fields=None), reuse=Reuse(key="k"))
    assert wanted(form, ON, "r") is None
    assert why_not(form, ON) == "its body is not JSON"


@pytest.mark.parametrize(
    ("body", "endpoint", "why"),
    [
        (PLAIN, "chat", "its temperature is not 0"),
        (PLAIN[:-1] + b',"temperature":0.0}', "chat", None),
        (PLAIN[:-1] + b',"temperature":-0e3}', "chat", None),
        (PLAIN[:-1] + b',"temperature":0.01}', "chat", "its temperature is not 0"),
        (PLAIN[:-1] + b',"temperature":"0"}', "chat", "its temperature is not 0"),
        (b'{"model":"m","input":"x"}', "embeddings", None),
        (b'{"model":"m","input":"x","store":true}', "embeddings", "it keeps or uses state at the provider"),
        (b'{"model":"m","input":"x"}', "responses", "its response is stored unless `store` is false"),
        (b'{"model":"m","prompt":"x"}', "images", "replies of images are not kept"),
    ],
)
def test_calls_that_have_one_answer(body: bytes, endpoint: Endpoint, why: str | None) -> None:
    assert why_not(call(body, endpoint=endpoint), CacheRules(exact="deterministic")) == why


# --- what may be kept ------------------------------------------------------------------------------------------------

FINISHED = b'{"choices":[{"index":0,"message":{},"finish_reason":"stop"}]}'
STREAM = b'data: {"choices":[{"delta":{},"finish_reason":%b}]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize(
    ("endpoint", "body", "kept"),
    [
        ("chat", FINISHED, True),
        ("chat", b" \n" + FINISHED, True),
        ("chat", FINISHED.replace(b'"stop"', b"null"), False),
        ("chat", FINISHED.replace(b'"stop"', b'"error"'), False),
        ("chat", FINISHED.replace(b"}]}", b'},{"finish_reason":null}]}'), False),
        ("chat", b'{"choices":[]}', False),
        ("chat", b'{"error":{"message":"\\"finish_reason\\": \\"stop\\""}}', False),
        ("chat", b"<html>", False),
        ("chat", STREAM % b'"stop"', True),
        ("chat", b": wait\n\n" + STREAM % b'"length"', True),
        ("chat", STREAM % b"null", False),
        ("chat", STREAM % b'"error"', False),
        ("responses", b'{"status":"completed","output":[]}', True),
        ("responses", b'{"status":"incomplete","output":[{"status":"completed"}]}', False),
        ("responses", b'event: response.completed\ndata: {"type":"response.completed"}\n\n', True),
        ("responses", b'data: {"type":"response.incomplete","item":{"status":"completed"}}\n\n', False),
        ("embeddings", b'{"data":[]}', False),
        ("embeddings", b'{"data":[{}]}', True),
    ],
)
def test_only_a_whole_answer_answers_others(endpoint: Endpoint, body: bytes, kept: bool) -> None:
    asked = replace(call(), endpoint=endpoint)
    assert (why_not_kept(asked, PLAN, body, shortened=False, served_elsewhere=False) is None) == kept


def test_what_a_budget_has_shortened_or_another_model_said_is_not_for_others() -> None:
    cheaper = replace(PLAN, degraded=("cheaper",))
    for plan, shortened, elsewhere in ((PLAN, True, False), (cheaper, False, False), (PLAN, False, True)):
        assert why_not_kept(call(), plan, FINISHED, shortened=shortened, served_elsewhere=elsewhere)
    assert why_not_shared(PLAN, shortened=True)
    assert why_not_shared(cheaper, shortened=False)
    assert why_not_shared(PLAN, shortened=False) is None
    assert why_not_shared(None, shortened=False) is None


@pytest.mark.parametrize(
    ("asked_s", "kept_s"), [(None, 3_600.0), (5.0, 5.0), (0.0, 0.0), (-1.0, 0.0), (1e300, TTL_MAX_S)]
)
def test_a_caller_may_shorten_the_life_of_its_answer_and_not_make_it_eternal(
    asked_s: float | None, kept_s: float
) -> None:
    assert ttl_s(ON, Reuse(ttl_s=asked_s)) == kept_s
    assert ttl_s(ON, None) == 3_600.0


def test_an_answer_is_renewed_early_the_more_likely_the_nearer_its_end() -> None:
    assert not renew_early(89.9, 100, 0.0)
    shares = [sum(renew_early(age_s, 100, chance / 100) for chance in range(100)) for age_s in (91.2, 95, 99)]
    assert shares == [2, 25, 81]
