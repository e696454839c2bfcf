"""`make bench-economics`: what quality costs, beside the references. `python -m tests.economics [--only NAME]`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from loadtests.replay.traces import found
from tests.economics import ceilings, fleet, loops, maths, scheduling, votes, workflow
from tests.economics.row import Row, lines, missed

Section = Callable[[Path | None], Iterable[Row]]  # the folder of recorded traffic; None: there is none

SECTIONS: Mapping[str, Section] = {
    "a fleet at $127,800 a day": fleet.rows,
    "a workflow of twelve premium calls": workflow.rows,
    "evidence": maths.rows,
    "quorums": votes.rows,
    "loops": loops.rows,
    "ceilings of runs": ceilings.rows,
    "runs that wait for each other": scheduling.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What quality costs; HEADGATE_TRACES names recorded traffic.")
    parser.add_argument("--only", default="", help="sections whose name holds this")
    given = parser.parse_args()
    folder, began, short = found(), time.monotonic(), []
    for name, section in SECTIONS.items():
        if given.only not in name:
            continue
        print(f"\n{name}", flush=True)
        for row in section(folder):
            short += [f"{name}: {figure.strip()}" for figure in missed([row])]
            print(*lines([row]), sep="\n", flush=True)
    print(f"\n{time.monotonic() - began:.0f} s; targets not reached: {'; '.join(short) or 'none'}")


if __name__ == "__main__":
    main()
