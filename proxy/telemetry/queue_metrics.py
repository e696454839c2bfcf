"""The metrics of calls that wait for others: how many stand in line now, and how long they stood there.

Lines before targets and those of keys and agents count alike; a wait for a budget is none of these. A call that waits
twice is counted twice. Those that are held for a quiet time are counted by themselves.
"""

from __future__ import annotations

from proxy.telemetry.labels import Labels
from proxy.telemetry.series import Table


class QueueMetrics:
    def __init__(self, table: Table, labels: Labels) -> None:
        self._labels = labels
        self._depth = table.numbers["queue_depth"]
        self._seconds = table.histograms["queue_seconds"]

    def began(self, route: str) -> None:
        self._depth[self._labels.route(route),].value += 1

    def ended(self, route: str, waited_s: float) -> None:
        route = self._labels.route(route)
        self._depth[route,].value -= 1
        self._seconds[route,].observe(waited_s)


class HeldMetrics:
    def __init__(self, table: Table, labels: Labels) -> None:
        self._labels = labels
        self._calls = table.numbers["held_calls"]
        self._ended = table.numbers["held_total"]

    def began(self, route: str) -> None:
        self._calls[self._labels.route(route),].value += 1

    def ended(self, route: str, how: str) -> None:
        route = self._labels.route(route)
        self._calls[route,].value -= 1
        self._ended[route, how].value += 1
