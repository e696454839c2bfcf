"""May this call go on? Each gate answers with a refusal or with None; none of them waits, counts money or has state.

The order in which they are asked, and why, stands in `pipeline.serve`.
"""

from __future__ import annotations

from collections.abc import Container

from policies.plan import Routes
from proxy.errors import ProxyError
from proxy.types import Call

LEAST_USEFUL_S = 0.001
HOPS_MAX = 4  # gates one behind the other; more are a circle


def deadline(call: Call, now: float) -> ProxyError | None:
    """A call whose time is over must not take anything from any limit."""
    if call.deadline - now > LEAST_USEFUL_S:
        return None
    return ProxyError("deadline_exceeded", "The deadline of this call had passed before it could be started.")


def hops(call: Call) -> ProxyError | None:
    """Gates that ask each other would pass a call round for as long as its deadline lasts."""
    if call.hops < HOPS_MAX:
        return None
    message = f"This call has passed {call.hops} gates already: one of their providers leads back to another of them."
    return ProxyError("too_many_hops", message)


def hopeless(call: Call, wait_s: float, service_s: float, now: float) -> ProxyError | None:
    """`wait_s` until its turn, `service_s` for half of such answers: what cannot end in time must not begin."""
    left_s = call.deadline - now
    if wait_s + service_s <= left_s:
        return None
    message = (
        f"This call has {left_s:.3g} s left. It would have to wait for {wait_s:.3g} s, and half of such answers take "
        f"more than {service_s:.3g} s, so it was not begun. Allow it more time."
    )
    return ProxyError("deadline_exceeded", message)


def allowed(call: Call, by_agent: Container[str] | None, routes: Routes) -> ProxyError | None:
    """A key and an agent may each be limited to some of the configured models. What a client names as a fallback is
    asked for like the model itself; configured ones are the operator's word."""
    refusal = _allowed(call, call.head.model, call.route, by_agent)
    for model in call.head.fallbacks:
        if refusal is not None:
            break
        route = routes.find(model)
        refusal = routes.unknown(model) if route is None else _allowed(call, model, route.name, by_agent)
    return refusal


def _allowed(call: Call, model: str, route: str, by_agent: Container[str] | None) -> ProxyError | None:
    by_key = call.identity.models
    if by_key is not None and route not in by_key:
        return ProxyError("not_allowed", f"This key may not use the model {model!r}.", param="model")
    if by_agent is not None and route not in by_agent:
        message = f"The agent {call.identity.agent!r} may not use the model {model!r}."
        return ProxyError("not_allowed", message, param="model")
    return None
