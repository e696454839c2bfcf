from __future__ import annotations

from collections.abc import Sequence

import pytest

from policies.prefix_break import LINES_MAX, LOST_LEAST, RUNS_MAX, Break, Prefixes, Seen, read
from proxy.types import Call
from tests.prompts import Json, asking, tool

LONG = "words " * 400
SYSTEM: Json = {"role": "system", "content": f"It is 10:00. {LONG}"}
USER: Json = {"role": "user", "content": LONG}
SAID: Json = {"role": "assistant", "content": LONG + "."}
TOOLS = [tool("read"), tool("write"), tool("run")]


def looked(*calls: Call) -> Seen:
    """At the last of a run's calls."""
    prefixes, seen = Prefixes(), Seen()
    for call in calls:
        prompt = read(call)
        assert prompt is not None
        seen = prefixes.look("r", call, prompt)
    return seen


def broke(*calls: Call) -> Break:
    found = looked(*calls).broke
    assert found is not None
    return found


def ask(*messages: Json, tools: Sequence[Json] = TOOLS, **more: object) -> Call:
    return asking(messages, tools=tools, more=more)


FIRST = ask(SYSTEM, USER)


def test_a_prompt_that_goes_on_breaks_nothing_and_says_how_much_of_it_is_old() -> None:
    seen = looked(FIRST, ask(SYSTEM, USER, SAID, USER))
    assert (seen.kept_messages, seen.broke) == (2, None)
    assert 0.5 < seen.kept_share < 0.6
    assert looked(FIRST, FIRST) == Seen(2, 1.0)
    assert looked(FIRST) == Seen()


def test_a_prompt_that_was_cut_at_its_end_breaks_nothing() -> None:
    assert looked(ask(SYSTEM, USER, SAID, USER), FIRST).broke is None


CLOCK: Json = {"role": "system", "content": f"It is 11:37. {LONG}"}
WORDS: Json = {"role": "system", "content": f"It is night. {LONG}"}
CASES = [
    (ask(CLOCK, USER), "clock", "only digits differ in message 0 (system): a time, a date or a counter"),
    (ask(WORDS, USER), "system", "message 0 (system) has changed"),
    (ask(SYSTEM, USER, tools=[TOOLS[2], *TOOLS[:2]]), "tool_order", "the 3 tools stand in another order"),
    (
        ask(SYSTEM, USER, tools=[TOOLS[0], tool("edit"), TOOLS[2]]),
        "tools",
        "tool 1 `edit` is not what stood there before",
    ),
    (ask(SYSTEM, USER, tools=[*TOOLS, tool("edit")]), "tools", "tool 3 `edit` is new"),
    (ask(SYSTEM, USER, tools=TOOLS[:2]), "tools", "1 of 3 tools are gone"),
    (ask(SYSTEM, USER, tool_choice="none"), "tool_choice", "the field `tool_choice` is new"),
    (ask(SYSTEM, USER, model="n"), "model", "the field `model` has changed"),
    (ask(SYSTEM, USER, reasoning_effort="high"), "setting", "the field `reasoning_effort` is new"),
]


@pytest.mark.parametrize(("call", "culprit", "words"), CASES, ids=[words for *_, words in CASES])
def test_a_culprit_is_named_with_its_place(call: Call, culprit: str, words: str) -> None:
    found = broke(FIRST, call)
    assert (found.culprit, found.words) == (culprit, words)
    assert found.lost_tokens > LOST_LEAST


def test_of_a_message_in_the_middle_only_what_comes_after_it_is_lost() -> None:
    before = ask(SYSTEM, USER, SAID, USER)
    other: Json = {"role": "assistant", "content": LONG + "!"}
    found, all_of_it = broke(before, ask(SYSTEM, USER, other, USER)), broke(before, ask(WORDS, USER, SAID, USER))
    assert (found.culprit, found.words) == ("message", "message 2 (assistant) has changed")
    assert found.lost_tokens < 0.6 * all_of_it.lost_tokens
    assert looked(before, ask(SYSTEM, USER, other, USER)).kept_messages == 2


def test_what_is_not_worth_caching_is_not_reported() -> None:
    short = asking([{"role": "user", "content": "one"}, USER], tokens=LOST_LEAST - 1)
    other = asking([{"role": "user", "content": "two"}, USER], tokens=LOST_LEAST - 1)
    assert looked(short, other).broke is None


def test_agents_below_agents_are_told_apart() -> None:
    """Their prompts alternate, and each goes on with its own."""
    below: Json = {"role": "system", "content": f"You search. {LONG}"}
    task: Json = {"role": "user", "content": f"Find it. {LONG}"}
    seen = looked(FIRST, ask(below, task), ask(SYSTEM, USER, SAID, USER), ask(below, task, SAID, USER))
    assert (seen.kept_messages, seen.broke) == (2, None)
    assert looked(FIRST, ask(below, task)) == Seen()


def test_a_prompt_that_was_made_anew_is_another_conversation() -> None:
    summary: Json = {"role": "user", "content": f"So far: {LONG}"}
    assert looked(ask(SYSTEM, USER, SAID, USER, SAID, USER), ask(WORDS, summary)) == Seen()


def test_responses_are_looked_at_as_well() -> None:
    def responses(instructions: str) -> Call:
        return asking("", more={"input": [USER, SAID], "instructions": instructions})

    found = broke(responses("Do."), responses("Do it."))
    assert (found.culprit, found.words) == ("system", "the field `instructions` has changed")


@pytest.mark.parametrize("call", [asking("", more={"input": "text"}), asking([], tools=[], more={"tools": None})])
def test_what_cannot_be_compared_is_not(call: Call) -> None:
    assert read(call) is None


def test_nothing_that_was_said_is_kept() -> None:
    prefixes = Prefixes()
    call = ask({"role": "system", "content": "a secret word"}, USER)
    prompt = read(call)
    assert prompt is not None
    prefixes.look("r", call, prompt)
    assert "secret" not in repr(prefixes) + repr(prompt) + str(prompt.messages)
    assert all(isinstance(digest, int) for digest in (*prompt.messages, *prompt.tools, *prompt.masked))


def test_a_tools_name_is_cut_and_never_breaks_a_line() -> None:
    found = broke(FIRST, ask(SYSTEM, USER, tools=[tool("x" * 1_000), *TOOLS[1:]]))
    assert len(found.words) < 120
    assert "\n" not in broke(FIRST, ask(SYSTEM, USER, tools=[tool("a\nb"), *TOOLS[1:]])).words


def test_only_so_many_runs_and_conversations_are_remembered() -> None:
    prefixes = Prefixes()
    prompt = read(FIRST)
    assert prompt is not None
    for number in range(RUNS_MAX + 5):
        prefixes.look(str(number), FIRST, prompt)
    for number in range(3 * LINES_MAX):
        other = ask({"role": "user", "content": str(number)})
        found = read(other)
        assert found is not None
        prefixes.look("many", other, found)
    assert repr(prefixes) == f"Prefixes({RUNS_MAX} runs, {RUNS_MAX - 1 + LINES_MAX} conversations)"
