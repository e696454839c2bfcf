"""`headgate import litellm FILE`: another gateway's configuration, translated; what has no equivalent is listed.

The result goes to standard output or a file, the list to standard error. It is checked as `headgate check` would, with
the environment as it is. Exit codes: 0 translated and valid, 1 it needs work first, 2 the file cannot be read.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import yaml
from msgspec import json

from proxy.cli.asking import Refusal, refuse
from proxy.cli.litellm_config import Translation, translated
from proxy.cli.options import Subparsers
from proxy.cli.output import standard
from proxy.config.error import ConfigError
from proxy.config.file import Document
from proxy.config.load import build
from proxy.config.tree import Value

EXAMPLES = """\
examples:
  headgate import litellm config.yaml                            to look at
  headgate import litellm config.yaml --output headgate.yaml     then: headgate check --config headgate.yaml
  headgate import litellm config.yaml --json                     {"configuration": ..., "left_out": [...]}

No secret is copied: keys become references to the environment.
"""
HEAD = "# Translated from a LiteLLM configuration. `headgate check --all` shows every value with its origin.\n"


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "import",
        help="translate the configuration of another gateway",
        description="Translates the configuration of another gateway, and lists what has no equivalent.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("gateway", metavar="GATEWAY", choices=("litellm",), help="whose it is: litellm")
    parser.add_argument("file", metavar="FILE", type=Path, help="its configuration")
    parser.add_argument("--output", metavar="FILE", type=Path, help="a file that is not there yet; default: stdout")
    parser.add_argument("--json", action="store_true", help="one JSON object, with what was left out")


def translate(args: argparse.Namespace) -> int:
    try:
        found = translated(_read(args.file))
        problems = _problems(found)
        _write(args, found)
    except Refusal as refused:
        return refuse(refused)
    output = standard(os.environ)
    for each in found.left_out if not args.json else ():
        output.note(f"left out: {each.setting}: {each.why}")
    output.failure(problems)
    return 1 if problems else 0


def _read(file: Path) -> dict[str, Value]:
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)  # a safe one
    except OSError as error:
        raise Refusal(f"{file} cannot be read: {error.strerror}", 2) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refusal(f"{file} is no YAML: {error}", 2) from error
    if not isinstance(values, dict) or "model_list" not in values:
        raise Refusal(f"{file} has no model_list, so it is no configuration of a LiteLLM proxy", 2)
    return values


def _problems(found: Translation) -> tuple[str, ...]:
    try:
        build(Document("the translation", found.configuration, {}), {})
    except ConfigError as error:
        return error.messages
    return ()


def _write(args: argparse.Namespace, found: Translation) -> None:
    text = HEAD + yaml.safe_dump(found.configuration, sort_keys=False, allow_unicode=True, width=120)
    if args.output is not None:
        try:
            with args.output.open("x", encoding="utf-8") as out:
                out.write(text)
        except OSError as error:
            raise Refusal(f"{args.output} cannot be written: {error.strerror}", 2) from error
    if args.json:
        sys.stdout.write(json.encode(found).decode() + "\n")
    elif args.output is None:
        sys.stdout.write(text)
