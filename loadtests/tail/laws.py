"""How long upstreams take, and how they fail: one function of (random source, request, instant) each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from .upstreams import FOREVER_S, Draw, Law, Request

ERROR_S = 0.05  # until a 500


def lognormal(median_s: float, sigma: float) -> Law:
    mu = math.log(median_s)
    return lambda rng, request, now: Draw(rng.lognormvariate(mu, sigma))


def recorded(slowdowns: Mapping[str, Sequence[float]]) -> Law:
    """By model: times over their group's median, drawn again."""
    return lambda rng, request, now: Draw(rng.choice(slowdowns.get(request.model, (1.0,))) * request.usual_s)


def stragglers(law: Law, share: float, factor: float) -> Law:
    def drawn(rng: Random, request: Request, now: float) -> Draw:
        draw = law(rng, request, now)
        return Draw(draw.seconds * factor, draw.status) if rng.random() < share else draw

    return drawn


def stalls(law: Law, share: float, least_s: float, most_s: float) -> Law:
    """Some take so much longer."""

    def drawn(rng: Random, request: Request, now: float) -> Draw:
        draw = law(rng, request, now)
        return Draw(draw.seconds + rng.uniform(least_s, most_s)) if rng.random() < share else draw

    return drawn


def sick(law: Law, *, errors: float, hangs: float, heals_at: float) -> Law:
    """Until `heals_at` this share fails, and this share never answers."""

    def drawn(rng: Random, request: Request, now: float) -> Draw:
        point = rng.random() if now < heals_at else 1.0
        if point < errors:
            return Draw(ERROR_S, 500)
        return Draw(FOREVER_S) if point < errors + hangs else law(rng, request, now)

    return drawn


def outage(law: Law, begins: float, ends: float) -> Law:
    return lambda rng, request, now: Draw(ERROR_S, 503) if begins <= now < ends else law(rng, request, now)
