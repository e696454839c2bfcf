"""May this call go on? Each gate answers with a refusal or with None; none of them waits, counts money or has state.

The order in which they are asked, and why, stands in `pipeline.serve`.
"""

from __future__ import annotations

from collections.abc import Container

from proxy.errors import ProxyError
from proxy.types import Call

LEAST_USEFUL_S = 0.001


def deadline(call: Call, now: float) -> ProxyError | None:
    """A call whose time is over must not take anything from any limit."""
    if call.deadline - now > LEAST_USEFUL_S:
        return None
    return ProxyError("deadline_exceeded", "The deadline of this call had passed before it could be started.")


def allowed(call: Call, by_agent: Container[str] | None) -> ProxyError | None:
    """A key and an agent may each be limited to some of the configured models."""
    by_key = call.identity.models
    if by_key is not None and call.route not in by_key:
        return ProxyError("not_allowed", f"This key may not use the model {call.model!r}.", param="model")
    if by_agent is not None and call.route not in by_agent:
        message = f"The agent {call.identity.agent!r} may not use the model {call.model!r}."
        return ProxyError("not_allowed", message, param="model")
    return None
