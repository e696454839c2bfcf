"""`headgate quote`: from what is typed to a request, and from an answer to lines."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from proxy.cli import quote
from proxy.money.quoting import QuoteRequest
from proxy.state.ledger import Ledger
from proxy.state.quote_report import Expected, Quote, Refused, TargetQuote
from proxy.surfaces.admin_ledger import LedgerServices
from tests import build
from tests.proxy.admin import listening
from tests.proxy.desk import Desk

TARGET = TargetQuote(
    target="p/m",
    output_tokens_max=100,
    clamped=True,
    hold_usd_nanos=1_200_000,
    price_id="abc",
    price=build.PRICE,
    expected=Expected(20, 30, 90, 80_000, 200_000),
    refused=None,
)
QUOTE = Quote(
    model="m",
    agent="a",
    accounts=("key:k", "agent:a"),
    input_tokens_estimate=14,
    choices=2,
    admitted=True,
    refused=None,
    plan="model 'm': one target",
    together_usd_nanos=None,
    degraded=(),
    targets=[TARGET],
)


class Gate(Desk):
    def __init__(self, folder: Path, answer: Quote = QUOTE) -> None:
        super().__init__(Ledger.open(folder / "ledger.db"))
        self.asked: list[QuoteRequest] = []
        self.answer = answer
        self.ledger_services = LedgerServices(self.ledger_services.tools, self.quote, lambda: 0.0)

    async def quote(self, asked: QuoteRequest) -> Quote:
        self.asked.append(asked)
        return self.answer

    async def run(self, *typed: str) -> int:
        async with listening(self.guard()) as address:
            return await run(*typed, "--admin", address)


async def run(*typed: str) -> int:
    parser = argparse.ArgumentParser()
    quote.register(parser.add_subparsers(dest="command"))
    chosen = parser.parse_args(["quote", *typed])
    return await asyncio.get_running_loop().run_in_executor(None, quote.quote, chosen)


async def test_a_model_alone_is_asked_for_an_empty_message(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    assert await gate.run("--model", "m", "--agent", "a", "--run", "r") == 0
    (asked,) = gate.asked
    assert json.loads(bytes(asked.body)) == {"model": "m", "messages": [{"role": "user", "content": ""}]}
    assert (asked.endpoint, asked.agent, asked.run, asked.team, asked.key_id) == ("chat", "a", "r", None, None)


async def test_a_file_is_the_request_and_the_model_can_be_another(tmp_path: Path) -> None:
    gate, file = Gate(tmp_path), tmp_path / "request.json"
    file.write_text('{"model": "x", "input": "t"}')
    assert await gate.run("--file", str(file), "--model", "m", "--endpoint", "embeddings") == 0
    assert json.loads(bytes(gate.asked[0].body)) == {"model": "m", "input": "t"}
    assert gate.asked[0].endpoint == "embeddings"


async def test_a_file_goes_as_it_is(tmp_path: Path) -> None:
    gate, file = Gate(tmp_path), tmp_path / "request.json"
    file.write_text('{ "model" : "m",  "n":1 }')
    assert await gate.run("--file", str(file)) == 0
    assert bytes(gate.asked[0].body) == b'{ "model" : "m",  "n":1 }'


async def test_a_person_reads_hold_cost_price_and_whether_it_would_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await Gate(tmp_path).run("--model", "m") == 0
    assert capsys.readouterr().out.splitlines() == [
        "model m, agent a; counts against key:k, agent:a",
        "input: about 14 tokens, 2 choices",
        "planned: model 'm': one target",
        "target p/m",
        "  output: at most 100 tokens, because the money pays no more",
        "  hold: $0.001200",
        "  expected: $0.000080 for 30 tokens of output, in one of twenty above 90 ($0.000200)",
        "  price abc, for a million tokens: input_uncached $1.0000, input_cached $0.100000, output $2.0000",
        "  admitted",
    ]


async def test_of_several_members_the_whole_hold_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate(tmp_path, replace(QUOTE, together_usd_nanos=3_600_000))
    assert await gate.run("--model", "m") == 0
    assert "held for its members together: $0.003600" in capsys.readouterr().out.splitlines()
    gate.answer = replace(gate.answer, members=3, members_paid=1)
    assert await gate.run("--model", "m") == 0
    assert "money for 1 of 3 members: the others are not asked and have no vote" in capsys.readouterr().out.splitlines()
    gate.answer = replace(gate.answer, admitted=False)
    assert await gate.run("--model", "m") == 1
    assert "money for" not in capsys.readouterr().out, "not even for the first of them"


async def test_a_key_that_is_not_named_is_spoken_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await Gate(tmp_path, replace(QUOTE, accounts=("agent:a",))).run("--model", "m")
    said = "model m, agent a; counts against agent:a, and the key it is sent with (--key-id)"
    assert capsys.readouterr().out.splitlines()[0] == said


async def test_a_refusal_is_told_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = Refused("budget_exceeded", 429, "Too little is left.", 60.0)
    target = replace(TARGET, expected=None, price=None, clamped=False, refused=refused)
    gate = Gate(tmp_path, replace(QUOTE, targets=[target], admitted=False))
    assert await gate.run("--model", "m") == 1
    lines = capsys.readouterr().out.splitlines()
    assert "  expected: unknown, as too few answers of this agent were seen" in lines
    assert "  price: none is known" in lines
    assert lines[-1] == "  refused: 429 budget_exceeded: Too little is left. Retry after 60 s."
    gate.answer = replace(QUOTE, targets=[], admitted=False, plan=None, refused=refused)
    assert await gate.run("--model", "m") == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("refused: 429 budget_exceeded")


async def test_json_is_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await Gate(tmp_path).run("--model", "m", "--json") == 0
    assert json.loads(capsys.readouterr().out)["targets"][0]["hold_usd_nanos"] == 1_200_000


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), ("[]", "holds no request"), ("{}", "which model?")]
)
async def test_wrong_usage_is_told_before_anything_is_asked(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "request.json"
    if content is not None:
        file.write_text(content)
    assert await run("--file", str(file), "--admin", "http://127.0.0.1:1") == 2
    assert said in capsys.readouterr().err
