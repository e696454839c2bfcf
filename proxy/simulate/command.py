"""Runs the simulation for a person, a pipe or a program: configurations and trace in, one table or one object out."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct, json

from loadtests.replay.recorded import Run, TraceError, read
from proxy.cli.output import Output, standard
from proxy.cli.progress import Progress
from proxy.clock import SystemClock
from proxy.config.load import load
from proxy.simulate.figures import Comparison, Figures, compared, figures
from proxy.simulate.report import report
from proxy.simulate.target import Quality
from proxy.simulate.virtual import run as in_virtual_time
from proxy.simulate.world import Lived, Setting, UnknownModel, lived

FAILED, MISUSED = 1, 2


class Result(Struct, frozen=True, omit_defaults=True):
    simulated: bool
    seed: int
    trace: str
    today: Figures
    candidate: Figures | None = None
    difference: Comparison | None = None


def run(config: Path, arguments: argparse.Namespace) -> int:
    """Exit code 0: it ran; 1: the trace cannot be read; 2: wrong usage. Raises ConfigError."""
    output = standard(os.environ)
    setting = Setting(arguments.seed, arguments.model, Quality(dict(arguments.good), arguments.seen))
    try:
        runs = read(arguments.trace, calls_max=arguments.calls, seed=arguments.seed)
        sides = [_lived(file, runs, setting) for file in (config, arguments.against) if file is not None]
    except (TraceError, OSError) as error:
        output.failure([f"headgate: {error}"])
        return FAILED
    except UnknownModel as error:
        output.failure([f"headgate: {error}"])
        return MISUSED
    result = Result(True, arguments.seed, str(arguments.trace), *_figures(sides))
    if arguments.json:
        output.line(json.encode(result).decode())
    else:
        _print(output, result)
    return 0


def _figures(sides: list[Lived]) -> tuple[Figures, Figures | None, Comparison | None]:
    if len(sides) == 1:
        return figures(sides[0]), None, None
    return figures(sides[0]), figures(sides[1]), compared(*sides)


def _lived(file: Path, runs: list[Run], setting: Setting) -> Lived:
    """Raises ConfigError, UnknownModel."""
    config = load(file, os.environ)
    progress = Progress(f"calls under {file.name}", sys.stderr, SystemClock())
    try:
        with TemporaryDirectory(prefix="headgate-simulate-") as folder:
            return in_virtual_time(lived(config, runs, setting, folder=Path(folder), step=lambda: progress.add(1)))
    finally:
        progress.end()


def _print(output: Output, result: Result) -> None:
    head, rows = report(result.today, result.candidate)
    output.table(head, rows)
    for figure in (result.today, result.candidate):
        for what in () if figure is None else figure.left_out:
            output.note(f"not modelled, so left out: {what}")
    if result.difference is not None:
        for line in verdicts(result.difference):
            output.line(line)


def verdicts(comparison: Comparison) -> list[str]:
    """A sentence for each difference."""
    usd, good, duration = comparison.usd, comparison.good, comparison.duration_s
    said = [
        f"cost of a call: {usd.mean:+.6f} USD ({usd.low:+.6f} to {usd.high:+.6f}): {usd.verdict}",
        f"good answers: {good.mean:+.2%} of calls ({good.low:+.2%} to {good.high:+.2%}): {good.verdict}",
    ]
    if duration is not None:
        low, high = duration.low, duration.high
        said.append(f"time of a call: {duration.mean:+.2f} s ({low:+.2f} to {high:+.2f}): {duration.verdict}")
    if comparison.good_at_equal_cost is not None:
        said.append(f"at equal cost: {comparison.good_at_equal_cost:.2f} times as many good answers")
    return said
