"""Planted bugs: each is put into a copy of the tree, alone, and the tests named beside it must find it.

A mutation whose text is no longer in its file fails, so that the list cannot rot: give it the text that is there now.
What stands here are the mistakes that cost money, leak secrets or lie to a client.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from py_compile import PycInvalidationMode
from queue import SimpleQueue

import pytest
from msgspec import Struct

ROOT = Path(__file__).parents[1]
PARTS = ("proxy", "policies", "pricing", "tests", "loadtests", "pyproject.toml")
SECONDS_MAX = 300
AT_ONCE = min(4, os.cpu_count() or 1)
OPTIONS = ("-x", "-n0", "-q", "--no-header", "-p", "no:cacheprovider", "--assert=plain")
FULL = "--hypothesis-profile=full"  # a bug may be one of many cases

CANCELLATION = "tests/sim/test_cancellation.py"
GONE = "tests/flow/test_client_gone.py"
PARSER = "tests/proxy/surfaces/test_parser.py"
PLAIN = "tests/flow/test_plain.py"
REFUSALS = "tests/flow/test_refusals.py"
RETRY = "tests/flow/test_retry.py"
HEDGE = "tests/flow/test_hedge.py"
DUEL = "tests/proxy/execution/test_duel.py"
STREAM = "tests/flow/test_stream.py"
TRANSPORT = "tests/proxy/providers/test_transport.py"
LIMITS = "tests/flow/test_rate_limits.py"
SHARED_RATE = "tests/policies/test_shared_rate.py"
FAIR = "tests/flow/test_fair_share.py"
JOINS = "tests/flow/test_joins.py"
SURVIVAL = "tests/flow/test_survival.py"
SPLICE = "tests/proxy/dialects/test_openai_splice.py"
LEDGER = "tests/proxy/state/test_ledger.py"
CACHE_RULES = "tests/policies/test_cache_rules.py"
CABINET = "tests/proxy/caching/test_cabinet.py"
EXACT = "tests/flow/test_exact_cache.py"
REPLAY = "tests/flow/test_replay.py"
BATCHES = "tests/proxy/batches/test_keeper.py"
FILES = "tests/proxy/surfaces/test_files.py"
KNOWN = "tests/flow/test_known_answers.py"
SEMANTIC = "tests/flow/test_semantic_cache.py"
OVERHEARD = "tests/proxy/surfaces/test_overheard.py"
SCRIBE = "tests/proxy/content/test_scribe.py"


class Mutation(Struct, frozen=True):
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


PLANTED = (
    # --- batches
    Mutation(
        "a line of a batch has no name in the journal",
        "proxy/batches/lines.py",
        'key=f"{batch.id}:{number}"',
        "key=None",
        (BATCHES,),
    ),
    Mutation(
        "files of one owner are there for all",
        "proxy/batches/tables.py",
        "id = ? AND owner = ? AND until > ?",
        "id = ? AND owner IS NOT ? AND until > ?",
        (FILES,),
    ),
    Mutation(
        "a line that was being read when the gate stops is begun",
        "proxy/batches/keeper.py",
        "if self._stopped:  # meanwhile",
        "if self._full:  # meanwhile",
        (BATCHES,),
    ),
    # --- known answers
    Mutation(
        "a semantic scope that two tenants share",
        "policies/semantic/scope.py",
        "_framed(VERSION, owner, revision.encode()",
        "_framed(VERSION, revision.encode()",
        (SEMANTIC,),
    ),
    Mutation(
        "an answer to another conversation serves this one",
        "policies/semantic/scope.py",
        "digest.update(_framed(*[_compact(turn) for turn in turns[:-1]]))",
        "pass",
        ("tests/policies/semantic/test_scope.py",),
    ),
    Mutation(
        "an entry that nobody has confirmed is served",
        "policies/semantic/confidence.py",
        "if self.proven else 0.0",
        "if self._bounds or True else 0.0",
        (SEMANTIC,),
    ),
    Mutation(
        "an answer that was wrong goes on serving",
        "proxy/caching/lessons.py",
        "entry.labels.quarantined = True",
        "pass",
        (SEMANTIC,),
    ),
    Mutation(
        "an answer is for any tenant",
        "policies/cache_rules.py",
        "    names = (scope, tenant(identity), *below)\n",
        "    names = (scope, *below)\n",
        (CACHE_RULES, EXACT),
    ),
    Mutation(
        "a field of the body is no part of the question",
        "policies/cache_rules.py",
        "        if name not in CONTROLS:\n",
        '        if name not in CONTROLS and name != "seed":\n',
        (CACHE_RULES, EXACT),
    ),
    Mutation(
        "another configuration of a model has the same answers",
        "policies/cache_rules.py",
        'about = (VERSION, revision.encode(), call.route.encode("utf-8", "surrogatepass"))',
        "about = (VERSION,)",
        (CACHE_RULES, EXACT),
    ),
    Mutation(
        "what was known is handed to all who wait",
        "proxy/execution/following.py",
        "    if flight.known:\n",
        "    if False:\n",
        ("tests/flow/test_exact_cache.py",),
    ),
    Mutation(
        "a named call takes another's answer",
        "proxy/execution/flights.py",
        "            return found\n        return self._filling",
        "            if found is not None:\n                return found\n        return self._filling",
        ("tests/flow/test_exact_cache.py",),
    ),
    Mutation(
        "what had no end is kept",
        "policies/cache_rules.py",
        'if call.endpoint in ("chat", "completions") and not _finished(body, call.head.choices):',
        "if False:",
        (CACHE_RULES, EXACT),
    ),
    Mutation(
        "an incomplete response counts as complete by its parts",
        "policies/cache_rules.py",
        '_read(body).status == "completed"',
        "b'completed' in body",
        (CACHE_RULES,),
    ),
    Mutation(
        "what a budget has shortened is kept",
        "policies/cache_rules.py",
        "    if shortened or (plan is not None and plan.degraded):\n",
        "    if False:\n",
        (CACHE_RULES,),
    ),
    Mutation(
        "who has money is given what another budget has shortened",
        "proxy/execution/following.py",
        "return why_not_shared(flight.plan, shortened=flight.answer[0].clamped_to is not None)",
        "return None",
        (KNOWN,),
    ),
    Mutation(
        "a cut stream is kept",
        "proxy/delivery.py",
        "if record.keeps and record.flight is not None and not reading.cut_short:",
        "if record.keeps and record.flight is not None:",
        (KNOWN,),
    ),
    Mutation(
        "a name is answered whatever is asked under it",
        "proxy/caching/tables.py",
        'return Entered("done", found) if known == digest else Entered("other")',
        'return Entered("done", found)',
        (CABINET, REPLAY),
    ),
    Mutation(
        "a name is answered while it runs, whatever is asked under it",
        "proxy/execution/flights.py",
        "if found is not None and found.wanted is not None and found.wanted.digest != wanted.digest:",
        "if False:",
        (REPLAY,),
    ),
    Mutation(
        "a name is asked for after the cache",
        "proxy/caching/desk.py",
        "if want is None or want.replay is not None:",
        "if want is None:",
        (KNOWN,),
    ),
    Mutation(
        "the journal learns of a stream after its last byte",
        "proxy/delivery.py",
        "if snapshot.strict or record.keeps else None",
        "if snapshot.strict else None",
        (REPLAY,),
    ),
    Mutation(
        "what another process has begun is begun again",
        "proxy/caching/tables.py",
        'if state != "done" and owner != us and isinstance(owner, str) and lives(owner):',
        "if False:",
        (CABINET, REPLAY),
    ),
    Mutation(
        "a call withdraws what another process has begun",
        "proxy/caching/cabinet.py",
        "AND state != 'done' AND owner = ?\"",
        "AND state != 'done' AND ? != ''\"",
        (CABINET,),
    ),
    Mutation(
        "a call waits for a disk that hangs until its deadline",
        "proxy/caching/cabinet.py",
        "    return min(PATIENCE_S, (by - now) / 2)\n",
        "    return PATIENCE_S\n",
        (CABINET, KNOWN),
    ),
    Mutation(
        "each call waits for a file that another process holds",
        "proxy/caching/cabinet.py",
        "self._stuck = self._stuck or tables.busy(error)",
        "self._stuck = bool(self._stuck)",
        (CABINET,),
    ),
    Mutation(
        "the room of the disk holds until a restart",
        "proxy/caching/cabinet.py",
        "            self._tell(self._look)\n",
        "",
        (CABINET,),
    ),
    Mutation(
        "what was purged stays in the log",
        "proxy/caching/tables.py",
        "    empty_log(connection)\n    return gone\n",
        "    return gone\n",
        (CABINET,),
    ),
    Mutation(
        "a damaged reply is given",
        "proxy/caching/kept.py",
        " or found[:SUM_BYTES] != _sum(found[SUM_BYTES:], name):",
        ":",
        ("tests/proxy/caching/test_kept.py", "tests/proxy/caching/test_tables.py"),
    ),
    Mutation(
        "what a process left that has died blocks its successor",
        "proxy/caching/process.py",
        "    return process(number) == name\n",
        "    return True\n",
        ("tests/proxy/caching/test_process.py", CABINET),
    ),
    Mutation(
        "a caller who wants no known answer gets one",
        "proxy/caching/desk.py",
        "if want.exact is not None and want.read else None",
        "if want.exact is not None else None",
        (EXACT,),
    ),
    Mutation(
        "an answer is served for ever",
        "proxy/caching/desk.py",
        "if stale and wall >= kept.until_wall + rules.stale_s:",
        "if False:",
        (EXACT,),
    ),
    Mutation(
        "a purge without a word takes everything",
        "proxy/surfaces/admin_caches.py",
        "        if named == self.all:\n",
        "        if named and self.all:\n",
        ("tests/proxy/surfaces/test_admin_caches.py",),
    ),
    # --- streams that survive
    Mutation(
        "a continued stream has two roles",
        "proxy/dialects/openai_splice.py",
        'if isinstance(delta, dict) and delta.pop("role", None) is not None:',
        "if False:",
        (SURVIVAL, SPLICE),
    ),
    Mutation(
        "an event without its blank line counts as said and does not go out",
        "proxy/execution/reading.py",
        "        if rest:\n            return self._provider.redact(rest)\n",
        "",
        (SURVIVAL,),
    ),
    Mutation(
        "the client is shown an error that another upstream has made good",
        "proxy/dialects/openai_passage.py",
        'return event if self.content and self._call.head.begun is None else b""',
        'return event if self.content else b""',
        (SURVIVAL,),
    ),
    Mutation(
        "what was read and not what was written counts as said",
        "proxy/relay.py",
        "                    if transcript is not None:\n                        transcript.add(data)\n",
        "",
        (SURVIVAL,),
    ),
    Mutation(
        "the text so far is not held as input of who goes on",
        "proxy/execution/attempt.py",
        "self._call = ask if self._continues or ask.raw is not record.call.raw else record.call",
        "self._call = record.call",
        (SURVIVAL,),
    ),
    Mutation(
        "continuations are free of the attempt budget",
        "proxy/execution/race.py",
        "if spent or not self._withdrawn(course, broken.error, self._clock.now()):",
        "if spent:",
        (SURVIVAL,),
    ),
    Mutation(
        "a stream is continued without end",
        "proxy/survival.py",
        "self._continued += 1",
        "pass",
        (SURVIVAL,),
    ),
    Mutation(
        "the limit of a continued answer begins anew",
        "proxy/dialects/openai_splice.py",
        "max(1, limit - begun.tokens)",
        "limit",
        (SURVIVAL,),
    ),
    Mutation(
        "what is kept back of a stream is lost",
        "proxy/execution/reading.py",
        'self.first += data or b""',
        "pass",
        ("tests/flow/test_hold.py",),
    ),
    # --- retries that join
    Mutation(
        "a retry joins another tenant's call",
        "proxy/execution/flights.py",
        "return (who.key_id, who.agent,",
        'return ("", who.agent,',
        (JOINS,),
    ),
    Mutation(
        "a retry joins a call of another run",
        "proxy/execution/flights.py",
        "who.agent, who.run, who.parent_run,",
        "who.agent, None, None,",
        (JOINS,),
    ),
    Mutation(
        "a retry joins a call with another body",
        "proxy/execution/flights.py",
        "if hash(flight.call.raw) == digest and flight.call.raw == raw:",
        "if len(flight.call.raw) == len(raw):",
        (JOINS,),
    ),
    Mutation(
        "who joins is not asked for its permission",
        "proxy/pipeline.py",
        "gates.allowed(call, rules.models, snapshot.planner.routes) if call.route else None",
        "gates.allowed(call, rules.models, snapshot.planner.routes) if call.route and not call.client_retry else None",
        (JOINS,),
    ),
    Mutation(
        "a client that leaves ends the call for those who have joined it",
        "proxy/execution/flight.py",
        "            self._client.stay()\n",
        "            pass\n",
        (JOINS,),
    ),
    Mutation(
        "a joined call goes on when nobody is left",
        "proxy/execution/flight.py",
        "        self._client.go()\n",
        "        pass\n",
        (JOINS,),
    ),
    Mutation(
        "who joins is told the error of the other's client as well as its own",
        "proxy/execution/flight.py",
        "            self._client.share(None)  # what",
        "            pass  # what",
        (JOINS,),
    ),
    Mutation(
        "who joins begins where the stream is",
        "proxy/execution/following.py",
        "        self._at = 0  # pieces",
        "        self._at = len(flight.pieces)  # pieces",
        (JOINS,),
    ),
    # --- fallbacks, deadlines, overload
    Mutation(
        "a client's fallback that nobody checks",
        "policies/gates.py",
        "    for model in call.head.fallbacks:\n",
        "    for model in ():\n",
        ("tests/flow/test_fallbacks.py",),
    ),
    Mutation(
        "a list of fallbacks that is sent on",
        "proxy/dialects/openai_request.py",
        "    raw, fields = taken_out(call.raw, head.fields)\n",
        "    raw, fields = call.raw, head.fields\n",
        ("tests/flow/test_fallbacks.py",),
    ),
    Mutation(
        "a mistake in the request is tried on every model",
        "policies/fallback.py",
        "    if error.code not in OTHERS:\n        return None\n",
        "",
        ("tests/flow/test_fallbacks.py",),
    ),
    Mutation(
        "an overload in which nobody is turned away",
        "proxy/execution/admission.py",
        "refusal is None and line.shedder.overloaded",
        "False",
        ("tests/sim/test_overload.py",),
    ),
    Mutation(
        "runs that have got somewhere are shed like new ones",
        "policies/shedding.py",
        " if steps == 0 else ",
        " if True else ",
        ("tests/policies/test_shedding.py", "tests/flow/test_deadlines.py"),
    ),
    Mutation(
        "a hopeless call is begun",
        "policies/gates.py",
        "    if wait_s + service_s <= left_s:\n",
        "    if True:\n",
        ("tests/flow/test_deadlines.py",),
    ),
    Mutation(
        "a hint of the upstream that is passed on as it came",
        "proxy/headers.py",
        "*_passed(record, _without_hints(error.headers))]",
        "*_passed(record, error.headers)]",
        ("tests/flow/test_deadlines.py",),
    ),
    # --- fair share
    Mutation(
        "a line in the order of arrival",
        "proxy/execution/line.py",
        "        self._tiers.add(ticket, ticket.agent, ticket.place, tier=ticket.tier)\n",
        '        self._tiers.add(ticket, "", ticket.place, tier=ticket.tier)\n',
        (FAIR,),
    ),
    Mutation(
        "an agent that saves up while it is away",
        "policies/fair_queue.py",
        "            share.counter = max(share.counter, self._next().taken if self._waiting else self._level)\n",
        "            pass\n",
        ("tests/policies/test_fair_queue.py",),
    ),
    Mutation(
        "fairness counted in calls",
        "policies/fair_queue.py",
        "        share.counter += cost\n",
        "        share.counter += 1.0\n",
        (FAIR,),
    ),
    Mutation(
        "an estimate that is never corrected",
        "policies/fair_queue.py",
        "        share.counter += used - cost\n",
        "",
        ("tests/policies/test_fair_queue.py",),
    ),
    Mutation(
        "a lowest tier that starves",
        "policies/tiers.py",
        "                self._passed[tier] += 1\n",
        "                pass\n",
        (FAIR,),
    ),
    Mutation(
        "a run that has had much and never moves up",
        "policies/least_attained.py",
        "            self._lift(place, place.class_ - 1)\n",
        "            pass\n",
        ("tests/policies/test_least_attained.py",),
    ),
    Mutation(
        "what runs have had is not counted",
        "proxy/execution/line.py",
        "            self.attained.add(run, units)\n",
        "            pass\n",
        ("tests/flow/test_least_attained.py",),
    ),
    Mutation(
        "a held call that is not rescued",
        "proxy/execution/off_peak.py",
        "asyncio.timeout(left_s), line.turn",
        "asyncio.timeout(2 * left_s), line.turn",
        ("tests/proxy/execution/test_off_peak.py",),
    ),
    Mutation(
        "a held call that outlives the gate's stop",
        "proxy/pipeline.py",
        "if running.record.held == HELD]",
        "if not running.record]",
        ("tests/proxy/execution/test_off_peak.py",),
    ),
    Mutation(
        "a request that raises its own priority",
        "policies/tiers.py",
        "return priority if tier > TIERS[own] else own",
        "return priority",
        (FAIR,),
    ),
    Mutation(
        "a full line that keeps the flood and turns away the others",
        "policies/tiers.py",
        "        return next(reversed(most))\n",
        "        return None\n",
        (FAIR,),
    ),
    Mutation(
        "a call that was turned away and stays in line",
        "proxy/execution/permits.py",
        "            self._turn_away(last)\n",
        "            break\n",
        ("tests/proxy/execution/test_permits.py",),
    ),
    # --- money, in several processes
    Mutation(
        "a call's money spent twice: settled, and still in the lease",
        "policies/leases.py",
        "            lease.amount = max(0, lease.amount - amount)\n",
        "",
        ("tests/policies/test_leases.py",),
    ),
    Mutation(
        "a lease that the accounts do not hold back",
        "policies/lending.py",
        "            balance.free -= more\n            lease.amount += amount + more\n",
        "            lease.amount += amount + more\n",
        ("tests/policies/test_leases.py",),
    ),
    Mutation(
        "leases that outlive the owner's last word",
        "proxy/money/leases.py",
        " and now < self._valid_until:",
        ":",
        ("tests/proxy/money/test_leases.py",),
    ),
    Mutation(
        "a caller that stopped waiting is given its hold",
        "proxy/money/leases.py",
        "            self._owner.withdraw(number)\n",
        "            pass\n",
        ("tests/proxy/money/test_leases.py",),
    ),
    Mutation(
        "a settlement that is sent before it is in the journal",
        "proxy/workers/settlements.py",
        "        self._write(SETTLED, payload)\n",
        "",
        ("tests/proxy/workers/test_settlements.py",),
    ),
    Mutation(
        "a dead gate's settlements booked again at each start",
        "proxy/workers/orphans.py",
        "        if id not in ended:\n            ledger.append_entry(entry)",
        "        ledger.append_entry(entry)",
        ("tests/proxy/workers/test_orphans.py",),
    ),
    Mutation(
        "journals read while their worker still writes",
        "proxy/workers/orphans.py",
        "    return not free\n",
        "    return False\n",
        ("tests/proxy/workers/test_orphans.py",),
    ),
    # --- money
    Mutation(
        "settle twice",
        "policies/accounts.py",
        "        hold = self._live.pop(id, None)\n",
        "        hold = self._live.get(id)\n",
        ("tests/policies/test_accounts_model.py",),
    ),
    Mutation(
        "an attempt that no call has is not looked for",
        "proxy/state/verify.py",
        "    if broken is None and strays:\n",
        "    if False:\n",
        ("tests/proxy/state/test_verify.py",),
    ),
    Mutation(
        "a page of the chain ends between two rows of one number",
        "proxy/state/verify.py",
        "        limit += 1  #",
        "        limit += 0  #",
        ("tests/proxy/state/test_verify.py",),
    ),
    Mutation(
        "a correction by a bill that is booked twice",
        "proxy/money/correcting.py",
        "        found[key] = replace(before, usd_nanos=billed.usd_nanos, held=())\n",
        "",
        ("tests/proxy/money/test_correcting.py",),
    ),
    Mutation(
        "a correction that changes a budget and not the ledger",
        "proxy/money/correcting.py",
        '        self._ledger.append_event("adjust", billed.request_id, body)\n',
        "",
        ("tests/proxy/money/test_correcting.py",),
    ),
    Mutation(
        "a lost call that stays unresolved",
        "policies/meter.py",
        "        self.unresolved -= released\n",
        "",
        ("tests/policies/test_accounts_changes.py",),
    ),
    Mutation(
        "posted twice",
        "proxy/execution/purse.py",
        "_sum(self._used, used)",
        "_sum(_sum(self._used, used), used)",
        ("tests/proxy/execution/test_purse.py",),
    ),
    Mutation(
        "a hold that does not wait for its turn",
        "proxy/money/budgets.py",
        "        line = self._line_ahead(path) if self._lines else None\n",
        "        line = None\n",
        ("tests/proxy/money/test_budgets.py",),
    ),
    Mutation(
        "the rung for known answers lets every call through",
        "policies/ladder.py",
        'felt >= ENTERED["cache_only"] and "cache_only" in ladder',
        "False",
        ("tests/policies/test_ladder.py", "tests/proxy/execution/test_easing.py"),
    ),
    Mutation(
        "batch work spends ahead of the calendar like any other",
        "policies/forecast.py",
        'pace >= PACE_MAX and priority == "batch"',
        "False",
        ("tests/proxy/execution/test_easing.py",),
    ),
    Mutation(
        "a ladder that flutters at its rungs",
        "policies/meter.py",
        "        if not taken <= self.felt <= taken + PLAY:\n"
        "            self.felt = taken if self.felt < taken else taken + PLAY\n"
        "            self._set_plenty()\n",
        "        self.felt = taken\n        self._set_plenty()\n",
        ("tests/policies/test_meter.py",),
    ),
    Mutation(
        "a budget's end that the plan does not see",
        "proxy/pipeline.py",
        "plan(call, record.pressure or CALM, ladder=rules.on_budget, usual=race.usual)",
        "plan(call)",
        ("tests/flow/test_ladder.py",),
    ),
    Mutation(
        "a new key whose budget is not in force yet",
        "proxy/state/keys.py",
        "            self.reload_if_changed()\n        return next((stored.budget",
        "            pass\n        return next((stored.budget",
        ("tests/proxy/desks/test_budgets.py",),
    ),
    Mutation(
        "a limit that comes back has forgotten what was spent",
        "policies/roster.py",
        "self._aside.pop((account, key), None)",
        "None",
        ("tests/policies/test_roster.py",),
    ),
    Mutation(
        "money admitted before all accounts were asked",
        "policies/accounts.py",
        "        if refusal is not None:\n            return refusal\n        for balance, amount in zip(windows",
        "        for balance, amount in zip(windows",
        ("tests/policies/test_accounts.py",),
    ),
    Mutation(
        "a limit that the upstream is not told",
        "proxy/execution/attempt.py",
        "self._provider.request(self._ask, self.target, self.told_limit)",
        "self._provider.request(self._ask, self.target)",
        ("tests/flow/test_budgets.py",),
    ),
    Mutation(
        "a kill that spares the runs below",
        "proxy/runs/registry.py",
        "for each in run.tree() for call in",
        "for each in (run,) for call in",
        ("tests/flow/test_runs.py",),
    ),
    Mutation(
        "a killed call that is billed when its client listens",
        "proxy/pipeline.py",
        '                await exchange.end("abandoned", word)\n',
        "                pass\n",
        ("tests/flow/test_runs.py",),
    ),
    Mutation(
        "a child run that pays for itself",
        "policies/runs.py",
        'tuple([f"run:{run.id}" for run in self.lineage])',
        'tuple([f"run:{run.id}" for run in self.lineage[-1:]])',
        ("tests/flow/test_runs.py",),
    ),
    Mutation(
        "a run that two tenants share",
        "proxy/runs/registry.py",
        "        id = run_id(owner, name)\n",
        '        id = run_id("team:all", name)\n',
        ("tests/flow/test_tenants.py",),
    ),
    Mutation(
        "a report that adds two tenants' runs of one name",
        "proxy/state/run_queries.py",
        'MINE = f"o.run = ? AND {TENANT} = ?"',
        "MINE = \"o.run = ? AND ? <> ''\"",
        ("tests/proxy/state/test_run_queries.py",),
    ),
    Mutation(
        "killed until the next start",
        "proxy/runs/governor.py",
        "self._runs.restore(_marks(memory.commands), memory.seen)",
        "self._runs.restore((), memory.seen)",
        ("tests/proxy/runs/test_governor.py",),
    ),
    Mutation(
        "a repeated top-up",
        "proxy/runs/governor.py",
        "            return self._topped_up(command, repeated=True)\n",
        "            pass\n",
        ("tests/proxy/runs/test_governor.py",),
    ),
    Mutation(
        "a strict hold of an estimate",
        "policies/budget.py",
        "    return bound if left.strict else min(likely, bound)\n",
        "    return min(likely, bound)\n",
        ("tests/sim/test_overshoot.py",),
    ),
    Mutation(
        "a limit that is held and not told",
        "policies/budget.py",
        "        told=left.strict and head.fields is not None,\n",
        "",
        ("tests/policies/test_budget.py",),
    ),
    Mutation(
        "a stream that is not cut when its hold is used up",
        "proxy/execution/meter.py",
        "        self.cut = self._ends_in(seen) <= 0\n",
        "",
        ("tests/flow/test_cut.py",),
    ),
    Mutation(
        "a soft hold that is not raised",
        "proxy/execution/meter.py",
        "        self.allowance = more\n        return True\n",
        "        return True\n",
        ("tests/proxy/execution/test_meter.py",),
    ),
    Mutation(
        "a cut that closes the upstream when the client has heard of it",
        "proxy/execution/attempt.py",
        '        if self.abort != "continues":\n            self.reading.close()\n',
        "",
        ("tests/sim/test_overshoot.py",),
    ),
    Mutation(
        "what a provider bills on for is not read after a cut",
        "proxy/delivery.py",
        '            if exchange.abort != "continues":  # else',
        "            if exchange.abort:  # else",
        ("tests/flow/test_cut.py",),
    ),
    Mutation(
        "the hold is not released on cancel",
        "proxy/finish.py",
        'await exchange.end("abandoned")',
        "record.open.remove(exchange)",
        (CANCELLATION,),
    ),
    Mutation(
        "void on disconnect",
        "proxy/finish.py",
        'await exchange.end("abandoned")',
        'await exchange.end("refused")',
        (CANCELLATION,),
    ),
    Mutation(
        "a hold that is not settled",
        "proxy/execution/attempt.py",
        "self._record.purse.give_back(facts.held.amounts, bill.spent(facts, billed, cost), sent=self._sent)",
        "bill.spent(facts, billed, cost)",
        (CANCELLATION,),
    ),
    Mutation(
        "sent without a hold",
        "proxy/execution/attempt.py",
        "                self._withdraw()\n                raise taken\n",
        "                pass\n",
        (CANCELLATION,),
    ),
    Mutation(
        "billed as abandoned whatever the abort rule",
        "policies/settle.py",
        'if evidence.ending == "abandoned" and evidence.abort == "stops":',
        'if evidence.ending == "abandoned":',
        (GONE,),
    ),
    Mutation(
        "what a provider bills on for is not read to its end",
        "proxy/pipeline.py",
        'any(exchange.abort == "continues" for exchange in record.open)',
        "False",
        (GONE,),
    ),
    Mutation(
        "cached tokens counted twice",
        "proxy/dialects/openai_usage.py",
        "    rest = prompt - cached - written\n    if audio",
        "    rest = prompt\n    if audio",
        ("tests/proxy/dialects/test_openai_usage.py",),
    ),
    Mutation(
        "prices rounded down",
        "pricing/book.py",
        "    return -(-picos // PICOS_PER_NANO)\n\n\ndef hold_usd_nanos",
        "    return picos // PICOS_PER_NANO\n\n\ndef hold_usd_nanos",
        ("tests/pricing/test_book_arithmetic.py",),
    ),
    Mutation(
        "unpriced as zero",
        "proxy/execution/bill.py",
        "    if price is None:\n        return None\n",
        "    if price is None:\n        return 0\n",
        (REFUSALS,),
    ),
    Mutation(
        "an unpriced model is let through",
        "policies/plan.py",
        "if unpriced and not self.unpriced_allowed:",
        "if unpriced and self.unpriced_allowed:",
        (REFUSALS,),
    ),
    Mutation(
        "a reported zero is replaced by an estimate",
        "policies/settle.py",
        "if evidence.reported is not None and not evidence.running:",
        "if evidence.reported is not None and evidence.reported.output_total and not evidence.running:",
        ("tests/policies/test_settle.py",),
    ),
    Mutation(
        "n choices held once",
        "policies/budget.py",
        "    limit, choices = fits.limit or 0, head.choices\n",
        "    limit, choices = fits.limit or 0, 1\n",
        ("tests/policies/test_budget.py",),
    ),
    # --- rates
    Mutation(
        "rates debited before all of them were asked",
        "policies/rate_limit.py",
        "        if not account.fits(tokens, now):\n            return False\n    for account in accounts:\n",
        "        if not account.fits(tokens, now):\n            return False\n",
        ("tests/policies/test_rate_limit.py",),
    ),
    Mutation(
        "a bucket that gives back what it has spilled",
        "policies/rate_limit.py",
        "        elif self.was_full_at <= taken_at:\n",
        "        else:\n",
        ("tests/policies/test_rate_limit.py",),
    ),
    Mutation(
        "slices beside a store that still keeps the whole limit",
        "policies/shared_rate.py",
        "        room = int(self.limit) - self.size * self.holders\n",
        "        room = int(self.limit)\n",
        (SHARED_RATE,),
    ),
    Mutation(
        "a store that is out, and every gate with a full part of the limit",
        "policies/shared_rate.py",
        "            self.own.set_level(0.0, since)\n",
        "            self.own = Bucket(self.limit / self.holders)\n",
        (SHARED_RATE,),
    ),
    Mutation(
        "an estimate given back twice, as nobody knows whether it arrived",
        "policies/shared_rate.py",
        "        self.owed = self.unused = self.back = 0\n",
        "        self.owed = self.unused = 0\n",
        (SHARED_RATE,),
    ),
    Mutation(
        "a debt forgotten with the message that told it",
        "policies/shared_rate.py",
        "        self.owed += self.sent\n",
        "",
        (SHARED_RATE,),
    ),
    Mutation(
        "a part of a hand promised to two calls",
        "policies/shared_rate.py",
        "    return bucket.hand - bucket.promised\n",
        "    return bucket.hand\n",
        (SHARED_RATE,),
    ),
    Mutation(
        "limits in the store debited before all of them were asked",
        "proxy/shared/grant.py",
        "  if granted == 1 then\n",
        "  if b.wait <= 1 then\n",
        ("tests/proxy/shared/test_grant.py",),
    ),
    Mutation(
        "a store that was emptied allows everything again",
        "proxy/shared/grant.py",
        "  born = ARGV[1] == '1' and now or 0\n",
        "  born = 0\n",
        ("tests/proxy/shared/test_grant.py",),
    ),
    Mutation(
        "a client that has left is admitted all the same",
        "proxy/shared/rates.py",
        "        if asking.turn.done():  # served, or its client has left\n            return\n",
        "",
        ("tests/proxy/shared/test_rates.py",),
    ),
    Mutation(
        "an answer out of the store that anybody could have written",
        "proxy/shared/answers.py",
        "        if not hmac.compare_digest(sealed[:SEAL_BYTES], self._seal(name, data)):\n            return None\n",
        "",
        ("tests/proxy/shared/test_answers.py",),
    ),
    Mutation(
        "a purge that other gates' answers survive",
        "proxy/shared/answers.py",
        '        if kept is None or _purged(kept, purges or b"") or self._to_be_purged(key, kept):\n',
        "        if kept is None:\n",
        ("tests/proxy/shared/test_answers.py",),
    ),
    Mutation(
        "a report is doubted because of an estimate",
        "proxy/execution/bill.py",
        "return self.output_seen if passage is None else min(self.output_seen, passage.events)",
        "return self.output_seen",
        ("tests/flow/test_cut.py",),
    ),
    Mutation(
        "a reply that keeps to its limit is cut because of an estimate",
        "proxy/execution/meter.py",
        "        certain = max(min(seen, self._passage.events), seen / FAR)\n",
        "        certain = seen\n",
        ("tests/flow/test_cut.py",),
    ),
    Mutation(
        "a permit that is not given back",
        "proxy/execution/attempt.py",
        "        self.permit.release(billed)\n",
        "        self.permit.learn({})\n",
        (LIMITS,),
    ),
    Mutation(
        "a permit that is lost with the call it was just given to",
        "proxy/execution/permits.py",
        "                waiter.answer.release(None)  # its turn had come just then\n",
        "                self.turned_away += 1\n",
        ("tests/proxy/execution/test_permits.py",),
    ),
    Mutation(
        "a place among the running calls that is not given back",
        "proxy/execution/record.py",
        "            self.quota.end(self.attempts)\n",
        "            self.quota.settle(self.attempts)\n",
        (LIMITS,),
    ),
    Mutation(
        "an upstream's refusal is forgotten",
        "proxy/execution/race.py",
        "        permit.refused(alone_s)\n",
        "        permit.learn({})\n",
        (LIMITS,),
    ),
    Mutation(
        "what was asked for after a reply was sent is not subtracted",
        "policies/provider_limits.py",
        "told.remaining * self.own.share - asked_since",
        "told.remaining * self.own.share",
        ("tests/policies/test_provider_limits.py",),
    ),
    Mutation(
        "a time to come back that is too early",
        "proxy/headers.py",
        '("retry-after-ms", str(max(1, ceil(seconds * 1000))))',
        '("retry-after-ms", str(max(1, int(seconds * 990))))',
        (LIMITS,),
    ),
    # --- one outcome
    Mutation(
        "the outcome is told twice",
        "proxy/finish.py",
        "        outcome = self._outcome(record, config_version)\n",
        "        outcome = self._outcome(record, config_version)\n"
        "        self._observers[0][1].observe(outcome) if record.client_gone else None\n",
        (CANCELLATION,),
    ),
    Mutation(
        "no outcome when the client has gone",
        "proxy/pipeline.py",
        "        if not record.finished:\n",
        "        if not record.finished and not record.client_gone:\n",
        (CANCELLATION,),
    ),
    # --- retries and the deadline
    Mutation(
        "a retry after the first byte",
        "proxy/delivery.py",
        "            await self._stream(record, downstream, answer, rules=rules, snapshot=snapshot)\n",
        "            try:\n"
        "                await self._stream(record, downstream, answer, rules=rules, snapshot=snapshot)\n"
        "            except Exception:\n"
        "                exchange, reading = await self._parts.race.run(record, record.plan, rules)\n"
        "                await downstream.write(reading.first)\n"
        '                await exchange.end("complete")\n'
        "                await downstream.end()\n",
        (STREAM,),
    ),
    Mutation(
        "retries without a budget",
        "proxy/execution/race.py",
        "        if self._budget.withdraw(now):\n            return True\n",
        "        if self._budget:\n            return True\n",
        (RETRY,),
    ),
    Mutation(
        "hedges without a budget",
        "proxy/execution/race.py",
        "if permit is None or not self._budget.withdraw(now):",
        "if permit is None:",
        (HEDGE,),
    ),
    Mutation(
        "a hedge's loser runs on beside the winner",
        "proxy/execution/duel.py",
        "            await self._close_losers()\n",
        "            self._over = True\n",
        (HEDGE,),
    ),
    Mutation(
        "a client that leaves in a duel is taken for the hedge's win",
        "proxy/execution/duel.py",
        "if self._winner is None or task.uncancel() > cancelled_before:",
        "if self._winner is None or task.uncancel() < cancelled_before:",
        (HEDGE, DUEL),
    ),
    Mutation(
        "a loser that is billed to its end is not read to its end",
        "proxy/execution/attempt.py",
        'return self.abort == "continues" and self.reading is not None',
        'return self.abort == "continues" and self.reading is None',
        (HEDGE,),
    ),
    Mutation(
        "who opted out is hedged all the same",
        "proxy/execution/race.py",
        "if len(course.targets) == 1 or not course.ask.hedged or course.panic:",
        "if len(course.targets) == 1 or course.panic:",
        (HEDGE,),
    ),
    Mutation(
        "panic repeats calls",
        "proxy/execution/race.py",
        "if course.panic or not course.tried:",
        "if not course.tried:",
        ("tests/flow/test_breakers.py",),
    ),
    Mutation(
        "a call that is in time says why it was not hedged",
        "proxy/execution/race.py",
        "            if found.kind is not None:\n",
        "            if True:\n",
        ("tests/flow/test_explain.py",),
    ),
    Mutation(
        "every look at a late call is told",
        "proxy/execution/record.py",
        '        if last is not None and last.role == "hedge" and self.decisions:\n            self.decisions.pop()\n',
        "",
        ("tests/flow/test_explain.py",),
    ),
    Mutation(
        "the winner's bill is the waste of a hedge",
        "proxy/telemetry/race_metrics.py",
        "loser = original if won and winner is hedge else hedge",
        "loser = winner",
        ("tests/proxy/telemetry/test_race_metrics.py",),
    ),
    Mutation(
        "of several processes the best breaker is shown",
        "proxy/state/target_report.py",
        "worst = max(each,",
        "worst = min(each,",
        ("tests/proxy/state/test_target_report.py",),
    ),
    Mutation(
        "client and policy errors are tried again",
        "policies/retry.py",
        'if number >= self.attempts or error.retry == "never":',
        "if number >= self.attempts:",
        ("tests/policies/test_retry.py",),
    ),
    Mutation(
        "a sick target uses up what the calls of others need",
        "proxy/execution/race.py",
        "if self._steering.well(course.ask, elsewhere, self._budget.share):",
        "if False:",
        (RETRY,),
    ),
    Mutation(
        "who has just failed is taken for well",
        "policies/breaker_state.py",
        'if self.state != "closed" or self.in_a_row:',
        'if self.state != "closed":',
        (RETRY,),
    ),
    Mutation(
        "three answers are proof enough",
        "policies/breaker_state.py",
        "        self.owed = PROBATION\n",
        "",
        ("tests/policies/test_breaker_state.py",),
    ),
    Mutation(
        "the deadline is ignored before the first event",
        "proxy/execution/attempt.py",
        "return min(call.deadline, self._started_at + timeouts.first_token_s)",
        "return self._started_at + timeouts.first_token_s",
        (RETRY,),
    ),
    Mutation(
        "the deadline is ignored in a stream",
        "proxy/relay.py",
        "self._deadline = call.deadline\n",
        "self._deadline = call.deadline + 5\n",
        (STREAM,),
    ),
    # --- streams
    Mutation(
        "a false end marker after a cut",
        "proxy/telling.py",
        "await downstream.write(dialect.error_event(error, record.call.endpoint))",
        'await downstream.write(dialect.error_event(error, record.call.endpoint) + b"data: [DONE]\\n\\n")',
        (STREAM,),
    ),
    Mutation(
        "a clean end after a cut",
        "proxy/execution/reading.py",
        "if not passage.finished and passage.fault is None:",
        "if False:",
        (STREAM,),
    ),
    Mutation(
        "a connection that is not aborted after an error",
        "proxy/telling.py",
        "record.call.endpoint))\n        downstream.abort()",
        "record.call.endpoint))\n        await downstream.end()",
        (STREAM,),
    ),
    Mutation(
        "usage is kept from who asked for it",
        "proxy/dialects/openai_passage.py",
        "head.include_usage or not head.stream",
        "not head.stream",
        (STREAM,),
    ),
    Mutation(
        "usage goes to who did not ask for it",
        "proxy/dialects/openai_passage.py",
        "head.include_usage or not head.stream",
        "True",
        (STREAM,),
    ),
    Mutation(
        "the upstream is not stopped when its client leaves",
        "proxy/execution/attempt.py",
        "        if self.reading is not None:\n            self.reading.close()\n",
        "",
        (CANCELLATION,),
    ),
    # --- the wire
    Mutation(
        "a redirect is passed as a reply",
        "proxy/execution/reading.py",
        "if self.status != 200:\n            raise await self._refusal()",
        "if self.status >= 400:\n            raise await self._refusal()",
        (RETRY,),
    ),
    Mutation(
        "a cookie is passed on",
        "proxy/execution/reading.py",
        'PASSED_NAMES = frozenset({"x-should-retry",',
        'PASSED_NAMES = frozenset({"set-cookie", "x-should-retry",',
        (PLAIN,),
    ),
    Mutation(
        "the client's key goes upstream",
        "proxy/providers/openai_compatible.py",
        "            headers, lines = self._headers[accept], self._lines[accept]",
        '            headers, lines = {**self._headers[accept], "x-api-key": "hg-test-key"}, b""',
        (PLAIN,),
    ),
    Mutation(
        "the upstream's key comes back in a reply",
        "proxy/providers/openai_compatible.py",
        "        for secret in self._secrets:\n            if secret in data:",
        "        for secret in self._secrets:\n            if secret in data and False:",
        ("tests/proxy/providers/test_openai_compatible.py",),
    ),
    Mutation(
        "401 of an upstream passed as 401",
        "proxy/dialects/openai_error.py",
        '_UNQUOTED = frozenset({"upstream_auth", "unexpected_redirect"})',
        '_UNQUOTED = frozenset({"unexpected_redirect"})',
        (RETRY,),
    ),
    Mutation(
        "a reply on a connection that was not read to its end",
        "proxy/providers/line.py",
        "        whole = reply.reusable and not reply.pieces\n",
        "        whole = True\n",
        (TRANSPORT,),
    ),
    Mutation(
        "the body is encoded anew to name the model",
        "proxy/dialects/json_body.py",
        "    if not changes:\n        return raw\n",
        "    if not changes:\n        return raw\n"
        "    whole = {**msgspec.json.decode(raw), **{k: msgspec.json.decode(v) for k, v in changes.items()}}\n"
        "    return msgspec.json.encode(whole)\n",
        (PLAIN,),
    ),
    Mutation(
        "names may be repeated",
        "proxy/dialects/json_body.py",
        "        _refuse_repeated_names(raw, fields, compact)\n",
        "",
        (REFUSALS,),
    ),
    Mutation(
        "the limit of a body is ignored where it came at once",
        "proxy/surfaces/body.py",
        "    if body.size > limits.body_bytes_max:\n",
        "    if body.size < 0:\n",
        (REFUSALS,),
    ),
    Mutation(
        "the limit of a body is ignored where it comes in pieces",
        "proxy/surfaces/body.py",
        "await body.arrive(limits.body_bytes_max)",
        "await body.arrive(1 << 60)",
        ("tests/sim/test_sockets.py",),
    ),
    Mutation(
        "the handler of a client that left goes on",
        "proxy/surfaces/connection.py",
        "        elif self._task is not None:\n            self._task.cancel()\n",
        "",
        (GONE,),
    ),
    Mutation(
        "a coding that another reader would not understand",
        "proxy/surfaces/parser.py",
        ' or (coding is not None and coding.lower() != "chunked")',
        "",
        (PARSER,),
    ),
    Mutation(
        "trailers become headers of the next request",
        "proxy/surfaces/parser.py",
        "            self._fields.clear()",
        "            self._fields",
        (PARSER,),
    ),
    Mutation(
        "what comes ahead of its turn is read without bounds",
        "proxy/surfaces/connection.py",
        "            self._reading_paused = True\n            self.transport.pause_reading()\n",
        "            self._reading_paused = True\n",
        ("tests/proxy/surfaces/test_connection.py",),
    ),
    # --- what is kept
    Mutation(
        "a hold that only memory knows",
        "proxy/money/budgets.py",
        "return self._witness.held(hold) if self._witness is not None and hold.taken else None",
        "return None",
        ("tests/proxy/money/test_restoring.py", "tests/proxy/money/test_books.py"),
    ),
    Mutation(
        "sent although the hold could not be written",
        "proxy/money/budgets.py",
        "        self.accounts.void(id)\n        return failure\n",
        "        return answer\n",
        ("tests/flow/test_budgets.py", "tests/proxy/money/test_books.py"),
    ),
    Mutation(
        "a hold forgotten before its row is on the disk",
        "proxy/money/books.py",
        "while ended and ended[0][0] <= on_disk:",
        "while ended:",
        ("tests/proxy/money/test_books.py",),
    ),
    Mutation(
        "every call pays for an engine as if it were alone there",
        "pricing/gpu_board.py",
        "(now - self.at) / self.in_flight",
        "now - self.at",
        ("tests/pricing/test_gpu.py", "tests/flow/test_gpus.py"),
    ),
    Mutation(
        "each worker shares out the time of an engine as if it were alone",
        "proxy/money/shared_board.py",
        "time.in_flight = self.in_flight",
        "time.in_flight = int(self.in_flight > 0)",
        ("tests/proxy/money/test_shared_board.py",),
    ),
    Mutation(
        "the requests of a dead worker run on at an engine",
        "proxy/money/shared_board.py",
        "        COUNT.pack_into(self._map, SUMS.size + worker * COUNT.size, 0)\n",
        "",
        ("tests/proxy/money/test_shared_board.py",),
    ),
    Mutation(
        "the time of an engine is free when the call fails",
        "proxy/execution/bill.py",
        "    if facts.share is not None:\n        return facts.share.cost_usd_nanos\n",
        "    if facts.share is not None and billed is not None:\n        return facts.share.cost_usd_nanos\n",
        ("tests/flow/test_gpus.py", "tests/proxy/execution/test_bill.py"),
    ),
    Mutation(
        "a stream goes on though the budget has no more for its time",
        "proxy/execution/meter.py",
        "        return spent + forecast.guard_usd_nanos < self.allowance.time_usd_nanos\n",
        "        return True\n",
        ("tests/flow/test_gpus.py",),
    ),
    Mutation(
        "an engine's time is in the books once more each hour",
        "proxy/money/gpus.py",
        "meter.book(self._clock.now(), rate)",
        "meter.stretch(self._clock.now())",
        ("tests/proxy/money/test_gpus.py",),
    ),
    Mutation(
        "a share of an engine's time that the chain does not cover",
        "proxy/state/verify.py",
        "    if tried[width:] != NO_GPU:\n",
        "    if False:\n",
        ("tests/proxy/state/test_verify.py", "tests/proxy/state/test_ledger_schema.py"),
    ),
    Mutation(
        "the journal cleared before the holds in it are charged",
        "proxy/money/restoring.py",
        "    lost = _lost(ledger, journal)\n",
        "    Journal.clear(journal)\n    lost = _lost(ledger, journal)\n",
        ("tests/proxy/money/test_restoring.py",),
    ),
    Mutation(
        "a crash charged at each start",
        "proxy/money/restoring.py",
        "if id not in known]",
        "if id]",
        ("tests/proxy/money/test_restoring.py",),
    ),
    Mutation(
        "a call counted in a checkpoint and again by its row",
        "proxy/money/books.py",
        "        ahead = self._ahead()\n",
        "        ahead: dict[Period, tuple[int, int]] = {}\n",
        ("tests/proxy/money/test_books.py", "tests/proxy/money/test_restoring.py"),
    ),
    Mutation(
        "rows that a checkpoint has are added again",
        "proxy/state/fold.py",
        "found.through.get(period, found.since)",
        "found.since",
        ("tests/proxy/state/test_fold.py",),
    ),
    Mutation(
        "a hash that does not follow from the one before",
        "proxy/state/chain.py",
        "sha256(previous + ",
        "sha256(",
        ("tests/proxy/state/test_chain.py", "tests/proxy/state/test_ledger.py"),
    ),
    Mutation(
        "attempts that the chain does not cover",
        "proxy/state/ledger_insert.py",
        "(seq, *row, seq, *attempts[0])",
        "(seq, *row)",
        ("tests/proxy/state/test_ledger_insert.py",),
    ),
    Mutation(
        "marks of what has been relayed, and not of what may have been by the next one",
        "proxy/execution/meter.py",
        "        most = seen + ceil(step * self._rate_now()) + guard\n",
        "        most = seen\n",
        ("tests/sim/test_marks.py", "tests/proxy/execution/test_meter.py"),
    ),
    Mutation(
        "a mark where a provider bills on",
        "proxy/execution/attempt.py",
        'self.meter.marks = self.abort == "stops"',
        'self.meter.marks = self.abort != "none"',
        ("tests/sim/test_marks.py",),
    ),
    Mutation(
        "a mark that charges more than was held",
        "proxy/money/holds.py",
        "                amount = min(amount, self.mark.usd_nanos",
        "                amount = max(amount, self.mark.usd_nanos",
        ("tests/proxy/money/test_holds.py",),
    ),
    Mutation(
        "marks that a fresh journal forgets",
        "proxy/money/books.py",
        "        return held + [(MARKED, payload) for payload in self._marks.values()]\n",
        "        return held\n",
        ("tests/proxy/money/test_restoring.py",),
    ),
    Mutation(
        "the end of a reply before its row",
        "proxy/last_word.py",
        "            await self._before(data)\n        await self._inner.write(data)\n",
        "            await self._inner.write(data)\n            return await self._before(data)\n"
        "        await self._inner.write(data)\n",
        ("tests/flow/test_strict_ledger.py",),
    ),
    Mutation(
        "who asked for priority pays for it whatever was served",
        "policies/service_tier.py",
        "    return _at(_at(target, STANDARD), tier)\n",
        "    return target\n",
        ("tests/policies/test_service_tier.py", "tests/flow/test_service_tier.py"),
    ),
    Mutation(
        "the old journal dropped before the fresh one is synced",
        "proxy/state/journal.py",
        "        self._old_fd, self._fd = self._fd, fresh\n",
        "        self._old.unlink()\n        self._old_fd, self._fd = self._fd, fresh\n",
        ("tests/proxy/state/test_journal.py",),
    ),
    Mutation(
        "NORMAL for FULL",
        "proxy/state/ledger_schema.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
        (LEDGER,),
    ),
    Mutation(
        "rows can be changed",
        "proxy/state/ledger_schema.py",
        'for verb in ("UPDATE", "DELETE")',
        'for verb in ("DELETE",)',
        ("tests/proxy/state/test_ledger_schema.py",),
    ),
    Mutation(
        "a failed sync is tried again",
        "proxy/state/ledger.py",
        "rows = 0 if self.failed else self._commit()",
        "rows = self._commit()",
        (LEDGER,),
    ),
    Mutation(
        "keys are kept as they are",
        "proxy/state/keys.py",
        "            digest = self._pepper.digest(text.encode()).hex()\n",
        "            digest = text.encode().hex()\n",
        ("tests/proxy/state/test_keys.py",),
    ),
    Mutation(
        "half a key opens the gate",
        "proxy/state/keys.py",
        'digest = self._pepper.digest(presented.encode("utf-8", "surrogatepass"))',
        'digest = self._pepper.digest(presented.rstrip("0123456789abcdef").encode("utf-8", "surrogatepass"))',
        ("tests/proxy/state/test_keys.py",),
    ),
    Mutation(
        "a log line with content",
        "proxy/telemetry/line.py",
        "        printable(call.model),\n",
        "        printable(call.raw.decode()),\n",
        ("tests/proxy/telemetry/test_log.py", "tests/proxy/telemetry/test_line.py"),
    ),
    Mutation(
        "a caller's wish that nothing is kept is not heard",
        "proxy/surfaces/overheard.py",
        'if policy == "off" or any(',
        'if policy == "off" and any(',
        (OVERHEARD,),
    ),
    Mutation(
        "headers are kept as they come",
        "proxy/surfaces/overheard.py",
        "if name in KEPT or name.startswith(KEPT_PREFIX)",
        "if name not in KEY_HEADERS",
        (OVERHEARD,),
    ),
    Mutation(
        "redacted words are kept as they were",
        "proxy/content/scribe.py",
        'hidden = self._shapes if heard.keeping.policy == "redacted" else ()',
        "hidden = ()",
        (SCRIBE,),
    ),
    Mutation(
        "the key that came with a call is kept in its words",
        "proxy/content/masks.py",
        "        text = text.replace(secret, PRESENTED)\n",
        "        text = text.replace(secret, secret)\n",
        (SCRIBE, OVERHEARD),
    ),
    Mutation(
        "a secret that is cut shows its half",
        "proxy/content/scribe.py",
        "{head[:-MARGIN]}",
        "{head}",
        (SCRIBE,),
    ),
    Mutation(
        "a picture in a text is kept",
        "proxy/content/attachments.py",
        "        text = _OF_URL.sub(noted, text)\n",
        "        text = str(text)\n",
        ("tests/proxy/content/test_attachments.py",),
    ),
    Mutation(
        "one straggler takes places from an engine",
        "policies/concurrency.py",
        "min(first_event_s, RATIO_MOST * predicted_s) - self._seen_s",
        "first_event_s - self._seen_s",
        ("tests/policies/test_concurrency.py",),
    ),
    Mutation(
        "calls that are answered side by side count as a line",
        "policies/speed.py",
        "        if most < self.ahead_spt:\n",
        "        if most < 0.0:\n",
        ("tests/policies/test_speed.py",),
    ),
    Mutation(
        "spans have the words of calls that are kept redacted",
        "proxy/content/keeper.py",
        'if heard is None or heard.keeping.policy != "full":',
        "if heard is None:",
        ("tests/proxy/content/test_keeper.py",),
    ),
    Mutation(
        "kept words can be read by others on the machine",
        "proxy/content/segments.py",
        "os.O_APPEND | os.O_CLOEXEC, 0o600)",
        "os.O_APPEND | os.O_CLOEXEC, 0o644)",
        ("tests/proxy/content/test_segments.py",),
    ),
    Mutation(
        "a listener without a token shows words",
        "proxy/surfaces/admin_content.py",
        "        if not self.guarded:\n",
        "        if self.desk is None:\n",
        ("tests/proxy/surfaces/test_admin_content.py",),
    ),
    Mutation(
        "a secret that shows itself",
        "proxy/secret.py",
        '        return f"Secret({MASK})"',
        '        return f"Secret({self._text})"',
        ("tests/proxy/test_secret.py",),
    ),
)


class Done(Struct, frozen=True):
    """How a run of tests ended, and what it said at the end."""

    code: int
    said: str


class Tree:
    """A copy of the sources, and a process that runs its tests (`tests/forks.py`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._output = folder.with_suffix(".txt")
        command = [sys.executable, "-B", str(ROOT / "tests" / "forks.py")]
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(self, arguments: tuple[str, ...]) -> Done:
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        order = {"arguments": [*OPTIONS, *arguments], "output": str(self._output), "seconds_max": SECONDS_MAX}
        asked.write(json.dumps(order) + "\n")
        code = int(answers.readline())
        return Done(code, self._output.read_text(errors="replace")[-3_000:])

    def close(self) -> None:
        self._process.communicate()


class Workshop:
    """Copies of the tree, about one a processor; each is worked on by one run at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free: SimpleQueue[Tree] = SimpleQueue()
        self._pool = ThreadPoolExecutor(AT_ONCE)
        made = copied(folder / "0")
        others = [shutil.copytree(made, folder / str(number)) for number in range(1, AT_ONCE)]
        self._trees = [Tree(each) for each in (made, *others)]
        for tree in self._trees:
            self._free.put(tree)

    def submit(self, tests: tuple[str, ...], planted: Mutation | None = None) -> Future[Done]:
        return self._pool.submit(self._run, tests, planted)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for tree in self._trees:
            tree.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, tests: tuple[str, ...], planted: Mutation | None) -> Done:
        tree = self._free.get()
        try:
            if planted is None:  # each of these files runs with all of its cases elsewhere in the suite
                return tree.run(tests)
            file = tree.folder / planted.file
            original = file.read_text()
            file.write_text(original.replace(planted.old, planted.new))
            try:
                return tree.run((FULL, *tests))
            finally:
                file.write_text(original)
        finally:
            self._free.put(tree)


def copied(tree: Path) -> Path:
    """With its byte code, which is looked up by what a source says: a mutation of the same second is none it knows."""
    tree.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_file():
            shutil.copy(source, tree / part)
        else:
            shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__", "real"))
    compileall.compile_dir(tree, quiet=2, workers=0, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return tree


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Done]]]:
    """All that this session asks for, begun at once; by the names of the mutations, and "" for the tree as it is."""
    workshop = Workshop(tmp_path_factory.mktemp("trees"))
    asked = {item.name for item in request.session.items}
    begun = {}
    if test_without_a_bug_the_chosen_tests_pass.__name__ in asked:
        begun[""] = workshop.submit(tuple(dict.fromkeys(test for planted in PLANTED for test in planted.tests)))
    for planted in PLANTED:
        if f"{test_it_is_found.__name__}[{planted.name}]" in asked:
            begun[planted.name] = workshop.submit(planted.tests, planted)
    yield begun
    workshop.close()


def test_the_text_of_every_mutation_is_there_once() -> None:
    wrong = []
    for planted in PLANTED:
        found = (ROOT / planted.file).read_text().count(planted.old) if (ROOT / planted.file).is_file() else -1
        if found != 1:
            wrong.append(f"{planted.name!r}: found {found} times in {planted.file}")
    assert not wrong, "give these mutations the text that is there now:\n" + "\n".join(wrong)


def test_names_are_unique() -> None:
    assert len({planted.name for planted in PLANTED}) == len(PLANTED) >= 20


@pytest.mark.slow
def test_without_a_bug_the_chosen_tests_pass(runs: dict[str, Future[Done]]) -> None:
    done = runs[""].result()
    assert done.code == 0, done.said


@pytest.mark.slow
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_it_is_found(planted: Mutation, runs: dict[str, Future[Done]]) -> None:
    done = runs[planted.name].result()
    # 1: a test failed. 2 would be a tree that cannot even be collected, which finds nothing.
    assert done.code == 1, f"not found: {planted.name}\n{done.said}"
