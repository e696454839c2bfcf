from __future__ import annotations

from pathlib import Path

from msgspec import structs

from proxy.demo.accounts import accounts
from proxy.demo.result import AgentSpend, Purpose, TreeSpend
from proxy.state.ledger import Ledger
from proxy.types import Attempt, Identity, Outcome, Usage
from tests import build
from tests.proxy.state.samples import attempt, call, outcome


def done(*attempts: Attempt, agent: str, run: str, parent: str | None = None, again: int = 0) -> Outcome:
    identity = Identity(key_id="k", agent=agent, run=run, parent_run=parent)
    return outcome(structs.replace(call(), identity=identity, client_retry=again), *attempts)


def tried(id: str, *, cost: int, role: str = "first", usage: Usage | None = None) -> Attempt:
    made = attempt("east/sim-small", cost=cost, usage=usage or build.usage())
    return structs.replace(made, upstream_request_id=id, role="retry" if role == "retry" else "first")


def ledger(folder: Path, *outcomes: Outcome) -> Ledger:
    made = Ledger.open(folder / "ledger.db")
    for one in outcomes:
        made.append(one)
    return made


async def test_a_retry_is_one_of_the_gate_or_of_its_client(tmp_path: Path) -> None:
    rows = (
        done(tried("1", cost=1), agent="planner", run="planner-1"),
        done(tried("2", cost=1, role="retry"), agent="planner", run="planner-1"),
        done(tried("3", cost=1), agent="planner", run="planner-2", again=1),
    )
    found = await accounts(ledger(tmp_path, *rows))
    assert found.purposes == {
        ("east", "1"): Purpose("planner-1", False),
        ("east", "2"): Purpose("planner-1", True),
        ("east", "3"): Purpose("planner-2", True),
    }


async def test_spend_is_by_agent_and_by_run_with_its_sub_agents_dearest_first(tmp_path: Path) -> None:
    rows = (
        done(tried("1", cost=100), agent="coder", run="coder-1"),
        done(tried("2", cost=20), agent="planner", run="planner-1"),
        done(tried("3", cost=300), agent="planner", run="planner-1.1", parent="planner-1"),
    )
    found = await accounts(ledger(tmp_path, *rows))
    assert found.usd_nanos == 420
    assert found.agents == [AgentSpend("planner", 2, 2, 0, 320), AgentSpend("coder", 1, 1, 0, 100)]
    assert found.trees == [TreeSpend("planner-1", 2, 2, 320), TreeSpend("coder-1", 1, 1, 100)]


async def test_attempts_that_no_provider_reported_are_counted(tmp_path: Path) -> None:
    guessed = structs.replace(build.usage(), source="estimated")
    rows = (
        done(tried("1", cost=1), agent="a", run="r"),
        done(tried("2", cost=1, usage=guessed), agent="a", run="r"),
    )
    assert (await accounts(ledger(tmp_path, *rows))).estimated_attempts == 1
