"""What a metric is declared with: a name, a kind, labels with their closed lists, a ladder; and what many have of it.

Which metrics there are stands in `catalog.py`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from proxy.telemetry.ladders import Ladder

PREFIX = "headgate_"
OTHER = "other"
UNATTRIBUTED = "unattributed"
NANOS = 1_000_000_000

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min", "owner"]


class Label(Struct, frozen=True):
    """`values` is the closed list; None: names of the configuration."""

    name: str
    values: tuple[str, ...] | None = None


class Family(Struct, frozen=True):
    """One metric. `per_unit` recorder units make one exposed unit: money is recorded in integer nano-dollars."""

    name: str  # without the prefix
    kind: Kind
    help: str
    labels: tuple[Label, ...] = ()
    ladder: Ladder = ()
    traced: bool = False  # its buckets carry exemplars
    per_unit: int = 1
    foreseen: tuple[tuple[str, ...], ...] = ()  # label values that can occur, where not every combination can
    together: tuple[tuple[str, ...], ...] = ()  # the same of its last labels, beside those of the configuration
    merge: Merge = "sum"  # of several processes; `owner`: only the one that owns the books has it


ROUTE, TARGET, PROVIDER, MODEL, AGENT = map(Label, ("route", "target", "provider", "model", "agent"))


def counter(name: str, help: str, *labels: Label) -> Family:
    return Family(name=name, kind="counter", help=help, labels=labels)


def gauge(name: str, help: str, *labels: Label, merge: Merge = "owner") -> Family:
    return Family(name=name, kind="gauge", help=help, labels=labels, merge=merge)


def histogram(name: str, ladder: Ladder, help: str, *labels: Label) -> Family:
    return Family(name=name, kind="histogram", help=help, labels=labels, ladder=ladder)


def dollars(name: str, help: str, *labels: Label) -> Family:
    return Family(name=name, kind="counter", help=help, labels=labels, per_unit=NANOS)


def dollar_gauge(name: str, help: str, *labels: Label) -> Family:
    return Family(name=name, kind="gauge", help=help, labels=labels, per_unit=NANOS, merge="owner")
