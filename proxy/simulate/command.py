"""Runs the simulation for a person, a pipe or a program: configurations and trace in, one table or one object out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct, json, structs

from loadtests.replay.recorded import Run, TraceError, read
from proxy.cli.output import Output, standard
from proxy.cli.progress import Progress
from proxy.clock import SystemClock
from proxy.config.load import Config, load
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
        files = [file for file in (config, arguments.against) if file is not None]
        _check(setting.quality.good, files)
        sides = [_lived(file, runs, setting) for file in files]
    except OSError as error:
        output.failure([f"headgate: {error.filename or arguments.trace} cannot be read: {error.strerror or error}"])
        return FAILED
    except TraceError as error:
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
    quality = structs.replace(setting.quality, good=named(setting.quality.good, config))
    setting = structs.replace(setting, quality=quality)
    progress = Progress(f"calls under {file.name}", sys.stderr, SystemClock())
    try:
        with TemporaryDirectory(prefix="headgate-simulate-") as folder:
            return in_virtual_time(lived(config, runs, setting, folder=Path(folder), step=lambda: progress.add(1)))
    finally:
        progress.end()


def named(good: Mapping[str, float], config: Config) -> dict[str, float]:
    """By provider/model: a configured name stands for its targets. What fits nothing here is left out."""
    found: dict[str, float] = {}
    targets = {f"{each.provider}/{each.model}" for model in config.models.values() for each in model.targets}
    targets |= {each for model in config.models.values() for each in model.together if each not in config.models}
    for name, share in good.items():
        model = config.models.get(name)
        if model is not None:
            meant = {f"{each.provider}/{each.model}" for each in model.targets}
        else:
            meant = {target for target in targets if name in (target, target.partition("/")[2])}
            if not meant and any(target.endswith("*") for target in targets):
                meant = {name}  # of a provider whose models have no names here
        found |= dict.fromkeys(meant, share)
    return found


def _check(good: Mapping[str, float], files: list[Path]) -> None:
    """Raises UnknownModel for a name that fits nothing in any of them."""
    configs = [load(file, os.environ) for file in files]
    for name in good:
        if not any(named({name: 1.0}, config) for config in configs):
            known = ", ".join(sorted({model for config in configs for model in config.models}))
            raise UnknownModel(f"--good: no model is called {name!r} (configured: {known})")


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
