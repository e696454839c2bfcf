"""`headgate ledger reconcile`: a bill against the ledger, and what is booked of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from policies.limits import Instant, Limit, LimitsByName, Totals
from proxy.state.events import Change, Expired
from proxy.types import Charge, Outcome, Period, Usage
from tests.proxy.cli.terminal import Gate
from tests.proxy.state.samples import attempt, call, outcome

LIMITED = LimitsByName({"agent:a": (Limit("usd", 10**9),)})
AGENT = Period("agent:a", "usd", "total", 0, "agent:a")
NINE = "2023-11-14T22:13:2{}Z"  # when the sample calls arrive


def done(id: str, cost: int, *, at_s: float = 0.0, guess: bool = False, provider: str = "p") -> Outcome:
    usage = Usage(output=1, source="estimated" if guess else "reported")
    tried = replace(attempt(f"{provider}/m", cost=cost, usage=usage), upstream_request_id=f"up-{id}")
    tried = replace(tried, started_at=1000.0 + at_s)
    return replace(outcome(call(id, at_s=at_s), tried), charges=(Charge(AGENT, cost),))


CALLS = (
    done("same", 1_000_000),
    done("guess", 2_000_000, at_s=1, guess=True),
    done("other", 3_000_000, at_s=2),
    done("free", 4_000_000, at_s=3),
    done("last", 5_000_000, at_s=4),
)
BILL = f"""request_id,time,model,cost_usd
up-same,{NINE.format(0)},m,0.001
up-guess,{NINE.format(1)},m,0.0015
up-other,{NINE.format(2)},m,0.009
up-nobody,{NINE.format(3)},m,0.007
up-last,{NINE.format(4)},m,0.005
"""


class Books(Gate):
    def __init__(self, folder: Path, *calls: Outcome) -> None:
        super().__init__(folder, *calls, rules=LIMITED)
        self.bill = folder / "bill.csv"

    async def reconcile(self, bill: str, *typed: str) -> int:
        self.bill.write_text(bill)
        return await self.run("reconcile", str(self.bill), *typed)

    def lose(self, id: str, usd_nanos: int) -> None:
        change = Change("agent:a", "usd", "total", 0, "agent:a", unresolved=usd_nanos)
        self.ledger.append_event("expire", id, Expired("crash", ("agent:a",), 1_700_000_001.0, (change,)))


def sums(shown: str) -> dict[str, tuple[int, str]]:
    report = json.loads(shown)
    return {each["kind"]: (each["rows"], each["difference_usd"]) for each in report["sums"] if each["rows"]}


async def test_every_kind_is_counted_and_what_is_unexplained_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await Books(tmp_path, *CALLS).reconcile(BILL, "--json") == 1
    shown = capsys.readouterr().out
    assert sums(shown) == {
        "matched": (2, "0.00"),
        "estimated": (1, "-0.0005"),
        "different": (1, "0.006"),
        "ledger_only": (1, "-0.004"),
        "bill_only": (1, "0.007"),
    }
    report = json.loads(shown)
    assert report["unexplained_usd"] == "0.017"
    assert [found["kind"] for found in report["worst"]] == ["bill_only", "different", "ledger_only", "estimated"]


async def test_a_bill_that_agrees_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bill = "date,model,cost\n2023-11-14,m,0.015\n"
    assert await Books(tmp_path, *CALLS).reconcile(bill) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "from 2023-11-14T00:00:00Z to 2023-11-15T00:00:00Z"
    assert lines[2].split()[:5] == ["matched", "1", "$0.015", "$0.015", "$0.00"]
    assert lines[3] == "unexplained: $0.00, 0.0000% (target: at most 0.01%)"


async def test_a_known_answer_is_on_nobodys_bill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = replace(outcome(call("known")), served_by="cache", attempts=())
    assert await Books(tmp_path, *CALLS, known).reconcile(BILL, "--json") == 1
    assert sums(capsys.readouterr().out)["ledger_only"] == (1, "-0.004")


async def test_what_both_sides_know_is_booked_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    books = Books(tmp_path, *CALLS)
    books.budgets.accounts.seed(AGENT, Totals(spent=15_000_000), at=Instant(0.0, 0.0))
    assert await books.reconcile(BILL, "--adjust") == 1
    assert "2 corrections booked, together $0.0055" in capsys.readouterr().out
    (standing,) = books.budgets.standing("agent:a")
    assert standing.totals.spent == 20_500_000
    assert await books.reconcile(BILL, "--adjust", "--json") == 1
    shown = capsys.readouterr().out
    assert sums(shown) == {"matched": (4, "0.00"), "ledger_only": (1, "-0.004"), "bill_only": (1, "0.007")}
    assert json.loads(shown)["corrections"] == 0


async def test_a_figure_for_a_day_is_divided_among_its_calls(tmp_path: Path) -> None:
    books = Books(tmp_path, *CALLS)
    bill = "date,model,cost\n2023-11-14,m,0.03\n"
    assert await books.reconcile(bill, "--adjust") == 1
    assert await books.reconcile(bill) == 0


async def test_only_the_time_of_the_bill_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    books = Books(tmp_path, *CALLS)
    first = "".join(BILL.splitlines(keepends=True)[:2])
    assert await books.reconcile(first) == 0
    capsys.readouterr()
    assert await books.reconcile(BILL, "--since", NINE.format(4)) == 0
    assert "4 lines of the bill lie outside that time" in capsys.readouterr().out


async def test_one_of_several_providers_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    books = Books(tmp_path, *CALLS, done("q", 9, provider="q"))
    bill = "date,model,cost\n2023-11-14,m,0.015\n"
    assert await books.reconcile(bill) == 2
    assert "--provider, one of p, q" in capsys.readouterr().err
    assert await books.reconcile(bill, "--provider", "p") == 0
    assert await books.reconcile("date,vendor,cost\n2023-11-14,p,0.015\n2023-11-14,q,0.000000009\n") == 0


async def test_a_line_of_a_lost_call_is_explained_and_releases_what_was_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    books = Books(tmp_path, CALLS[0])
    books.lose("gone", 9_000_000)
    books.lose("never-sent", 6_000_000)
    bill = "\n".join([*BILL.splitlines()[:2], f"up-nobody,{NINE.format(3)},m,0.007"])
    assert await books.reconcile(bill) == 0
    assert "1 calls were swallowed by a crash and are not on the bill" in capsys.readouterr().out
    assert await books.reconcile(bill, "--adjust", "--release") == 0
    assert (await books.ledger_services.tools.unresolved(None, None)).rows == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("bill", "said"),
    [
        ("date,model,tokens\n2023-11-14,m,5\n", "bill.csv: line 1: no column holds the cost"),
        ("date,cost\n2023-11-14,x\n2023-11-14,y\n", "line 3: 'y' is no amount"),
        ("", "the bill is empty"),
    ],
)
async def test_a_bill_that_cannot_be_read_is_refused_whole(
    bill: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await Books(tmp_path, *CALLS).reconcile(bill) == 2
    assert said in capsys.readouterr().err


async def test_a_bill_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await Books(tmp_path).run("reconcile", str(tmp_path / "none.csv")) == 2
    assert "cannot be read" in capsys.readouterr().err
