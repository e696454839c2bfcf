"""What need not be bought again: known answers, those of other gates too, and prompts that were read before."""

from __future__ import annotations

from grafana.boards.agents import INPUT
from grafana.frame import dashboard
from grafana.panels import Json, lines, right, stack, stat
from grafana.queries import chosen, gauge, increase, most, quantile, rate, share

LOOKED = 'cache_lookups_total{result=~"hit|stale|miss"}'
HITS = 'cache_lookups_total{result=~"hit|stale"}'


def now() -> list[Json]:
    return [
        stat(
            "Saved, in US dollars",
            "What known answers had cost when they were bought, in the shown time, by cache.",
            (increase("cache_saved_usd_total", "cache"), "{{cache}}"),
            unit="currencyUSD",
        ),
        stat(
            "Saved tokens",
            "Tokens of known answers, in the shown time, by cache. Nothing: look whether `cache.exact` is on.",
            (increase("cache_saved_tokens_total", "cache"), "{{cache}}"),
            unit="short",
        ),
        stat(
            "Wrong hits, at worst",
            "Share of a model's semantic hits that were wrong, by labels. Above `max_error`: it will be switched off.",
            most(chosen("semantic_false_hit_ratio", "route")),
            unit="percentunit",
        ),
        stat(
            "Disk failures",
            "Times that the file of known answers could not be read or written, in the shown time. See the runbook.",
            increase("cache_disk_failures_total"),
            unit="short",
        ),
    ]


def answers() -> list[Json]:
    return [
        lines(
            "Hit ratio",
            "Of the calls that a cache was for. It falls when prompts hold a clock or an id: take them out.",
            (share(HITS, LOOKED, "cache"), "{{cache}}"),
            unit="percentunit",
        ),
        stack(
            "Look-ups by result",
            "`bypass`: the call is not for that cache, or its caller wants none; `stale`: served while a new one "
            "comes.",
            (rate("cache_lookups_total", "cache", "result"), "{{cache}} {{result}}"),
            unit="reqps",
        ),
        right(
            lines(
                "Size",
                "Bytes in memory and on the disk, and how many answers have to make room. Many: raise "
                "`caches.memory_mb`.",
                (gauge("cache_bytes", "cache"), "{{cache}}"),
                (most("cache_disk_bytes"), "disk"),
                (rate("cache_evictions_total", "cache", "reason"), "{{cache}}: {{reason}}"),
                unit="bytes",
            ),
            "{{cache}}: {{reason}}",
            unit="reqps",
        ),
        lines(
            "Entries",
            "Known answers in memory, by cache. A flat line at its bound with many evictions: too little room.",
            (gauge("cache_entries", "cache"), "{{cache}}"),
            unit="short",
        ),
    ]


def quality() -> list[Json]:
    first = chosen("time_to_first_token_seconds", "route", 'served_by=~"cache|join"')
    return [
        lines(
            "First token of known answers, p50",
            "Streams that were answered out of a cache, or joined. Above 50 ms: the disk is slow, or the gate "
            "lacks a core.",
            (quantile(0.5, first, "route"), "{{route}}"),
            unit="s",
        ),
        right(
            lines(
                "Semantic cache",
                "The worst share of wrong hits by model, and what embeddings and judges cost in US dollars an hour.",
                (most(chosen("semantic_false_hit_ratio", "route"), "route"), "{{route}}"),
                (rate("semantic_spend_usd_total", "purpose") + " * 3600", "{{purpose}}"),
                unit="percentunit",
            ),
            "{{purpose}}",
            unit="currencyUSD",
        ),
        stack(
            "Semantic answers compared",
            "With what was asked for all the same. Many `different`: questions that only look alike; lower "
            "`max_error`.",
            (rate(chosen("semantic_labels_total", "route"), "route", "answer"), "{{route}} {{answer}}"),
            unit="reqps",
        ),
    ]


def prompts() -> list[Json]:
    cached, given = 'tokens_total{kind="input_cached"}', f"tokens_total{{{INPUT}}}"
    expected, reported = (f'prefix_tokens_total{{basis="{basis}"}}' for basis in ("expected", "reported"))
    return [
        lines(
            "Prompt caches by provider",
            "Share of input that was read out of a provider's cache. A fall after a release: its prompts changed "
            "early.",
            (share(cached, given, "provider"), "{{provider}}"),
            unit="percentunit",
        ),
        stack(
            "Broken prompt prefixes",
            "Calls whose prompt was no continuation of their run's, by agent and what changed. `clock`: take it out.",
            (rate("prompt_prefix_breaks_total", "agent", "culprit") + " > 0", "{{agent}} {{culprit}}"),
            unit="reqps",
        ),
        lines(
            "Guessed of reported prefixes",
            "What engines were thought to have read, to what they said. Far above 1: another gate fills their memory.",
            (share(expected, reported, "target"), "{{target}}"),
            unit="short",
        ),
        lines(
            "Prompts in engines' memory",
            "Tokens that a target is thought to have. It should stay below `kv_tokens`.",
            (gauge("prefix_index_tokens", "target"), "{{target}}"),
            unit="short",
        ),
    ]


def shared() -> list[Json]:
    return [
        stack(
            "Questions to the shared store",
            "By what for and how they ended. `rates` far below the calls: slices do their work; `skipped`: it is out.",
            (rate("shared_operations_total", "op", "outcome"), "{{op}} {{outcome}}"),
            unit="reqps",
        ),
    ]


def board() -> Json:
    panels = [*now(), *answers(), *quality(), *prompts(), *shared()]
    question = "What need not be bought again, and is it right?"
    return dashboard("headgate-caches", "Headgate / Caches", question, panels, choices=("route",))
