"""Which other model answers where the one that was asked for cannot: by what went wrong, and in the plan's order.

A plan's first step is the model itself, each later one a fallback with the errors it is for. A prompt that is too long
needs a larger window and not another try, so such errors have a way on although nobody may repeat them; a mistake in
the request has none, because every other model would meet it too. Only steps further on are taken: a plan is walked
once and ends. When a target of the same step is tried first, and whether time, money and the attempt budget allow any
of it, is the race's word.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from proxy.errors import ProxyError
from proxy.types import Condition, Plan, Target

FALLBACKS_MAX: Final = 8  # of one model; a request may name as many under each of its two fields

KINDS: Final[dict[str, Condition]] = {
    "context_length_exceeded": "context_window",
    "content_filter": "content_filter",
    "upstream_overloaded": "overload",
    "upstream_quota": "overload",
    "upstream_timeout": "overload",
    "upstream_stalled": "overload",
    "overloaded": "overload",  # the line before the target is too long,
    "rate_limit_exceeded": "overload",  # or the gate may not ask it so soon: keys and agents were asked before the plan
}
SATURATED: Final = frozenset({503, 529})  # statuses by which upstreams say that they have too much to do
OTHERS: Final = frozenset(  # of the upstream, and not of the request
    {"upstream_unreachable", "upstream_error", "upstream_auth", "upstream_broken", "unexpected_redirect"}
    | {"upstream_model_missing", "upstream_too_large"}
)


def condition(error: ProxyError) -> Condition | None:
    """What kind of fallback the error asks for; `any`: one that is for everything. None: no other model would help."""
    known = KINDS.get(error.code)
    if known is not None:
        return known
    if error.code not in OTHERS:
        return None
    return "overload" if error.status in SATURATED else "any"


def next_step(plan: Plan, at: int, error: ProxyError) -> int | None:
    """The step that follows step `at`, whose last error this was. None: the error is the call's end."""
    if at + 1 >= len(plan.steps):  # as with most calls: there is none
        return None
    wanted = condition(error)
    if wanted is None:
        return None
    further = plan.fallbacks[at + 1 - len(plan.steps) :]
    for number, (kind, _) in enumerate(further, at + 1):
        if kind in (wanted, "any"):
            return number
    return None


def begun_at(plan: Plan, step: int) -> Plan:
    """The plan without the steps before: there was no room for the call. All that is left of it are fallbacks."""
    left = len(plan.steps) - step
    (_, model), *_ = plan.fallbacks[-left:]
    reason = f"{plan.reason}; too many wait for it, so {model!r}"
    return replace(plan, steps=plan.steps[step:], fallbacks=plan.fallbacks[-left:], reason=reason)


def model_of(plan: Plan, step: int) -> str:
    """The configured name that a step stands for, one of the fallbacks."""
    return plan.fallbacks[step - len(plan.steps)][1]


def fallback_of(plan: Plan, target: Target) -> tuple[Condition, str] | None:
    """The fallback that a target answers for, or None: it is one of those that were asked for."""
    asked = len(plan.steps) - len(plan.fallbacks)  # one step; none, where the plan began at a later one
    if any(target in step for step in plan.steps[:asked]):
        return None
    for step, fallback in zip(plan.steps[asked:], plan.fallbacks, strict=True):
        if target in step:
            return fallback
    return None
