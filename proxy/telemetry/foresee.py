"""Which children of a family a configuration foresees, so that they exist at 0 before anything happens.

A child that is born with a value hides its first step from `rate()`, and a sum without a series is empty. A family
whose combinations are too many holds its widest label at one value instead; the rest is born when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, groupby, product
from math import prod

from proxy.telemetry.family import AGENT, OTHER, ROUTE, UNATTRIBUTED, Family, Label
from proxy.telemetry.labels import Labels
from proxy.types import Target

FORESEEN_SERIES_MAX = 2_000  # of one family: a third of what it may hold
OF_TARGET = frozenset({"target", "to", "provider", "model"})

Values = tuple[str, ...]
Axis = tuple[Values, ...]


def foreseen(family: Family, labels: Labels) -> Iterator[Values]:
    """The label values of one family's children."""
    if family.foreseen:
        return iter(family.foreseen)
    axes = _narrowed(_axes(family, labels), width=len(family.ladder) + 3 if family.ladder else 1)
    return (tuple(chain.from_iterable(parts)) for parts in product(*axes))


def _axes(family: Family, known: Labels) -> list[Axis]:
    """Labels that a target fixes together (its provider, its model) are one axis; each other label is one."""
    axes: list[Axis] = []
    free = len(family.labels) - (len(family.together[0]) if family.together else 0)
    for of_target, labels in groupby(family.labels[:free], key=_is_of_target):
        if of_target:
            group = [label.name for label in labels]
            rows = (tuple(_named(target, name) for name in group) for target in known.targets.values())
            axes.append(tuple(dict.fromkeys(rows)))
        else:
            axes.extend(tuple((value,) for value in _values(label, known)) for label in labels)
    if family.together:
        axes.append(family.together)
    return axes


def _narrowed(axes: list[Axis], width: int) -> list[Axis]:
    while prod(map(len, axes)) * width > FORESEEN_SERIES_MAX:
        widest = max(range(len(axes)), key=lambda place: len(axes[place]))
        axis = axes[widest]
        unattributed = (UNATTRIBUTED,)
        axes[widest] = (unattributed,) if unattributed in axis else ((OTHER,) * len(axis[0]),)
    return axes


def _is_of_target(label: Label) -> bool:
    return label.name in OF_TARGET


def _named(target: Target, label: str) -> str:
    if label == "provider":
        return target.provider
    return target.model if label == "model" else target.id


def _values(label: Label, known: Labels) -> Iterable[str]:
    if label.values is not None:
        return label.values
    if label is AGENT:
        return tuple(known.agents)
    return tuple(known.routes) if label is ROUTE else ()
