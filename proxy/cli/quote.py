"""`headgate quote`: what a request would do and cost, were it sent now; nothing is sent and nothing is held.

It asks the running gate (`POST /quote`). Exit codes: 0 it would be let through, 1 refused, or no answer, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import DecodeError, Raw, json

from pricing.gpu import PICOS_PER_NANO
from proxy.cli.asking import Refusal, add_connection, answer, refuse
from proxy.cli.options import Subparsers
from proxy.cli.table import Page, dollars
from proxy.state.quote_report import Quote, Refused, TargetQuote
from proxy.tenancy import shown

ENDPOINTS: Final = ("chat", "completions", "embeddings", "responses", "moderations", "rerank")
CLASSES: Final = ("input_uncached", "input_cached", "output")
NO_MESSAGE: Final = [{"role": "user", "content": ""}]

EXAMPLES = """\
examples:
  headgate quote --model gpt-5.5 --file request.json --agent planner
  headgate quote --model gpt-5.5 --agent planner     for an empty message: which price, which limits
  headgate quote --file - --run trip-1               the request comes from standard input
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "quote",
        help="what a request would do and cost, without sending it",
        description="What a request would do and cost, were it sent now. Nothing is sent and nothing is held.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", help="the model to ask for, instead of the file's")
    parser.add_argument("--file", metavar="FILE", help="the request as it would be sent; `-`: standard input")
    parser.add_argument("--endpoint", choices=ENDPOINTS, default="chat", help="default: chat")
    parser.add_argument("--agent", metavar="NAME", help="who would send it")
    parser.add_argument("--team", metavar="NAME", help="the team it would count for")
    parser.add_argument("--key-id", metavar="ID", help="the key it would be sent with, as `keys list` shows it")
    parser.add_argument("--run", metavar="ID", help="the run it would belong to")
    add_connection(parser)


def quote(args: argparse.Namespace) -> int:
    try:
        found = answer(args, "/quote", Quote, _order(args))
    except Refusal as refused:
        return refuse(refused)
    if args.json:
        sys.stdout.write(json.encode(found).decode() + "\n")
    else:
        page = Page(sys.stdout)
        for line in _lines(found):
            page.write(line)
    return 0 if found.admitted else 1


def _order(args: argparse.Namespace) -> dict[str, object]:
    names = {"agent": args.agent, "team": args.team, "key_id": args.key_id, "run": args.run}
    given = {name: value for name, value in names.items() if value}
    return {"endpoint": args.endpoint, "body": _body(args.file, args.model, args.endpoint), **given}


def _body(file: str | None, model: str | None, endpoint: str) -> Raw | dict[str, object]:
    """A file goes as it is, to the byte, because bytes are what estimates are made of."""
    if file is None:
        if model is None:
            raise Refusal("which model? --model, or a --file that names it", 2)
        return {"model": model, "messages": NO_MESSAGE} if endpoint == "chat" else {"model": model}
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        body = json.decode(data, type=dict[str, object])
    except OSError as error:
        raise Refusal(f"{file} cannot be read: {error.strerror}", 2) from error
    except DecodeError as error:
        raise Refusal(f"{file} holds no request: {error}", 2) from error
    if model is None and "model" not in body:
        raise Refusal("which model? --model, or a --file that names it", 2)
    return Raw(data) if model is None or body.get("model") == model else body | {"model": model}


def _lines(found: Quote) -> Iterator[str]:
    keyed = any(account.startswith("key:") for account in found.accounts)
    more = "" if keyed else ", and the key it is sent with (--key-id)"
    yield f"model {found.model}, agent {found.agent}; counts against {', '.join(map(shown, found.accounts))}{more}"
    choices = f", {found.choices} choices" if found.choices > 1 else ""
    yield f"input: about {found.input_tokens_estimate} tokens{choices}"
    if found.refused is not None:
        yield f"refused: {_refusal(found.refused)}"
        return
    yield f"planned: {found.plan}"
    paid = found.members_paid
    if found.admitted and paid is not None and found.members is not None and paid < found.members:
        yield f"money for {paid} of {found.members} members: the others are not asked and have no vote"
    if found.together_usd_nanos is not None:
        yield f"held for its members together: {dollars(found.together_usd_nanos)}"
    for target in found.targets:
        yield from _target(target)


def _target(target: TargetQuote) -> Iterator[str]:
    yield f"target {target.target}"
    least = ", because the money pays no more" if target.clamped else ""
    yield f"  output: at most {target.output_tokens_max} tokens{least}"
    yield f"  hold: {dollars(target.hold_usd_nanos)}"
    likely = target.expected
    if likely is None:
        yield "  expected: unknown, as too few answers of this agent were seen"
    else:
        tokens = f"{likely.output_tokens_q50} tokens of output, in one of twenty above {likely.output_tokens_q95}"
        yield f"  expected: {dollars(likely.usd_nanos_q50)} for {tokens} ({dollars(likely.usd_nanos_q95)})"
    if target.price is None:
        yield "  price: none is known"
    elif target.price.per_second:
        each_s = dollars(target.price.per_second // PICOS_PER_NANO)
        yield f"  price {target.price_id}: {each_s} a second of the engine's time, shared with what runs beside it"
    else:
        each = (f"{name} {dollars(getattr(target.price, name) * 1_000)}" for name in CLASSES)
        yield f"  price {target.price_id}, for a million tokens: {', '.join(each)}"
    yield "  admitted" if target.refused is None else f"  refused: {_refusal(target.refused)}"


def _refusal(refused: Refused) -> str:
    after = "" if refused.retry_after_s is None else f" Retry after {refused.retry_after_s:g} s."
    return f"{refused.status} {refused.code}: {refused.message}{after}"
