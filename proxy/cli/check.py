"""`headgate check`: is this file right, and what does it really say? It reads and starts nothing.

On a terminal and in a pipe: one line for each value that was set, with its origin (a line of the file, the environment,
a flag), and how many were left at their defaults; `--all` has those too. With `--json` an object with all of them, also
for errors, so that a pipeline can read it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import msgspec

from proxy.assemble import gpu_rates
from proxy.cli.options import Subparsers, add_config, config_file
from proxy.cli.output import Output, standard
from proxy.cli.table import dollars
from proxy.clock import SystemClock, today
from proxy.config.apart import apart
from proxy.config.load import DEFAULT, Config, ConfigError, effective, load, oddities
from proxy.config.unpayable import unpayable, unpriced
from proxy.targets import Targets, prices_of

MISUSED = 2

EXAMPLES = """\
examples:
  headgate check --config headgate.yaml                 what the file sets, line by line
  headgate check --config headgate.yaml --all           every value, also those that are left at their defaults
  headgate check --config headgate.yaml --json          for a pipeline: {"version": ..., "settings": [...]}
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "check",
        help="validate a configuration and show what it sets, with origins",
        description="Validates a configuration file and shows what it sets; secrets are masked.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_config(parser)
    parser.add_argument("--all", action="store_true", help="also every value that is left at its default")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines, with every value")


def check(arguments: argparse.Namespace) -> int:
    file: Path = config_file(arguments)
    output = standard(os.environ)
    try:
        config = load(file, os.environ)
    except ConfigError as error:
        if not arguments.json:
            raise
        output.line(msgspec.json.encode({"errors": error.messages}).decode())
        return MISUSED
    if arguments.json:
        output.line(_json(config))
    else:
        _lines(config, output, file, with_defaults=arguments.all)
    return 0


def _warnings(config: Config) -> tuple[str, ...]:
    """What is allowed and looks like a mistake."""
    targets = Targets(config, prices_of(config, today(SystemClock())))
    return (*oddities(config), *unpriced(config, targets.price), *unpayable(config, targets.price))


def _json(config: Config) -> str:
    return msgspec.json.encode(
        {
            "version": config.version,
            "warnings": _warnings(config),
            "notes": apart(config),
            "settings": effective(config),
        }
    ).decode()


def _lines(config: Config, output: Output, file: Path, *, with_defaults: bool) -> None:
    settings = effective(config)
    shown = [setting for setting in settings if with_defaults or setting.origin != DEFAULT]
    output.table(("setting", "value", "origin"), [(each.path, _text(each.value), each.origin) for each in shown])
    if len(shown) < len(settings):
        output.note(f"{len(settings) - len(shown)} more settings are at their defaults: --all shows them")
    for warning in _warnings(config):
        output.note(f"warning: {warning}")
    for provider, rate in gpu_rates(config).items():
        hour = dollars(rate.usd_nanos_per_hour * rate.gpus)
        output.note(f"{provider} costs {hour} an hour, {rate.usd_nanos_per_s:,} nano-dollars a second")
    for note in apart(config):
        output.note(f"note: {note}")
    if output.human:
        output.success(f"{file} is valid; version {config.version}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
