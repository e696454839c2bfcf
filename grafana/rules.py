"""What rules are made of, and their form as Prometheus reads it: recorded series, alerts, files of groups.

Which there are stands in `recordings.py`, `litellm.py` and `alerts.py`. The YAML is written here, not by a library, so
that expressions stay readable: each is a folded block. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap

from grafana import alerts, litellm, recordings
from grafana.rule import Alert, Recording

WIDTH = 118
NOTE = "# Written by grafana/generate.py."


@dataclass(frozen=True)
class Group:
    name: str
    rules: tuple[Recording | Alert, ...]
    interval: str = ""  # "": as Prometheus is configured


def files() -> dict[str, str]:
    """File names, and what stands in them."""
    return {
        "recordings.yaml": file(
            "Series that alerts and dashboards ask for often.",
            Group("headgate-recordings", recordings.USUAL),
            Group("headgate-slow-recordings", recordings.SLOW, interval="2m"),
        ),
        "litellm.yaml": file(
            "Optional: the same numbers under names of LiteLLM's, for dashboards that were made for it.",
            Group("headgate-litellm", litellm.RULES),
        ),
        "objectives.yaml": file("Alerts on what clients feel.", Group("headgate-objectives", alerts.OBJECTIVES)),
        "reliability.yaml": file("Alerts on what fails.", Group("headgate-reliability", alerts.RELIABILITY)),
        "money.yaml": file("Alerts on budgets, spend and the books.", Group("headgate-money", alerts.MONEY)),
        "caches.yaml": file("Alerts on caches.", Group("headgate-caches", alerts.CACHES)),
        "gate.yaml": file("Alerts on the gate itself.", Group("headgate-gate", alerts.GATE)),
    }


def file(purpose: str, *groups: Group) -> str:
    return "\n".join([f"# {purpose}", NOTE, "groups:", *(line for group in groups for line in _group(group))]) + "\n"


def _group(group: Group) -> Iterator[str]:
    yield f"  - name: {group.name}"
    if group.interval:
        yield f"    interval: {group.interval}"
    yield "    rules:"
    for rule in group.rules:
        yield from _alert(rule) if isinstance(rule, Alert) else _recording(rule)


def _recording(rule: Recording) -> Iterator[str]:
    yield f"      - record: {rule.name}"
    yield from _folded(8, "expr", rule.expression)


def _alert(rule: Alert) -> Iterator[str]:
    yield f"      - alert: {rule.name}"
    yield from _folded(8, "expr", rule.expression)
    yield f"        for: {rule.lasting}"
    yield f"        labels: {{severity: {rule.severity}}}"
    yield "        annotations:"
    yield from _folded(10, "summary", rule.summary)
    yield from _folded(10, "runbook", rule.runbook)


def _folded(indent: int, key: str, value: str) -> Iterator[str]:
    """A block whose lines are joined by blanks again when it is read."""
    yield f"{' ' * indent}{key}: >-"
    broken = wrap(value, WIDTH - indent - 2, break_long_words=False, break_on_hyphens=False)
    yield from (" " * (indent + 2) + line for line in broken)
