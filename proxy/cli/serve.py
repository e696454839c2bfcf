"""`headgate serve` and `headgate up`: from options to the configuration that `proxy.service` runs.

Both hand over a function that makes the configuration anew, for the start and for each reload: from the file, or from
what is found on this machine. Nothing is served from here.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from proxy.cli.by_name import function
from proxy.cli.options import LISTENING, WORKERS, Subparsers, add_config, add_overrides, config_file, overrides
from proxy.config.error import ConfigError
from proxy.config.found import Probe, discovered
from proxy.config.load import Config, load
from proxy.config.probe import models_on
from proxy.config.tree import Value

APP = "proxy.service:run"

UP_EXAMPLES = """\
What is used: OPENAI_API_KEY, GROQ_API_KEY, MISTRAL_API_KEY, DEEPSEEK_API_KEY, XAI_API_KEY, TOGETHER_API_KEY,
FIREWORKS_API_KEY, OPENROUTER_API_KEY, GEMINI_API_KEY from the environment; engines on loopback ports (vLLM 8000,
Ollama 11434, llama.cpp 8080, SGLang 30000); else simulated models. HEADGATE_KEY, if set, is the key callers need.

examples:
  headgate up
  OPENAI_API_KEY=... headgate up --port 9000
"""
SERVE_EXAMPLES = """\
The file is read again on SIGHUP and when it changes; a broken one is refused and the old one stays.

examples:
  headgate serve --config headgate.yaml
  headgate serve --config headgate.yaml --port 9000 --data-dir /var/lib/headgate
"""


class FromFile(Struct, frozen=True):
    file: Path
    environment: Mapping[str, str]
    overrides: Mapping[str, Value]

    def load(self) -> Config:
        return load(self.file, self.environment, self.overrides)


class FromSurroundings(Struct, frozen=True):
    environment: Mapping[str, str]
    probe: Probe
    overrides: Mapping[str, Value]

    def load(self) -> Config:
        return discovered(self.environment, self.probe, self.overrides).config

    def notices(self) -> tuple[str, ...]:
        return discovered(self.environment, self.probe, self.overrides).notices


def register(subparsers: Subparsers) -> None:
    up_parser = _add(subparsers, "up", "start without configuration", UP_EXAMPLES)
    add_overrides(up_parser, LISTENING)
    serve_parser = _add(subparsers, "serve", "start with a configuration file", SERVE_EXAMPLES)
    add_config(serve_parser)
    add_overrides(serve_parser, (WORKERS, *LISTENING))


def up(arguments: argparse.Namespace) -> int:
    source = FromSurroundings(os.environ, models_on, overrides(arguments))
    return function(APP)(source.load, source.notices()) or 0


def serve(arguments: argparse.Namespace) -> int:
    file = config_file(arguments)
    if not file.exists():
        hint = "name one with --config, or start without: `headgate up`"
        raise ConfigError((f"there is no file {file}: {hint}",))
    source = FromFile(file, os.environ, overrides(arguments))
    return function(APP)(source.load, ()) or 0


def _add(subparsers: Subparsers, name: str, purpose: str, epilog: str) -> argparse.ArgumentParser:
    return subparsers.add_parser(
        name,
        help=purpose,
        description=f"{purpose.capitalize()}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
