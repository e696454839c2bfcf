"""The alerts: when somebody is told, how urgently, and what to do then.

An objective wakes somebody only when it burns fast both now and for an hour, so a blip that is over wakes nobody
(multi-window burn rates as in the Site Reliability Workbook, chapter 5). Each condition is over what the gate counts;
what is `page` and what `ticket` follows from whether agents suffer now.
"""

from __future__ import annotations

from typing import Literal

from grafana.alerts_gate import GATE
from grafana.alerts_money import MONEY
from grafana.rule import Alert

__all__ = ["CACHES", "GATE", "MONEY", "OBJECTIVES", "RELIABILITY"]

ALLOWED = {"slo_availability": 0.005, "slo_ttft": 0.05}
LOOK = "`headgate targets`, then the dashboard Upstreams: one target, one provider, or all of them?"


def burning(objective: str, short: str, long: str, times: float) -> str:
    """Both windows burn so many times faster than allowed."""
    bad, allowed = f"headgate:{objective}:bad_ratio_", ALLOWED[objective]
    return f"{bad}{short} > {times} * {allowed} and on (job) {bad}{long} > {times} * {allowed}"


def _availability(name: str, condition: str, *, lasting: str, severity: Literal["page", "ticket"], pace: str) -> Alert:
    return Alert(
        f"HeadgateAvailability{name}",
        condition,
        lasting,
        severity,
        f"Calls fail so often that the objective of 99.5 % is missed {pace}.",
        f"At this pace the errors that are allowed for 30 days are used up {pace}. Refusals by limits do not count.",
        "an outage of a provider, a key that was refused, a release of the gate, too few targets for a model.",
        f"{LOOK} Errors by code on the dashboard Fleet name the side. `proxy_error` is the gate's: read its log.",
    )


TRAFFIC = "sum by (job) (rate(headgate_requests_total{}[5m])) > 0.1"
OBJECTIVES = (
    _availability(
        "FastBurn",
        f"({burning('slo_availability', '5m', '1h', 14.4)}) and on (job) {TRAFFIC}",
        lasting="2m",
        severity="page",
        pace="within two days",
    ),
    _availability(
        "MidBurn", burning("slo_availability", "30m", "6h", 6), lasting="15m", severity="page", pace="within five days"
    ),
    _availability(
        "SlowBurn", burning("slo_availability", "6h", "3d", 1), lasting="1h", severity="ticket", pace="within a month"
    ),
    Alert(
        "HeadgateTtftFastBurn",
        burning("slo_ttft", "5m", "1h", 14.4),
        "2m",
        "page",
        "Most streams take longer than two seconds to begin.",
        "More than 72 % of streams have begun late for an hour; 5 % may. Agents wait, and some give up.",
        "a crowded engine, a provider that is slow as a whole, calls that queue for a limit, a gate without a "
        "free core.",
        "On Tail and hedging, look whether one route is late or all; on Upstreams, which target; on Runs, who waits. "
        "Late only here and not upstream: Overhead on Fleet.",
    ),
)

RELIABILITY = (
    Alert(
        "HeadgateNoHealthyTarget",
        "min by (job, instance, route) (headgate_route_healthy_targets) == 0",
        "30s",
        "page",
        "Every target of {{ $labels.route }} is out.",
        "Calls of this model are sent to the least bad target, without retries.",
        "an outage, a refused key, the gate's own network.",
        "`headgate targets` says why each is out; compare with the provider's status page; give the model a target "
        "elsewhere, or `fallbacks`.",
    ),
    Alert(
        "HeadgateBreakerOpen",
        'max by (job, instance, target) (headgate_breaker_state{state="open"}) == 1',
        "2m",
        "ticket",
        "{{ $labels.target }} is left out.",
        "It fails, and its trials fail as well. Others answer its calls.",
        "an outage there, a key that was refused, a model that was withdrawn.",
        "`headgate targets` shows the last failure: `upstream_auth` is a key that somebody has to mend, anything "
        "else is "
        "the upstream's. It comes back by itself.",
    ),
    Alert(
        "HeadgateHedgeWaste",
        "sum by (job, instance) (increase(headgate_hedge_wasted_usd_total[1h])) "
        "> 0.05 * sum by (job, instance) (increase(headgate_spend_usd_total[1h]))",
        "15m",
        "ticket",
        "More than 5 % of spend goes to second copies that lost.",
        "Late calls are sent twice, and the loser is paid for.",
        "dear prompts, a provider that bills what was closed, a target that is often late.",
        "Lower `hedging.budget`, or set `hedge: off` for the agents with long prompts.",
    ),
    Alert(
        "HeadgateAttemptBudgetEmpty",
        "sum by (job, instance) (increase(headgate_attempt_budget_refused_total[5m])) > 0",
        "5m",
        "ticket",
        "Retries or hedges are left undone because their allowance is used up.",
        "More calls fail than may be tried again, so clients see errors.",
        "an upstream that fails for everyone, or a burst of failures after a quiet hour.",
        "Look for the target that fails. The allowance is `defaults.retry.budget` for each success, and ten at once; "
        "raising it makes an outage worse.",
    ),
    Alert(
        "HeadgateCacheDiskFailing",
        "sum by (job, instance) (increase(headgate_cache_disk_failures_total[5m])) > 0",
        "5m",
        "ticket",
        "Known answers cannot be read from the disk, or written to it.",
        "Calls go on. What is not in memory is asked for and paid again, and a call with an Idempotency-Key can "
        "be sent "
        "twice.",
        "a full disk, a file that another program holds or has damaged, a disk that hangs.",
        "The log event `cache failed` says what SQLite said; `headgate caches` shows what is there. The file is "
        "`caches.db` in the data directory: a damaged one may be deleted while the gate is stopped, at the price "
        "of what "
        "it held.",
    ),
)

CACHES = (
    Alert(
        "HeadgatePromptCacheDrop",
        "headgate:prompt_cache:share_1h < quantile_over_time(0.5, headgate:prompt_cache:share_1h[7d]) - 0.2",
        "1h",
        "ticket",
        "Much less of the input of {{ $labels.agent }} comes out of prompt caches than usual.",
        "The share is 20 points below its median of a week, so the same work costs more.",
        "most often something near the beginning of its prompts changes from call to call; else its runs were moved to "
        "another provider or key, or pause for longer than a prompt is kept.",
        "`headgate_prompt_prefix_breaks_total` has the kinds, and `headgate explain` of one of its calls names the "
        "message, the tool or the field.",
    ),
    Alert(
        "HeadgateSemanticCacheWrong",
        "max by (job, instance, route) (headgate_semantic_switched_off) == 1 "
        "or max by (job, instance, route) (headgate_semantic_false_hit_ratio) > 0.05",
        "5m",
        "ticket",
        "The semantic cache of {{ $labels.route }} gives wrong answers, or was switched off because of them.",
        "More hits were wrong than the stated bound allows, by labels or reports.",
        "questions that only look alike, answers that change with time, an embedder that was replaced.",
        "`headgate explain` shows what was served; shorten `ttl_s`, lower `max_error`, or leave the agent without. A "
        "purge of the cache begins anew.",
    ),
)
