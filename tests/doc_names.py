"""What the product has that its docs must name: headers, routes, columns, and every name with an underscore.

Taken from where each is declared or read, so that a new one is missed by the docs before it is missed by a user.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, get_args

from docs import generate
from policies import service_tier
from policies.accept_rules import GateName
from policies.answers import How
from pricing.prompt_caches import CacheRule
from proxy.batches.archive import Archive
from proxy.batches.objects import STATUSES
from proxy.batches.work import WHY
from proxy.clock import SystemClock
from proxy.dialects.openai_chat import OpenAI
from proxy.dialects.openai_votes import SHOWN
from proxy.state import ledger_queries, ledger_schema, run_report
from proxy.state.budget_report import BudgetRow
from proxy.state.cache_report import CacheReport, Savings
from proxy.state.content_report import ContentEntry, Side
from proxy.state.gate_report import GateRow
from proxy.state.ledger_report import AttemptRow, Corrected, Verified
from proxy.state.quote_report import Quote, TargetQuote
from proxy.state.report import IdleGpu, Requests, Spend, Usage
from proxy.state.target_report import Standing, TargetRow
from proxy.surfaces import admin, identify, llm, overheard
from proxy.surfaces.admin import AdminServices, KeyRequest
from proxy.surfaces.admin_ledger import CorrectionRequest
from proxy.surfaces.admin_runs import KillRequest, PauseRequest, RunServices, TopUpRequest
from proxy.surfaces.batches import BatchSurface
from proxy.telemetry.line import Line, Try
from proxy.telemetry.live_report import Delta, Event, Gauges, Second, Snapshot, Totals
from proxy.types import Balance, Price

ROOT = Path(__file__).parents[1]
BODIES = (KillRequest, PauseRequest, TopUpRequest)


def request_headers() -> set[str]:
    """Every header that the surfaces read: those of the tables, and those that are named where they are read."""
    tables = (identify.RUN_HEADERS, identify.AGENT_HEADERS, identify.PARENT_HEADERS, identify.KEY_HEADERS)
    names = {name for table in tables for name in table} | {name for name, _ in llm.DEADLINE_HEADERS}
    names |= {overheard.OWN, overheard.OMIT_REQUEST, overheard.OMIT_REPLY, *(name for name, _ in overheard.OMIT_BOTH)}
    for file in ("identify.py", "llm.py", "body.py", "admin.py", "admin_guard.py", "admin_route.py"):
        tree = ast.parse((ROOT / "proxy/surfaces" / file).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("headers.get") and node.args:
                name = node.args[0]
                names |= {name.value} if isinstance(name, ast.Constant) and isinstance(name.value, str) else set()
    return names


def reply_headers() -> set[str]:
    """Every header that is added to a reply, by the text of the files that add them."""
    written = re.compile(r'"((?:x-|retry-|X-)[A-Za-z-]+|Cache-Control|Allow)"')
    files = ("proxy/headers.py", "proxy/surfaces/client.py", "proxy/surfaces/catalogue.py")
    read = {name.lower() for name in request_headers()}
    names = {name for file in files for name in written.findall((ROOT / file).read_text())}
    return {name for name in names if name.lower() not in read}


def admin_routes() -> set[str]:
    services: Any = dict.fromkeys(AdminServices.__struct_fields__)  # none of them is asked for anything
    nothing: Any = None
    services |= {"hosts": frozenset(), "key_errors": (), "runs": RunServices(nothing, nothing, nothing, nothing)}
    return {f"{route.method} {route.path}" for route in admin.admin_routes(AdminServices(**services))}


def batch_routes() -> set[str]:
    """Of the data listener, as they stand under `/v1`."""
    surface = BatchSurface(Archive(Path()), SystemClock(1), OpenAI(), lambda: None)
    return {f"{method} /v1{path}" for path, row in surface.rows.items() for method in row}


def columns() -> set[str]:
    tables = (
        *(ledger_schema.OUTCOME_COLUMNS, ledger_schema.ATTEMPT_COLUMNS, ledger_schema.ATTEMPT_OF_GPU),
        ledger_schema.EVENT_COLUMNS,
    )
    return {name for columns in tables for name in ledger_schema.names(columns)}


def known_words() -> set[str]:
    """Every name with an underscore that means something in the product."""
    fields = {part for field in generate.config_fields() for part in field.path.split(".")}
    labels = {label for family in generate.FAMILIES for label in family.labels}
    values = {value for label in labels for value in (label.name, *(label.values or ()))}
    settled = set(re.findall(r'"([a-z_]+)"', (ROOT / "policies/settle.py").read_text()))
    flags = set(re.findall(r'flags(?:=\(|\.add\()"([a-z_]+)"', (ROOT / "proxy/dialects/openai_usage.py").read_text()))
    flags.add(service_tier.UNKNOWN)
    logged = {*Line.__struct_fields__, *Try.__struct_fields__}
    tools = (Price, Usage, Requests, Spend, IdleGpu, AttemptRow, Corrected, Verified, CorrectionRequest)
    answered = (*tools, Quote, TargetQuote, CacheReport, Savings)
    ledger = {field for shape in answered for field in shape.__struct_fields__}
    ledger |= {field.removesuffix("_nanos") for field in ledger}
    answers = ledger | {*KeyRequest.__struct_fields__, *BudgetRow.__struct_fields__, *ledger_queries.FILTERS}
    for shape in (*BODIES, run_report.Governed, run_report.ToppedUp, run_report.RunTree, run_report.RunRow):
        answers |= set(shape.__struct_fields__)
    cuts = [(ROOT / file).read_text() for file in ("proxy/survival.py", "proxy/execution/holding.py")]
    answers |= {name for text in cuts for name in re.findall(r'"([a-z_]+_tokens)":', text)}
    answers |= set(GateRow.__struct_fields__)
    for message in (Snapshot, Delta, Event, Second, Gauges, Totals):
        answers |= set(message.__struct_fields__)
    answers |= {*Standing.__struct_fields__, *TargetRow.__struct_fields__, *get_args(Balance), *get_args(GateName)}
    answers |= set(CacheRule.__struct_fields__)
    answers |= {*ContentEntry.__struct_fields__, *Side.__struct_fields__}
    answers |= {*get_args(How), SHOWN, *STATUSES, *(code for code, _ in WHY.values())}
    for file in ("proxy/batches/scanning.py", "proxy/batches/work.py"):
        answers |= set(re.findall(r'"((?:[a-z]+_)+[a-z]+)"', (ROOT / file).read_text()))
    types = {rule.openai_type for rule in generate.CODES.values()}
    return fields | values | settled | flags | logged | answers | types | columns() | set(generate.CODES)
