"""The tail benchmark: every scenario with every baseline and the real gate, dealt the same cards, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from loadtests.tail.baselines import BASELINES, FixedHedge, HindsightHedge, RetryOnly
from loadtests.tail.play import Played, Side, play
from loadtests.tail.scenarios import Scenario
from loadtests.tail.upstreams import Upstreams
from tests.sim.virtual import run
from tests.tail.gate import GateSide

HINDSIGHT = "best one delay"
HALVINGS = 8  # of the delays that it may be


def compare(scenario: Scenario, seed: int) -> dict[str, Played]:
    """By side; the gate is the last."""
    played = {side.name: run(baseline(scenario, side, seed)) for side in BASELINES}
    if scenario.hedge_s is not None:
        played[f"hedge at {scenario.hedge_s:g} s"] = run(by_hand(scenario, scenario.hedge_s, seed))
    if scenario.most_calls is not None:
        played[HINDSIGHT] = hindsight(scenario, scenario.most_calls, seed, played[RetryOnly.name].quantile(0.5))
    return played | {GateSide.name: run(gate(scenario, seed))}


async def baseline(scenario: Scenario, side: type[RetryOnly], seed: int) -> Played:
    return await _play(scenario, lambda upstreams: side(upstreams, seed, timeout_s=scenario.timeout_s))


async def by_hand(scenario: Scenario, hedge_s: float, seed: int) -> Played:
    timeout_s = scenario.timeout_s
    return await _play(scenario, lambda upstreams: FixedHedge(upstreams, seed, timeout_s=timeout_s, hedge_s=hedge_s))


def hindsight(scenario: Scenario, most_calls: float, seed: int, median: float) -> Played:
    """What one delay for all can do at most: the least that keeps the bound on calls, as each call ends the sooner the
    earlier it is hedged. Found by trying, on the same cards; a policy that goes by the ages of calls can hardly count
    on more ("Optimal Reissue Policies", Kaler, He and Elnikety, SPAA 2017)."""
    low, high = median, 8.0 * median  # too early, and late enough
    best = run(by_hindsight(scenario, high, seed))
    for _ in range(HALVINGS):
        delay = (low + high) / 2
        played = run(by_hindsight(scenario, delay, seed))
        if played.calls <= most_calls:
            high, best = delay, played
        else:
            low = delay
    return best


async def by_hindsight(scenario: Scenario, hedge: float, seed: int) -> Played:
    timeout_s = scenario.timeout_s
    return await _play(scenario, lambda upstreams: HindsightHedge(upstreams, seed, timeout_s=timeout_s, hedge_s=hedge))


async def gate(scenario: Scenario, seed: int) -> Played:
    sides: list[GateSide] = []

    def make(upstreams: Upstreams) -> Side:
        sides.append(GateSide(scenario, upstreams, seed))
        return sides[0]

    played = await _play(scenario, make)
    await sides[0].close()
    return played


async def _play(scenario: Scenario, make: Callable[[Upstreams], Side]) -> Played:
    return await play(scenario.requests, scenario.upstreams(), make, patience_s=scenario.patience_s)


def traces(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None
