from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from pricing.book import Bill, explain
from proxy.cli import reports
from proxy.money.gpus import GpuBooked
from proxy.secret import Secret
from proxy.state.budget_report import BudgetList
from proxy.state.content_report import ContentEntry, Side
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import LedgerReports
from proxy.surfaces.admin import AdminServices, admin_surface
from proxy.surfaces.feed import Feed
from proxy.types import Outcome, Usage
from tests import build
from tests.known import BatchDesk, CacheDesk, CascadeDesk, ExperimentDesk
from tests.proxy.admin import listening
from tests.proxy.desk import Desk
from tests.proxy.state.samples import attempt, call, outcome, refused
from tests.words import WordsDesk, no_words


class NoKeys:
    def create(self, *_: object, **__: object) -> tuple[object, str]:
        raise AssertionError("reports make no key")

    def revoke(self, id: str) -> bool:
        raise AssertionError("reports revoke no key")

    def list(self) -> list[object]:
        raise AssertionError("reports list no key")


async def kept() -> str | None:
    return None


async def no_targets() -> object:
    return []


async def no_metrics(accept: str, view: str) -> tuple[bytes, str]:
    return b"", "text/plain"


def bill(price_id: str, provider: str, model: str, usage: Usage) -> Bill | None:
    return explain(usage, build.PRICE)


class Gate:
    """An admin listener over a real ledger, asked by the command in a thread of its own."""

    def __init__(self, folder: Path, *done: Outcome, token: str | None = None) -> None:
        ledger = self.ledger = Ledger.open(folder / "ledger.db")
        self.words = WordsDesk()
        for one in done:
            ledger.append(one)
        services = AdminServices(
            reports=LedgerReports(ledger, bill),
            runs=Desk(ledger).services,
            budgets=lambda query: BudgetList((), truncated=False),
            ledger=Desk(ledger).ledger_services,
            caches=CacheDesk(),
            cascades=CascadeDesk(),
            experiments=ExperimentDesk(),
            content=no_words(self.words),
            batches=BatchDesk(),
            keys=NoKeys(),  # type: ignore[arg-type]  # never called
            metrics=no_metrics,
            loadtest=lambda *said: None,
            config=dict,
            targets=no_targets,
            reload=kept,
            wall=lambda: 1_700_000_000.0,
            audit=lambda line: None,
            about=lambda: BudgetList((), truncated=False),
            feed=Feed("1", lambda: BudgetList((), truncated=False)),
            token=Secret(token) if token else None,
        )
        self._guard = admin_surface(services)

    async def run(self, *arguments: str) -> int:
        async with listening(self._guard) as address:
            return await run(*arguments, "--admin", address)


async def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    reports.register(parser.add_subparsers(dest="command"))
    chosen = parser.parse_args(arguments)
    command = {"spend": reports.spend, "explain": reports.explain}[chosen.command]
    return await asyncio.get_running_loop().run_in_executor(None, command, chosen)


async def test_spend_is_a_table_with_a_total(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = (outcome(call(agent="planner"), attempt(cost=123_000)), outcome(call(), attempt(cost=None)), refused())
    assert await Gate(tmp_path, *done).run("spend", "--since", "1d") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["agent", "calls", "attempts", "input", "cached", "written", "output", "cost", "unpriced", "estimated"],
        ["planner", "1", "1", "10", "5", "$0.000123"],
        ["a", "2", "1", "10", "5", "$0.00", "1"],
        ["total", "3", "2", "20", "10", "$0.000123", "1"],
    ]


async def test_spend_by_run_parts_two_tenants_runs_of_one_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = [
        outcome(call(run="r", team="red"), attempt(cost=2_000_000)),
        outcome(call(run="r"), attempt(cost=1_000_000)),
        outcome(),
    ]
    assert await Gate(tmp_path, *done).run("spend", "--by", "run") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows[:3]] == [["run", "tenant"], ["r", "team:red"], ["r", "key:k"]]
    assert [row[0] for row in rows[3:]] == ["-", "total"]


async def test_what_was_read_from_and_written_to_prompt_caches_stands_beside_the_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = Usage(input_uncached=1, input_cached=20, input_cache_write_5m=300, input_cache_write_1h=4_000, output=5)
    assert await Gate(tmp_path, outcome(call(), structs.replace(attempt(), usage=used))).run("spend") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[3:7] == ["4321", "20", "4300", "5"]


async def test_the_time_of_engines_stands_below_the_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate(tmp_path, outcome())
    body = GpuBooked("ops", "7200.0", "1800.0", 694_445, 5 * 10**9, 10**9, idle_usd_nanos=4 * 10**9)
    gate.ledger.append_event("gpu", "gpu-a", body)
    gate.ledger.append_event("gpu", "new", GpuBooked("ops", "0.0", "0.0", 1, 0, 0, idle_usd_nanos=0))
    assert await gate.run("spend") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[-3:] == [
        ["idle", "GPUs", "hours", "busy", "price", "charged", "idle"],
        ["gpu-a", "2.00", "25.0%", "$5.0000", "$1.0000", "$4.0000"],
        ["new", "0.00", "-", "$0.00", "$0.00", "$0.00"],
    ]


async def test_json_is_the_answer_as_it_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await Gate(tmp_path, outcome()).run("spend", "--by", "model", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["by"], answer["rows"][0]["key"], answer["rows"][0]["cost_usd_nanos"]) == ("model", "smart", 1_000)


async def test_explain_tells_decisions_and_the_arithmetic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await Gate(tmp_path, outcome(call("r1"), attempt(cost=20_000))).run("explain", "r1") == 0
    assert capsys.readouterr().out.splitlines() == [
        "request r1 at 2023-11-14T22:13:20.000Z",
        "agent a, run -, key k, model smart",
        "planned: single over up/model | other/model (as configured)",
        "attempt 1 (first) went to up/model after 0.250 s: success in 1.500 s, status 200, first event after 0.500 s",
        "answered 200 by primary in 2.000 s, of which 1.500 s waiting for upstreams, limits and gates",
        "no known answer was looked for: its agent has no cache, and the call had no Idempotency-Key",
        "attempt 1: usage reported, price test",
        "  10 input_uncached at $1.0000 a million = $0.000010",
        "  5 output at $2.0000 a million = $0.000010",
        "cost $0.000020",
    ]


async def test_names_of_clients_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await Gate(tmp_path, outcome(call(agent="\x1b[2Jü"))).run("spend") == 0
    out = capsys.readouterr().out
    assert out.isascii() and "\x1b" not in out and "\\x1b[2J\\xfc" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("explain", "unknown"), 1, "no request of this id"),
        (("spend", "--since", "soon"), 2, "since must be like"),
    ],
)
async def test_what_cannot_be_answered_says_why_and_sets_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert await Gate(tmp_path).run(*arguments) == code
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == ""


def test_the_command_starts_without_the_server_it_asks() -> None:
    heavy = ("httptools", "asyncio", "sqlite3")
    script = f"import sys, proxy.cli.reports; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


async def test_explain_shows_words_only_where_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = Gate(tmp_path, outcome(call(), attempt()))
    id = call().id
    detail = await LedgerReports(gate.ledger, bill).request(id)
    assert detail is not None
    entry = ContentEntry(id, "", "a", "m", "chat", "full", request=Side(5, text='"asked"'))
    gate.words.calls[id] = structs.replace(detail, content=entry)
    assert await gate.run("explain", id) == 0
    assert "asked" not in capsys.readouterr().out
    assert await gate.run("explain", id, "--content") == 0
    assert '  "asked"' in capsys.readouterr().out.splitlines()
