"""`make bench-tail`: prints a table for each scenario. `python -m tests.tail [--only NAME] [--seed N] [--count N]`."""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from loadtests.tail.report import misses, table
from loadtests.tail.scenarios import COUNT, scenarios
from tests.conftest import TRACES
from tests.tail.bench import compare, traces


def measured(number: int, seed: int, count: int) -> tuple[str, list[str]]:
    """The table of one scenario, and the targets it misses."""
    scenario = scenarios(seed, traces(TRACES), count)[number]
    played = compare(scenario, seed)
    return table(scenario, played), [f"{scenario.name}: {name}" for name in misses(scenario, played)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Tails of the gate beside what gateways commonly do, same cards dealt."
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=COUNT, help="requests a side and scenario")
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    given = parser.parse_args()
    began, missed = time.monotonic(), []
    found = scenarios(given.seed, None, 1)
    numbers = [number for number, scenario in enumerate(found) if given.only in scenario.name]
    with ProcessPoolExecutor(min(len(numbers) or 1, os.cpu_count() or 1)) as pool:
        for told, misses_of in pool.map(partial(measured, seed=given.seed, count=given.count), numbers):
            print(told, end="\n\n", flush=True)
            missed += misses_of
    print(f"seed {given.seed}, {time.monotonic() - began:.0f} s; targets not reached: {'; '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
