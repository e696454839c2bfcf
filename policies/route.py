"""In which order the targets of a step are tried: by weight for the first, away from trouble afterwards.

A retry goes to a target that was not tried, in another failure domain if there is one, and back to a tried one only
when nothing else is left. What a target costs in seconds is not asked here.
"""

from __future__ import annotations

from random import Random

from proxy.types import Target


def pick(targets: tuple[Target, ...], tried: tuple[Target, ...], rng: Random) -> Target:
    """The next target; `tried` in order of trying. Weights are relative; a weight of 0 serves only as a last resort."""
    if len(targets) == 1:
        return targets[0]
    if not tried:
        return _weighted(targets, rng)
    domains = {target.failure_domain for target in tried}
    fresh = tuple(target for target in targets if target not in tried)
    elsewhere = tuple(target for target in fresh if target.failure_domain not in domains)
    if elsewhere or fresh:
        return _weighted(elsewhere or fresh, rng)
    others = tuple(target for target in targets if target is not tried[-1])
    return _weighted(others, rng)


def _weighted(targets: tuple[Target, ...], rng: Random) -> Target:
    if len(targets) == 1:
        return targets[0]
    total = sum(target.weight for target in targets)
    if total <= 0:
        return targets[int(rng.random() * len(targets))]
    point = rng.random() * total
    for target in targets:
        point -= target.weight
        if point < 0:
            return target
    return targets[-1]
