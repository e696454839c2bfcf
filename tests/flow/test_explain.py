"""What an operator reads of a call that was balanced, hedged, retried or fell back: in order, with reasons."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from msgspec import structs

from policies.limits import Limit, LimitsByName
from policies.plan import Planner, Route, Routes
from policies.vote import VoteRules
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import LedgerReports
from proxy.state.report import NOT_KNOWN, RequestDetail
from proxy.telemetry.metrics import Metrics
from proxy.types import Balance, Outcome
from tests.flow.panel import CHAT, Panel, says
from tests.flow.test_hedge import STREAM, Slow, warmed
from tests.flow.world import Peer, World, streaming
from tests.proxy.cli.test_reports import Gate
from tests.proxy.telemetry.samples import scrape, value


def balanced(world: World, balance: Balance = "score") -> World:
    """The last upstream is the fallback of a model that the others serve."""
    *several, last = world.snapshot.planner.routes.fixed_targets
    model = Route("m", tuple(several), balance=balance, fallbacks=(("any", "n"),))
    world.snapshot = structs.replace(world.snapshot, planner=Planner(Routes((model, Route("n", (last,))))))
    return world


async def told(world: World, folder: Path) -> list[str]:
    """Of the last call, as the ledger tells it, without its figures."""
    outcome = world.outcomes[-1]
    ledger = Ledger.open(folder / f"{outcome.call.id}.db")
    ledger.append(outcome)
    detail = await LedgerReports(ledger).request(outcome.call.id)
    assert isinstance(detail, RequestDetail)
    assert detail.decision[-1] == NOT_KNOWN  # none of these agents has a cache
    return [re.sub(r"\d+\.\d+ s", "_ s", words) for words in detail.decision[:-1]]


async def failing(peer: Peer) -> None:
    await asyncio.sleep(0.1)
    peer.reset()


async def test_a_choice_is_told_with_every_target_its_score_and_what_spoke_against_it(tmp_path: Path) -> None:
    fast, slow = Slow("fast"), Slow("slow")
    slow.first_token_s = 5.0
    async with World(fast, slow, streaming) as world:
        await warmed(balanced(world), STREAM, 20)
        plan, choice, attempt, end = await told(world, tmp_path)
    assert (
        plan == "planned: single over up0/real | up1/real > up2/real (model 'm': one of 2 targets, by load and speed)"
    )
    assert choice == (
        "after _ s: up0/real was lowest in score [up0/real: expected _ s; up1/real: expected _ s, _ s above the lowest]"
    )
    assert attempt.startswith("attempt 1 (first) went to up0/real after _ s: success in _ s, status 200")
    assert end.startswith("answered 200 by primary in ")


async def test_a_call_that_was_retried_and_fell_back_is_told_step_by_step(tmp_path: Path) -> None:
    async with World(failing, failing, streaming) as world:
        assert (await balanced(world, "ordered").request(STREAM)).status == 200
        words = await told(world, tmp_path)
    unreachable = "upstream_unreachable after _ s, counted as failure"
    assert words[1:-1] == [
        "after _ s: up0/real was first in order [up1/real: could be asked too]",
        f"attempt 1 (first) went to up0/real after _ s: {unreachable}",
        "after _ s: up1/real was the only one left [up0/real: tried before]",
        f"attempt 2 (retry) went to up1/real after _ s: {unreachable}",
        "after _ s: upstream_unreachable: falls back to 'n'",
        "after _ s: up2/real was the only one",
        "attempt 3 (retry) went to up2/real after _ s: success in _ s, status 200, first event after _ s",
    ]


async def test_a_hedge_is_told_between_the_attempts_that_it_divided(tmp_path: Path) -> None:
    first, second = Slow("first"), Slow("second")
    async with World(first, second) as world:
        await warmed(world, STREAM)
        first.hanging = 1
        await world.request(STREAM)
        words = await told(world, tmp_path)
    assert words[2:-1] == [
        "attempt 1 (first) went to up0/real after _ s: given up after _ s",
        "after _ s: hedged after _ s (q100 of 74 calls); up1/real expected in _ s",
        "attempt 2 (hedge) went to up1/real after _ s: success in _ s, status 200, first event after _ s",
        "after _ s: up1/real was first, up0/real was closed",
    ]


async def test_a_call_in_time_says_nothing_of_hedges_and_a_late_one_says_the_last_reason(tmp_path: Path) -> None:
    first, second = Slow("first"), Slow("second")
    async with World(first, second) as world:
        await warmed(world, STREAM)
        assert not [words for words in await told(world, tmp_path) if "hedge" in words]
        for _ in range(3):  # one more than a run may have
            first.hanging = 1
            await world.request(STREAM, headers="x-headgate-run: r\r\n")
        words = await told(world, tmp_path)
    assert [said for said in words if "hedge" in said] == ["after _ s: no hedge yet: its run has had its hedges"]


async def test_an_outage_says_what_the_breakers_and_the_allowance_say(tmp_path: Path) -> None:
    async with World(failing, streaming) as world:
        for _ in range(6):
            assert (await world.request(STREAM)).status == 200
        assert re.search(r"up0/real: too many failures in a row; next trial in _ s\]", (await told(world, tmp_path))[1])
    async with World(failing, failing) as world:
        for _ in range(3):
            await world.request(STREAM)
        assert world.steering.breakers.troubled
        await world.request(STREAM)
        assert (
            "up1/real was the only one left [up0/real: too many failures in a row" in (await told(world, tmp_path))[1]
        )
        for _ in range(3):
            await world.request(STREAM)
        assert "; all targets are out, so nothing is tried twice" in (await told(world, tmp_path))[1]
    async with World(failing) as world:
        for _ in range(20):
            await world.request(STREAM)
        assert (await told(world, tmp_path))[-2] == "after _ s: no further attempt: the attempt budget is used up"


async def test_the_metrics_tell_the_same(tmp_path: Path) -> None:
    first, second = Slow("first"), Slow("second")
    async with World(first, second, streaming) as world:
        targets = balanced(world, "ordered").snapshot.planner.routes.fixed_targets
        await warmed(world, STREAM)
        first.hanging = 1
        await world.request(STREAM)  # hedged, and the hedge wins
        first.first_token_s, second.hanging = 2.0, 1
        await world.request(STREAM)  # hedged, and the original wins after all
        for upstream in world.upstreams[:2]:
            upstream.script = failing
        await world.request(STREAM)  # two attempts at the model, then its fallback
    metrics = Metrics(("m", "n"), targets)
    lost = 0
    for outcome in world.outcomes:
        metrics.started(outcome.call.route)
        metrics.observe(outcome)
        if any(each.role == "hedge" for each in outcome.attempts):
            lost += sum(each.cost_usd_nanos or 0 for each in outcome.attempts if each.lesson == "ignore")
    found = scrape(metrics)
    assert lost > 0
    assert value(found, "hedges_fired_total", route="m") == 2
    for winner, count in {"hedge": 1, "original": 1, "none": 0}.items():
        assert value(found, "hedges_finished_total", route="m", winner=winner) == count
    bases = ("reported", "counted", "estimated")
    wasted = sum(value(found, "hedge_wasted_usd_total", route="m", basis=basis) for basis in bases)
    assert wasted == pytest.approx(lost / 1e9)
    assert value(found, "retries_total", route="m", reason="connect") == 2
    for to in ("up1/real", "up2/real"):
        assert value(found, "fallbacks_total", route="m", to=to, reason="connect") == 1


async def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with World(failing, streaming) as world:
        await world.request(STREAM)
    (outcome,) = world.outcomes
    assert await Gate(tmp_path, outcome).run("explain", outcome.call.id) == 0
    shown = capsys.readouterr().out
    choice = (
        "after 0.100 s: up1/real was the only one left [up0/real: tried before]\nattempt 2 (retry) went to up1/real"
    )
    assert choice in shown


async def reports(folder: Path, outcome: Outcome) -> LedgerReports:
    ledger = Ledger.open(folder / f"{outcome.call.id}.db")
    ledger.append(outcome)
    return LedgerReports(ledger)


async def test_a_refusal_of_a_budget_names_the_account_its_figures_and_the_end_of_its_window(tmp_path: Path) -> None:
    limits = LimitsByName({"key:key-1": (Limit("usd", 100, "day"),)})
    async with World(streaming, limits_of=limits) as world:
        assert (await world.request(STREAM)).status == 429
        outcome = world.outcomes[-1]
    detail = await (await reports(tmp_path, outcome)).request(outcome.call.id)
    assert detail is not None
    refused = next(words for words in detail.decision if "refused" in words)
    assert "by the budget of key:key-1 in usd per day: this call alone needs more than all of it; limit " in refused
    assert re.search(r"needed [0-9.]+; its window ends at 20\d\d-\d\d-\d\dT00:00:00Z$", refused)


async def test_all_members_of_a_panel_stand_in_the_row_of_their_call(tmp_path: Path) -> None:
    async with Panel(says("42"), says("41"), says("42"), votes=VoteRules(sizes=(3,))) as world:
        await world.request(CHAT)
        outcome = world.last
    ledger = await reports(tmp_path, outcome)
    (row,) = (await ledger.requests({}, 1)).rows
    assert row.members == "up0/real+up1/real+up2/real"
    detail = await ledger.request(outcome.call.id)
    assert detail is not None
    assert detail.decision[0].startswith("planned: quorum over up0/real, up1/real, up2/real (")
