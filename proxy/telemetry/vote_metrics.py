"""The metrics of quorums and debates, read from the one outcome of a call.

What their members cost is spend like any other, and stands with the attempts; here is what the votes came to, how many
answers they took, and what debates changed about the plain vote that is free with their first round.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.observed import Voted
from proxy.telemetry.labels import Labels
from proxy.telemetry.series import Number, Series


class VoteMetrics:
    def __init__(self, numbers: Mapping[str, Series[Number]], labels: Labels) -> None:
        self._labels = labels
        self._calls = numbers["quorum_calls_total"]
        self._answers = numbers["quorum_answers_total"]
        self._debates = numbers["debates_total"]

    def observe(self, route: str, voted: Voted) -> None:
        name = self._labels.route(route)
        self._calls[name, voted.result].value += 1
        self._answers[name,].value += voted.asked
        if voted.changed is not None:
            self._debates[name, "other" if voted.changed else "same"].value += 1
