"""The admin listener's word on runs: bodies that are checked, commands that are audited, answers as values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from policies.limits import Limit, LimitsByName
from proxy.state.ledger import Ledger
from proxy.types import Identity
from tests.proxy.admin import asking
from tests.proxy.desk import Desk
from tests.proxy.state.samples import call, outcome

LIMITED = LimitsByName({"run:key:k/r": (Limit("usd", 1_000),), "agent:planner": (Limit("requests", 5, "day"),)})


class Listener(Desk):
    def __init__(self, folder: Path) -> None:
        super().__init__(Ledger.open(folder / "ledger.db"), LIMITED)
        self.runs.of(Identity(key_id="k", agent="a", run="r"))

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if data is None else {"Content-Type": "application/json"}
        async with asking(self.guard()) as client:
            reply = await client.request(method, path, data=data, headers=kind | headers)
            return reply.status, await reply.json()


@pytest.fixture
def listener(tmp_path: Path) -> Listener:
    return Listener(tmp_path)


async def test_a_run_is_killed_and_the_command_is_audited(listener: Listener) -> None:
    status, answer = await listener.ask("POST", "/runs/r/kill")
    assert status == 200
    assert answer == {
        "run": "r",
        "tenant": "key:k",
        "state": "killed",
        "stopped_by": None,
        "interrupted": 0,
        "draining": 0,
        "cost_usd_nanos": 0,
        "running": 0,
        "repeated": False,
    }
    assert [(line.method, line.path, line.status) for line in listener.audit] == [("POST", "/runs/r/kill", 200)]
    assert listener.runs.mark_of("key:k/r") == "killed"


async def test_pause_and_resume(listener: Listener) -> None:
    assert (await listener.ask("POST", "/runs/r/pause", {"cancel": True}))[1]["state"] == "paused"
    assert (await listener.ask("GET", "/runs/r"))[1]["run"]["state"] == "paused"
    assert (await listener.ask("POST", "/runs/r/resume", {}))[1]["state"] == "idle"


async def test_a_run_never_seen_is_404_unless_that_is_said(listener: Listener) -> None:
    status, answer = await listener.ask("POST", "/runs/nobody/kill")
    assert (status, answer["error"]["code"]) == (404, "unknown_path")
    assert (await listener.ask("POST", "/runs/nobody/kill?tenant=key:k", {"unseen": True}))[0] == 200


async def test_an_id_makes_a_repeat_harmless(listener: Listener) -> None:
    answers = [await listener.ask("POST", "/runs/r/kill", {"id": "mine"}) for _ in range(2)]
    assert [answer["repeated"] for _, answer in answers] == [False, True]


async def test_a_name_may_have_any_characters(listener: Listener) -> None:
    listener.runs.of(Identity(key_id="k", agent="a", run="run 1/ü"))
    assert (await listener.ask("POST", "/runs/run%201%2F%C3%BC/kill"))[1]["run"] == "run 1/ü"


@pytest.mark.parametrize("usd", ["0.0000005", 0.0000005])
async def test_a_top_up_on_a_run_takes_money_as_text_or_number_exactly(listener: Listener, usd: object) -> None:
    status, answer = await listener.ask("POST", "/runs/r/topup", {"usd": usd})
    assert (status, answer["account"], answer["unit"], answer["amount"]) == (200, "run:key:k/r", "usd", 500)
    assert answer["limits"] == [{"window": "total", "limit": 1_500, "spent": 0, "left": 1_500}]


async def test_a_top_up_on_any_account(listener: Listener) -> None:
    status, answer = await listener.ask("POST", "/accounts/agent:planner/topup", {"requests": 3})
    assert (status, answer["limits"]) == (200, [{"window": "day", "limit": 8, "spent": 0, "left": 8}])


BAD = [
    ("kill", {"cancel": True}, "cancel"),
    ("kill", {"id": ""}, "id"),
    ("pause", {"cancel": "yes"}, "cancel"),
    ("resume", [], "command"),
    ("topup", {}, "exactly one"),
    ("topup", {"usd": "1", "tokens": 1}, "exactly one"),
    ("topup", {"usd": "0"}, "above 0"),
    ("topup", {"usd": "-1"}, "above 0"),
    ("topup", {"usd": "NaN"}, "above 0"),
    ("topup", {"usd": "sNaN"}, "above 0"),
    ("topup", {"usd": "1e999999"}, "above 0"),
    ("topup", {"usd": "1e-999999999"}, "above 0"),
    ("topup", {"usd": "0.1234567891"}, "nine digits"),
    ("topup", {"tokens": 0}, "tokens"),
    ("topup", {"tokens": 1.5}, "tokens"),
    ("topup", {"dollars": 1}, "dollars"),
    ("kill", b"{", "command"),
    ("kill", b"\xff", "command"),
]


@pytest.mark.parametrize(("action", "body", "word"), BAD)
async def test_what_is_no_command_is_refused_and_does_nothing(
    listener: Listener, action: str, body: object, word: str
) -> None:
    status, answer = await listener.ask("POST", f"/runs/r/{action}", body)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert word in answer["error"]["message"]
    assert listener.ledger.appended_seq == 0
    assert listener.runs.mark_of("key:k/r") is None


async def test_a_form_of_a_foreign_page_is_no_command(listener: Listener) -> None:
    status, answer = await listener.ask("POST", "/runs/r/kill", b"{}", **{"Content-Type": "text/plain"})
    assert (status, answer["error"]["code"]) == (415, "unsupported_media_type")
    assert (await listener.ask("POST", "/runs/r/kill", Origin="http://evil.example"))[0] == 403
    assert (await listener.ask("POST", "/runs/r/kill?x=1"))[0] == 400
    assert listener.runs.mark_of("key:k/r") is None


async def test_runs_are_listed_and_one_is_a_tree(listener: Listener) -> None:
    listener.ledger.append(outcome(call("1", run="r")))
    status, page = await listener.ask("GET", "/runs?limit=5&since=1d&agent=a")
    assert (status, page["rows"]) == (200, [])  # the sample's calls are of 2023
    assert [row["run"] for row in (await listener.ask("GET", "/runs"))[1]["rows"]] == ["r"]
    tree = (await listener.ask("GET", "/runs/r"))[1]
    assert tree["critical_path"] == {"seconds": 2.0, "calls": 1, "request_ids": ["1"], "share": 1.0}
    assert [limit["unit"] for limit in tree["budget"]] == ["usd"]
    assert (await listener.ask("GET", "/runs/nobody"))[0] == 404


async def test_a_name_that_two_tenants_have_needs_the_word_whose(listener: Listener) -> None:
    listener.runs.of(Identity(key_id="k", agent="a", team="red", run="r"))
    listener.ledger.append(outcome(call(run="r")))
    for method, path in (("GET", "/runs/r"), ("POST", "/runs/r/kill"), ("POST", "/accounts/run:r/topup")):
        body = {"usd": 1} if "topup" in path else None
        status, answer = await listener.ask(method, path, body)
        assert (status, answer["error"]["code"]) == (409, "invalid_request")
        assert "key:k, team:red" in answer["error"]["message"]
    status, answer = await listener.ask("POST", "/runs/r/kill?tenant=team:red")
    assert (status, answer["run"], answer["tenant"]) == (200, "r", "team:red")
    assert (await listener.ask("GET", "/runs/r?tenant=key:k"))[1]["run"]["state"] == "idle"
    assert (await listener.ask("GET", "/runs/r?tenant=red"))[0] == 400
    assert (await listener.ask("GET", "/runs/r?tenant=team:blue"))[0] == 404


@pytest.mark.parametrize("name", ["run:r", "run:key:k%2Fr"])
async def test_the_account_of_a_run_is_topped_up_by_its_plain_name_and_by_its_whole_one(
    listener: Listener, name: str
) -> None:
    status, answer = await listener.ask("POST", f"/accounts/{name}/topup", {"usd": "0.0000005"})
    assert (status, answer["account"]) == (200, "run:key:k/r")


async def test_a_run_that_nobody_has_is_no_account_and_an_unseen_one_needs_a_tenant(listener: Listener) -> None:
    assert (await listener.ask("POST", "/runs/nobody/topup", {"usd": 1}))[0] == 404
    status, answer = await listener.ask("POST", "/runs/nobody/kill", {"unseen": True})
    assert (status, "--tenant" in answer["error"]["message"]) == (404, True)
