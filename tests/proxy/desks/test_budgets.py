"""What one process knows of its budgets: whose there are, which ladder is whose, and keys that bring their own."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from policies.accounts import Accounts
from policies.limits import Instant
from proxy.assembly import Assembly
from proxy.clock import SystemClock, loop_time
from proxy.config.load import load
from proxy.desks.budgets import BudgetDesk
from proxy.money.outlook import Query
from proxy.state.keys import KeyStore, load_pepper
from proxy.telemetry.log import RequestLog
from proxy.telemetry.metrics import Metrics
from proxy.types import Amounts

VALUES = """
providers: {sim: {kind: simulated}}
models: {m: sim/x}
defaults: {budget: [{usd: 1, per: day}], on_budget: [stop]}
agents: {planner: {budget: [{usd: 5, per: day}], on_budget: [queue]}, free: {budget: []}}
teams: {core: {budget: [{tokens: 50}]}, rest: {}}
"""


class Events:
    def append_event(self, kind: str, subject: str, body: object) -> None:
        raise AssertionError("nothing has happened")


def desk_in(folder: Path) -> tuple[BudgetDesk, Assembly, Accounts]:
    file = folder / "headgate.yaml"
    file.write_text(VALUES)
    clock = SystemClock(1, now=loop_time)
    assembly = Assembly(load(file, {}, {"data_dir": str(folder)}), clock)
    accounts = Accounts(assembly.present.rulebook)
    log = RequestLog(BytesIO(), clock.wall)
    log.close()  # nothing is told, and its thread is not left behind
    metrics = Metrics(["m"], assembly.present.metered, agents=assembly.agents(assembly.config))
    return BudgetDesk(assembly, accounts, clock=clock, log=log, events=Events(), metrics=metrics), assembly, accounts


async def test_every_account_that_the_configuration_limits_is_shown_before_its_first_call(tmp_path: Path) -> None:
    desk, assembly, _ = desk_in(tmp_path)
    assembly.keys.create("scout")  # an agent by its key's word, limited by the defaults
    record, _ = assembly.keys.create(None, budget=("9.00/month",))
    rows = desk.outlook.answer(Query()).rows
    assert sorted((row.account, row.limit) for row in rows) == [
        ("agent:planner", "5.00"),
        ("agent:scout", "1.00"),
        (f"key:{record.id}", "9.00"),
        ("team:core", 50),
    ]


async def test_a_rung_is_one_of_the_agents_own_ladder(tmp_path: Path) -> None:
    desk, assembly, accounts = desk_in(tmp_path)
    at = Instant(0.0, assembly.tools.clock.wall())
    for agent, hold in (("planner", 4_900_000_000), ("other", 990_000_000)):
        accounts.reserve(agent, (f"agent:{agent}",), ask=lambda left, hold=hold: Amounts(hold), at=at, ttl_s=60.0)
    rungs = {row.account: row.rung for row in desk.outlook.answer(Query(kind="agent")).rows}
    assert (rungs["agent:planner"], rungs["agent:other"]) == ("queue", None)


async def test_a_key_that_another_process_makes_is_limited_from_its_first_call(tmp_path: Path) -> None:
    _, assembly, accounts = desk_in(tmp_path)
    elsewhere = KeyStore(tmp_path, load_pepper(tmp_path, {}), assembly.tools.clock.wall)
    record, _ = elsewhere.create("planner", budget=("0.50/day", "3requests/hour"))
    standings = accounts.state(f"key:{record.id}", at=Instant(0.0, 0.0))
    assert [(each.period.unit, each.period.per, each.limit) for each in standings] == [
        ("usd", "day", 500_000_000),
        ("requests", "hour", 3),
    ]
