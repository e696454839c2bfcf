"""When a gate has passed: each verdict looks at the samples, the gate's books and the upstreams' bills, and says in
words what it saw. None of them knows a time that only one machine would reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .record import Sample, quantile
from .scenarios import FIRST_S, TOKENS, WHOLE_S

PROMPT_TIMES = 3.0  # of what the upstream takes
FEW = 0.01
ATTEMPTS_MAX = 1.4  # three tries of the fifth that is refused, and nobody else's
MEMORY_MAX = 1.1
NANOS = 10**9
INPUT_NANOS, OUTPUT_NANOS = 1_000, 4_000  # a token, at the prices of `stage`


@dataclass(frozen=True)
class Seen:
    """A load test that has ended. The gate's numbers are None where it has no admin API to ask."""

    samples: Sequence[Sample]
    bills: Sequence[Mapping[str, Any]]
    calls: int | None = None  # rows of the ledger
    cost_usd_nanos: int | None = None
    in_flight: float | None = None
    memory_kb: tuple[int, int] = (0, 0)  # after a while, and at the end
    seconds: float = 0.0

    def of(self, kind: str) -> list[Sample]:
        return [sample for sample in self.samples if sample.kind == kind]


@dataclass(frozen=True)
class Verdict:
    passed: bool
    said: str


def nobody_failed(seen: Seen) -> Verdict:
    failed = [sample for sample in seen.samples if sample.failed]
    first = f", first: {failed[0].status} {failed[0].error}" if failed else ""
    return Verdict(not failed and bool(seen.samples), f"{len(failed)} of {len(seen.samples)} calls failed{first}")


def few_failed(seen: Seen) -> Verdict:
    failed = sum(sample.failed for sample in seen.samples)
    return Verdict(failed <= FEW * len(seen.samples), f"{failed} of {len(seen.samples)} calls failed, 1 % may")


def rows_equal_calls(seen: Seen) -> Verdict:
    """A call whose client was gone before it was read may have no sample, and one has a row all the same."""
    if seen.calls is None:
        return Verdict(True, "the ledger was not asked")
    cut = sum(sample.status == 0 for sample in seen.samples)
    low, high = len(seen.samples) - cut, len(seen.samples) + cut
    return Verdict(low <= seen.calls <= high, f"{seen.calls} rows in the ledger for {len(seen.samples)} calls")


def bill_equals_ledger(seen: Seen) -> Verdict:
    if seen.cost_usd_nanos is None:
        return Verdict(True, "the ledger was not asked")
    true = sum(
        bill["totals"]["prompt_tokens"] * INPUT_NANOS + bill["totals"]["completion_tokens"] * OUTPUT_NANOS
        for bill in seen.bills
    )
    off = abs(seen.cost_usd_nanos - true)
    unknown = sum(not entry["told"] for bill in seen.bills for entry in bill["requests"])
    allowed = unknown * TOKENS * OUTPUT_NANOS + unknown * 1_000 * INPUT_NANOS  # whose usage nobody was told
    ledger = seen.cost_usd_nanos / NANOS
    told = f"ledger ${ledger:.6f}, true bill ${true / NANOS:.6f}, {unknown} exchanges without usage"
    return Verdict(off <= allowed, told)


def prompt(seen: Seen) -> Verdict:
    streams = [sample.first_s for sample in seen.samples if sample.first_s is not None]
    whole = [sample.e2e_s for sample in seen.samples if sample.first_s is None and sample.status == 200]
    first, end = quantile(streams, 0.5), quantile(whole, 0.5)
    passed = (not streams or first <= PROMPT_TIMES * FIRST_S) and (not whole or end <= PROMPT_TIMES * WHOLE_S)
    said = f"median first token {first * 1000:.0f} ms ({FIRST_S * 1000:.0f} upstream), whole {end:.2f} s"
    return Verdict(passed, said)


def refusals_have_hints(seen: Seen) -> Verdict:
    wrong = [sample for sample in seen.samples if sample.status >= 500 and sample.status != 503]
    refused = sum(sample.status in (429, 503) for sample in seen.samples)
    return Verdict(not wrong, f"{refused} of {len(seen.samples)} refused, {len(wrong)} failed otherwise")


