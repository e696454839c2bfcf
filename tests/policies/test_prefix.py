"""Equal hashes mean equal beginnings, of one tenant and one model; what a run sent last is not hashed again."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from policies import prefix
from policies.prefix import BLOCK_BYTES, BLOCKS_MAX, FIRST_BYTES, KEPT_MAX, PREFIXES_MAX, Prefix, Prefixes
from proxy.dialects.openai_request import read
from proxy.types import Call, Endpoint, Identity
from tests.build import call

ME = Identity(key_id="k", agent="a", run="r")


def message(letter: str, blocks: float = 2.0) -> str:
    return '{"role":"user","content":"%s"}' % (letter * int(blocks * BLOCK_BYTES))


def asked(*messages: str, id: str = "1", who: Identity = ME, more: str = "", model: str = "m") -> Call:
    raw = f'{{"model":"{model}",{more}"messages":[{",".join(messages)}]}}'.encode()
    made = call(head=read("chat", raw, "application/json"), raw=raw, identity=who)
    return replace(made, id=id, input_tokens_estimate=len(raw) // 4)


def of(prefixes: Prefixes, call: Call) -> Prefix:
    found = prefixes.of(call)
    assert found is not None
    return found


def same(one: Prefix, other: Prefix) -> int:
    """Blocks that both begin with."""
    return sum(a == b for a, b in zip(one.hashes, other.hashes, strict=False))


A, B, C = message("a"), message("b"), message("c")


def test_a_prompt_that_goes_on_begins_with_the_blocks_of_the_one_before() -> None:
    prefixes = Prefixes()
    first, second = of(prefixes, asked(A, B)), of(prefixes, asked(A, B, C, id="2"))
    assert second.hashes[: len(first.hashes)] == first.hashes
    assert len(second.hashes) > len(first.hashes) >= 4


def test_what_was_kept_changes_no_hash() -> None:
    prefixes = Prefixes()
    prompts = [asked(A, B), asked(A, B, C), asked(A, C, B), asked(A), asked(C, A), asked(A, B, C, A)]
    for number, prompt in enumerate(prompts):
        assert of(prefixes, replace(prompt, id=str(number))).hashes == of(Prefixes(), prompt).hashes


def test_only_new_blocks_of_a_run_are_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes, known = Prefixes(), []
    whole = prefix.chained

    def watched(text: memoryview, hashes: array[int], *, seed: int, same: int = 0) -> array[int]:
        known.append(same)
        return whole(text, hashes, seed=seed, same=same)

    monkeypatch.setattr(prefix, "chained", watched)
    first = of(prefixes, asked(A, B))
    known.clear()
    of(prefixes, asked(A, B, C, id="2"))
    of(prefixes, asked(A, C, C, id="3"))
    assert known == [len(first.hashes), 2]  # of the last only what stands before its second message


TEXT = "".join(chr(97 + at * 7919 % 23) for at in range(150_000))


@given(st.data())
def test_long_prompts_are_hashed_as_if_nothing_was_kept(data: st.DataObject) -> None:
    prefixes = Prefixes()
    for number in range(4):
        at, cut = data.draw(st.integers(0, 150_000)), data.draw(st.integers(2_000, 150_000))
        tools = '"tools":["%s"],' % ("t" * data.draw(st.sampled_from([0, 10, 1_015, 3_000])))
        one = asked(f'"{(TEXT[:at] + "#!" + TEXT[at:])[:cut]}"', id=str(number), more=tools)
        assert of(prefixes, one).hashes == of(Prefixes(), one).hashes


@given(at=st.integers(0, FIRST_BYTES - 10))
def test_a_clock_near_the_beginning_of_a_prompt_is_never_overlooked(at: int) -> None:
    prefixes = Prefixes()
    of(prefixes, asked(f'"{TEXT}"'))
    one = asked(f'"{TEXT[:at]}#{TEXT[at + 1 :]}"', id="2")
    assert of(prefixes, one).hashes == of(Prefixes(), one).hashes


@pytest.mark.parametrize(
    "other",
    [
        asked(A, B, id="2", who=replace(ME, key_id="other")),
        asked(A, B, id="2", who=replace(ME, team="team")),
        asked(A, B, id="2", model="m:adapter"),
        asked(A, B, id="2", more='"lora_path":"x",'),
        asked(A, B, id="2", more='"revision":"r2",'),
        asked(A, B, id="2", more='"cache_salt":"x",'),
        asked(A, B, id="2", more='"chat_template_kwargs":{"enable_thinking":false},'),
        asked(A, B, id="2", more='"tools":[{"type":"function"}],'),
    ],
    ids=["key", "team", "model", "adapter", "revision", "salt", "template", "tools"],
)
def test_other_tenants_adapters_and_renderings_have_nothing_in_common(other: Call) -> None:
    prefixes = Prefixes()
    assert same(of(prefixes, asked(A, B)), of(prefixes, other)) == 0


def test_keys_of_one_team_share_their_beginnings() -> None:
    prefixes = Prefixes()
    one = of(prefixes, asked(A, B, who=replace(ME, key_id="one", team="t")))
    assert of(prefixes, asked(A, B, id="2", who=replace(ME, key_id="two", team="t"))) == one


@pytest.mark.parametrize("more", ['"temperature":0.5,', '"stream":true,', '"max_tokens":7,', '"user":"u",'])
def test_what_an_engine_does_not_put_in_its_prompt_changes_nothing(more: str) -> None:
    prefixes = Prefixes()
    assert of(prefixes, asked(A, B)).hashes == of(prefixes, asked(A, B, id="2", more=more)).hashes


def test_the_key_is_the_runs_and_without_one_that_of_the_first_blocks() -> None:
    prefixes, nobody = Prefixes(), replace(ME, run=None)
    assert of(prefixes, asked(A, B)).key == of(prefixes, asked(C, id="2")).key
    assert of(prefixes, asked(A, id="3", who=replace(ME, run="q"))).key != of(prefixes, asked(A, id="4")).key
    assert of(prefixes, asked(A, B, id="5", who=nobody)).key == of(prefixes, asked(A, C, id="6", who=nobody)).key
    assert of(prefixes, asked(C, id="7", who=nobody)).key != of(prefixes, asked(A, id="8", who=nobody)).key
    assert not of(prefixes, asked(A, id="9", who=nobody)).run


def test_the_run_of_one_tenant_is_not_that_of_another() -> None:
    prefixes = Prefixes()
    one, other = of(prefixes, asked(A)), of(prefixes, asked(A, id="2", who=replace(ME, key_id="other")))
    assert one.key != other.key


@pytest.mark.parametrize(
    ("endpoint", "body", "blocks"),
    [
        ("completions", '"prompt":"%s"', 3),
        ("responses", '"instructions":"be brief","input":"%s"', 4),
        ("embeddings", '"input":"%s"', 0),
        ("chat", '"messages":[]', 0),
    ],
)
def test_every_endpoint_that_has_prompts_is_known(endpoint: Endpoint, body: str, blocks: int) -> None:
    raw = ('{"model":"m",' + body.replace("%s", "x" * 3_100) + "}").encode()
    found = Prefixes().of(call(head=read(endpoint, raw, "application/json"), raw=raw, endpoint=endpoint))
    assert (0 if found is None else len(found.hashes)) == blocks


def test_a_form_and_a_short_prompt_have_no_prefix() -> None:
    assert Prefixes().of(call()) is None
    assert Prefixes().of(asked(message("a", 0.5))) is None


def test_a_call_is_looked_at_once() -> None:
    prefixes = Prefixes()
    assert of(prefixes, asked(A)) is of(prefixes, asked(A))


def test_one_call_that_asks_several_models_has_a_prefix_for_each() -> None:
    prefixes = Prefixes()
    one, other = of(prefixes, asked(A)), of(prefixes, asked(A, model="other"))
    assert one.key != other.key
    assert same(one, other) == 0


def test_nothing_grows_without_bound() -> None:
    prefixes = Prefixes(kept_bytes_max=20_000)
    for number in range(PREFIXES_MAX + 50):
        of(prefixes, asked(A, B, id=str(number), who=replace(ME, run=str(number))))
    assert len(prefixes._of) == PREFIXES_MAX
    assert prefixes._bytes == sum(kept.size for kept in prefixes._kept.values()) <= 20_000
    small = Prefixes()
    for number in range(KEPT_MAX + 10):
        of(small, asked(message("a", 1), id=str(number), who=replace(ME, run=str(number))))
    assert len(small._kept) == KEPT_MAX
    assert len(of(Prefixes(), asked(message("a", BLOCKS_MAX + 5))).hashes) == BLOCKS_MAX


def test_it_shows_no_text() -> None:
    prefixes = Prefixes()
    assert "aaa" not in repr(of(prefixes, asked(A)))
    assert repr(prefixes).startswith("Prefixes(1 prompts")
