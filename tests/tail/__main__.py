"""`make bench-tail`: prints a table for each scenario; with `--seeds N` its figures over so many seeds.

python -m tests.tail [--only NAME] [--seed N] [--seeds N] [--count N]
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from loadtests.tail.play import Played
from loadtests.tail.report import misses, spread, table
from loadtests.tail.scenarios import COUNT, scenarios
from tests.conftest import TRACES
from tests.tail.bench import compare, traces


def measured(number: int, seed: int, count: int) -> tuple[str, list[str]]:
    """The table of one scenario, and the targets it misses."""
    scenario = scenarios(seed, traces(TRACES), count)[number]
    played = compare(scenario, seed)
    return table(scenario, played), [f"{scenario.name}: {name}" for name in misses(scenario, played)]


def played(seed: int, *, number: int, count: int) -> dict[str, Played]:
    return compare(scenarios(seed, traces(TRACES), count)[number], seed)


def one_seed(pool: ProcessPoolExecutor, numbers: list[int], seed: int, count: int) -> str:
    """Prints a table for each scenario; the goals that are missed."""
    missed = []
    for told, misses_of in pool.map(partial(measured, seed=seed, count=count), numbers):
        print(told, end="\n\n", flush=True)
        missed += misses_of
    return f"targets not reached: {'; '.join(missed) or 'none'}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Tails of the gate beside what gateways commonly do, same cards dealt."
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from that one on")
    parser.add_argument("--count", type=int, default=COUNT, help="requests a side and scenario")
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    given = parser.parse_args()
    began, found = time.monotonic(), scenarios(given.seed, None, given.count)
    numbers = [number for number, scenario in enumerate(found) if given.only in scenario.name]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        if given.seeds == 1:
            ended = one_seed(pool, numbers, given.seed, given.count)
        else:
            seeds = range(given.seed, given.seed + given.seeds)
            for number in numbers:
                plays = list(pool.map(partial(played, number=number, count=given.count), seeds))
                print(spread(found[number], plays), end="\n\n", flush=True)
            ended = "behind each figure, how many of the seeds reach the target"
    print(f"seed {given.seed}, {time.monotonic() - began:.0f} s; {ended}")


if __name__ == "__main__":
    main()