def ends_with_goodput(seen: Seen) -> Verdict:
    """The last third serves as much as the best third did, or nearly."""
    if not seen.samples:
        return Verdict(False, "no calls")
    began = min(sample.at for sample in seen.samples)
    third = max(1e-9, (max(sample.at for sample in seen.samples) - began) / 3)
    served = [0, 0, 0]
    for sample in seen.samples:
        if sample.status == 200 and sample.whole:
            served[min(2, int((sample.at - began) / third))] += 1
    return Verdict(served[2] >= 0.8 * max(served), f"served in thirds of the time: {served}")


def tail_is_cut(seen: Seen) -> Verdict:
    firsts = [sample.first_s for sample in seen.samples if sample.first_s is not None]
    hedged = sum(sample.served_by == "hedge" for sample in seen.samples)
    late = sum(first > 5.5 for first in firsts) / max(1, len(firsts))
    return Verdict(late <= 0.03, f"{late:.1%} waited for a late upstream, 5 % without the gate; {hedged} hedges won")


def few_attempts(seen: Seen) -> Verdict:
    asked = sum(len(bill["requests"]) for bill in seen.bills)
    times = asked / max(1, len(seen.samples))
    return Verdict(times <= ATTEMPTS_MAX, f"{asked} upstream requests for {len(seen.samples)} calls: {times:.2f}")


def cuts_are_told(seen: Seen) -> Verdict:
    """A stream that broke off never looks whole."""
    silent = [sample for sample in seen.samples if sample.status == 200 and not sample.whole and not sample.error]
    cut = sum(sample.status == 200 and not sample.whole for sample in seen.samples)
    whole = sum(sample.whole and sample.tokens < TOKENS for sample in seen.samples if sample.first_s is not None)
    said = f"{cut} of {len(seen.samples)} streams were cut, {len(silent)} by the connection alone; {whole} looked whole"
    return Verdict(whole == 0, said)


def nothing_left_running(seen: Seen) -> Verdict:
    opened = sum(bill["totals"]["streams_open"] for bill in seen.bills)
    left = sum(sample.left for sample in seen.samples)
    running = seen.in_flight or 0
    return Verdict(not opened and not running, f"{left} left; {opened} streams and {running:.0f} calls still open")


def each_question_once(seen: Seen) -> Verdict:
    asked = sum(len(bill["requests"]) for bill in seen.bills)
    missed = sum(sample.cache == "miss" for sample in seen.samples)
    return Verdict(asked <= missed and asked <= 201, f"{asked} upstream requests for {len(seen.samples)} calls")


def never_overspent(seen: Seen) -> Verdict:
    true = sum(
        bill["totals"]["prompt_tokens"] * INPUT_NANOS + bill["totals"]["completion_tokens"] * OUTPUT_NANOS
        for bill in seen.bills
    )
    refused = sum(sample.status in (402, 429) for sample in seen.samples)
    return Verdict(true <= NANOS // 100 and refused > 0, f"${true / NANOS:.6f} of $0.01 spent, {refused} calls refused")


def rate_is_kept(seen: Seen) -> Verdict:
    served = sum(sample.status == 200 for sample in seen.samples)
    may = 120 * seen.seconds / 60 + 120  # the rate, and one bucket of it
    return Verdict(served <= 1.03 * may, f"{served} served, {may:.0f} may be")


def runs_are_known(seen: Seen) -> Verdict:
    runs = {sample.run for sample in seen.samples}
    return Verdict(len(runs) > 1 and "" not in runs, f"{len(runs)} runs")


def memory_flat(seen: Seen) -> Verdict:
    before, after = seen.memory_kb
    return Verdict(after <= MEMORY_MAX * before, f"{before / 1024:.0f} MiB, {after / 1024:.0f} MiB at the end")


VERDICTS: Mapping[str, Callable[[Seen], Verdict]] = {
    verdict.__name__: verdict
    for verdict in (
        *(nobody_failed, few_failed, rows_equal_calls, bill_equals_ledger, prompt, refusals_have_hints),
        *(ends_with_goodput, tail_is_cut, few_attempts, cuts_are_told, nothing_left_running, each_question_once),
        *(never_overspent, rate_is_kept, runs_are_known, memory_flat),
    )
}
