"""The part of the catalog that tells of cascades: which rungs were tried, what they cost, what the last would have."""

from __future__ import annotations

from proxy.telemetry.family import Label, counter, dollars

CASCADE = Label("cascade")
TIER = Label("tier", tuple(map(str, range(10))))
DECISION = Label("decision", ("accept", "escalate", "error"))

CASCADES = (
    counter("cascade_steps_total", "Rungs of cascades that were tried, and what was decided.", CASCADE, TIER, DECISION),
    dollars("cascade_actual_usd_total", "What calls that were answered cost, all rungs, in US dollars.", CASCADE),
    dollars("cascade_baseline_usd_total", "What the last rung alone would have cost for them.", CASCADE),
)
