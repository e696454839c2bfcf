"""The part of the catalog that tells of cascades: which rungs were tried, what they cost, what the last would have."""

from __future__ import annotations

from proxy.telemetry.family import Label, counter, dollars, gauge

CASCADE = Label("cascade")
TIER = Label("tier", tuple(map(str, range(10))))
DECISION = Label("decision", ("accept", "escalate", "error"))
ACCEPTED = Label("reason", ("passed", "evidence", "last"))
COMPARED = Label("answer", ("same", "different"))

CASCADES = (
    counter("cascade_steps_total", "Rungs of cascades that were tried, and what was decided.", CASCADE, TIER, DECISION),
    dollars("cascade_actual_usd_total", "What calls that were answered cost, all rungs, in US dollars.", CASCADE),
    dollars("cascade_baseline_usd_total", "What the last rung alone would have cost for them.", CASCADE),
    counter("cascade_accepted_total", "Answers that went out, by why they did.", CASCADE, ACCEPTED),
    counter("cascade_labels_total", "Cheap answers that were compared with the last rung's.", CASCADE, COMPARED),
    gauge("cascade_loss_bound", "How many are worse at most, for the agent where it is most.", CASCADE, merge="max"),
    gauge("cascade_withdrawn", "1: a rung was worse too often for an agent.", CASCADE, merge="max"),
    dollars("cascade_shadow_usd_total", "What comparing them cost, in US dollars.", CASCADE),
)
