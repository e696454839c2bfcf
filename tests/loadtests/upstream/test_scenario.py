"""Which script plays is told by a few conditions; what cannot be played is refused with the place named."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from loadtests.upstream import ScenarioError, Settings, Stage, load, read, start
from loadtests.upstream.request import Request
from loadtests.upstream.scenario import parse
from tests.loadtests.test_upstream import Caller

FAIL = [{"reply": {"status": 500}}]
GOOD = (("answer", {}),)


def request(body: str = '{"model":"m"}', *, path: str = "/v1/chat/completions", more: str = "") -> Request:
    head = f"POST {path} HTTP/1.1\r\n{more}".encode()
    return Request(head, head.lower(), body.encode())


def failing(when: dict[str, object], requests: list[Request]) -> list[bool]:
    stage = Stage(read({"seed": 3, "rules": [{"when": when, "steps": FAIL}]}))
    return [stage.script(each) not in (GOOD, None) for each in requests]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({}, [True] * 6),
        ({"first": 2}, [True, True, False, False, False, False]),
        ({"after": 4}, [False, False, False, False, True, True]),
        ({"after": 1, "first": 2}, [False, True, True, False, False, False]),
        ({"every": 3}, [False, False, True, False, False, True]),
        ({"share": 0.0}, [False] * 6),
    ],
)
def test_of_the_requests_that_fit_some_are_chosen(when: dict[str, object], expected: list[bool]) -> None:
    assert failing(when, [request() for _ in range(6)]) == expected


def test_a_share_is_drawn_with_the_seed() -> None:
    drawn = [failing({"share": 0.3}, [request() for _ in range(2_000)]) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert 500 < sum(drawn[0]) < 700


@pytest.mark.parametrize(
    ("when", "fits", "not_"),
    [
        ({"stream": True}, request('{"stream":true}'), request("{}")),
        ({"model": "a/b"}, request('{"model":"a/b"}'), request('{"model":"a"}')),
        ({"contains": "STALL"}, request('{"x":"STALL"}'), request("{}")),
        ({"contains": "x-mark: 1"}, request(more="x-mark: 1\r\n"), request()),
        ({"path": "/health"}, request(path="/health"), request()),
        ({}, request(path="/v1/embeddings"), request(path="/v1/models")),
    ],
)
def test_a_rule_fits_by_what_the_request_says(when: dict[str, object], fits: Request, not_: Request) -> None:
    assert failing(when, [fits, not_]) == [True, False]


def test_the_first_rule_that_is_chosen_plays() -> None:
    rules = [
        {"when": {"first": 1}, "steps": ["reset"]},
        {"when": {"contains": "B"}, "steps": ["stall"]},
        {"steps": ["close"]},
    ]
    stage = Stage(read({"rules": rules}))
    asked = [request("A"), request("B"), request("A")]
    assert [stage.script(each) for each in asked] == [(("reset", {}),), (("stall", {}),), (("close", {}),)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"rule": []}, "no field 'rule'"),
        ({"rules": [{"steps": ["restet"]}]}, "rule 1: there is no verb 'restet'; reset?"),
        ({"rules": [{"steps": []}]}, "rule 1 has no steps"),
        ({"rules": [{"when": {"frist": 1}, "steps": ["reset"]}]}, "no field 'frist'"),
        ({"rules": [{"steps": [{"reply": {"code": 500}}]}]}, "reply: got an unexpected keyword"),
        ({"rules": [{"steps": ["wait"]}]}, "wait: missing"),
        ({"rules": [{"steps": [{"reset": 1}]}]}, "reset"),
        ({"rules": [{"steps": [{"wait": 1, "stall": 2}]}]}, "one verb with its argument"),
        ({"abort": "sometimes"}, "stops or continues"),
        ({"rules": 1}, "`rules` is a list"),
        ("text", "is a mapping"),
    ],
)
def test_what_cannot_be_played_is_refused_in_words(data: object, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        read(data)


def test_yaml_json_and_python_say_the_same(tmp_path: Path) -> None:
    yaml, plain = tmp_path / "a.yaml", tmp_path / "a.json"
    yaml.write_text("seed: 2\nrules:\n- when: {share: 0.5}\n  steps: [stream, {tokens: {n: 3}}, {wait: 2}, reset]\n")
    python = {
        "seed": 2,
        "rules": [{"when": {"share": 0.5}, "steps": ["stream", {"tokens": 3}, {"wait": 2}, "reset"]}],
    }
    plain.write_text(json.dumps(python))
    assert load(yaml) == load(plain) == read(python)
    assert read(["reset"]) == read({"rules": [{"steps": ["reset"]}]})
    yaml.write_text("rules: [")
    for broken in (lambda: load(yaml), lambda: parse("{")):
        with pytest.raises(ScenarioError, match=r"no (YAML|JSON)"):
            broken()


async def test_the_scenario_is_changed_while_it_runs_and_the_bill_goes_on() -> None:
    stage = Stage()
    server = await start("127.0.0.1", 0, settings=Settings(), stage=stage)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    client = Caller(reader, writer)
    statuses = []
    for change in (None, b'{"rules":[{"steps":[{"reply":{"status":503}}]}]}', b"[]", b"{oops", b"null"):
        if change is not None:
            client.send(change, path="/scenario")
            statuses.append((await client.reply())[0].split()[1])
        client.send(b'{"model":"m"}')
        statuses.append((await client.reply())[0].split()[1])
    assert statuses == [b"200", b"200", b"503", b"400", b"503", b"400", b"503", b"200", b"200"]
    client.send(b"", path="/bill")
    told = json.loads((await client.reply())[1])
    assert [each["status"] for each in told["requests"]] == [503, 503, 503]
    assert told["totals"]["requests"] == 5
    writer.close()
    server.close()


async def test_health_and_models_are_fine_unless_a_rule_names_them() -> None:
    stage = Stage(read({"rules": [{"steps": FAIL}]}))
    server = await start("127.0.0.1", 0, settings=Settings(), stage=stage)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    client = Caller(reader, writer)

    async def status(path: str) -> bytes:
        client.send(b"", path=path)
        return (await client.reply())[0].split()[1]

    assert [await status("/health"), await status("/v1/models")] == [b"200", b"200"]
    stage.change(read({"rules": [{"when": {"path": "/health"}, "steps": [{"reply": {"status": 503}}]}]}))
    assert [await status("/health"), await status("/v1/models")] == [b"503", b"200"]
    writer.close()
    server.close()
