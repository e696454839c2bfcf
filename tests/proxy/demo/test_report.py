from __future__ import annotations

import io

from msgspec import structs

from proxy.cli.table import Page
from proxy.demo.check import Check, Sides
from proxy.demo.figures import Figures
from proxy.demo.report import report
from proxy.demo.result import AgentSpend, Column, Dollars, Event, Hedges, Known, Result, TreeSpend
from proxy.demo.runaway import Rampage

DOWN = Figures("down", 3, 2, 20, 4, 0.1, 4.0, upstream_calls=25, usd_nanos=5_000_000)
DIRECT = Column(
    runs=10,
    runs_completed=7,
    runs_failed=3,
    calls=50,
    calls_failed=4,
    first_token_p50_s=0.1,
    first_token_p99_s=4.0,
    usd_nanos=Dollars(18_000_000, 1_000_000, 2_000_000, 0, 60_000_000),
    usd_nanos_total=21_000_000,
    usd_nanos_same_runs=15_000_000,
    input_tokens=1_000,
    input_cached_share=0.8,
    upstream_calls=65,
    refusals=12,
    silences=2,
    outage_success_share=0.8,
    runaway=Rampage(20, 60_000_000, None, None),
    phases=[DOWN],
)
GATE = structs.replace(
    DIRECT,
    runs_completed=10,
    runs_failed=0,
    calls_failed=0,
    usd_nanos_same_runs=18_000_000,
    input_cached_share=0.5,
    outage_success_share=1.0,
    runaway=Rampage(5, 8_000_000, "budget_exceeded", 45.5),
    phases=[structs.replace(DOWN, runs_completed=5, runs_failed=0, calls_failed=0, first_token_p99_s=0.5)],
)
RESULT = Result(
    simulated=True,
    seed=7,
    seconds=60.0,
    took_s=61.0,
    interrupted=False,
    direct=DIRECT,
    gate=GATE,
    hedges=Hedges(4, 3),
    known=Known(hits=7, joined=2, saved_usd_nanos=3_000_000),
    budget_usd_nanos=20_000_000,
    overspend_usd_nanos=0,
    check=Check(Sides(21_000_000, 21_000_000, 0), Sides(0, 0, 0), 0, 0),
    agents=[AgentSpend("planner", 2, 9, 0, 21_000_000)],
    trees=[TreeSpend("planner-1", 3, 9, 21_000_000)],
    events=[Event(1.0, "x")],
)


def printed(result: Result) -> str:
    return "\n".join(report(result, Page(io.StringIO())))


def test_both_columns_stand_side_by_side() -> None:
    lines = printed(RESULT).splitlines()
    assert lines[0].startswith("SIMULATED, no keys used")
    cells = [line.split() for line in lines]
    assert ["runs", "completed", "7", "of", "10", "10", "of", "10"] in cells
    assert ["runs", "failed", "3", "0"] in cells
    assert ["calls", "failed", "4", "0"] in cells
    assert ["first", "token", "p99", "4.00", "s", "4.00", "s"] in cells
    assert ["dollars:", "retries", "$0.001000", "$0.001000"] in cells
    assert ["upstream", "calls", "a", "call", "0.93", "1.18"] in cells  # with those of the runaway
    assert ["success", "while", "one", "was", "down", "80.0%", "100.0%"] in cells
    assert ["dollars:", "the", "runaway", "agent", "$0.060000", "$0.060000"] in cells
    assert ["answers", "known", "already", "-", "9"] in cells
    assert ["late", "calls", "sent", "a", "second", "time", "-", "8.0%"] in cells
    assert ["second", "copies", "that", "were", "faster", "-", "3"] in cells
    assert ["input", "read", "from", "caches", "80%", "50%"] in cells


def test_each_chapter_has_a_line_for_either_column() -> None:
    lines = [" ".join(line.split()) for line in printed(RESULT).splitlines()]
    at = lines.index("east is down direct 3 2 20 4 0.10 s 4.00 s 1.25 $0.005000")
    assert lines[at + 1] == "gate 5 0 20 0 0.10 s 0.50 s 1.25 $0.005000"


def test_the_runaway_is_told_with_what_it_cost_either_side() -> None:
    said = "had $0.020000: at 45.5 s the gate refused it, $0.00 too late; direct it spent $0.060000, with the calls"
    assert said in printed(RESULT)
    never = structs.replace(RESULT, gate=DIRECT)
    assert "was not refused: it spent $0.060000 of its $0.020000" in printed(never)
    assert not structs.replace(RESULT, overspend_usd_nanos=1).exact


def test_it_says_what_does_not_favour_the_gate() -> None:
    assert "Those cost 20% more through the gate" in printed(RESULT)
    assert "more through the gate" not in printed(structs.replace(RESULT, gate=DIRECT))
    assert "what one provider has cached is new to the others" in printed(RESULT)
    level = structs.replace(RESULT, gate=DIRECT)
    assert "is new to the others" not in printed(level)
    assert "A run that fails early" not in printed(level)


def test_the_check_says_equal_only_when_it_is() -> None:
    equal = "ledger $0.021000 = the providers' true bill $0.021000 (difference 0 nano-dollars)"
    assert equal in printed(RESULT)
    off = structs.replace(
        RESULT, check=Check(Sides(21_000_001, 21_000_000, 1), Sides(3_000_000, 1_000_000, 2_000_000), 2, 1)
    )
    assert "is not the providers' true bill" in printed(off)
    assert "$0.003000 by the ledger's estimate (2 attempts), $0.001000 by the bill (1 answers)" in printed(off)
    assert "estimate" not in printed(RESULT)
    assert (RESULT.exact, off.exact) == (True, False)


def test_it_ends_with_the_line_to_change_and_the_next_command() -> None:
    text = printed(RESULT)
    for framework in ("OpenAI SDK", "LangGraph", "AutoGen", "LiteLLM"):
        assert framework in text
    assert text.splitlines()[-1].strip() == "headgate up"


def test_a_demo_that_was_ended_early_says_so() -> None:
    assert "ended early" in printed(structs.replace(RESULT, interrupted=True))
    assert "ended early" not in printed(RESULT)
