"""What an attempt cost, however it ended: the rules of settlement, as one pure function.

Reported usage wins whenever there is some, within plausible bounds; a stream that broke off is billed for its input and
for the output that was relayed; an exchange that the gate closed follows the provider's abort rule, also where it cut
the stream because the hold was used up. `None` means that nothing was billed: nothing was sent, or the upstream refused
before it produced anything. Missing, zero and estimated differ.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from pricing.tokens import plausible
from proxy.types import AbortRule, Usage

Ending = Literal[
    "complete",  # the upstream finished its reply
    "refused",  # an error status or an error object before any content
    "unsent",  # not one byte reached the upstream
    "cut",  # the upstream broke off, or was too slow, after it had been sent the request
    "abandoned",  # the gate closed the exchange: the client left, the deadline passed, the money was used up
]

CONTEXT_TOKENS_MAX = 4_000_000  # no model in the price book takes more
FRAMING_TOKENS = 32  # what may be counted of a stream's closing events; no ground to doubt a report


class Evidence(Struct, frozen=True):
    """What is known of one ended attempt."""

    ending: Ending
    reported: Usage | None
    input_estimate: int
    output_seen: int  # tokens relayed, as the meter estimates them; 0 when nothing was seen
    output_least: int = 0  # ... and how many at least, for certain; 0: nothing is
    counted_output: int | None = None  # the same by the model's own tokenizer
    watched: bool = True  # the output could be seen while it was made (a stream)
    held_output: int = 0  # output tokens the hold allows for
    choices: int = 1
    context_tokens: int | None = None
    output_tokens_max: int | None = None  # the model's, of one choice
    abort: AbortRule = "unknown"
    running: bool = False  # the report is of a stream that went on: no more than a lower bound
    input_held: int = 0
    guard: int = 0  # output tokens made between our decision to close and the upstream's stop
    cut: bool = False  # closed because the hold was used up


def usage(evidence: Evidence) -> Usage | None:
    """The tokens to bill, or None when nothing was billed."""
    found = _usage(evidence)
    if found is None or not evidence.cut:
        return found
    return replace(found, flags=(*found.flags, "cut"))


def _usage(evidence: Evidence) -> Usage | None:
    if evidence.ending in ("unsent", "refused"):
        return None
    if evidence.reported is not None and not evidence.running:
        return _within_reason(evidence.reported, evidence)
    if evidence.ending == "complete":
        return _unreported(evidence)
    seen = evidence.output_seen
    if evidence.ending == "abandoned" and evidence.abort == "stops":
        return _estimated(evidence, seen + evidence.guard)
    if evidence.ending == "cut" and evidence.watched:
        return _estimated(evidence, seen)
    # What could not be watched, and what a provider may bill on regardless, is taken to have run to its limit.
    return _estimated(evidence, max(seen, evidence.held_output), "held")


def _within_reason(reported: Usage, evidence: Evidence) -> Usage:
    """Half of what is certain has to be in the report; estimates are no ground to doubt it, unless it says none."""
    certain = evidence.output_least and (evidence.output_least if reported.output_total else evidence.output_seen)
    lower = max(0, certain - FRAMING_TOKENS) // 2 if evidence.ending == "complete" else 0
    context = evidence.context_tokens or CONTEXT_TOKENS_MAX
    longest = evidence.output_tokens_max or context
    return plausible(reported, lower, context + longest * max(1, evidence.choices))


def _unreported(evidence: Evidence) -> Usage:
    if evidence.counted_output is not None:
        return Usage(
            input_uncached=evidence.input_estimate, output=evidence.counted_output, source="counted", flags=("missing",)
        )
    return _estimated(evidence, evidence.output_seen, "missing")


def _estimated(evidence: Evidence, output: int, *flags: str) -> Usage:
    """Of a figure that was still running when the stream ended, the input is known and the output is a lower bound."""
    running = evidence.reported
    if running is not None:
        known = _within_reason(running, evidence)
        more = max(0, output - known.output_total)
        return replace(known, output=known.output + more, source="estimated", flags=(*known.flags, *flags))
    unseen = evidence.ending == "cut" and not evidence.output_seen
    tokens = max(evidence.input_held, evidence.input_estimate) if unseen else evidence.input_estimate
    return Usage(input_uncached=tokens, output=output, source="estimated", flags=flags)
