from __future__ import annotations

from pathlib import Path

from msgspec import structs

from proxy.demo.accounts import accounts
from proxy.demo.check import Purpose
from proxy.demo.result import AgentSpend, Hedges, TreeSpend
from proxy.state.ledger import Ledger
from proxy.types import Attempt, Identity, Outcome, Role, Usage
from tests import build
from tests.proxy.state.samples import attempt, call, outcome


def done(*attempts: Attempt, agent: str, run: str, parent: str | None = None, again: int = 0) -> Outcome:
    identity = Identity(key_id="k", agent=agent, run=run, parent_run=parent)
    return outcome(structs.replace(call(), identity=identity, client_retry=again), *attempts)


def tried(id: str, *, cost: int, role: Role = "first", usage: Usage | None = None) -> Attempt:
    made = attempt("east/sim-small", cost=cost, usage=usage or build.usage())
    return structs.replace(made, upstream_request_id=id, role=role)


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
        ("east", "1"): Purpose("planner-1", "first", 1),
        ("east", "2"): Purpose("planner-1", "retry", 1),
        ("east", "3"): Purpose("planner-2", "retry", 1),
    }


async def test_a_second_copy_of_a_late_call_is_neither_first_nor_retry(tmp_path: Path) -> None:
    first, second = tried("1", cost=1), tried("2", cost=1, role="hedge")
    rows = (
        structs.replace(done(first, second, agent="planner", run="planner-1"), served_by="hedge"),
        structs.replace(
            done(tried("3", cost=1, role="hedge"), tried("4", cost=1), agent="a", run="r"), served_by="primary"
        ),
        done(tried("5", cost=1), agent="a", run="r"),
    )
    found = await accounts(ledger(tmp_path, *rows))
    assert found.hedges == Hedges(sent=2, won=1)
    causes = {id: purpose.cause for (_, id), purpose in found.purposes.items()}
    assert causes == {"1": "first", "2": "hedge", "3": "hedge", "4": "first", "5": "first"}


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


async def test_answers_that_were_known_or_joined_are_counted(tmp_path: Path) -> None:
    known = done(agent="a", run="r")
    rows = (
        structs.replace(known, served_by="cache"),
        structs.replace(known, served_by="cache"),
        structs.replace(known, served_by="join"),
        done(tried("1", cost=1), agent="a", run="r"),
    )
    assert (await accounts(ledger(tmp_path, *rows))).answered == (2, 1)


async def test_attempts_that_no_provider_reported_are_counted(tmp_path: Path) -> None:
    guessed = structs.replace(build.usage(), source="estimated")
    rows = (
        done(tried("1", cost=1), agent="a", run="r"),
        done(tried("2", cost=1, usage=guessed), agent="a", run="r"),
    )
    found = await accounts(ledger(tmp_path, *rows))
    assert found.estimated_attempts == 1
    assert [purpose.reported_usd_nanos for purpose in found.purposes.values()] == [1, None]
