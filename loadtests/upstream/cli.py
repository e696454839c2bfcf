"""The command `python loadtests/upstream.py`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from . import scenario as format
from .connection import Settings, start
from .script import VERBS, Performance
from .stage import Stage

FORMS = ("counted", "stamped")

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]  # it is a speed-up, nothing else


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="An OpenAI-compatible upstream: canned answers, or a scenario of faults, and its own true bill.",
        epilog=f"{format.__doc__}\n{_verbs()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 picks a free one")
    parser.add_argument("--scenario", type=Path, help="a file of rules, YAML or JSON; POST /scenario changes it")
    parser.add_argument("--usage-file", type=Path, help="gets a line of JSON for each scripted exchange that has ended")
    for name, default in asdict(Settings()).items():
        choices = FORMS if name == "form" else None
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, choices=choices)
    return parser.parse_args(given)


def _verbs() -> str:
    """What a script may do, from the methods themselves."""
    lines = ["Verbs:"]
    for name, signature in VERBS.items():
        shown = ", ".join(signature.parameters)
        lines.append(f"  {name:<11}{f'({shown})':<32}{' '.join((getattr(Performance, name).__doc__ or '').split())}")
    return "\n".join(lines)


async def serve(given: argparse.Namespace) -> None:
    """Serves until SIGINT or SIGTERM; says on standard output where."""
    settings = Settings(**{name: getattr(given, name) for name in asdict(Settings())})
    file = given.usage_file.open("a") if given.usage_file else None
    scenario = format.load(given.scenario) if given.scenario else None
    stage = Stage(scenario, answer_tokens=settings.tokens, usage=file)
    server = await start(given.host, given.port, settings=settings, stage=stage)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(f"listening on http://{given.host}:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await stopped.wait()
    server.close()


def main(given: Sequence[str]) -> int:
    options = arguments(given)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
            runner.run(serve(options))
    except (format.ScenarioError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0
