"""What must hold after every run, whatever its seed was: each rule yields what it found wrong, in words.

Money rules are those of the settlement: what a provider reported is charged to the nano-dollar. Where nothing was
reported, an exchange that the gate closed under the rule `unknown` or `continues` is charged at least its true bill;
under `stops` it may fall short by the tokens made between the last read and the close; one that the upstream broke off
is charged for its input and for what was read.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from proxy.errors import CODES
from proxy.tenancy import run_of
from proxy.types import Attempt, Outcome, Price
from tests.sim.client import Asking
from tests.sim.scenes import text_of
from tests.sim.vendor import Sale
from tests.sim.world import Run

TOLERANCE_S = 0.05
STOPPED_WITHIN_S = 0.1
DEPOSITS_A_SECOND = 0.1
GATE_CLOSED = frozenset({"upstream_timeout", "upstream_stalled", "deadline_exceeded"})
_ID = re.compile(rb'"id":"((?:gen|chatcmpl)-[^"]+)"')


def violations(run: Run) -> list[str]:
    found = [*_nothing_left(run), *_attempts(run), *_sums(run)]
    outcomes = {outcome.call.id: outcome for outcome in run.outcomes}
    sales = {(sale.call_id, sale.number): sale for sale in run.sales}
    joined = {outcome.call.id: _joined_ids(outcome)[-1] for outcome in run.outcomes if outcome.served_by == "join"}
    kept = {id for outcome in run.outcomes for id in _joined_ids(outcome)}  # ... going for others, for a while at least
    for asking in run.askings:
        outcome = outcomes.get(asking.call.id)
        if outcome is None:
            found.append(f"{asking.call.id}: no outcome")
            continue
        of = joined.get(outcome.call.id, outcome.call.id)
        mine = sorted((s for s in run.sales if s.call_id == of), key=lambda sale: sale.number)
        found += [f"{outcome.call.id}: {what}" for what in _client(asking, outcome, mine)]
        if outcome.call.id not in kept:
            found += [f"{outcome.call.id}: {what}" for what in _stopped(asking, outcome, mine)]
        if of != outcome.call.id:
            found += [f"{outcome.call.id}: {what}" for what in _joined(outcome, outcomes[of])]
        for attempt in outcome.attempts:
            sale = sales.get((outcome.call.id, attempt.number))
            found += [f"{outcome.call.id}/{attempt.number}: {what}" for what in _bill(run, outcome, attempt, sale)]
    return [f"seed {run.seed}: {what}" for what in found]


def _nothing_left(run: Run) -> Iterator[str]:
    ids = Counter(outcome.call.id for outcome in run.outcomes)
    if not len(ids) == len(run.outcomes) == run.begun == run.ended == len(run.askings):
        yield f"{len(run.askings)} calls, {run.begun} begun, {run.ended} ended, {len(run.outcomes)} outcomes"
    if run.store.live:
        yield f"{run.store.live} holds left"
    if run.tasks_left:
        yield f"{run.tasks_left} tasks left"
    if run.defects:
        yield f"defects: {run.defects!r}"
    if run.attempts_started != run.attempts_ended:
        yield f"{run.attempts_started} attempts started, {run.attempts_ended} ended"
    for sale in run.sales:
        if sale.closed_at is None:
            yield f"left open: {sale}"


def _attempts(run: Run) -> Iterator[str]:
    tried = sum(len(outcome.attempts) for outcome in run.outcomes)
    if tried != run.attempts_started:
        yield f"{run.attempts_started} attempts started, {tried} in outcomes"
    asked = {(sale.call_id, sale.number) for sale in run.sales}
    told = {(outcome.call.id, attempt.number) for outcome in run.outcomes for attempt in outcome.attempts}
    if not asked <= told or len(asked) != len(run.sales):
        yield f"requests without an attempt of their own: {sorted(asked - told)}"
    calls = sum(bool(outcome.attempts) for outcome in run.outcomes)
    share, burst = run.budget
    allowance = burst + share * calls + DEPOSITS_A_SECOND * run.duration_s
    if tried - calls > allowance + 1e-6:
        yield f"{tried - calls} retries where {allowance:.1f} are allowed"
    for outcome in run.outcomes:
        numbers = [attempt.number for attempt in outcome.attempts]
        if sorted(numbers) != list(range(1, len(numbers) + 1)) or len(numbers) > 3:  # in order of their ends
            yield f"{outcome.call.id}: attempts {numbers}"


def _sums(run: Run) -> Iterator[str]:
    posted: dict[str, int] = defaultdict(int)
    total = 0
    for outcome in run.outcomes:
        cost = sum(attempt.cost_usd_nanos or 0 for attempt in outcome.attempts)
        total += cost
        who = outcome.call.identity
        for name in (f"team:{who.team}", f"key:{who.key_id}", f"agent:{who.agent}", f"run:{run_of(who)}"):
            posted[name] += cost
        if outcome.cost_usd_nanos not in (None, cost):
            yield f"{outcome.call.id}: costs {outcome.cost_usd_nanos}, its attempts {cost}"
    for name, cost in posted.items():
        account = run.store.account(name)
        if name != "run:None" and account.posted_usd_nanos != cost:
            yield f"account {name} has {account.posted_usd_nanos} posted, its outcomes cost {cost}"
        if account.held_usd_nanos or account.held_tokens:
            yield f"account {name} still holds: {account}"
    if run.ledger_usd_nanos is not None:
        rows = len(run.outcomes) + sum(len(outcome.attempts) for outcome in run.outcomes)
        if (run.ledger_usd_nanos, run.ledger_rows) != (total, rows):
            yield f"the ledger has {run.ledger_usd_nanos} in {run.ledger_rows} rows, outcomes {total} in {rows}"


# --- what the client saw ---------------------------------------------------------------------------------------------


def _client(asking: Asking, outcome: Outcome, sales: list[Sale]) -> Iterator[str]:
    wire, call = asking.wire, asking.call
    yield from wire.faults
    if outcome.error_code is not None and outcome.error_code not in CODES:
        yield f"unknown code {outcome.error_code}"
    limit = call.deadline + TOLERANCE_S
    if wire.acted_at > limit:
        yield f"the gate acted {wire.acted_at - call.deadline:.3f} s after the deadline"
    if wire.left_at is not None:
        yield from _left(asking, outcome)
    elif wire.ended is None:
        yield "the client was never answered"
    elif wire.ended == "whole":
        yield from _whole(asking, outcome)
    if wire.status == 200:
        yield from _one_generation(asking, outcome, sales)
    if wire.ended in ("end", "abort"):
        yield from _ending(asking, outcome, sales)


def _joined_ids(outcome: Outcome) -> list[str]:
    """The calls that it has joined, one after another."""
    said = [decision.said for decision in outcome.decisions]
    return [each.split()[3].rstrip(",") for each in said if each.startswith("joined the call ")]


def _joined(outcome: Outcome, other: Outcome) -> Iterator[str]:
    if outcome.attempts or outcome.charges or outcome.cost_usd_nanos:
        yield f"it has joined {other.call.id} and cost something"
    if (outcome.call.raw, outcome.call.identity) != (other.call.raw, other.call.identity):
        yield f"it has joined {other.call.id}, which is another call"
    if not outcome.call.client_retry:
        yield "it has joined another call and is no retry"


def _left(asking: Asking, outcome: Outcome) -> Iterator[str]:
    left_at = asking.wire.left_at
    if not asking.cancelled or left_at is None:
        return
    if not outcome.client_gone and asking.wire.ended not in ("end", "whole"):
        said = "the client left and the outcome does not say so"
        yield said


def _stopped(asking: Asking, outcome: Outcome, sales: list[Sale]) -> Iterator[str]:
    left_at = asking.wire.left_at
    if not asking.cancelled or left_at is None or outcome.served_by == "join":
        return
    continues = outcome.target is not None and outcome.target.traits.abort == "continues"
    for sale in sales:
        if sale.closed_at is not None and sale.closed_at > left_at + STOPPED_WITHIN_S and not continues:
            yield f"closed {sale.closed_at - left_at:.2f} s after the client had left: {sale}"


def _whole(asking: Asking, outcome: Outcome) -> Iterator[str]:
    wire = asking.wire
    if wire.status != outcome.status:
        yield f"the client saw {wire.status}, the outcome says {outcome.status}"
    if (outcome.error_code is None) != (wire.status == 200):
        yield f"status {wire.status} with code {outcome.error_code}"
    if wire.status == 401 or not wire.body:
        yield f"status {wire.status}, {len(wire.body)} bytes"
    if wire.status != 200:
        json.loads(wire.body)["error"]["message"]
    elif not outcome.client_gone:
        shown, cost = wire.headers.get("x-headgate-cost-usd"), outcome.cost_usd_nanos
        hedged = any(attempt.role == "hedge" for attempt in outcome.attempts)
        if shown is None and hedged:
            return  # a loser that is billed to its end was still being read
        if (shown is None) != (cost is None) or (shown is not None and round(float(shown) * 1e9) != cost):
            yield f"the reply says it cost {shown}, the outcome {cost}"


def _one_generation(asking: Asking, outcome: Outcome, sales: list[Sale]) -> Iterator[str]:
    """All text is the beginning of one generation, the last attempt's."""
    wire = asking.wire
    ids = set(_ID.findall(wire.body))
    if len(ids) > 1:
        yield f"pieces of several generations: {sorted(ids)}"
    last = outcome.attempts[-1].error_code if outcome.attempts else None
    if last is None and outcome.error_code not in (None, "deadline_exceeded") and outcome.served_by != "join":
        yield f"the outcome says {outcome.error_code}, its last attempt nothing"
    if not any(name.startswith(b"gen-") for name in ids):
        return
    for choice, text in texts_of(wire.body).items():
        expected = "".join(map(text_of, range(len(text) // 4 + 1)))
        if not expected.startswith(text):
            yield f"choice {choice} is no beginning of the generation: {text[:60]!r}"
    asks = asking.call.head.include_usage or not asking.call.head.stream
    if asking.call.head.stream and not asks and b'"usage":{' in wire.body:
        yield "the client got usage that it had not asked for"
    told = asking.wire.ended == "end" and sales[-1].kind in ("good", "simulated")
    if told and asking.call.head.include_usage and b'"usage":{' not in wire.body:
        yield "the client did not get the usage that it had asked for"


def texts_of(body: bytes) -> dict[int, str]:
    texts: dict[int, str] = defaultdict(str)
    if not body.startswith(b"data:"):
        for choice in json.loads(body)["choices"]:
            texts[choice["index"]] = choice["message"]["content"]
        return texts
    for line in body.split(b"\n"):
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:]).get("choices", ()):
                said = choice.get("delta") or {}
                texts[choice["index"]] += said.get("content") or ""
    return texts


def _ending(asking: Asking, outcome: Outcome, sales: list[Sale]) -> Iterator[str]:
    wire = asking.wire
    done = wire.body.count(b"data: [DONE]")
    if done and not (sales and sales[-1].done):
        yield "an end marker that the upstream did not send"
    if done > 1:
        yield "several end markers"
    if wire.ended == "abort" and done and outcome.error_code is not None:
        said = f"an end marker and {outcome.error_code}"
        late = outcome.error_code == "deadline_exceeded"
        yield f"{'nothing follows the end marker'}: {said}" if late else (said,)
    if wire.ended == "end" and outcome.error_code is not None:
        yield f"a clean end although {outcome.error_code}"
    if wire.ended == "end" and not done and b'"finish_reason":"stop"' not in wire.body and b"length" not in wire.body:
        yield "a clean end of a reply that is not complete"
    if wire.ended == "abort" and wire.left_at is None and outcome.error_code is None and not outcome.client_gone:
        yield "aborted without a reason"


# --- what it cost ----------------------------------------------------------------------------------------------------


def _bill(run: Run, outcome: Outcome, attempt: Attempt, sale: Sale | None) -> Iterator[str]:
    usage, price, cost = attempt.usage, attempt.target.price, attempt.cost_usd_nanos
    if usage is None:
        if cost != 0 or (sale is not None and (sale.prompt or sale.output)):
            yield f"nothing was billed ({cost}), the vendor charges for {sale}"
        return
    if price is None or sale is None:
        if cost is not None:
            yield f"costs {cost} without a price or without a request"
        return
    if cost is None or cost < 0:
        yield f"costs {cost}"
        return
    true = sale.usd_nanos(price)
    if attempt.held_usd_nanos < true:
        yield f"held {attempt.held_usd_nanos}, truly {true}: {sale}"
    if usage.source == "reported":
        if sale.honest and cost != true:
            said = f"charged {cost}, truly {true}: {usage}, {sale}"
            yield said
    elif cost < true:
        yield from _short(run, outcome, attempt, sale)


def _short(run: Run, outcome: Outcome, attempt: Attempt, sale: Sale) -> Iterator[str]:
    """Less was charged than the vendor does: is that within the rules?"""
    usage, price, rule = attempt.usage, attempt.target.price, attempt.target.traits.abort
    assert usage is not None
    assert price is not None
    said = f"charged {attempt.cost_usd_nanos}, truly {sale.usd_nanos(price)} by rule {rule}: {attempt!r}, {sale}"
    ours = attempt.error_code in GATE_CLOSED or attempt.error_code is None
    if ours and rule != "stops":
        yield said
        return
    if run.bills_on[sale.vendor] and attempt.error_code is not None:
        return  # the upstream broke off what it charges for in full: only what came can be known
    if usage.input_total < sale.prompt:
        yield f"input too low: {said}"
    if sale.exact and usage.output_total < sale.seen - 1:
        yield f"output too low: {said}"
    if not _covers(attempt, sale, price):
        yield f"more is missing than what was made between the last read and the close: {said}"


def _covers(attempt: Attempt, sale: Sale, price: Price) -> bool:
    """Whether the gap is explained by the tokens that nobody had read yet."""
    usage = attempt.usage
    assert usage is not None
    unread = sale.output - sale.seen if sale.exact else sale.output
    return usage.output_total + unread + 1 >= sale.output
