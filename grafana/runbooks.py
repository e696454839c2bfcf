"""The page of runbooks, out of the alerts themselves: what somebody who is woken reads first."""

from __future__ import annotations

from collections.abc import Iterator

from grafana import alerts
from grafana.rule import Alert

PARTS = (
    ("What clients feel", alerts.OBJECTIVES),
    ("What fails", alerts.RELIABILITY),
    ("Budgets, spend and the books", alerts.MONEY),
    ("Caches", alerts.CACHES),
    ("The gate itself", alerts.GATE),
)
INTRODUCTION = """# Runbooks

One part for each alert of `grafana/rules/`, written by `python -m grafana.generate`. `page` wakes somebody, `ticket`
waits until morning. The same text is in the alert's annotation `runbook`. How to load the rules:
[grafana](../grafana/README.md)."""


def page() -> str:
    return "\n".join([INTRODUCTION, *(line for title, rules in PARTS for line in _part(title, rules))]) + "\n"


def _part(title: str, rules: tuple[Alert, ...]) -> Iterator[str]:
    yield from ("", f"## {title}")
    for rule in rules:
        yield from ("", f"### {rule.name}", "")
        after = "at once" if rule.lasting == "0s" else f"after {rule.lasting}"
        yield f"`{rule.severity}`, {after}. {rule.means}"
        yield from ("", f"- **Causes:** {rule.causes}", f"- **What to do:** {rule.todo}")
