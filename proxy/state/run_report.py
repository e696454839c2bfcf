"""What is told of runs: rows of a list, and one run as a tree with its cost, its critical path and its longest step.

Two calls that overlap are parallel, one that begins after another has ended follows it. The critical path is the chain
of calls, each following the one before, that took longest (weighted interval scheduling): nothing that shortens only
other calls can make the run shorter. Sums are over all calls; lists are bounded and say when they leave something out.
What is live (state, calls in flight, budgets) is filled in by whoever knows it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from proxy.state.report import RequestRow, Summary

PATH_IDS_MAX: Final = 1_000


class LimitRow(Struct, frozen=True):
    """One limit of a run's account as it stands; amounts are in its unit, money in nano-dollars."""

    unit: str
    window: str
    carrier: str  # the account whose limit it is: the run's own, or one above it that limits each of its runs
    limit: int  # top-ups included
    spent: int
    held: int
    left: int


class RunRow(Struct, frozen=True):
    run: str  # by its name, which other tenants may use as well
    tenant: str  # "team:NAME" or "key:ID"
    parent: str | None  # of the same tenant
    agents: list[str]
    summary: Summary
    state: str = "idle"  # idle, running, paused, killed
    stopped_by: str | None = None  # the run above it that is paused or killed
    in_flight: int = 0  # its own calls
    loops: int = 0  # calls with which it went round in circles, as far as the gate remembers it


class Runs(Struct, frozen=True):
    rows: list[RunRow]  # latest first
    before: int | None  # pass it to see the next page


class Path(Struct, frozen=True):
    """The critical path."""

    seconds: float
    calls: int
    request_ids: list[str]  # in order; at most the first thousand
    share: float | None = None  # of the wall time; None where that is nothing


class RunTree(Struct, frozen=True):
    run: RunRow
    total_usd_nanos: int  # with all children
    wall_s: float  # from the first call to the end of the last, of the whole tree
    critical_path: Path  # over the calls of the whole tree
    longest_step: RequestRow | None  # of the whole tree
    calls: list[RequestRow]  # this run's own, in order; the latest of them
    children: list[RunTree]
    truncated: bool  # there are more calls or children than shown
    budget: list[LimitRow] = []


class Governed(Struct, frozen=True):
    """What has become of a run, and of its calls that were in flight when the command came."""

    run: str
    tenant: str
    state: str
    stopped_by: str | None  # the run above it that is paused or killed
    interrupted: int
    draining: int  # of those, calls whose bill is not known yet
    cost_usd_nanos: int  # of the other interrupted ones
    running: int  # calls that were left to end by themselves
    repeated: bool = False  # the id was known: nothing was done again


class ToppedUp(Struct, frozen=True):
    account: str
    unit: str
    amount: int
    limits: list[Raised]
    repeated: bool = False


class Raised(Struct, frozen=True):
    """One limit after a top-up; amounts are in its unit, money in nano-dollars."""

    window: str
    limit: int
    spent: int
    left: int


class Step(NamedTuple):
    """One call, as far as a chain is concerned."""

    id: str
    begin_ms: int
    end_ms: int


class Found(Struct, frozen=True):
    """One run as it stands in the ledger."""

    row: RunRow
    calls: list[RequestRow]
    steps: list[Step]
    longest: RequestRow | None
    truncated: bool


NOTHING: Final = Summary(0, 0, None, None, 0.0, 0, 0, 0, 0)


def unrecorded(run: str, tenant: str, parent: str | None, agents: Sequence[str] = ()) -> RunTree:
    """A run none of whose calls has ended."""
    row = RunRow(run, tenant, parent, list(agents), NOTHING)
    return RunTree(row, 0, 0.0, Path(0.0, 0, []), None, [], [], truncated=False)


def tree(found: Found, children: list[tuple[RunTree, list[Step]]]) -> tuple[RunTree, list[Step]]:
    """With the steps of the whole tree, for the one above."""
    steps = [*found.steps, *(step for _, below in children for step in below)]
    trees = [child for child, _ in children]
    wall_ms = max((step.end_ms for step in steps), default=0) - min((step.begin_ms for step in steps), default=0)
    longest = [step for step in (found.longest, *(child.longest_step for child in trees)) if step is not None]
    made = RunTree(
        run=found.row,
        total_usd_nanos=found.row.summary.cost_usd_nanos + sum(child.total_usd_nanos for child in trees),
        wall_s=wall_ms / 1000,
        critical_path=_path(critical_path(steps), wall_ms),
        longest_step=max(longest, key=lambda step: step.duration_s, default=None),
        calls=found.calls,
        children=trees,
        truncated=found.truncated or any(child.truncated for child in trees),
    )
    return made, steps


def critical_path(steps: Sequence[Step]) -> list[Step]:
    """best[i] is the longest chain among the i calls that end first; a call either is not in it, or extends the best
    of those that had ended when it began. Whole milliseconds, so that a call may begin in the one another ended in."""
    ordered = sorted(steps, key=lambda step: step.end_ms)
    ends = [step.end_ms for step in ordered]
    best, before = [0], list[int]()
    for index, step in enumerate(ordered):
        before.append(bisect_right(ends, step.begin_ms, hi=index))
        best.append(max(best[index], best[before[index]] + step.end_ms - step.begin_ms))
    chain, index = list[Step](), len(ordered)
    while index > 0:
        if best[index] == best[index - 1]:
            index -= 1
        else:
            chain.append(ordered[index - 1])
            index = before[index - 1]
    return chain[::-1]


def _path(chain: Sequence[Step], wall_ms: int) -> Path:
    length_ms = sum(step.end_ms - step.begin_ms for step in chain)
    share = length_ms / wall_ms if wall_ms else None
    return Path(length_ms / 1000, len(chain), [step.id for step in chain[:PATH_IDS_MAX]], share)
