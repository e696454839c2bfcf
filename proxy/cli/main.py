"""`headgate`: which commands there are, and which module knows each. It parses, dispatches and gives the exit code.

Only the module of the command that was asked for is loaded; the others are a line in the help. Exit codes: 0 fine,
1 failed, 2 wrong usage or configuration.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from proxy.cli.by_name import function
from proxy.cli.output import standard
from proxy.config.error import ConfigError
from proxy.memory import loading

FAILED, MISUSED = 1, 2

DESCRIPTION = """\
A gate in front of your language models. Point the base URL of any OpenAI client at it; it forwards, streams,
retries, and writes down what every call cost and for whom."""

EXAMPLES = """\
examples:
  headgate up                                    try it now: no configuration, no key needed
  headgate check --config headgate.yaml          is this file right, and what does it really say?
  headgate serve --config headgate.yaml          run it
  headgate keys create --agent planner           a key for one agent, shown once
  headgate spend --by agent --since 1d           who spent what since yesterday
  headgate explain REQUEST_ID                    one call: every attempt, every decision, the arithmetic

`headgate COMMAND --help` tells more. Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration.
"""


class Command(NamedTuple):
    """`module` has `register(subparsers)`, which declares options, and the function that runs the command."""

    name: str
    purpose: str
    module: str
    function: str


COMMANDS = (
    Command(
        "up", "start without configuration: provider keys, local engines, else simulation", "proxy.cli.serve", "up"
    ),
    Command("serve", "start with a configuration file", "proxy.cli.serve", "serve"),
    Command("demo", "a simulated fleet, direct against through the gate; nothing needed", "proxy.demo", "demo"),
    Command("check", "validate a configuration and show every value with its origin", "proxy.cli.check", "check"),
    Command("import", "translate the configuration of another gateway", "proxy.cli.import_config", "translate"),
    Command("keys", "create, list and revoke the keys that callers present", "proxy.cli.keys", "keys"),
    Command("top", "the fleet as it works, live: agents, routes, targets, runs, requests", "proxy.cli.top", "top"),
    Command("tail", "every call as it ends, live", "proxy.cli.tail", "tail"),
    Command("spend", "what was spent, by agent, model, run or key", "proxy.cli.reports", "spend"),
    Command("budgets", "every budget: spent, held, left, and when it will be empty", "proxy.cli.budgets", "budgets"),
    Command("runs", "the runs of agents, their cost and time; kill, pause, resume, topup", "proxy.cli.runs", "runs"),
    Command("targets", "every target: whether it may be asked, how fast it is", "proxy.cli.targets", "targets"),
    Command("caches", "known answers: how many, what they have saved; purge", "proxy.cli.caches", "caches"),
    Command("batches", "batches: how far they are; cancel", "proxy.cli.batches", "batches"),
    Command("cascades", "how good the cheap answers of cascades are; reset", "proxy.cli.cascades", "cascades"),
    Command("experiments", "two models compared on live calls; reset", "proxy.cli.experiments", "experiments"),
    Command("content", "the words of calls that are kept: how much; purge", "proxy.cli.content", "content"),
    Command("ledger", "verify the ledger, export it, hold a bill against it", "proxy.cli.ledger", "ledger"),
    Command("simulate", "recorded traffic again, in virtual time", "proxy.simulate", "simulate"),
    Command("quote", "what a request would do and cost, without sending it", "proxy.cli.quote", "quote"),
    Command("requests", "the latest calls, by agent, run, model, target, error", "proxy.cli.requests", "requests"),
    Command("explain", "one request: attempts, decisions, price", "proxy.cli.reports", "explain"),
    Command("doctor", "is everything in place: keys, prices, providers, clock, disk", "proxy.cli.doctor", "doctor"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    loading()
    given = sys.argv[1:] if arguments is None else arguments
    asked = next((argument for argument in given if not argument.startswith("-")), None)
    parser = _parser(asked)
    chosen = parser.parse_args(given)
    command = next((command for command in COMMANDS if command.name == chosen.command), None)
    if command is None:
        if chosen.version:
            return function("proxy.cli.version:show")() or 0
        parser.print_help()
        return MISUSED
    try:
        return function(f"{command.module}:{command.function}")(chosen) or 0
    except ConfigError as error:
        standard(os.environ).failure(error.messages)
        return MISUSED
    except KeyboardInterrupt:
        return FAILED
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _parser(asked: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headgate",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and end")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    asked_module = next((command.module for command in COMMANDS if command.name == asked), None)
    for command in COMMANDS:
        if command.module != asked_module:
            subparsers.add_parser(command.name, help=command.purpose, add_help=False)
    if asked_module:
        function(f"{asked_module}:register")(subparsers)
    return parser
