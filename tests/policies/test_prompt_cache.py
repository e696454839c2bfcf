from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec import structs

from policies.prefix_break import Seen
from policies.prompt_cache import LONG_S, RUNS_MAX, Advice, Asked, PromptCaches, billed, session_key
from pricing.prompt_caches import CacheRule
from proxy.cache_hints import CacheHints
from proxy.types import Call, Usage
from tests.prompts import KEY, MARKERS, Json, asking, parts, tool

WHOLE = structs.replace(MARKERS, whole=True)
COVERS = structs.replace(MARKERS, longer_ttl_covers_prefix=True)
SYSTEM: Json = {"role": "system", "content": parts("You are careful.")}
USER: Json = {"role": "user", "content": parts("Go on.")}
SAID: Json = {"role": "assistant", "content": "Done."}
NEW = Seen()
TOOLS = [tool("run")]


def advice(call: Call, rule: CacheRule = MARKERS, *, seen: Seen = NEW, run: str | None = "k\0r") -> Advice:
    caches = PromptCaches()
    if run is not None:
        caches.began(run, 1000.0)
    return caches.advise(Asked(call, run, None, seen), "v/m", rule, 1000.0)


def hints(call: Call, rule: CacheRule = MARKERS, *, seen: Seen = NEW, run: str | None = "k\0r") -> CacheHints:
    found = advice(call, rule, seen=seen, run=run).hints
    assert found is not None
    return found


# --- whether anything is asked


@pytest.mark.parametrize(
    ("call", "rule", "why"),
    [
        (asking([USER], tools=TOOLS), structs.replace(MARKERS, kind="automatic", markers_max=0), "caches by itself"),
        (asking([SYSTEM, USER], tools=TOOLS, tokens=1_023), MARKERS, "below 1024 tokens"),
        (asking([SYSTEM, USER], tools=TOOLS, tokens=1_023), KEY, "below 1024 tokens"),
        (asking([SYSTEM, SAID, {"role": "user", "content": "text"}], tools=TOOLS), MARKERS, ""),
        (asking([{"role": "user", "content": "text"}], tools=TOOLS), MARKERS, "carry no marker"),
        (asking([{"role": "user", "content": parts(" ")}], tools=TOOLS), MARKERS, "carry no marker"),
        (asking("", more={"input": "text"}), MARKERS, "markers stand in messages"),
    ],
)
def test_what_is_left_out_is_left_out_with_a_reason(call: Call, rule: CacheRule, why: str) -> None:
    found = advice(call, rule)
    assert (found.hints is None) == bool(why)
    assert why in found.reason


@pytest.mark.parametrize("rule", [MARKERS, WHOLE, KEY])
@pytest.mark.parametrize(
    ("messages", "more"),
    [
        ([SYSTEM, USER], {"prompt_cache_key": "mine"}),
        ([SYSTEM, USER], {"prompt_cache_retention": "24h"}),
        ([SYSTEM, USER], {"cache_control": {"type": "ephemeral"}}),
    ],
)
def test_the_clients_own_word_is_the_last(rule: CacheRule, messages: Sequence[Json], more: Json) -> None:
    assert advice(asking(messages, tools=TOOLS, more=more), rule).hints is None


def test_the_clients_own_markers_are_the_only_ones_and_no_key() -> None:
    marked = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]
    call = asking([SYSTEM, {"role": "user", "content": marked}], tools=TOOLS)
    assert advice(call, MARKERS).hints is None
    assert advice(call, WHOLE).hints is None
    assert hints(call, KEY).key


def test_a_word_of_the_clients_that_hides_behind_an_escape_counts_too() -> None:
    call = asking([SYSTEM, USER], tools=TOOLS)
    hidden = call.raw.replace(b'"text":"Go on."', rb'"text":"Go on.","cache\u005fcontrol":{"type":"ephemeral"}')
    assert hidden != call.raw
    assert advice(structs.replace(call, raw=hidden)).hints is None
    assert advice(structs.replace(call, raw=call.raw.replace(b"Go on.", rb"Gr\u00fc\u00dfe"))).hints is not None


def test_who_asks_once_writes_nothing() -> None:
    once = asking([SYSTEM, USER])
    assert advice(once, run=None).hints is None
    assert advice(once).hints is None, "the first of a run may be its only one"
    assert advice(once, seen=Seen(1, 0.9)).hints is not None, "the second has shown that they share something"
    assert advice(asking([SYSTEM, USER], tools=TOOLS), run=None).hints is not None
    assert advice(asking([SYSTEM, USER, SAID, USER]), run=None).hints is not None


# --- keys


def test_all_calls_of_a_run_have_one_key_that_says_nothing() -> None:
    first, second = hints(asking([USER]), KEY), hints(asking([USER, SAID, USER]), KEY)
    assert first == second == CacheHints(key=session_key("k\0r"))
    assert len(first.key) <= 64 and "k" not in first.key.removeprefix("hg-").strip("0123456789abcdef")
    assert first.key != hints(asking([USER]), KEY, run="other\0r").key
    assert advice(asking([USER]), KEY, run=None).hints is None


def test_a_key_goes_along_with_responses_and_a_retention_only_where_the_rule_has_one() -> None:
    call = asking("", more={"input": [USER]})
    assert hints(call, KEY).retention == ""
    assert hints(call, structs.replace(KEY, retention="24h")).retention == "24h"


# --- markers


