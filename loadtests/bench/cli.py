"""The benchmark's command: arguments, progress, and the exit code.

0: measured, whatever the figures. 1: a reply or a chunk was wrong or lost. 2: it could not be measured.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import report
from .processes import BenchError, cores
from .request_cost import has_wrk
from .sections import FULL, QUICK, SECTIONS, Bench, Results
from .systems import VARIANTS, Lab, nginx_path

NAMES = ("nginx", "hop", "headgate")
BESIDE = ("unlogged",)  # where nobody has named systems, in the section on requests alone: it costs half a minute


class Progress:
    """One line that overwrites itself on a terminal, and nothing elsewhere."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        if self._terminal:
            elapsed = time.monotonic() - self._began_at
            sys.stderr.write(f"\r\x1b[K{elapsed:4.0f} s  {text}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="What a call and a streamed chunk cost, beside nginx and a bare aiohttp hop (docs/benchmarks.md)."
    )
    parser.add_argument("--quick", action="store_true", help="about 40 seconds instead of 4 minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything that was measured")
    parser.add_argument("--only", choices=SECTIONS, help="one section")
    parser.add_argument(
        "--systems",
        help="of nginx, hop, headgate, the gate with something more: budgets, strict, and with less: unlogged, silent; "
        "default the first three, and unlogged where requests are measured",
    )
    return parser.parse_args(given)


def missing_tools() -> list[str]:
    """What to install, in words."""
    hints = []
    if nginx_path() is None:
        hints.append("nginx is missing and left out; to see it beside the others: apt-get install nginx-light")
    if not has_wrk():
        hints.append("wrk is missing; the benchmark's own client takes its place: apt-get install wrk")
    if len(set(cores())) == 1:
        hints.append("only one core: everything shares it, so only the CPU figures and their ratios mean anything")
    return hints


def measure(given: argparse.Namespace, progress: Progress) -> Results:
    named = given.systems.split(",") if given.systems else NAMES
    wanted = [name for name in named if name in (*NAMES, *VARIANTS)]
    names = tuple(name for name in wanted if name != "nginx" or nginx_path() is not None)
    beside = () if given.systems or given.only not in (None, "requests") else BESIDE
    with Lab() as lab:
        bench = Bench(lab, names, beside, size=QUICK if given.quick else FULL, say=progress.say)
        bench.start()
        for section in [given.only] if given.only else SECTIONS:
            bench.run(section)
        bench.check_metering()
        return bench.results


def show(results: Results, target: Path | None) -> None:
    about = report.machine()
    print(
        "\n" + " · ".join(f"{value}" if name in ("date", "cpu") else f"{name} {value}" for name, value in about.items())
    )
    print("System under test on one core, load and upstream on another; medians; ratios round by round.\n")
    print(report.render(report.rows(results)))
    if results.growth:
        print(f"\nmemory over the requests, MB: {report.sparkline(results.growth)}")
    if results.unsteady:
        print(
            f"\n{results.unsteady} rounds of streams were not steady: the machine had other work, doubt the CPU a chunk"
        )
    print(f"\n{results.faults.checked:,} replies and chunks checked, {results.faults.wrong} wrong or lost")
    if results.faults.wrong:
        print(f"  {results.faults.sample}")
    if target:
        target.write_text(json.dumps(report.as_json(results, about), indent=1) + "\n")


def main(given: Sequence[str]) -> int:
    options = arguments(given)
    if not sys.platform.startswith("linux"):
        print("The benchmark needs Linux: it pins processes to cores and reads /proc.", file=sys.stderr)
        return 2
    # Either way everything that was started is stopped; a shell may have started us with Ctrl-C switched off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for hint in missing_tools():
        print(hint, file=sys.stderr)
    progress = Progress()
    try:
        results = measure(options, progress)
    except BenchError as error:
        progress.clear()
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        progress.clear()
        return 130
    progress.clear()
    show(results, options.json)
    return 1 if results.faults.wrong else 0
