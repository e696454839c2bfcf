"""What counts as going round in circles, what does not, and what is done about it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from policies.loops import (
    PERIOD_MAX,
    REFUSED,
    SPEND_LEAST,
    STEPS_MAX,
    LoopMode,
    Trail,
    action_of,
    canonical,
    in_words,
    loop_detected,
    step_of,
)
from proxy.observed import LoopAction, Looped, ToolUse, Turn

WAIT = frozenset({"wait"})
PLANS = (
    "I will now compare the three offers by price and by arrival and then tell you which one I would take",
    "The second list has no direct flights either so the next thing to look at are trains that leave at night",
)


def use(tool: str = "search", arguments: str = "{}", result: str = "none") -> ToolUse:
    return ToolUse(tool, arguments.encode(), result)


def turn(*uses: ToolUse, text: str = "", heard: str = "") -> Turn:
    return Turn(text, uses, heard)


def trail(turns: Iterable[Turn]) -> Trail:
    made = Trail()
    for each in turns:
        step = step_of(each, WAIT)
        if step is not None:
            made.add(step)
    return made


def sign(turns: Iterable[Turn]) -> tuple[str, int, int] | None:
    found = trail(turns).found(None)
    return None if found is None else (found.kind, found.repeats, found.period)


A, B = turn(use(result="a")), turn(use("read", result="b"))
EDITS = [turn(use("edit", f'{{"line":{n}}}', "done")) for n in range(20)]
ROUND = [turn(use("step", f'{{"n":{n}}}', "none")) for n in range(PERIOD_MAX)]

SAME_TO_OTHERS = [turn(text=PLANS[0], heard=str(n)) for n in range(8)]
DRIFT = [turn(use(arguments=f'{{"q":"{n}"}}'), text=f"{n}. {PLANS[0]}") for n in range(5)]
PAGES = [turn(use(arguments=f'{{"page":{n}}}', result=f"page {n}")) for n in range(9)]
SPACES = [turn(use(arguments=written)) for written in ('{"a":1,"b":2}', '{ "b":2, "a":1}')] * 2
NOTES = [turn(use(), use("note", f"{n}", "ok")) for n in range(3)]

SIGNS = [
    ("nothing yet", [], None),
    ("once", [A], None),
    ("twice", [A, A], None),
    ("the third time", [A, A, A], ("repeat", 2, 1)),
    ("the fifth time", [A] * 5, ("repeat", 4, 1)),
    ("white space and order do not count", SPACES, ("repeat", 3, 1)),
    ("other arguments", PAGES, None),
    ("another tool", [A, A, B], None),
    ("another result in between", [A, A, turn(use(result="b")), A, A], None),
    ("always another result", [turn(use(result=str(n))) for n in range(9)], None),
    ("one of several tools of a step", NOTES, ("repeat", 2, 1)),
    ("the same after each of many edits is only said", [s for e in EDITS for s in (e, A)], ("repeat", 2, 1)),
    ("after a single edit it begins anew", [A, A, A, EDITS[0], A], ("repeat", 2, 1)),
    ("two in turn", [A, B] * 3, ("cycle", 2, 2)),
    ("two in turn, five times", [A, B] * 5, ("cycle", 4, 2)),
    ("polling", [turn(use("wait"))] * 12, None),
    ("polling beside a loop", [s for _ in range(4) for s in (turn(use("wait")), A)], ("repeat", 3, 1)),
    ("the same text without a word from anyone", [turn(text=PLANS[0])] * 5, ("text", 4, 1)),
    ("the same text to other questions is only said", SAME_TO_OTHERS, ("text", 2, 1)),
    ("other texts", [turn(text=text) for text in (*PLANS, " ".join(PLANS), "done")], None),
    ("no text", [turn(heard=f"{n}") for n in range(5)], None),
    ("texts that drift, searches too", DRIFT, ("text", 4, 1)),
]


@pytest.mark.parametrize(("turns", "expected"), [row[1:] for row in SIGNS], ids=[row[0] for row in SIGNS])
def test_signs(turns: list[Turn], expected: tuple[str, int, int] | None) -> None:
    assert sign(turns) == expected


@pytest.mark.parametrize("period", range(1, PERIOD_MAX + 1))
def test_every_period_is_refused_when_it_has_come_four_times_more_and_not_before_the_third(period: int) -> None:
    made = Trail()
    refused = []
    for number in range(10 * period):
        step = step_of(ROUND[number % period], WAIT)
        assert step is not None
        made.add(step)
        found = made.found(None)
        if found is not None and found.repeats >= REFUSED:
            refused.append(number + 1)
    assert 3 * period < refused[0] <= 5 * period
    assert refused[-1] == 10 * period


def test_a_period_that_is_too_long_is_none() -> None:
    steps = [turn(use("step", str(n), str(n))) for n in range(STEPS_MAX + 1)]
    assert sign(steps * 6) is None


def test_of_another_conversation_nothing_counts_but_what_it_cost() -> None:
    made = trail([A] * 5)
    for cost in [100] * SPEND_LEAST + [900, 900]:
        made.spent(cost)
    made.forget()
    assert made.found(None) is None
    assert made.found(500.0) == Looped("spend", 2, 1)


SPEND = [
    ("too few to compare", [100] * (SPEND_LEAST - 1) + [900] * 1, 500.0, None),
    ("one", [100] * 8 + [900], 500.0, None),
    ("two", [100] * 8 + [900, 900], 500.0, 2),
    ("four", [100] * 8 + [900] * 4, 500.0, 4),
    ("not four times the median", [100] * 8 + [390] * 4, 200.0, None),
    ("usual for its agent", [100] * 8 + [900] * 4, 1_000.0, None),
    ("its agent is not known yet", [100] * 8 + [900] * 4, None, None),
    ("it has calmed down", [100] * 8 + [900, 900, 100], 500.0, None),
    ("it is what the run costs now", [100] * 8 + [900] * 20, 500.0, None),
]


@pytest.mark.parametrize(("costs", "bound", "repeats"), [row[1:] for row in SPEND], ids=[row[0] for row in SPEND])
def test_spend(costs: list[int], bound: float | None, repeats: int | None) -> None:
    made = Trail()
    for cost in costs:
        made.spent(cost)
    found = made.found(bound)
    assert (None if found is None else found.repeats) == repeats


@pytest.mark.parametrize(("cost", "dear"), [(100, False), (400, False), (401, True)])
def test_a_step_is_dear_above_four_times_the_median(cost: int, dear: bool) -> None:
    made = Trail()
    for each in [100] * 8 + [cost]:
        made.spent(each)
    assert made.last_dear == dear


ACTIONS: list[tuple[int, LoopMode, bool, LoopAction]] = [
    (2, "on", False, "annotate"),
    (3, "on", False, "throttle"),
    (4, "on", False, "refuse"),
    (9, "on", False, "refuse"),
    (2, "on", True, "annotate"),
    (3, "on", True, "allow"),
    (9, "on", True, "allow"),
    (9, "annotate", False, "annotate"),
    (9, "annotate", True, "annotate"),
]


@pytest.mark.parametrize(("repeats", "mode", "allowed", "action"), ACTIONS)
def test_actions(repeats: int, mode: LoopMode, allowed: bool, action: LoopAction) -> None:
    assert action_of(repeats, mode, allowed=allowed) == action


@pytest.mark.parametrize("arguments", [b"", b"{", b"not json", b"\xff", b"[" * 100_000])
def test_arguments_that_are_no_json_are_compared_as_they_are(arguments: bytes) -> None:
    assert canonical(arguments + b" ") == arguments


def test_the_refusal_says_why_and_what_helps() -> None:
    error = loop_detected(Looped("repeat", 4, 1, tool="search"), "trip")
    assert (error.code, error.client_may_retry) == ("loop_detected", False)
    assert error.details == {
        "run": "trip",
        "reason": "repeat",
        "repeats": 4,
        "period": 1,
        "tool": "search",
        "override": "X-Headgate-Loop: allow",
    }
    assert "the same call of 'search' had the same result 4 times more" in error.message


@pytest.mark.parametrize(
    ("looped", "words"),
    [
        (Looped("cycle", 4, 3, tool="f"), "the same 3 steps came 4 times more"),
        (Looped("text", 2, 1), "nearly the same text was written 2 times more"),
        (Looped("spend", 2, 1), "2 of its last 12 steps cost more than 4 times its median"),
        (Looped("repeat", 2, 1, tool="a\n\u202e"), r"the same call of 'a\\n\\u202e' had the same result 2 times more"),
    ],
)
def test_words(looped: Looped, words: str) -> None:
    assert in_words(looped) == words
