"""`make bench-caches`: what each cache is worth, beside what others do. `python -m tests.caches [--only NAME]`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from loadtests.replay.traces import found
from tests.caches import affinity, exact, prompt_caches, run_gate, semantic
from tests.caches.row import Row, lines, missed

Section = Callable[[Path | None], Iterable[Row]]  # the folder of recorded traffic; None: it is made up

SECTIONS: Mapping[str, Section] = {
    "exact cache and replays": exact.rows,
    "prefix affinity": affinity.rows,
    "run gate": run_gate.rows,
    "prompt caches": prompt_caches.rows,
    "semantic cache": semantic.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What the caches are worth; HEADGATE_TRACES names recorded traffic.")
    parser.add_argument("--only", default="", help="sections whose name holds this")
    given = parser.parse_args()
    folder, began, short = found(), time.monotonic(), []
    print("traffic: " + ("made up, as no traces were found" if folder is None else "recorded"), flush=True)
    for name, section in SECTIONS.items():
        if given.only not in name:
            continue
        print(f"\n{name}", flush=True)
        rows = []
        for row in section(folder):
            rows.append(row)
            print(*lines([row]), sep="\n", flush=True)
        short += [f"{name}: {figure}" for figure in missed(rows)]
    print(f"\n{time.monotonic() - began:.0f} s; targets not reached: {'; '.join(short) or 'none'}")


if __name__ == "__main__":
    main()
