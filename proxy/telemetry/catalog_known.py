"""The part of the catalog that tells of known answers: what was looked for, found, saved and kept."""

from __future__ import annotations

from typing import get_args

from proxy.observed import CacheName, Culprit, LookUp
from proxy.telemetry.family import AGENT, ROUTE, Family, Label, counter, dollars, gauge

COMPARED = Label("answer", ("same", "different"))
PURPOSE = Label("purpose", ("embedding", "judge"))
KEPT = Label("cache", get_args(CacheName))
CACHE = Label("cache", (*get_args(CacheName), "join"))
LOOKS = (
    *(("exact", result) for result in get_args(LookUp)),
    *(("replay", result) for result in ("hit", "miss")),
    *(("semantic", result) for result in ("hit", "miss", "bypass")),
    ("join", "hit"),
)
LOOKED_UP = Label("result", get_args(LookUp))
EVICTED = Label("reason", ("size",))
CULPRIT = Label("culprit", get_args(Culprit))

KNOWN = (
    Family(
        name="cache_lookups_total",
        kind="counter",
        help="Known answers that were looked for; `join`: the same call, while it runs.",
        labels=(CACHE, LOOKED_UP),
        foreseen=LOOKS,
    ),
    counter("cache_saved_tokens_total", "Tokens of known answers, when they were bought.", AGENT, KEPT),
    dollars("cache_saved_usd_total", "What known answers had cost, in US dollars.", AGENT, KEPT),
    gauge("cache_entries", "Answers in memory.", KEPT, merge="sum"),
    gauge("cache_bytes", "Bytes of answers in memory.", KEPT, merge="sum"),
    counter("cache_evictions_total", "Answers that others pushed out of memory.", KEPT, EVICTED),
    gauge("cache_disk_bytes", "The file of known answers.", merge="max"),
    counter("cache_disk_failures_total", "Times that this file could not be read or written."),
    counter("semantic_labels_total", "Answers compared with that of the nearest entry.", ROUTE, COMPARED),
    gauge("semantic_false_hit_ratio", "Of its hits, the worst of each model by labels.", ROUTE, merge="max"),
    gauge("semantic_switched_off", "1: false hits have switched it off for an agent.", ROUTE, merge="max"),
    dollars("semantic_spend_usd_total", "What its embeddings and judges cost, in US dollars.", PURPOSE),
    counter("prompt_prefix_breaks_total", "Calls whose prompt broke the prefix of their run's.", AGENT, CULPRIT),
)
