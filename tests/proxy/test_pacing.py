"""The limits of a serving process: those of its configuration, those of the next one, and what its metrics show."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from proxy.assembly import Assembly
from proxy.clock import SystemClock, loop_time
from proxy.config.load import Config, ConfigError, load
from proxy.execution.permits import Permit
from proxy.pacing import Pacing
from proxy.telemetry.metrics import Metrics
from proxy.types import Identity
from tests.build import call

BASE = """
data_dir: {folder}
providers: {{sim: {{kind: simulated}}}}
models: {{small: {{targets: [{{provider: sim, model: s{target}}}]}}}}
pricing: {{unknown: allow}}
agents: {{planner: {{{agent}}}}}
server: {{workers: {workers}}}
"""
CALL = structs.replace(call(identity=Identity("k", "planner")), route="small")


def configured(folder: Path, *, agent: str = "", target: str = "", workers: int = 1) -> Config:
    file = folder / "headgate.yaml"
    file.write_text(BASE.format(folder=folder / "data", agent=agent, target=target, workers=workers))
    return load(file, {})


class House:
    def __init__(self, config: Config) -> None:
        self.assembly = Assembly(config, SystemClock(seed=1, now=loop_time))
        present = self.assembly.present
        routes = present.snapshot.planner.routes
        self.metrics = Metrics(routes.names, present.metered, agents=("planner",))
        self.pacing = Pacing(self.assembly, self.metrics)

    def reload(self, config: Config) -> None:
        self.assembly.use(config, self.assembly.made(config))
        self.pacing.renew()

    async def admitted(self) -> bool:
        quota = self.pacing.rates.quota(CALL)
        if quota is None:
            return True
        refused = await quota.admit()
        quota.end([])
        return refused is None

    def shown(self, name: str) -> dict[str, float]:
        text = self.metrics.exposition("")[0].decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(f"headgate_{name}"))
        return {labels.partition("{")[2].rstrip("}"): float(value) for labels, _, value in lines}


async def test_a_reload_changes_the_limits_and_keeps_what_was_taken(tmp_path: Path) -> None:
    house = House(configured(tmp_path))
    assert not house.pacing.rates.limited
    house.reload(configured(tmp_path, agent="rpm: 2"))
    assert [await house.admitted() for _ in range(3)] == [True, True, False]
    house.reload(configured(tmp_path, agent="rpm: 4"))
    assert [await house.admitted() for _ in range(3)] == [True, True, False], "two had been taken"
    house.reload(configured(tmp_path))
    assert await house.admitted()


async def test_refusals_are_counted_by_agent_and_limit(tmp_path: Path) -> None:
    house = House(configured(tmp_path, agent="rpm: 1"))
    assert house.shown("rate_limited_total")['agent="planner",limit="requests"'] == 0
    for _ in range(3):
        await house.admitted()
    assert house.shown("rate_limited_total")['agent="planner",limit="requests"'] == 2


async def test_what_is_left_at_a_target_is_shown(tmp_path: Path) -> None:
    house = House(configured(tmp_path, target=", rpm: 4"))
    requests, tokens = 'limit="requests",target="sim/s"', 'limit="tokens",target="sim/s"'
    assert house.shown("upstream_ratelimit_remaining_ratio") == {requests: 1.0, tokens: 1.0}
    (target,) = house.assembly.present.metered
    permit = house.pacing.permits.at_once(target, house.pacing.permits.claim(CALL))
    assert isinstance(permit, Permit)
    assert house.shown("upstream_ratelimit_remaining_ratio") == {requests: pytest.approx(0.75), tokens: 1.0}
    permit.release(None)


async def test_each_of_several_processes_takes_its_part(tmp_path: Path) -> None:
    house = House(configured(tmp_path, agent="rpm: 8", workers=4))
    assert [await house.admitted() for _ in range(3)] == [True, True, False]


async def test_an_agent_has_its_own_priority_or_that_of_the_defaults(tmp_path: Path) -> None:
    house = House(configured(tmp_path, agent="priority: batch"))
    rules = house.assembly.snapshot.rules
    assert (rules("planner").priority, rules("another").priority) == ("batch", "standard")
    with pytest.raises(ConfigError, match="critical"):
        configured(tmp_path, agent="priority: urgent")


async def test_calls_in_line_show_in_the_metrics_with_the_time_that_they_waited(tmp_path: Path) -> None:
    house = House(configured(tmp_path, agent="concurrency: 1", target=", concurrency: 1"))
    first, second = house.pacing.rates.quota(CALL), house.pacing.rates.quota(CALL)
    assert first is not None
    assert second is not None
    assert await first.admit() is None
    (target,) = house.assembly.present.metered
    permit = house.pacing.permits.at_once(target, house.pacing.permits.claim(CALL))
    assert isinstance(permit, Permit)
    waiting = asyncio.gather(second.admit(), house.pacing.permits.acquire(target, house.pacing.permits.claim(CALL)))
    await asyncio.sleep(0.2)
    assert house.shown("queue_depth")['route="small"'] == 2
    first.end([])
    permit.release(None)
    refused, other = await waiting
    assert refused is None
    assert isinstance(other, Permit)
    assert house.shown("queue_depth")['route="small"'] == 0
    assert house.shown("queue_seconds_sum")['route="small"'] == pytest.approx(0.4)
    second.end([])
    other.release(None)


async def test_what_has_hours_is_held_and_the_bound_on_it_is_watched(tmp_path: Path) -> None:
    house = House(configured(tmp_path))
    assert house.pacing.admission.off_peak is house.pacing.off_peak
    house.pacing.off_peak.turned_away = 3
    assert house.shown("bound_hits_total")['bound="held"'] == 3
