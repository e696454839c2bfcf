"""Breakers of a serving process: they show in its metrics and its log, and a reload gives refused keys a trial."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from policies.breaker import Breakers
from policies.rooms import Rooms
from proxy.assembly import Assembly
from proxy.clock import SystemClock, loop_time
from proxy.config.load import load
from proxy.health import Health
from proxy.tasks import Tasks
from proxy.telemetry.log import Field, Level
from proxy.telemetry.metrics import Metrics
from proxy.types import Target

RNG = Random(1)
CONFIG = """
data_dir: {folder}
providers: {{sim: {{kind: simulated}}, vendor: {{kind: openai, api_key: k, health: off}}}}
models: {{both: {{targets: [sim/s, vendor/v]}}, "vendor/*": {{targets: ["vendor/*"]}}}}
pricing: {{unknown: allow}}
"""


class House:
    def __init__(self, folder: Path) -> None:
        file = folder / "headgate.yaml"
        file.write_text(CONFIG.format(folder=folder / "data"))
        self.clock = SystemClock(seed=1, now=loop_time)
        self.assembly = Assembly(load(file, {}), self.clock)
        present = self.assembly.present
        self.targets = {target.id: target for target in present.metered}
        self.metrics = Metrics(present.snapshot.planner.routes.names, present.metered)
        self.rooms = Rooms(present.paces.targets)
        self.told: list[tuple[str, Level, Mapping[str, Field]]] = []
        self.breakers = Breakers(lambda transition: self.health.turned(transition))
        self.health = Health(
            self.assembly, self.metrics, self.rooms, self.breakers, lambda *told: self.told.append(told)
        )

    def end(self, id: str, code: str | None, times: int) -> Target:
        now, target = self.clock.now(), self.targets[id]
        for _ in range(times):
            self.breakers.begin(target, now).ended("failure" if code else "success", code, now=now, rng=RNG)
        return target

    def shown(self, name: str) -> dict[str, float]:
        lines = self.metrics.exposition("")[0].decode().splitlines()
        found = (line.rpartition(" ") for line in lines if line.startswith(f"headgate_{name}{{"))
        return {labels.partition("{")[2].rstrip("}"): float(value) for labels, _, value in found if float(value)}


async def test_a_target_that_goes_out_shows_in_metrics_and_log_and_comes_back_by_a_probe(tmp_path: Path) -> None:
    house = House(tmp_path)
    assert house.shown("route_healthy_targets") == {'route="both"': 2, 'route="vendor/*"': 1}
    house.end("sim/s", "upstream_error", 5)
    assert house.shown("route_healthy_targets")['route="both"'] == 1
    assert 'state="open",target="sim/s"' in house.shown("breaker_state")
    ((name, level, fields),) = house.told
    assert (name, level, fields["target"], fields["code"]) == ("breaker", "warning", "sim/s", "upstream_error")
    assert str(fields["why"]).startswith("sim/s is out: too many failures in a row; next trial in ")
    tasks = Tasks(lambda name, error: pytest.fail(f"{name}: {error!r}"))
    tasks.start("probes", house.health.probe(tasks))
    await asyncio.sleep(12)
    await tasks.close()
    house.end("sim/s", None, 3)
    assert house.shown("upstream_healthy") == {'target="sim/s"': 1, 'target="vendor/v"': 1, 'target="vendor/*"': 1}
    assert [fields["state"] for _, _, fields in house.told] == ["open", "half_open", "closed"]
    assert [level for _, level, _ in house.told] == ["warning", "info", "info"]
    assert len(house.shown("breaker_transitions_total")) == 3
    assert "0 not closed" in repr(house.health)


async def test_what_was_learned_of_a_target_while_it_failed_is_forgotten_when_it_is_back(tmp_path: Path) -> None:
    house = House(tmp_path)
    target = house.end("vendor/v", "upstream_error", 5)
    house.rooms.of(target, house.clock.now()).timed_out(house.clock.now())
    assert house.rooms.concurrency("vendor/v") == 11
    house.end("vendor/v", None, 3)
    assert house.rooms.concurrency("vendor/v") > 1_000


async def test_a_refused_key_is_an_error_and_a_reload_gives_it_a_trial(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.end("vendor/v", "upstream_auth", 1)
    assert [(level, fields["target"]) for _, level, fields in house.told] == [
        ("error", "vendor/v"),
        ("error", "vendor"),
    ]
    assert {row.target: row.state for row in house.health.rows()} == {"sim/s": "closed", "vendor/v": "open"}
    house.assembly.use(house.assembly.config, house.assembly.made(house.assembly.config))
    house.health.renew()
    assert {row.target: row.state for row in house.health.rows()} == {"sim/s": "closed", "vendor/v": "half_open"}
