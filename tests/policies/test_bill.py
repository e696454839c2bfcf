"""Bills as providers write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.bill import plain_model, read
from policies.reconcile import DAY_S, HOUR_S, BillRow

NOON = 1_795_348_800.0  # 2026-11-22T12:00:00Z
DAY = NOON - 12 * HOUR_S


def row(*lines: str) -> BillRow:
    bill = read([f"{line}\n" for line in lines])
    assert bill.problems == ()
    (found,) = bill.rows
    return found


def problems(*lines: str) -> tuple[str, ...]:
    bill = read([f"{line}\n" for line in lines])
    assert bill.rows == ()
    return bill.problems


@pytest.mark.parametrize(
    "lines",
    [
        ("request_id,time,model,cost", "r,2026-11-22T12:00:00Z,m,0.25"),
        ("Request ID,Time,Model,Cost (USD)", 'r,2026-11-22 12:00:00,m,"$0.25"'),
        ("", "\ufeffx-request-id,Created At,model_name,Total Cost", " r , 2026-11-22T13:00+01:00 , M , .25"),
        ("id,timestamp,model,amount,currency", "r,1795348800,m,2.5e-1,USD"),
        ('{"request_id": "r", "timestamp": 1795348800000, "model": "m", "cost": 0.25, "tokens": {"in": 3}}',),
        ('{"id":"r","start_time":1795348800.0,"model":"m","amount":{"value":0.25,"currency":"usd"},"ok":true}',),
    ],
)
def test_one_line_under_any_of_its_usual_names(lines: tuple[str, ...]) -> None:
    found = row(*lines)
    assert (found.request_id, found.at_wall, found.model, found.usd_nanos) == ("r", NOON, "m", 250_000_000)


@pytest.mark.parametrize(
    ("time", "span_s", "at"),
    [("2026-11-22", DAY_S, DAY), ("2026-11-22T12:00Z", HOUR_S, NOON), ("1795305600", DAY_S, DAY)],
)
def test_a_line_without_an_id_speaks_of_its_day_or_its_hour(time: str, span_s: int, at: float) -> None:
    found = row("date,model,cost", f"{time},m,1")
    assert (found.span_s, found.at_wall, found.request_id) == (span_s, at, None)


def test_the_finest_time_of_a_file_is_that_of_all_its_lines() -> None:
    bill = read(["date,cost\n", "2026-11-22T00:00Z,1\n", "2026-11-22T01:00Z,1\n"])
    assert [found.span_s for found in bill.rows] == [HOUR_S, HOUR_S]


@given(st.integers(0, 10**18))
def test_an_amount_is_exact_to_the_nano_dollar(nanos: int) -> None:
    whole, fraction = divmod(nanos, 10**9)
    assert row("date,cost", f"2026-11-22,{whole}.{fraction:09d}").usd_nanos == nanos
    assert row(f'{{"date":"2026-11-22","cost":{whole}.{fraction:09d}}}').usd_nanos == nanos


def test_a_dated_snapshot_is_its_model() -> None:
    assert plain_model("GPT-4o-2024-08-06") == plain_model("gpt-4o ") == "gpt-4o"
    assert plain_model("claude-sonnet-4-5-20250929") == plain_model("claude-sonnet-4-5@20250929") == "claude-sonnet-4-5"


def test_it_says_whether_models_and_providers_are_named() -> None:
    assert not read(["date,cost\n", "2026-11-22,1\n"]).names_models
    bill = read(["date,cost,model,vendor\n", "2026-11-22,1,m,p\n"])
    assert bill.names_models and bill.names_providers and bill.rows[0].provider == "p"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "empty"),
        (("date,cost",), "no lines"),
        (("date,model,tokens", "2026-11-22,m,5", "2026-11-22,m,5"), "line 1: no column holds the cost"),
        (("model,cost", "m,5"), "line 1: no column holds the time"),
        (("date,cost", "2026-11-22,much"), "line 2: 'much' is no amount"),
        (("date,cost", "", "2026-11-22,1", "2026-02-30,1"), "line 4: '2026-02-30' is no time"),
        (("date,cost", "2026-11-22,"), "line 2: no column holds the cost"),
        (("date,cost", "2026-11-22,1,2"), "line 2: it has 3 cells"),
        (("date,cost,currency", "2026-11-22,1,EUR"), "line 2: it is in 'EUR'"),
        (("date,cost", "2026-11-22,12345678901234"), "is no amount"),
        (('{"date":"2026-11-22","cost":1}', "{"), "line 2: it is no JSON object"),
        (('[{"date":"2026-11-22"}]',), "one object a line"),
    ],
)
def test_what_cannot_be_understood_is_told_with_its_line(lines: tuple[str, ...], said: str) -> None:
    (problem,) = problems(*lines)
    assert said in problem


def test_not_more_problems_than_anyone_reads() -> None:
    assert len(problems("date,cost", *["x,1"] * 50)) == 21


@given(st.lists(st.text(max_size=30), max_size=5))
def test_anything_is_a_bill_or_a_list_of_problems(lines: list[str]) -> None:
    bill = read(lines)
    assert bool(bill.rows) != bool(bill.problems)