def test_markers_stand_behind_instructions_the_prompt_before_and_the_newest_message() -> None:
    call = asking([SYSTEM, USER, USER, USER, USER], tools=TOOLS)
    assert hints(call).marked == (0, 4)
    assert hints(call, seen=Seen(3, 0.6)).marked == (0, 2, 4)


def test_a_long_turn_has_a_spare_marker_so_that_what_is_before_it_is_found() -> None:
    call = asking([SYSTEM, *[USER] * 30], tools=TOOLS)
    assert hints(call, seen=Seen(3, 0.1)).marked == (0, 2, 22, 30)
    three = structs.replace(MARKERS, markers_max=3)
    assert hints(call, three, seen=Seen(3, 0.1)).marked == (2, 22, 30)


def test_a_text_carries_no_marker_and_one_for_the_whole_prompt_takes_its_place() -> None:
    call = asking([SYSTEM, USER, SAID], tools=TOOLS)
    assert hints(call).marked == (0,)
    assert hints(call, WHOLE) == CacheHints(ttl="1h", marked=(0,), whole=True)
    assert not hints(asking([SYSTEM, SAID, USER], tools=TOOLS), WHOLE).whole
    one = structs.replace(WHOLE, markers_max=1)
    assert hints(call, one) == CacheHints(ttl="1h", whole=True)
    every = asking([SYSTEM, *[USER] * 30, SAID], tools=TOOLS)
    assert len(hints(every, WHOLE, seen=Seen(3, 0.1)).marked) == 3


# --- lives


def test_runs_with_tools_buy_the_long_life_and_all_others_the_short_one() -> None:
    assert hints(asking([SYSTEM, USER], tools=TOOLS)).ttl == "1h"
    assert hints(asking([SYSTEM, USER], tools=TOOLS), run=None).ttl == "5m"
    assert hints(asking([SYSTEM, USER, SAID, USER])).ttl == "5m"
    only_short = structs.replace(MARKERS, write_1h=None)
    assert hints(asking([SYSTEM, USER], tools=TOOLS), only_short).ttl == "5m"


class Run:
    """Its calls, one after another, and for how long each wrote."""

    def __init__(self, rule: CacheRule) -> None:
        self.caches, self.rule, self.now = PromptCaches(), rule, 1000.0

    def call(self, tokens: int, common: int = 0, after_s: float = 10.0) -> str:
        self.now += after_s
        self.caches.began("r", self.now)
        made = asking([SYSTEM, USER], tools=TOOLS, tokens=tokens)
        asked = Asked(made, "r", None, Seen(1, common / tokens))
        return self.caches.ttl(asked, "v/m", self.rule, self.now)


def test_where_a_long_life_covers_what_is_read_it_is_bought_when_it_pays() -> None:
    """p x 1.15 x L > 0.75 x D, with p 0.064 at first: all is new, and a pause is not likely enough."""
    run = Run(COVERS)
    assert run.call(100_000) == "5m"
    # p = 0.64 / 11: it pays up to 8,921 new tokens of 100,000
    assert run.call(100_000, common=91_000) == "5m"
    assert Run(COVERS).call(100_000) == "5m"
    run = Run(COVERS)
    run.call(100_000)
    assert run.call(100_000, common=91_100) == "1h"


def test_a_run_that_pauses_often_buys_more() -> None:
    run = Run(COVERS)
    run.call(100_000)
    for _ in range(10):
        run.call(100_000, common=100_000, after_s=1_000.0)
    assert run.call(100_000, common=40_000) == "1h"


def test_what_has_run_out_is_written_anew() -> None:
    run = Run(COVERS)
    run.call(100_000)
    assert run.call(100_000, common=99_000, after_s=301.0) == "5m", "all of it is new again"
    run = Run(COVERS)
    run.call(100_000)
    assert run.call(100_000, common=99_000) == "1h"
    assert run.call(100_000, common=99_000, after_s=LONG_S - 1) == "1h", "the long life has outlasted the pause"
    assert run.call(100_000, common=99_000, after_s=LONG_S + 1) == "5m"


def test_another_target_has_nothing_of_it() -> None:
    caches = PromptCaches()
    made = asking([SYSTEM, USER], tools=TOOLS, tokens=100_000)
    asked = Asked(made, "r", None, Seen(1, 0.99))
    caches.began("r", 1000.0)
    caches.ttl(asked, "v/m", COVERS, 1000.0)
    assert caches.ttl(asked, "w/m", COVERS, 1001.0) == "5m"


def test_only_so_many_runs_are_remembered() -> None:
    caches = PromptCaches()
    for number in range(RUNS_MAX + 10):
        caches.began(f"r{number}", 1000.0)
    assert repr(caches) == f"PromptCaches({RUNS_MAX} runs)"


# --- the bill


def test_what_was_written_for_an_hour_is_billed_as_such() -> None:
    usage = Usage(input_uncached=10, input_cached=20, input_cache_write_5m=30)
    call = asking([SYSTEM, USER])
    long = structs.replace(call, hints=CacheHints(ttl="1h", whole=True))
    assert billed(usage, long) == Usage(input_uncached=10, input_cached=20, input_cache_write_1h=30)
    assert billed(usage, structs.replace(call, hints=CacheHints(whole=True))) == usage
    assert billed(usage, call) == usage
    own = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    assert billed(usage, asking([{"role": "user", "content": own}])).input_cache_write_1h == 30
    assert billed(usage, asking([{"role": "user", "content": 'say "1h"'}])) == usage
