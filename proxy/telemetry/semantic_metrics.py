"""The metrics of the semantic cache beside those that all caches have: what its labels say, and what it costs.

The share of false hits is an estimate from labels: of each owner's route the latest one counts, and of several owners
of one route the worst. What embeddings and judges cost is spend like any other; here it stands again, so that it can be
taken off what hits have saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from proxy.telemetry.labels import Labels
from proxy.telemetry.series import Number, Series

Purpose = Literal["embedding", "judge"]
OWNERS_MAX = 4_096


class SemanticMetrics:
    def __init__(self, numbers: Mapping[str, Series[Number]], labels: Labels) -> None:
        self._labels = labels
        self._labelled = numbers["semantic_labels_total"]
        self._spent = numbers["semantic_spend_usd_total"]
        self._ratio = numbers["semantic_false_hit_ratio"]
        self._off = numbers["semantic_switched_off"]
        self._stands: dict[str, dict[bytes, tuple[float, bool]]] = {}  # by route and owner

    def labelled(self, route: str, *, same: bool) -> None:
        self._labelled[self._labels.route(route), "same" if same else "different"].value += 1

    def spent(self, purpose: Purpose, usd_nanos: int) -> None:
        self._spent[purpose,].value += usd_nanos

    def stands(self, route: str, owner: bytes, false_hit_ratio: float, *, off: bool) -> None:
        owners = self._stands.setdefault(self._labels.route(route), {})
        owners[owner] = (false_hit_ratio, off)
        if len(owners) > OWNERS_MAX:
            del owners[next(iter(owners))]
        self._ratio[self._labels.route(route),].value = max([ratio for ratio, _ in owners.values()])
        self._off[self._labels.route(route),].value = float(any(off for _, off in owners.values()))
