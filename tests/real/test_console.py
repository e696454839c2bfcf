"""The console in a real Chromium over a gate with traffic: what it shows, that axe finds nothing, that keys suffice,
that names are never markup. `HEADGATE_IMAGES=docs/images` makes the pictures of the docs.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.real.processes import Client, Process, free_port, wait_until_ready

pytestmark = pytest.mark.real

TOKEN = "the-operators-token"
HOSTILE = "<img src=x onerror=window.hit=1>"
AGENTS = ("planner", "coder", "researcher", "reviewer", "writer", "tester")
CALLS = 14  # of each agent
CHROMIUM = Path("/usr/bin/chromium")


def configuration(folder: Path, port: int, admin_port: int) -> dict[str, Any]:
    price = {"input_usd_per_mtok": 3, "output_usd_per_mtok": 12}
    quick = {"kind": "simulated", "first_token_s": {"median": 0.12, "sigma": 0.4}, "token_s": {"median": 0.01}}
    targets = ["north/sim-large", "south/sim-large"]
    return {
        "server": {"port": port},
        "admin": {"port": admin_port, "token": TOKEN},
        "data_dir": str(folder / "data"),
        "providers": {"north": quick, "south": quick | {"seed": 2, "error_share": {"500": 0.9}}},
        "models": {
            "small": "north/sim-small",
            "large": {"targets": targets, "balance": "weighted"},
            "between": {"experiment": {"control": "large", "candidate": "small"}},
        },
        "agents": {
            "planner": {"budget": [{"usd": 5, "per": "day"}], "cache": {"exact": "on"}},
            "coder": {"budget": [{"usd": "0.002", "per": "hour"}]},
            "researcher": {"budget": [{"usd": "0.05", "per": "day"}]},
        },
        "pricing": {"overrides": dict.fromkeys(("north/sim-small", *targets), price)},
    }


class Site:
    """A gate with some traffic behind it."""

    def __init__(self, folder: Path) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self.over = threading.Event()
        file = folder / "headgate.yaml"
        file.write_text(json.dumps(configuration(folder, self.port, self.admin_port)))
        self.process = Process([sys.executable, "-m", "proxy", "serve", "--config", str(file)], folder / "gate.log")
        wait_until_ready(self.process, f"http://127.0.0.1:{self.port}/health/ready")

    def call(self, agent: str, run: str, *, parent: str | None = None, model: str = "small", text: str = "hi") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json"} | ({"X-Headgate-Parent-Run": parent} if parent else {})
        path = f"/agents/{quote(agent, safe='')}/runs/{quote(run, safe='')}/v1/chat/completions"
        body = {"model": model, "stream": True, "max_tokens": 24, "messages": [{"role": "user", "content": text}]}
        connection.request("POST", path, json.dumps(body), headers)
        reply = connection.getresponse()
        reply.read()
        return reply.status

    def go_on(self) -> None:
        """A call now and then, so that there is something to see."""
        step = 0
        while not self.over.wait(0.15):
            step += 1
            model, agent = ("large", "small")[step % 2], AGENTS[2 + step % 4]
            self.call(agent, f"later-{step // 20}", model=model, text=f"question {step % 7}")

    def work(self, number: int, agent: str) -> None:
        run = f"trip-{number}"
        for step in range(CALLS):
            below = step % 5 == 3
            self.call(
                agent,
                f"{run}-sub" if below else run,
                parent=run if below else None,
                model="large" if step % 2 else "small",
                text=f"question {step % 4}",
            )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not CHROMIUM.exists():
        assert not os.environ.get("CI"), "CI has to have Chromium"
        pytest.skip("Debian's chromium is not installed")
    made = Site(tmp_path_factory.mktemp("console"))
    try:
        threads = [threading.Thread(target=made.work, args=each) for each in enumerate(AGENTS, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        threading.Thread(target=made.go_on, daemon=True).start()
        yield made
    finally:
        made.over.set()
        made.process.stop()


@pytest.fixture(scope="module")
def browser(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client("console", "console_browser", tmp_path_factory.mktemp("browser"))
    yield client
    client.stop()


def done(browser: Client, site: Site, scenario: str) -> Any:
    answer = browser.run(scenario, f"http://127.0.0.1:{site.admin_port}", TOKEN)
    assert "value" in answer, answer["error"]["text"]
    assert answer["value"]["wrong"] == []
    return answer["value"]


@pytest.mark.parametrize("scenario", ["views", "views_in_the_dark", "views_on_a_telephone"])
def test_every_view_is_accessible_and_fits(browser: Client, site: Site, scenario: str) -> None:
    seen = done(browser, site, scenario)
    assert not any(seen["violations"].values()), seen["violations"]
    assert all(wider <= 0 for wider in seen["wider"].values()), seen["wider"]


def test_a_run_and_a_request_tell_their_story(browser: Client, site: Site) -> None:
    seen = done(browser, site, "one_run_and_one_request")
    assert "trip-1-sub" in seen["run"]["words"] and "critical path" in seen["run"]["words"]
    assert seen["run"]["pieces"] >= CALLS
    assert seen["filters"] == "planner"
    words = seen["request"]["words"]
    for expected in ("planned: single over", "answered 200 by primary", "Rounded up once", "********"):
        assert expected in words, expected
    assert "until the first attempt" in words
    assert (seen["run"]["axe"], seen["request"]["axe"]) == ([], [])


def test_keys_suffice(browser: Client, site: Site) -> None:
    seen = done(browser, site, "by_keyboard")
    assert "#/requests/" in seen["opened"] and "agent=nobody" in seen["filtered"]
    assert (seen["helped"], seen["paused"]) == (True, "Go on")


def test_a_name_that_would_be_markup_is_text(browser: Client, site: Site) -> None:
    assert [site.call(HOSTILE, HOSTILE), site.call(HOSTILE, HOSTILE, model=HOSTILE)] == [200, 404]
    seen = done(browser, site, "hostile_names")
    assert all(seen["shown"].values()), seen["shown"]
    assert (seen["images"], seen["hit"]) == (0, True)


def test_a_key_is_shown_once_and_the_token_is_kept_nowhere(browser: Client, site: Site) -> None:
    seen = done(browser, site, "a_key_is_shown_once")
    assert seen["key"].startswith("hg-") and seen["gone"]
    assert seen["stored"] == '["",{},{}]'
