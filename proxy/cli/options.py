"""Options that several commands share, each declared once, and the types of their values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

from proxy.config.tree import Value

DEFAULT_FILE = Path("headgate.yaml")
LENGTHS: Mapping[str, float] = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LENGTH = re.compile(r"([1-9][0-9]{0,5})([smhdw])")

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Override(NamedTuple):
    """An option that goes before a value of the configuration."""

    option: str
    path: str
    kind: type
    shown: str
    text: str


LISTENING = (
    Override("--host", "server.host", str, "ADDRESS", "address of the data listener"),
    Override("--port", "server.port", int, "PORT", "port of the data listener"),
    Override("--admin-port", "admin.port", int, "PORT", "port of the admin listener"),
    Override("--data-dir", "data_dir", str, "DIR", "folder of the ledger and the keys"),
)
WORKERS = Override("--workers", "server.workers", int, "N", "processes that serve; above 1, one more owns the books")


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", type=Path, help=f"YAML, JSON or TOML; by default {DEFAULT_FILE}")


def config_file(arguments: argparse.Namespace) -> Path:
    given: Path | None = arguments.config
    return DEFAULT_FILE if given is None else given


def add_overrides(parser: argparse.ArgumentParser, overrides: tuple[Override, ...]) -> None:
    for each in overrides:
        parser.add_argument(each.option, dest=each.path, type=each.kind, metavar=each.shown, help=each.text)


def overrides(arguments: argparse.Namespace) -> dict[str, Value]:
    """What was given on the command line, by its path in the configuration."""
    options = (*LISTENING, WORKERS)
    given = {each.path: getattr(arguments, each.path, None) for each in options}
    return {path: value for path, value in given.items() if value is not None}


def length_s(text: str) -> float:
    """`90m`, `30d`: for argparse, which turns a ValueError into its own refusal."""
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time such as 90m, 12h or 30d")
    return int(match[1]) * LENGTHS[match[2]]
