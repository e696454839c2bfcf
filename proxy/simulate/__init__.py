"""`headgate simulate`: recorded traffic again, in virtual time, under one configuration or two side by side.

This file knows the options only; what the command loads and does begins in `command`. Nothing of it is needed to serve.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from proxy.cli.by_name import function
from proxy.cli.options import Subparsers, add_config, config_file

CALLS = 2_000
EPILOG = """\
Nothing is asked and nothing is spent: the gate's own pipeline, planner, cascades, quorums, caches, budgets and routing
decide, and models of the targets answer. An engine of your own reads one prompt after another and keeps what fits into
its `kv_tokens`; a vendor answers after half a second, log-normal, and caches prompts of 1,024 tokens and more; both
write 50 tokens a second; `kind: simulated` says its own. Prices are those of the configuration and the price book.

A trace is what `headgate ledger export` writes (JSON lines or CSV), recorded agent sessions, Mooncake's conversations
or Azure's CSV, each as it is or gzipped. Prompts have the recorded lengths and beginnings and no words, so judges,
verifiers, semantic caches and the gates `regex` and `logprob` are left out, and the report says of which models.

What a trace cannot know is how good a model's answers are: say it with --good; who is not named is always right. Of
wrong answers the share --seen are refusals, which a cascade's gates can see.

examples:
  headgate simulate --config headgate.yaml --trace yesterday.jsonl
  headgate simulate --config today.yaml --against candidate.yaml --trace yesterday.jsonl --good small=0.8
  headgate simulate --config headgate.yaml --trace sessions.jsonl.gz --model smart --calls 500 --json
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "simulate",
        help="recorded traffic again, in virtual time: what would this configuration cost?",
        description="Plays a trace again under a configuration, and says what it would cost, how long calls would\n"
        "take and how many answers would be good; under two configurations with their differences.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_config(parser)
    parser.add_argument("--trace", metavar="FILE", type=Path, required=True, help="the calls that are played again")
    parser.add_argument("--against", metavar="FILE", type=Path, help="a second configuration, to be compared")
    parser.add_argument("--model", metavar="NAME", help="what all calls ask for (default: what was recorded)")
    parser.add_argument(
        "--calls", metavar="N", type=_calls, default=CALLS, help=f"at most so many (default: {CALLS:,})"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="same seed, same figures (default: 1)")
    parser.add_argument(
        "--good",
        metavar="MODEL=SHARE",
        type=_good,
        action="append",
        default=[],
        help="share of right answers of a model, or of provider/model; may be given several times",
    )
    parser.add_argument(
        "--seen", metavar="SHARE", type=_share, default=0.5, help="share of wrong answers that show (default: 0.5)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def simulate(arguments: argparse.Namespace) -> int:
    return function("proxy.simulate.command:run")(config_file(arguments), arguments) or 0


def _calls(text: str) -> int:
    calls = int(text)
    if not 1 <= calls <= 1_000_000:
        raise argparse.ArgumentTypeError("from 1 to 1,000,000 calls")
    return calls


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError("a share is from 0 to 1")
    return share


def _good(text: str) -> tuple[str, float]:
    model, equals, share = text.rpartition("=")
    if not equals or not model:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form MODEL=SHARE")
    return model, _share(share)
