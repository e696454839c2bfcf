"""`headgate demo`: a fleet of scripted agents twice at once, straight to simulated providers and through a real gate.

This file knows the options only; what the command loads and does begins in `command`. Nothing of it is needed to serve.
"""

from __future__ import annotations

import argparse

from proxy.cli.by_name import function
from proxy.cli.options import Subparsers

SECONDS_LEAST = 5
EPILOG = """\
Everything is SIMULATED: three made-up providers inside this process, no keys, nothing leaves this machine. The gate is
the real one, over real HTTP, with its data in a temporary folder. The same agents with the same seed run twice at the
same time: direct, as an SDK with one provider and two retries, and through the gate. Both columns are measured.

The story, in shares of its length: all is well; from 20 % on one provider says 200 and then nothing to two calls in
five; from 40 % on another one is down; from 70 % on all are well again; from 75 % on an agent asks without end, which
has a budget at the gate and none without it. The lines that begin with "gate:" are what the gate does meanwhile: calls
that were late and are sent a second time elsewhere, providers that are left out and come back, the runaway refused.
Support is asked the same few things, and gets answers that are known already. The table has either column for each of
the four chapters, and what it cost, also where that favours direct.

While it runs the gate's console is open to a browser, at the address in the first line; on a terminal it is opened.

Ctrl-C ends it early, with the table so far. Exit code 0: for every answer whose usage a provider reported, the gate's
ledger equals the provider's bill to the last nano-dollar, and no budget was overrun; else 1.

examples:
  headgate demo
  headgate demo --seconds 20 --seed 7
  headgate demo --seconds 6 --json
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="a simulated fleet, direct against through the gate; nothing needed",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--seconds", type=_seconds, default=60.0, help="about how long; at least 5 (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same agents and faults (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--no-browser", action="store_true", help="open no browser; only a terminal opens one")


def demo(arguments: argparse.Namespace) -> int:
    run, browser = function("proxy.demo.command:run"), not arguments.no_browser
    return run(arguments.seconds, arguments.seed, in_json=arguments.json, browser=browser) or 0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not SECONDS_LEAST <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"from {SECONDS_LEAST} to 3600 seconds")
    return seconds
