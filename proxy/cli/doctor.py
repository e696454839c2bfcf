"""`headgate doctor`: is everything in place that a gate needs here? One line for each thing that was looked at.

It reads the configuration as `serve` would, or looks around as `up` does, asks each provider once, and a running gate
for its health. It changes nothing. Exit codes: 0 nothing stands in the way, 1 something does, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct, json

from proxy.cli import doctor_local as local
from proxy.cli import doctor_upstream as upstream
from proxy.cli.asking import ADMIN_URL
from proxy.cli.doctor_finding import OUTCOMES, Finding, State, worst
from proxy.cli.doctor_shared import shared
from proxy.cli.options import DEFAULT_FILE, Subparsers
from proxy.cli.output import Output, standard
from proxy.cli.progress import Progress
from proxy.cli.table import counted
from proxy.clock import SystemClock
from proxy.config.error import ConfigError
from proxy.config.found import discovered
from proxy.config.load import Config, load
from proxy.config.probe import models_on

AT_A_TIME: Final = 8
MARKS: Final[dict[State, str]] = {"ok": "ok", "skipped": "-", "warning": "WARNING", "failed": "FAILED"}

EXAMPLES = """\
examples:
  headgate doctor                             what `headgate up` would find, or headgate.yaml where it is
  headgate doctor --config headgate.yaml
  headgate doctor --admin http://127.0.0.1:9101    beside a gate on other ports
  headgate doctor --json                      {"state": ..., "findings": [...]}

Providers are asked for their list of models, which costs nothing. Exit codes: 0 nothing stands in the way, 1 something
does.
"""


class Report(Struct, frozen=True):
    state: State  # the worst
    findings: list[Finding]


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="is everything in place: keys, prices, providers, clock, disk, ports",
        description="Looks at everything a gate needs here, and says what stands in the way.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help=f"default: {DEFAULT_FILE}, else what `up` finds")
    parser.add_argument("--admin", metavar="URL", type=_url, help="the admin listener of a gate on other ports")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def _url(text: str) -> str:
    there = urlsplit(text)
    if there.scheme != "http" or not there.hostname or there.port == 0:  # a port that is none: ValueError
        raise argparse.ArgumentTypeError(f"{text!r} is no address like {ADMIN_URL}")
    return text


def doctor(arguments: argparse.Namespace) -> int:
    progress = Progress("checks", sys.stderr, SystemClock())
    findings: list[Finding] = []
    for finding in _findings(arguments.config, arguments.admin):
        findings.append(finding)
        progress.add(1)
    progress.end()
    report = Report(worst(findings), findings)
    output = standard(os.environ)
    if arguments.json:
        output.line(json.encode(report).decode())
    else:
        _lines(report, output)
    return 1 if report.state == "failed" else 0


def _findings(file: Path | None, admin: str | None) -> Iterator[Finding]:
    try:
        config, words = _configuration(file)
    except ConfigError as error:
        for message in error.messages[: local.SAID_MAX]:
            yield Finding("configuration", "failed", message, "`headgate check` shows every error")
        return
    yield Finding("configuration", "ok", words)
    yield from local.prices(config)
    yield local.keys(config, os.environ)
    yield from shared(config, os.environ)
    yield from _providers(config)
    yield from _here(config, admin)


def _configuration(file: Path | None) -> tuple[Config, str]:
    if file is None and not DEFAULT_FILE.exists():
        found = discovered(os.environ, models_on)
        return found.config, "; ".join(found.notices)
    path = DEFAULT_FILE if file is None else file
    config = load(path, os.environ)
    providers, models = counted(len(config.providers), "provider"), counted(len(config.models), "model")
    return config, f"{path} is valid: {providers}, {models}"


def _providers(config: Config) -> Iterator[Finding]:
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        visits = [*pool.map(upstream.visit, config.providers, config.providers.values())]
    for each in visits:
        yield from each.findings
    yield upstream.clock(each.ahead_s for each in visits)


def _here(config: Config, named: str | None) -> Iterator[Finding]:
    token = config.admin.token.reveal() if config.admin.token else os.environ.get("HEADGATE_ADMIN_TOKEN", "")
    there = local.spots(config) if named is None else local.named(named, token)
    if there is None:
        remedy = "does it run there, and is HEADGATE_ADMIN_TOKEN its token?"
        yield Finding("admin port", "failed", f"no gate tells of itself at {named}", remedy)
        there = local.spots(config)
    data, admin = there
    ready, live = local.health(data), local.health(admin)
    yield local.ledger(config.data_dir, ready=ready)
    yield local.disk(config.data_dir)
    yield local.port(data, answers=ready)
    yield local.port(admin, answers=live)
    yield local.scrape(admin, token, runs=live is not None)


def _lines(report: Report, output: Output) -> None:
    output.table(("check", "", "found"), [(each.check, MARKS[each.state], each.words) for each in report.findings])
    for finding in report.findings:
        if finding.remedy:
            output.note(f"{finding.check}: {finding.remedy}")
    counts = {state: sum(each.state == state for each in report.findings) for state in OUTCOMES}
    if report.state == "failed":
        output.failure((f"{counts['failed']} of {len(report.findings)} checks failed",))
    elif output.human:
        output.success("nothing stands in the way" + (", but see the warnings" if counts["warning"] else ""))
