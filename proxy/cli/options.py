"""Options that several commands share, each declared once, and the types of their values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from proxy.config.tree import Value

DEFAULT_FILE = Path("headgate.yaml")
LENGTHS: Mapping[str, float] = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LENGTH = re.compile(r"([1-9][0-9]{0,5})([smhdw])")

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

# Option, the path in the configuration that it overrides, type, help.
LISTENING = (
    ("--host", "server.host", str, "address of the data listener"),
    ("--port", "server.port", int, "port of the data listener"),
    ("--admin-port", "admin.port", int, "port of the admin listener"),
    ("--data-dir", "data_dir", str, "folder of the ledger, the keys and the caches"),
)
WORKERS = ("--workers", "server.workers", int, "processes that serve; this version has one")


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", type=Path, help=f"YAML, JSON or TOML; by default {DEFAULT_FILE}")


def config_file(arguments: argparse.Namespace) -> Path:
    given: Path | None = arguments.config
    return DEFAULT_FILE if given is None else given


def add_overrides(parser: argparse.ArgumentParser, options: tuple[tuple[str, str, type, str], ...]) -> None:
    for option, path, kind, text in options:
        parser.add_argument(option, dest=path, type=kind, metavar=kind.__name__.upper(), help=text)


def overrides(arguments: argparse.Namespace) -> dict[str, Value]:
    """What was given on the command line, by its path in the configuration."""
    options = (*LISTENING, WORKERS)
    given = {path: getattr(arguments, path, None) for _, path, _, _ in options}
    return {path: value for path, value in given.items() if value is not None}


def length_s(text: str) -> float:
    """`90m`, `30d`: for argparse, which turns a ValueError into its own refusal."""
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time such as 90m, 12h or 30d")
    return int(match[1]) * LENGTHS[match[2]]
