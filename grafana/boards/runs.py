"""Do runs get through? Where they come from, who waits at the gates of engines, and whether prompts stay in memory."""

from __future__ import annotations

from grafana.frame import dashboard
from grafana.panels import Json, lines, stack, stat
from grafana.queries import chosen, gauge, quantile, rate


def now() -> list[Json]:
    return [
        stat(
            "Runs with calls",
            "Runs that have a call in flight. Falls to nothing while agents work: they send no run ids.",
            gauge("runs_active"),
            unit="short",
        ),
        stat(
            "Runs waiting",
            "At the admission gates of engines. For long: more memory, fewer agents, or a larger `gate.share`.",
            gauge(chosen("run_gate_runs", "route", 'state="waiting"')),
            unit="short",
        ),
        stat(
            "New runs per second",
            "Runs seen first. Much above what was started: ids change within a run, so its calls are strangers.",
            rate(chosen("runs_started_total", "agent")),
            unit="reqps",
        ),
    ]


def counts() -> list[Json]:
    return [
        stack(
            "New runs by source",
            "Where their ids came from. `none`: each call is a run of its own; send one, see the docs on runs.",
            (rate(chosen("runs_started_total", "agent"), "source"), "{{source}}"),
            unit="reqps",
        ),
        stack(
            "New runs by agent",
            "One that starts runs without end calls itself: give it a budget in steps.",
            (rate(chosen("runs_started_total", "agent"), "agent"), "{{agent}}"),
            unit="reqps",
        ),
        stack(
            "Loops",
            "Runs that said the same again and again, by what was done. `annotate` alone stops nobody: refuse, "
            "or throttle.",
            (rate(chosen("loops_detected_total", "agent"), "agent", "action"), "{{agent}} {{action}}"),
            unit="reqps",
        ),
        stack(
            "Runs at the gates",
            "`active` may call, `parked` pause between calls, `waiting` have not begun. Waiting is cheaper than "
            "thrashing.",
            (gauge(chosen("run_gate_runs", "route"), "route", "state"), "{{route}} {{state}}"),
            unit="short",
        ),
        stack(
            "Calls with hours to spare",
            "Held until it is quiet, and how those ended that were. `rescued`: their time ran out; where most are, the "
            "load has no valleys.",
            (gauge(chosen("held_calls", "route"), "route"), "{{route}} held"),
            (rate(chosen("held_total", "route"), "result") + " * 3600", "{{result}} an hour"),
            unit="short",
        ),
        stack(
            "Batches",
            "Lines of batches that were answered, with a reply or an error, and batches that ended an hour. None "
            "while batches run: a limit, a budget or a full disk holds them back.",
            (rate("batch_lines_total", "result"), "lines {{result}}"),
            (rate("batches_total", "status") + " * 3600", "batches {{status}} an hour"),
            (gauge("batches_running"), "batches that run"),
            unit="short",
        ),
    ]


def waits() -> list[Json]:
    gate = chosen("run_gate_wait_seconds", "route")
    return [
        lines(
            "Room at the gates",
            "What active runs take, and what they may: tokens of prompts, or runs. At the limit, new runs wait.",
            (gauge(chosen("run_gate_in_use", "route"), "route"), "{{route}} in use"),
            (gauge(chosen("run_gate_limit", "route"), "route"), "{{route}} limit"),
            unit="short",
        ),
        lines(
            "Wait at the gates, p95",
            "Of calls, however they ended. Above a minute: fewer runs at a time would end as many in an hour.",
            (quantile(0.95, gate, "route"), "{{route}}"),
            unit="s",
        ),
        lines(
            "Wait for others, p95",
            "Of calls that had to wait for their key, their agent or a target. `headgate targets` shows who is full.",
            (quantile(0.95, chosen("queue_seconds", "route"), "route"), "{{route}}"),
            unit="s",
        ),
    ]


def board() -> Json:
    panels = [*now(), *counts(), *waits()]
    return dashboard("headgate-runs", "Headgate / Runs", "Do runs get through?", panels, choices=("route", "agent"))
